"""Rules, schedulers and samplers of a stranger: what is wrong in one is said where it enters, in one line."""

import dataclasses
import functools
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import refused
from strangers import FAILED, OBJECTIVE, QUADRATIC, SPACE, raises

import popjax as pj

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


def winning(answer):
    return rule(winner=lambda self, finished: answer)


def ordering(answer):
    return rule(order=lambda self, values: answer(len(values["loss"])))


def writing(answer):
    return rule(written=lambda self: answer)


UNWRITTEN = type("Wrong", (Setting,), {"name": "wrong", "written": lambda self: {"rule": "wrong", "metric": None}})
RULES = {
    name: (rule(**{name: raises()}), f"rule Wrong: {name}", *FAILED) for name in ("of", "loss", "order", "winner")
} | {
    "written": (rule(written=raises()), "rule Wrong: written", *FAILED),
    "check": (rule(check=raises()), "rule Wrong: check", *FAILED),
    "inherited name": (type("Wrong", (Second,), {})(), "the rule Wrong has no name of its own", "'second'"),
    "no name": (type("Wrong", (pj.Rule,), {})(), "the rule Wrong has no name of its own", "'best'"),
    "popjax's name": (rule(name="one-se"), "the name 'one-se' is that of OneSe"),
    "misspelt": (rule(winer=lambda self, finished: 0), "winer is no name", "did you mean winner"),
    "misspelt need": (rule(need=("parameters",)), "need is no name", "did you mean needs"),
    "unknown need": (rule(needs=("parameter",)), "needs names 'parameter'", "there are parameters, flops"),
    "need is a text": (rule(needs="parameters"), "needs is 'parameters'", "give a tuple"),
    "arguments": (rule(winner=lambda self: 0), "winner cannot be called with (self, finished)"),
    "no JSON": (Setting(near=lambda value: value), "the rule Setting: the setting 'near' is <function"),
    "no field": (holding(3), "margin is no field", "would be lost"),
    "of returns": (rule(of=lambda self, task: None), "of returned None"),
    "loss shape": (rule(loss=lambda self, values: values["loss"][1:]), "loss returned float32[", "return a"),
    "loss NaN": (rule(loss=lambda self, values: values["loss"] * np.nan), "loss returned NaN for row 0"),
    "order drops": (ordering(lambda n: np.arange(3)), "order returned [0, 1, 2] for "),
    "order repeats": (ordering(lambda n: np.zeros(n, int)), "order returned [0, 0"),
    "order floats": (ordering(lambda n: np.arange(n, dtype=np.float32)), "order returned float32", "return"),
    "order ends": (ordering(lambda n: np.arange(1, n + 1)), "order returned [1, 2"),
    "a random order": (ordering(lambda n: np.random.permutation(n)), "order returns something else", "called again"),
    "typo within": (rule(order=lambda self, values: values["los"]), "order raised KeyError: 'los'", "line"),
    "a class's keep": (rule(keep=5), "the class's keep = 5 is hidden", "write @data"),
    "another name written": (writing({"rule": "best"}), "written returned {'rule': 'be"),
    "a setting not written": (UNWRITTEN(near=3), "the rule Wrong: written returned", "return super"),
    "nothing written": (writing(None), "written returned None", "return super"),
    "objectives": (rule(objectives=("loss",)), "objectives has 'loss'", "a tuple of popjax.Metric"),
    "a random winner": (
        rule(winner=lambda self, finished: np.random.randint(8)),
        *("winner returns something else", "called again"),
    ),
    "improvement": (
        rule(improvement=pj.best("loss", "min", at="best").improvement),
        *("improvement is Improvement(", "with at='last'", "return None"),
    ),
    "winner before": (winning(-1), "winner returned -1", "a place, 0 to 7"),
    "winner behind": (winning(8), "winner returned 8", "a place, 0 to 7"),
    "winner NaN": (winning(np.nan), "winner returned nan", "return a place"),
    "winner None": (winning(None), "winner returned None", "return a place"),
    "winner text": (winning("0"), "winner returned '0'", "return a place"),
    "winner True": (winning(True), "winner returned True", "return a place"),
}


@pytest.mark.parametrize("name", RULES)
def test_a_wrong_rule(name):
    given, *names = RULES[name]
    with refused(*names):
        pj.search(OBJECTIVE, SPACE, trials=8, rank=given)


