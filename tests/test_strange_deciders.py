"""Rules, schedulers and samplers of a stranger are checked where they enter, and told in one line."""

import dataclasses
import functools
import re
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
import pytest
from strangers import FAILED, one_line, raises

import popjax as pj
from popjax.space.samplers import SAMPLERS
from popjax.tuning.schedulers import named_schedulers

SPACE = {"x": pj.uniform(0, 1)}
RATE = {"learning_rate": pj.log_uniform(1e-3, 1e-1)}
OBJECTIVE = pj.objective(lambda key, hparams: {"loss": hparams["x"] ** 2})
QUADRATIC = pj.Task(lambda key, hparams, data: 1.0, lambda x, hparams, data: (x - hparams["x"] * x, {"loss": x**2}), ())


@pytest.fixture(scope="module")
def table():
    """Rows of three columns, with two classes."""
    x = np.random.default_rng(0).normal(3.0, 5.0, (120, 3))
    return x, (x[:, 0] > 3).astype(int)


# Rules


class Second(pj.Rule):
    """A right one, of which the wrong ones are made."""

    name = "second"

    def winner(self, finished):
        return np.int64(min(1, len(finished.values["loss"]) - 1))


def rule(base=Second, **wrong):
    """A rule that is wrong in some of its attributes."""
    return type("Wrong", (base,), {"name": "wrong"} | wrong)()


@dataclasses.dataclass(frozen=True, repr=False)
class Setting(Second):
    """One with a setting that JSON has no word for."""

    name: ClassVar[str] = "setting"
    near: Any = None


def holding(value):
    made = rule()
    object.__setattr__(made, "margin", value)
    return made


RULES = {
    "inherited name": (type("Wrong", (Second,), {})(), "the rule Wrong has no name of its own, .*'second'"),
    "no name": (type("Wrong", (pj.Rule,), {})(), "the rule Wrong has no name of its own, .*'best'"),
    "popjax's name": (rule(name="one-se"), "the rule Wrong: the name 'one-se' is that of OneSe"),
    "misspelt": (rule(winer=lambda self, finished: 0), "the rule Wrong: winer is no name .* did you mean winner"),
    "misspelt need": (rule(need=("parameters",)), "the rule Wrong: need is no name .* did you mean needs"),
    "unknown need": (
        rule(needs=("parameter",)),
        "the rule Wrong: needs names 'parameter'; there are parameters, flops",
    ),
    "need is a text": (rule(needs="parameters"), "the rule Wrong: needs is 'parameters'; give a tuple"),
    "arguments": (rule(winner=lambda self: 0), r"the rule Wrong: winner cannot be called with \(self, finished\)"),
    "no JSON": (Setting(near=lambda value: value), "the rule Setting: the setting 'near' is <function"),
    "no field": (holding(3), "the rule Wrong: margin is no field, and would be lost"),
    "written raises": (rule(written=raises()), f"the rule Wrong: written {FAILED}"),
    "check raises": (rule(check=raises()), f"the rule Wrong: check {FAILED}"),
    "of raises": (rule(of=raises()), f"the rule Wrong: of {FAILED}"),
    "of returns": (rule(of=lambda self, task: None), "the rule Wrong: of returned None"),
    "loss raises": (rule(loss=raises()), f"the rule Wrong: loss {FAILED}"),
    "loss shape": (rule(loss=lambda self, values: values["loss"][1:]), r"Wrong: loss returned float32\[\d\]; return a"),
    "loss NaN": (
        rule(loss=lambda self, values: values["loss"] * np.nan),
        "the rule Wrong: loss returned NaN for row 0",
    ),
    "order raises": (rule(order=raises()), f"the rule Wrong: order {FAILED}"),
    "order drops": (
        rule(order=lambda self, values: np.arange(3)),
        "the rule Wrong: order returned .0, 1, 2. for . rows",
    ),
    "order repeats": (
        rule(order=lambda self, values: np.zeros(len(values["loss"]), int)),
        "Wrong: order returned .0, 0",
    ),
    "order floats": (
        rule(order=lambda self, values: np.sort(values["loss"])),
        "Wrong: order returned float32...; return",
    ),
    "order ends": (rule(order=lambda self, values: np.arange(1, 9)), "the rule Wrong: order returned .1, 2"),
    "typo within": (
        rule(order=lambda self, values: values["los"]),
        "the rule Wrong: order raised KeyError: 'los' .*line",
    ),
    "a class's keep": (
        rule(keep=5),
        "the rule Wrong: the class's keep = 5 is hidden by that of an object; write @data",
    ),
    "another name written": (
        rule(written=lambda self: {"rule": "best"}),
        "the rule Wrong: written returned .'rule': 'be",
    ),
    "a setting not written": (
        type("Wrong", (Setting,), {"name": "wrong", "written": lambda self: {"rule": "wrong", "metric": None}})(near=3),
        "the rule Wrong: written returned .*; return super",
    ),
    "nothing written": (rule(written=lambda self: None), "the rule Wrong: written returned None; return super"),
    "objectives": (rule(objectives=("loss",)), "the rule Wrong: objectives has 'loss'; give a tuple of popjax.Metric"),
    "a random winner": (
        rule(winner=lambda self, finished: int(np.random.default_rng().integers(8))),
        "the rule Wrong: winner returns something else when it is called again",
    ),
    "a random order": (
        rule(order=lambda self, values: np.random.default_rng().permutation(len(values["loss"]))),
        "the rule Wrong: order returns something else when it is called again",
    ),
    "winner raises": (rule(winner=raises()), f"the rule Wrong: winner {FAILED}"),
    "winner before": (
        rule(winner=lambda self, finished: -1),
        "the rule Wrong: winner returned -1; return a place, 0 to 7",
    ),
    "winner behind": (
        rule(winner=lambda self, finished: 8),
        "the rule Wrong: winner returned 8; return a place, 0 to 7",
    ),
    "winner NaN": (rule(winner=lambda self, finished: np.nan), "the rule Wrong: winner returned nan; return a place"),
    "improvement": (
        rule(improvement=pj.best("loss", "min", at="best").improvement),
        r"the rule Wrong: improvement is Improvement\(.* with at='last'; return None with at='last', and else",
    ),
    "winner None": (rule(winner=lambda self, finished: None), "the rule Wrong: winner returned None; return a place"),
    "winner text": (rule(winner=lambda self, finished: "0"), "the rule Wrong: winner returned '0'; return a place"),
    "winner True": (rule(winner=lambda self, finished: True), "the rule Wrong: winner returned True; return a place"),
}