@pytest.mark.parametrize("method", ["winner", "order", "loss", "front"])
def test_a_typo_in_a_rule_is_said_before_training(method):
    """That of a name that no values would mend: with it all training was lost."""
    trained = []
    typo = rule(**{method: lambda self, given: (given if isinstance(given, dict) else given.values)["los"]})
    with refused(f"the rule Wrong: {method} raised KeyError: 'los'"):
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
    said = capsys.readouterr().err
    assert [text for text in ("popjax: the rule Wrong: why ", *FAILED) if text not in said] == []
    assert "chosen by the rule wrong of 4" in (tmp_path / "run" / "report.html").read_text()
    assert results.best is not None


@pytest.mark.parametrize(
    ("front", "names"), [(lambda self, values: [0, 0], ("front returned [0, 0] for 8 rows",)), (raises(), FAILED)]
)
def test_a_wrong_front(front, names):
    results = pj.search(OBJECTIVE, SPACE, trials=8, rank=rule(front=front))
    with refused("the rule Wrong: front", *names):
        results.front()


def test_a_rule_reads_and_ranks_as_it_won(tmp_path):
    """One with a setting, a helper, a class between, and NumPy's integers; loaded where it is given again."""
    results = pj.search(OBJECTIVE, SPACE, trials=8, rank=Third(margin=2), out=tmp_path / "run")
    assert results.best.trial == results.order[2]
    with refused("a rule of your own, 'third'"):
        pj.Results.load(tmp_path / "run")
    assert pj.Results.load(tmp_path / "run", rank=Third(margin=2)).best == results.best
    with refused("the rule Nameless has no name of its own"):
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


def beginning(answer, epochs=2):
    """A scheduler that adds four trials until an epoch, and then answers as it is told, once."""

    def strange(problem):
        def step(state, trials):
            if state == 0:
                return 1, pj.Decision(add=problem.propose(4), until=dict.fromkeys(range(4), epochs))
            return state + 1, answer(trials) if state == 1 else pj.Decision()

        return pj.Scheduler(lambda: 0, step)

    return strange


def scheduler(step=lambda state, trials: (1, pj.Decision()), init=lambda: 0):
    def strange(problem):
        return pj.Scheduler(init, step)

    return strange


def deciding(**changes):
    """A scheduler of which the first decision has such fields."""
    return scheduler(lambda state, trials: (0, DECIDED._replace(**changes)))


CALLS = []


def counting(state, trials):
    """Remembers how often it was called, outside its state."""
    CALLS.append(state)
    return 0, pj.Decision(until={0: 1 + len(CALLS) % 2})


DECIDED = pj.Decision(until={0: 1})
SCHEDULERS = {
    "memory": (scheduler(counting), "step decides otherwise when it is called again", "keep what"),
    "noise": (scheduler(lambda state, trials: (np.random.random(), DECIDED)), "otherwise when it is called again"),
    "writes": (scheduler(lambda s, trials: (trials.curves["loss"].sort(), DECIDED)), "step raised "),
    "writes a loss": (beginning(lambda trials: trials.loss.sort()), "step raised ValueError", "read-only"),
    "writes a curve": (beginning(lambda trials: trials.curves["loss"].sort()), "step raised ValueError", "read-only"),
    "a round's note": (deciding(notes={"round": "first"}), "reads as a int", "renam"),
    "a person's note": (deciding(notes={"by": "user"}), "as a person's change", "ren"),
    "complex": (deciding(add={"x": np.ones(1, complex)}), "x is a column of complex"),
    "texts": (deciding(add={"x": np.array(["1"], object)}), "add: x has '1'", "give n"),
    "truths": (deciding(add={"x": np.ones(1, bool)}), "add: x is a column of bool"),
    "raises": (raises(), *FAILED),
    "returns": (lambda problem: None, "returned a NoneType", "return a popjax.Scheduler"),
    "no function": (lambda problem: pj.Scheduler(0, None), "init is 0", "give a function"),
    "init raises": (scheduler(init=raises()), "init", *FAILED),
    "init no JSON": (scheduler(init=lambda: {1, 2}), "init: the state is no JSON value"),
    "step raises": (scheduler(raises()), "step", *FAILED),
    "step returns": (scheduler(lambda state, trials: 3), "step returned 3", "return (state"),
    "no JSON": (scheduler(lambda state, trials: (np.arange(2), DECIDED)), "step: the state is no JSON value"),
    "JSON changes it": (scheduler(lambda s, t: ({}, DECIDED._replace(until={s[0]: 1})), lambda: {0: 0}), "KeyError: 0"),
    "NaN": (scheduler(lambda state, trials: (np.nan, DECIDED)), "step: the state is no JSON value"),
    "notes": (deciding(notes={1, 2}), "step: the notes are no JSON"),
    "shape": (deciding(add={"x": np.ones((2, 2))}), "step: add: x is a nd"),
    "no dict": (deciding(until=[1]), "step: the decision's until is a list"),
    "unknown": (beginning(lambda trials: pj.Decision(until={7: 2})), "step: there is no trial 7"),
    "below 0": (beginning(lambda trials: pj.Decision(until={-1: 2})), "step: there is no trial -1"),
    "behind": (beginning(lambda trials: pj.Decision(until={0: 1})), "step: until 1: trial 0 is at epoch 2"),
}


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("rounds", [False, True])
def test_a_wrong_scheduler(name, rounds):
    """Also where it is one of several rounds."""
    given, *names = SCHEDULERS[name]
    with refused("the scheduler", *names):
        pj.search(QUADRATIC, SPACE, trials=4, epochs=4, scheduler=pj.rounds(1, given) if rounds else given)


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
    with refused("the scheduler memorizing: step decides otherwise when it is called again"):
        pj.search(task, SPACE, trials=4, epochs=6, scheduler=memorizing)