@pytest.mark.parametrize("name", RULES)
def test_a_wrong_rule(name):
    given, says = RULES[name]
    with pytest.raises(ValueError, match=says) as error:
        pj.search(OBJECTIVE, {"x": pj.uniform(0, 1)}, trials=8, rank=given)
    one_line(error)


@pytest.mark.parametrize("method", ["winner", "order", "loss", "front"])
def test_a_typo_in_a_rule_is_said_before_training(method):
    """That of a name that no values would mend: with it all training was lost."""
    trained = []
    typo = rule(**{method: lambda self, given: (given if isinstance(given, dict) else given.values)["los"]})
    with pytest.raises(ValueError, match=f"the rule Wrong: {method} raised KeyError: 'los'"):
        pj.search(QUADRATIC, SPACE, trials=4, epochs=2, rank=typo, callbacks=[hearing(trained)])
    assert trained == []


def hearing(trained):
    """A callback that notes epochs."""
    return type("Hearing", (pj.Callback,), {"epoch": lambda self, result: trained.append(result.epoch)})()


class Least(pj.Rule):
    """Orders against its metric."""

    name = "least"

    def order(self, values):
        return np.argsort(-values["loss"], kind="stable")


def test_a_scheduler_sees_the_order_of_the_rule():
    """Not the metric, which a rule with an order of its own does not go by."""
    seen = []

    def looking(problem):
        def step(state, trials):
            if state == 0:
                return 1, pj.Decision(add=problem.propose(6), until=dict.fromkeys(range(6), 1))
            seen.append((trials.loss.copy(), trials.values["loss"][:, 0].copy()))
            return 2, pj.Decision()

        return pj.Scheduler(lambda: 0, step)

    pj.search(QUADRATIC, SPACE, trials=6, epochs=3, rank=Least(), scheduler=looking)
    loss, values = seen[0]
    assert np.argsort(loss).tolist() == np.argsort(-values, kind="stable").tolist()


def test_why_a_winner_wins_costs_its_line_only(capsys, tmp_path):
    results = pj.search(QUADRATIC, SPACE, trials=4, epochs=2, rank=rule(why=raises()), out=tmp_path / "run")
    assert re.search(f"popjax: the rule Wrong: why {FAILED}", capsys.readouterr().err)
    assert "chosen by the rule wrong of 4" in (tmp_path / "run" / "report.html").read_text()
    assert results.best is not None


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"front": lambda self, values: [0, 0]}, "the rule Wrong: front returned .0, 0. for 8 rows"),
        ({"front": raises()}, f"the rule Wrong: front {FAILED}"),
    ],
)
def test_a_wrong_front(wrong, says):
    results = pj.search(OBJECTIVE, {"x": pj.uniform(0, 1)}, trials=8, rank=rule(**wrong))
    with pytest.raises(ValueError, match=says):
        results.front()


def test_a_rule_reads_and_ranks_as_it_won(tmp_path):
    """One with a setting, a helper, a class between, and NumPy's integers; loaded where it is given again."""
    results = pj.search(OBJECTIVE, {"x": pj.uniform(0, 1)}, trials=8, rank=Third(margin=2), out=tmp_path / "run")
    assert results.best.trial == results.order[2]
    with pytest.raises(ValueError, match="a rule of your own, 'third'"):
        pj.Results.load(tmp_path / "run")
    assert pj.Results.load(tmp_path / "run", rank=Third(margin=2)).best == results.best
    with pytest.raises(ValueError, match="the rule Nameless has no name of its own"):
        pj.Results.load(tmp_path / "run", rank=Nameless(margin=2))


@dataclasses.dataclass(frozen=True, repr=False)
class Third(Second):
    """A rule of a rule."""

    margin: int = 1
    name: ClassVar[str] = "third"

    def winner(self, finished):
        return self.winners(finished)[self.margin]

    def winners(self, finished):
        return np.arange(len(finished.values["loss"]))


class Nameless(Third):
    """A rule of a rule of a rule."""


def test_a_rules_settings_come_back_as_it_gave_them(tmp_path):
    """Tuples, numbers as keys and NumPy integers are other values in JSON; a run of them resumes."""

    @dataclasses.dataclass(frozen=True, repr=False)
    class Slack(Second):
        name: ClassVar[str] = "slack"
        slack: Any = (0.02, 0.05)
        shares: Any = dataclasses.field(default_factory=lambda: {1: 0.5})

        @functools.cached_property
        def table(self):
            return np.ones(3)

        def winner(self, finished):
            return int(self.table[0]) * len(self.slack) - 2

    rule = Slack("loss", at="best", patience=np.int64(3))
    go = lambda **more: pj.search(QUADRATIC, SPACE, trials=4, epochs=4, rank=rule, out=tmp_path / "run", **more)
    assert go().best == go(resume=True).best == pj.Results.load(tmp_path / "run", rank=rule).best


# Schedulers


def scheduler(step=None, init=lambda: 0, answer=None):
    """A scheduler that trains all, or is wrong."""

    def strange(problem):
        def usual(state, trials):
            if state == 0:
                return 1, pj.Decision(add=problem.propose(4), until=dict.fromkeys(range(4), 2))
            return 2, pj.Decision() if answer is None else answer

        return pj.Scheduler(init, step or usual)

    return strange


def pointing(problem, **values):
    """The points of a problem, with other values for the first trial."""
    points = problem.propose(4)
    for name, value in values.items():
        points[name] = points[name].astype(float)
        points[name][0] = value
    return points


CALLS = []


def counting(state, trials):
    """Remembers how often it was called, outside its state."""
    CALLS.append(state)
    return 0, pj.Decision(until={0: 1 + len(CALLS) % 2})