def test_a_state_of_numpys_numbers_and_tuples_is_right():
    def counting(problem):
        def step(state, trials):
            number, goal = state
            assert type(number) is int
            assert isinstance(state, list)
            until = dict.fromkeys(np.arange(3), np.int64(goal)) if goal <= 3 else {}
            return (np.int64(number + 1), goal + 1), pj.Decision(add={} if number else problem.propose(3), until=until)

        return pj.Scheduler(lambda: (0, np.int32(1)), step)

    results = pj.search(QUADRATIC, SPACE, trials=3, epochs=4, scheduler=counting)
    assert results.done.ravel().tolist() == [3, 3, 3]


def test_a_scheduler_may_give_arrays_of_trials():
    def answer(trials):
        copies = {3: np.int64(trials.loss.argmin())}
        return pj.Decision(copy=copies, fresh=np.array([3]), until=dict.fromkeys(np.arange(4), 3))

    assert pj.search(QUADRATIC, SPACE, trials=4, epochs=3, scheduler=beginning(answer, 1)).best is not None


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


def test_a_scheduler_itself_may_have_a_name(register):
    """As the guide's has, and not only a function of settings that returns one."""
    register("scheduler", "mine", beginning(lambda trials: pj.Decision()))
    assert pj.search(QUADRATIC, SPACE, trials=4, epochs=2, scheduler="mine").done.max() == 2


def placing(**values):
    """A scheduler whose first trial has other values than are proposed."""

    def strange(problem):
        def step(state, trials):
            if state:
                return 1, pj.Decision()
            points = problem.propose(4)
            for name, value in values.items():
                points[name] = np.r_[float(value), points[name][1:]]
            return 1, pj.Decision(add=points, until=dict.fromkeys(range(4), 2))

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
    ("values", "names"),
    [
        ({"hidden": 50}, ("hidden=50.0", "room for integers(3, 20)", "give a value within it")),
        ({"depth": 9}, ("depth=9.0", "room for integers(1, 3)")),
        ({"hidden": 5.5}, ("hidden=5.5", "integers(3, 20) has whole numbers")),
    ],
)
def test_a_size_that_the_program_has_no_room_for_is_refused(rows, values, names):
    """It was trained as the largest one that there was room for."""
    space = pj.Space(learning_rate=0.1, hidden=pj.integers(3, 20), depth=pj.integers(1, 3))
    with refused("add: ", *names):
        pj.search(pj.supervised(rows), space, trials=4, epochs=2, scheduler=placing(**values))


# Samplers


def filled(value):
    return lambda n, levels, seed: np.full((n, len(levels)), value)


def late(n, levels, seed):
    """Other points at each call, but only at the end."""
    return np.append(np.full(2 * n - 1, 0.5), np.random.random()).reshape(n, 2)