DECIDED = pj.Decision(until={0: 1})
SCHEDULERS = {
    "memory": (scheduler(counting), "the scheduler strange: step decides otherwise when it is called again; keep what"),
    "noise": (
        scheduler(lambda state, trials: (float(np.random.default_rng().random()), DECIDED)),
        "the scheduler strange: step decides otherwise when it is called again",
    ),
    "writes": (
        scheduler(answer=None, step=lambda state, trials: (trials.curves["loss"].sort(), DECIDED)),
        "the scheduler strange: step raised (KeyError|ValueError)",
    ),
    "a round's note": (
        scheduler(lambda s, t: (0, DECIDED._replace(notes={"round": "first"}))),
        "reads as a int; renam",
    ),
    "a person's note": (
        scheduler(lambda s, t: (0, DECIDED._replace(notes={"by": "user"}))),
        "as a person's change; ren",
    ),
    "complex": (
        scheduler(lambda s, t: (0, DECIDED._replace(add={"x": np.ones(1, complex)}))),
        "x is a column of complex",
    ),
    "texts": (
        scheduler(lambda s, t: (0, DECIDED._replace(add={"x": np.array(["1"], object)}))),
        "add: x has '1'; give n",
    ),
    "truths": (
        scheduler(lambda s, t: (0, DECIDED._replace(add={"x": np.ones(1, bool)}))),
        "add: x is a column of bool",
    ),
    "raises": (lambda problem: 1 / 0, r"the scheduler <lambda> raised ZeroDivisionError.*test_strange_\w+.py, line"),
    "returns": (lambda problem: None, "the scheduler <lambda> returned a NoneType; return a popjax.Scheduler"),
    "no function": (lambda problem: pj.Scheduler(0, None), "the scheduler <lambda>: init is 0; give a function"),
    "init raises": (scheduler(init=raises()), f"the scheduler strange: init {FAILED}"),
    "init no JSON": (scheduler(init=lambda: {1, 2}), "the scheduler strange: init: the state is no JSON value"),
    "step raises": (scheduler(raises()), f"the scheduler strange: step {FAILED}"),
    "step returns": (scheduler(lambda state, trials: 3), r"the scheduler strange: step returned 3; return \(state"),
    "no JSON": (scheduler(lambda state, trials: (np.arange(2), DECIDED)), "strange: step: the state is no JSON value"),
    "NaN": (scheduler(lambda state, trials: (np.nan, DECIDED)), "strange: step: the state is no JSON value"),
    "notes": (scheduler(lambda s, t: (0, DECIDED._replace(notes={1, 2}))), "strange: step: the notes are no JSON"),
    "shape": (
        scheduler(lambda s, t: (0, DECIDED._replace(add={"x": np.ones((2, 2))}))),
        "strange: step: add: x is a nd",
    ),
    "no dict": (
        scheduler(lambda s, t: (0, DECIDED._replace(until=[1]))),
        "strange: step: the decision's until is a list",
    ),
    "unknown": (scheduler(answer=pj.Decision(until={7: 2})), "the scheduler strange: step: there is no trial 7"),
    "behind": (
        scheduler(answer=pj.Decision(until={0: 1})),
        "the scheduler strange: step: until 1: trial 0 is at epoch 2",
    ),
}


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("rounds", [False, True])
def test_a_wrong_scheduler(name, rounds):
    """Also where it is one of several rounds."""
    given, says = SCHEDULERS[name]
    how = pj.rounds(1, given) if rounds else given
    with pytest.raises(ValueError, match=says.replace("scheduler strange", "scheduler (strange|rounds)")) as error:
        pj.search(QUADRATIC, {"x": pj.uniform(0, 1)}, trials=4, epochs=4, scheduler=how)
    one_line(error)


def remembering(problem):
    """The epochs of trials as a dict of numbers, which JSON makes texts."""

    def step(state, trials):
        if not state:
            return {0: 1, 1: 1}, pj.Decision(add=problem.propose(2), until={0: 1, 1: 1})
        return {}, pj.Decision(until={} if state[0] == 2 else {0: 2})

    return pj.Scheduler(dict, step)


def forgetful(problem):
    """Keeps each trial's first loss beside its state: a resumed run has forgotten it."""
    first = {}

    def step(state, trials):
        if state == 0:
            return 1, pj.Decision(add=problem.propose(4), until=dict.fromkeys(range(4), 1))
        for trial, loss in enumerate(trials.loss.tolist()):
            first.setdefault(trial, loss)
        return state + 1, pj.Decision(until={min(first, key=first.get): state + 1} if state < 4 else {})

    return pj.Scheduler(lambda: 0, step)


@pytest.mark.parametrize("home", [__name__, "popjax.tuning.schedulers.strange"])
def test_what_a_scheduler_remembers_beside_its_state_is_wrong_at_once(home):
    """Asked again it is made anew, as by a resumed run; a file of a user's in popjax's folder is not popjax's."""

    def memorizing(problem):
        scheduler = forgetful(problem)
        scheduler.step.__module__ = home
        return scheduler

    epoch = lambda n, hparams, data: (n + 1, {"loss": jnp.where(n == 0, hparams["x"], 1 - hparams["x"])})
    task = pj.Task(lambda key, hparams, data: 0.0, epoch, ())
    with pytest.raises(ValueError, match="the scheduler memorizing: step decides otherwise when it is called again"):
        pj.search(task, SPACE, trials=4, epochs=6, scheduler=memorizing)


def test_a_state_that_json_changes_is_wrong_at_once():
    """And not only where a run is resumed."""
    with pytest.raises(ValueError, match=r"the scheduler remembering: step raised KeyError: 0 \(.*test_strange_\w+.py"):
        pj.search(QUADRATIC, {"x": pj.uniform(0, 1)}, trials=2, epochs=4, scheduler=remembering)


def test_a_state_of_numpys_numbers_and_tuples_is_right():
    def counting(problem):
        def step(state, trials):
            number, goal = state
            assert type(number) is int
            assert isinstance(state, list)
            until = dict.fromkeys(np.arange(3), np.int64(goal)) if goal <= 3 else {}
            return (np.int64(number + 1), goal + 1), pj.Decision(add={} if number else problem.propose(3), until=until)

        return pj.Scheduler(lambda: (0, np.int32(1)), step)

    results = pj.search(QUADRATIC, {"x": pj.uniform(0, 1)}, trials=3, epochs=4, scheduler=counting)
    assert results.done.ravel().tolist() == [3, 3, 3]


def test_a_scheduler_may_give_arrays_of_trials():
    def copying(problem):
        def step(state, trials):
            if state == 0:
                return 1, pj.Decision(add=problem.propose(4), until=dict.fromkeys(range(4), 1))
            if state == 2:
                return 3, pj.Decision()
            copies = {3: np.int64(trials.loss.argmin())}
            return 2, pj.Decision(copy=copies, fresh=np.array([3]), until=dict.fromkeys(np.arange(4), 3))

        return pj.Scheduler(lambda: 0, step)

    assert pj.search(QUADRATIC, SPACE, trials=4, epochs=3, scheduler=copying).best is not None


def test_a_scheduler_cannot_write_into_the_records():
    """They are the run's own: it would change the winner, and the files."""

    def scaling(problem):
        def step(state, trials):
            if state == 0:
                return 1, pj.Decision(add=problem.propose(4), until=dict.fromkeys(range(4), 1))
            trials.curves["loss"][:] /= 2
            return 2, pj.Decision()

        return pj.Scheduler(lambda: 0, step)

    with pytest.raises(ValueError, match=r"the scheduler scaling: step raised ValueError: .* is read-only"):
        pj.search(QUADRATIC, SPACE, trials=4, epochs=3, scheduler=scaling)


def test_trials_beyond_those_asked_for_are_said_once(capsys):
    def adding(problem):
        def step(state, trials):
            begin = len(trials.epochs)
            until = {} if state == 3 else dict.fromkeys(range(begin, begin + 4), 1)
            return state + 1, pj.Decision(add=problem.propose(4, trials) if until else {}, until=until)

        return pj.Scheduler(lambda: 0, step)

    assert len(pj.search(QUADRATIC, SPACE, trials=4, epochs=1, scheduler=adding).order) == 12
    said = capsys.readouterr().err.splitlines()
    assert said == ["popjax: the scheduler adding adds trials beyond the 4 asked for; they are trained, and said once"]


def test_a_scheduler_itself_may_have_a_name(monkeypatch):
    """As the guide's has, and not only a function of settings that returns one."""
    monkeypatch.setitem(named_schedulers.SCHEDULERS, "mine", scheduler())
    assert pj.search(QUADRATIC, SPACE, trials=4, epochs=2, scheduler="mine").done.max() == 2


def placing(**values):
    """A scheduler whose first trial has other values than are proposed."""

    def strange(problem):
        def step(state, trials):
            points = {} if state else pointing(problem, **values)
            return 1, pj.Decision(add=points, until={} if state else dict.fromkeys(range(4), 2))

        return pj.Scheduler(lambda: 0, step)

    return strange