SAMPLED = {
    "raises": (raises(), *FAILED),
    "shape": (lambda n, levels, seed: np.zeros((n - 1, len(levels))), "returned float64[3, 2]", "return floats"),
    "list": (lambda n, levels, seed: [[0.5, 0.5]] * n, "returned ", "return floats"),
    "integers": (filled(0), "returned int64"),
    "NaN": (filled(np.nan), "returned a point with the coordinate nan"),
    "outside": (filled(1.5), "returned a point with the coordinate 1.5"),
    "noise": (lambda n, levels, seed: np.random.random((n, 2)), "returned other points when it was called again"),
    "noise of late points": (late, "returned other points when it was called again"),
}


@pytest.mark.parametrize("name", SAMPLED)
def test_a_wrong_sampler(name, register):
    given, *names = SAMPLED[name]
    register("sampler", "strange", given)
    task = pj.objective(lambda key, hparams: {"loss": hparams["x"] + hparams["y"]})
    with refused("the sampler strange ", *names):
        pj.search(task, SPACE | {"y": pj.uniform(0, 1)}, trials=4, sampler="strange")


def learned(column):
    """A sampler that learns, which gives this column for so many points."""
    return lambda seed, n, trials, space, epochs: {"x": column(n)}


LEARNED = {
    "raises": (raises(), *FAILED),
    "list": (lambda seed, n, trials, space, epochs: [], "returned ", "return a dict with a column"),
    "name": (lambda seed, n, trials, space, epochs: {"z": np.zeros(n)}, "returned ['z']", "return a"),
    "shape": (learned(lambda n: np.zeros(n + 1)), "x is float64[", "return"),
    "outside": (learned(lambda n: np.full(n, 3.0)), "x is ", "0 to 1"),
    "NaN": (learned(lambda n: np.full(n, np.nan)), "x is ", "0 to 1"),
    "noise": (learned(np.random.random), "returned other points when it was asked again", "draw by its seed"),
    "arguments": (lambda seed, n, trials: {}, "cannot be called with (seed, n, trials, space, epochs)"),
}


@pytest.mark.parametrize("name", LEARNED)
def test_a_wrong_sampler_that_learns(name, register):
    given, *names = LEARNED[name]
    register("learning sampler", "strange", given)
    with refused("the sampler strange", *names):
        pj.search(OBJECTIVE, SPACE, trials=8, sampler="strange")


def test_a_bare_function_is_a_sampler_that_learns_and_nan_stands_for_what_has_no_value(register):
    """A conditional hyperparameter without a value may be NaN, one with a value not."""
    space = pj.Space(kind=pj.choice("a", "b"), x=pj.uniform(0, 1).when(kind="a"))
    task = pj.objective(lambda key, hparams: {"loss": hparams.get("x", 0.5)})
    kinds = lambda n: np.arange(n) % 2

    def strange(seed, n, trials, space, epochs):
        return {"kind": kinds(n), "x": np.where(kinds(n) == 0, 0.25, np.nan)}

    register("learning sampler", "strange", strange)
    points = pj.search(task, space, trials=16, sampler="strange").points
    late = slice(4, None)  # after the Sobol points
    assert np.isnan(points["x"][late][points["kind"][late] == "b"]).all()
    assert (points["x"][late][points["kind"][late] == "a"] == 0.25).all()
    register("learning sampler", "strange", lambda *given: strange(*given) | {"x": np.full(given[1], np.nan)})
    with refused("the sampler strange: x is NaN where it has a value"):
        pj.search(task, space, trials=16, sampler="strange")


def test_a_function_that_makes_no_sampler_is_one_line():
    with refused("the sampler ", "lambda> cannot be called with seed=0", "give a class of optuna"):
        pj.search(OBJECTIVE, SPACE, trials=8, sampler=lambda n, levels, strange: None)


@pytest.mark.parametrize("notes", [{"rungs": [3, 6]}, {"rungs": 3}, {"round": 0, "rounds": 2}])
def test_notes_that_look_like_popjaxs_own_do_not_end_the_bar(notes, capsys):
    """A scheduler may call its own notes so; the bar and the page read those alone that are whole."""
    given = beginning(lambda trials: pj.Decision(until={0: 3}, notes=notes))
    pj.search(QUADRATIC, SPACE, trials=4, epochs=4, scheduler=given, progress=True)
    assert "raised" not in capsys.readouterr().err