def test_a_value_outside_its_range_is_said_once_and_trained(capsys):
    """By a scheduler; those of a wider space that it samples are meant so, as in a later round."""
    space = pj.Space(x=pj.uniform(0, 1))
    results = pj.search(QUADRATIC, space, trials=4, epochs=2, scheduler=placing(x=1.5))
    assert results.points["x"][0] == 1.5
    said = capsys.readouterr().err.splitlines()
    assert said == ["popjax: the scheduler strange gives x=1.5, outside uniform(0, 1); it is trained so, and said once"]

    def wider(problem):
        def step(state, trials):
            points = problem.propose(4, None, pj.Space(x=pj.uniform(2, 3))) if state == 1 else problem.propose(4)
            begin = len(trials.epochs)
            until = dict.fromkeys(range(begin, begin + 4), 2)
            return state + 1, pj.Decision(add={} if state == 2 else points, until={} if state == 2 else until)

        return pj.Scheduler(lambda: 0, step)

    results = pj.search(QUADRATIC, space, trials=8, epochs=2, scheduler=wider)
    assert (results.points["x"][4:] >= 2).all()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"hidden": 50}, r"add: hidden=50.0: the program has room for integers\(3, 20\); give a value within it"),
        ({"depth": 9}, r"add: depth=9.0: the program has room for integers\(1, 3\)"),
        ({"hidden": 5.5}, r"the scheduler strange: step: add: hidden=5.5: integers\(3, 20\) has whole numbers"),
    ],
)
def test_a_size_that_the_program_has_no_room_for_is_refused(table, values, says):
    """It was trained as the largest one that there was room for."""
    space = pj.Space(learning_rate=0.1, hidden=pj.integers(3, 20), depth=pj.integers(1, 3))
    with pytest.raises(ValueError, match=says):
        pj.search(pj.supervised(table), space, trials=4, epochs=2, scheduler=placing(**values))


# Samplers


SAMPLED = {
    "raises": (raises(), f"the sampler strange {FAILED}"),
    "shape": (
        lambda n, levels, seed: np.zeros((n - 1, len(levels))),
        r"strange returned float64\[3, 2\]; return floats",
    ),
    "list": (lambda n, levels, seed: [[0.5, 0.5]] * n, "the sampler strange returned .*; return floats"),
    "integers": (lambda n, levels, seed: np.zeros((n, len(levels)), int), "the sampler strange returned int64"),
    "NaN": (lambda n, levels, seed: np.full((n, len(levels)), np.nan), "returned a point with the coordinate nan"),
    "outside": (lambda n, levels, seed: np.full((n, len(levels)), 1.5), "returned a point with the coordinate 1.5"),
    "noise": (
        lambda n, levels, seed: np.random.default_rng().random((n, len(levels))),
        "the sampler strange returned other points when it was called again",
    ),
    "noise of late points": (
        lambda n, levels, seed: np.append(np.full(2 * n - 1, 0.5), np.random.default_rng().random()).reshape(n, 2),
        "the sampler strange returned other points when it was called again",
    ),
}


@pytest.mark.parametrize("name", SAMPLED)
def test_a_wrong_sampler(name, monkeypatch):
    given, says = SAMPLED[name]
    monkeypatch.setitem(SAMPLERS, "strange", given)
    task = pj.objective(lambda key, hparams: {"loss": hparams["x"] + hparams["y"]})
    space = {"x": pj.uniform(0, 1), "y": pj.uniform(0, 1)}
    with pytest.raises(ValueError, match=says) as error:
        pj.search(task, space, trials=4, sampler="strange")
    one_line(error)


LEARNED = {
    "raises": (raises(), f"the sampler strange {FAILED}"),
    "list": (lambda seed, n, trials, space, epochs: [], "the sampler strange returned .*; return a dict with a column"),
    "name": (lambda seed, n, trials, space, epochs: {"z": np.zeros(n)}, "the sampler strange returned .'z'.; return a"),
    "shape": (lambda seed, n, trials, space, epochs: {"x": np.zeros(n + 1)}, r"strange: x is float64\[\d+\].*return"),
    "outside": (lambda seed, n, trials, space, epochs: {"x": np.full(n, 3.0)}, "the sampler strange: x is .*0 to 1"),
    "NaN": (lambda seed, n, trials, space, epochs: {"x": np.full(n, np.nan)}, "the sampler strange: x is .*0 to 1"),
    "noise": (
        lambda seed, n, trials, space, epochs: {"x": np.random.default_rng().random(n)},
        "the sampler strange returned other points when it was asked again; draw by its seed",
    ),
    "arguments": (
        lambda seed, n, trials: {},
        r"the sampler strange cannot be called with \(seed, n, trials, space, epochs\)",
    ),
}


@pytest.mark.parametrize("name", LEARNED)
def test_a_wrong_sampler_that_learns(name, monkeypatch):
    from popjax.tuning import proposals

    given, says = LEARNED[name]
    monkeypatch.setitem(proposals.LEARNING, "strange", proposals.Learning(given))
    with pytest.raises(ValueError, match=says) as error:
        pj.search(OBJECTIVE, {"x": pj.uniform(0, 1)}, trials=8, sampler="strange")
    one_line(error)


def test_a_bare_function_is_a_sampler_that_learns_and_nan_stands_for_what_has_no_value(monkeypatch):
    """A conditional hyperparameter without a value may be NaN, one with a value not."""
    from popjax.tuning import proposals

    space = pj.Space(kind=pj.choice("a", "b"), x=pj.uniform(0, 1).when(kind="a"))
    task = pj.objective(lambda key, hparams: {"loss": hparams.get("x", 0.5)})
    kinds = lambda n: np.arange(n) % 2

    def strange(seed, n, trials, space, epochs):
        return {"kind": kinds(n), "x": np.where(kinds(n) == 0, 0.25, np.nan)}

    monkeypatch.setitem(proposals.LEARNING, "strange", strange)
    points = pj.search(task, space, trials=16, sampler="strange").points
    late = slice(4, None)  # after the Sobol points
    assert np.isnan(points["x"][late][points["kind"][late] == "b"]).all()
    assert (points["x"][late][points["kind"][late] == "a"] == 0.25).all()
    monkeypatch.setitem(
        proposals.LEARNING, "strange", lambda *given: strange(*given) | {"x": np.full(given[1], np.nan)}
    )
    with pytest.raises(ValueError, match="the sampler strange: x is NaN where it has a value"):
        pj.search(task, space, trials=16, sampler="strange")


def test_a_function_that_makes_no_sampler_is_one_line():
    with pytest.raises(ValueError, match=r"the sampler .*lambda> cannot be called with seed=0; give a class of optuna"):
        pj.search(OBJECTIVE, {"x": pj.uniform(0, 1)}, trials=8, sampler=lambda n, levels, strange: None)


@pytest.mark.parametrize("trial", [-1, 99])
def test_a_trial_that_a_round_does_not_have(trial):
    """A number below 0 is no trial from the end."""
    given = scheduler(answer=pj.Decision(until={trial: 2}))
    with pytest.raises(
        ValueError, match=rf"the scheduler .*: step: there is no trial {trial}; a part has trials 0 to"
    ) as error:
        pj.search(QUADRATIC, {"x": pj.uniform(0, 1)}, trials=8, epochs=4, scheduler=pj.rounds(2, given))
    one_line(error)


@pytest.mark.parametrize("notes", [{"rungs": [3, 6]}, {"rungs": 3}, {"round": 0, "rounds": 2}], ids=str)
def test_notes_that_look_like_popjaxs_own_do_not_end_the_bar(notes, capsys):
    """A scheduler may call its own notes so; the bar and the page read those alone that are whole."""
    given = scheduler(answer=pj.Decision(until={0: 3}, notes=notes))
    pj.search(QUADRATIC, {"x": pj.uniform(0, 1)}, trials=4, epochs=4, scheduler=scheduler_once(given), progress=True)
    assert "raised" not in capsys.readouterr().err


def scheduler_once(make):
    """The scheduler, which answers once and then ends."""

    def once(problem):
        inner = make(problem)
        return pj.Scheduler(
            lambda: 0, lambda state, trials: inner.step(state, trials) if state < 2 else (3, pj.Decision())
        )

    return once


def test_a_step_cannot_write_into_what_it_is_shown():
    def writing(problem):
        def step(state, trials):
            if state == 0:
                return 1, pj.Decision(add=problem.propose(4), until=dict.fromkeys(range(4), 2))
            trials.loss[0] = np.inf
            return 1, pj.Decision()

        return pj.Scheduler(lambda: 0, step)

    with pytest.raises(ValueError, match=r"the scheduler .*writing: step raised ValueError: .*read-only") as error:
        pj.search(QUADRATIC, {"x": pj.uniform(0, 1)}, trials=4, epochs=4, scheduler=writing)
    one_line(error)
