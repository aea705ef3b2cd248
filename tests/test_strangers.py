"""What strangers bring is checked where it enters: one line that names the class and the method, before training."""

import dataclasses
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import popjax as pj
from popjax.data.targets import class_targets
from popjax.models.built_in import MODELS, Model
from popjax.space.samplers import SAMPLERS
from popjax.supervision.kinds import probing
from popjax.supervision.kinds.classification import Classification
from popjax.supervision.kinds.kind import Kind
from popjax.supervision.kinds.multilabel import Multilabel
from popjax.supervision.kinds.named_kinds import KINDS
from popjax.supervision.kinds.regression import Regression, Values

RATE = {"learning_rate": pj.log_uniform(1e-3, 1e-1)}


@pytest.fixture(scope="module")
def table():
    """Rows of three columns, with two classes."""
    x = np.random.default_rng(0).normal(3.0, 5.0, (120, 3))
    return x, (x[:, 0] > 3).astype(int)


def one_line(error):
    """The text of an error, which is a single line."""
    assert "\n" not in str(error.value)
    return str(error.value)


def raises(error=ZeroDivisionError):
    """A function of any arguments that raises an error of its author's."""

    def fails(*given, **named):
        raise error("its own")

    return fails


FAILED = r"raised ZeroDivisionError: its own \(.*test_strangers.py, line \d+, in .*fails\)"


# Transforms


class Transform(pj.Transform):
    """A right one, of which the wrong ones are made."""

    def fit(self, x, columns):
        return self

    def __call__(self, x):
        return x / 2


def transform(base=Transform, **wrong):
    """A transform that is wrong in some of its attributes."""
    return type("Wrong", (base,), wrong)()


def forgetting(self, x, columns):
    found = type(self)()
    object.__setattr__(found, "mean", x.mean(0))
    return found


@dataclasses.dataclass(frozen=True, eq=False)
class Kept(pj.Transform):
    """A dataclass, of which one field is not written."""

    mean: Any = None
    scale: Any = None

    def fit(self, x, columns):
        return Kept(x.mean(0), x.std(0))

    def __call__(self, x):
        return (x - self.mean) / self.scale

    def to_json(self):
        return super().to_json() | {"scale": [9.0] * len(self.scale)}


WRONG_TRANSFORMS = {
    "no fit": (transform(pj.Transform, __call__=lambda self, x: x), "the transform Wrong has no fit"),
    "no __call__": (transform(pj.Transform, fit=lambda self, x, columns: self), "the transform Wrong has no __call__"),
    "None": (transform(fit=lambda self, x, columns: None), "the transform Wrong: fit returned None"),
    "another": (
        transform(fit=lambda self, x, columns: Transform()),
        "fit returned a Transform; return one of the same",
    ),
    "arguments": (
        transform(fit=lambda self, x: self),
        r"the transform Wrong: fit cannot be called with \(self, x, col",
    ),
    "misspelt": (transform(mising=True), "the transform Wrong: mising is no name .* did you mean missing"),
    "fit raises": (transform(fit=raises()), f"the transform Wrong: fit {FAILED}"),
    "call raises": (transform(__call__=raises()), f"the transform Wrong: __call__ {FAILED}"),
    "to_json raises": (transform(to_json=raises()), f"the transform Wrong: to_json {FAILED}"),
    "from_json raises": (transform(from_json=classmethod(raises())), f"the transform Wrong: from_json {FAILED}"),
    "to_json": (transform(to_json=lambda self: 3), "the transform Wrong: to_json returned 3"),
    "rows": (transform(__call__=lambda self, x: x[1:]), r"the transform Wrong: __call__ gives float64\[\d+, 3\] for"),
    "NaN": (transform(__call__=lambda self, x: x * np.nan), "the transform Wrong: __call__ gives no finite number"),
    "in company": (transform(__call__=lambda self, x: x - x.mean(0)), "__call__ gives other numbers for the first row"),
    "noise": (
        transform(__call__=lambda self, x: x + np.random.default_rng().normal(size=x.shape)),
        "the transform Wrong: __call__ gives other numbers when it is called again",
    ),
    "no dataclass": (
        transform(__annotations__={"mean": Any}, mean=None),
        "the transform Wrong: the class Wrong is no dataclass",
    ),
    "outside its fields": (
        transform(fit=forgetting, __call__=lambda self, x: x - getattr(self, "mean", 0.0)),
        "the transform Wrong: __call__ gives other numbers once its fields are read back",
    ),
    "written wrongly": (Kept(), "the transform Kept: __call__ gives other numbers once its fields are read back"),
    "no JSON": (
        dataclasses.make_dataclass("Wrong", [("f", Any, None)], bases=(Transform,), frozen=True)(np.log),
        "the field 'f' of the transform Wrong is <ufunc 'log'>",
    ),
}


@pytest.mark.parametrize("name", WRONG_TRANSFORMS)
def test_a_wrong_transform(table, name):
    given, says = WRONG_TRANSFORMS[name]
    with pytest.raises(ValueError, match=says) as error:
        pj.supervised(table, transform=given)
    one_line(error)


@dataclasses.dataclass(frozen=True, eq=False)
class Skewed(pj.Transform):
    """The logarithms of the skewed columns, of which there may be none; names, and a list of arrays of any length."""

    which: Any = None
    names: Any = None
    cuts: Any = None
    share: Any = None

    def fit(self, x, columns):
        which = np.flatnonzero((x > 0).all(0))
        cuts = [np.unique(np.sign(column)) for column in x.T]
        return Skewed(which, [f"column {at}" for at in which], cuts, np.float32(0.5))

    def __call__(self, x):
        x = x.copy()
        x[:, self.which] = np.log(x[:, self.which])
        return np.hstack([x * self.share, np.stack([cuts * 2 @ cuts * np.ones(len(x)) for cuts in self.cuts], 1)])


@pytest.mark.parametrize("positive", [True, False])
def test_a_transform_with_empty_arrays_and_lists_of_arrays_predicts_as_scored(table, tmp_path, positive):
    """Once read back, an array without entries has its dtype, and arrays of several lengths are arrays."""
    x, y = table
    x = np.hstack([np.exp(x[:, :1] / 5), x[:, 1:]]) if positive else x
    results = pj.search(pj.supervised((x, y), transform=Skewed()), RATE, trials=2, epochs=3, out=tmp_path / "run")
    loaded = pj.load_best(tmp_path / "run", transform=Skewed())
    assert loaded.recipe.transforms[0].which.dtype.kind == "i"
    assert len(loaded.recipe.transforms[0].which) == positive
    assert loaded.predict_proba(x).tobytes() == results.predictor().predict_proba(x).tobytes()


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


OBJECTIVE = pj.objective(lambda key, hparams: {"loss": hparams["x"] ** 2})
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
    "winner True": (rule(winner=lambda self, finished: True), "the rule Wrong: winner returned True; return a place"),
}


@pytest.mark.parametrize("name", RULES)
def test_a_wrong_rule(name):
    given, says = RULES[name]
    with pytest.raises(ValueError, match=says) as error:
        pj.search(OBJECTIVE, {"x": pj.uniform(0, 1)}, trials=8, rank=given)
    one_line(error)


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


DECIDED = pj.Decision(until={0: 1})
SCHEDULERS = {
    "raises": (lambda problem: 1 / 0, r"the scheduler <lambda> raised ZeroDivisionError.*test_strangers.py, line"),
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
QUADRATIC = pj.Task(lambda key, hparams, data: 1.0, lambda x, hparams, data: (x - hparams["x"] * x, {"loss": x**2}), ())


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


def test_a_state_that_json_changes_is_wrong_at_once():
    """And not only where a run is resumed."""
    with pytest.raises(ValueError, match=r"the scheduler remembering: step raised KeyError: 0 \(.*test_strangers.py"):
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
}


@pytest.mark.parametrize("name", LEARNED)
def test_a_wrong_sampler_that_learns(name, monkeypatch):
    from popjax.tuning import proposals

    given, says = LEARNED[name]
    monkeypatch.setitem(proposals.LEARNING, "strange", proposals.Learning(given))
    with pytest.raises(ValueError, match=says) as error:
        pj.search(OBJECTIVE, {"x": pj.uniform(0, 1)}, trials=8, sampler="strange")
    one_line(error)


# Tasks


def start(key, hparams, data):
    return jnp.float32(1.0)


def step(x, hparams, data):
    x = x - hparams["x"] * x
    return x, {"loss": x**2}


class Hooked(pj.Task):
    """A task with a hook that it misspells."""

    setting = {"mine": 1}  # noqa: RUF012


def counted(**hints):
    return pj.Task(start, step, (), hints=pj.Hints(**hints))


TASKS = {
    "init": (
        lambda: pj.Task(lambda key: 0, step, ()),
        r"the task Task: init cannot be called with \(key, hparams, data",
    ),
    "epoch": (lambda: pj.Task(start, lambda x, hparams: x, ()), "the task Task: epoch cannot be called with .state, h"),
    "score": (lambda: pj.Task(start, step, (), score=lambda x: x), "the task Task: score cannot be called with"),
    "no function": (lambda: pj.Task(3, step, ()), "the task Task: init is a int; give a function of"),
    "misspelt": (lambda: Hooked(start, step, ()), "the task Hooked: setting is no name .* did you mean settings"),
    "updates": (lambda: counted(updates=400), "hints: updates is a int; give a function of .hparams"),
    "flops": (lambda: counted(flops=4e6), "hints: flops is a float; give a function of .hparams"),
    "hint's arguments": (lambda: counted(updates=lambda: 4), r"hints: updates cannot be called with \(hparams\)"),
    "epochs": (lambda: counted(epochs=2.5), "hints: epochs=2.5: give a whole number"),
    "shapes": (lambda: counted(shapes="depth"), "hints: shapes='depth'; give a tuple of names"),
}


@pytest.mark.parametrize("name", TASKS)
def test_a_wrong_task(name):
    """Where it is made."""
    make, says = TASKS[name]
    with pytest.raises(ValueError, match=says) as error:
        make()
    one_line(error)


def returning(value):
    return pj.Task(start, lambda x, hparams, data: (x * hparams["x"], value), ())


def by_text(x, hparams, data):
    found = {"loss": x * hparams["x"]}
    return x, found | ({"extra": x} if hparams["kind"] == "b" else {})


SPACE = {"x": pj.uniform(0, 1)}
TRAINED = {
    "init raises": (pj.Task(raises(), step, ()), SPACE, f"the task Task {FAILED}"),
    "epoch raises": (pj.Task(start, raises(), ()), SPACE, f"the task Task {FAILED}"),
    "score raises": (pj.Task(start, step, (), score=raises()), SPACE, f"the task Task {FAILED}"),
    "a ValueError": (pj.Task(start, raises(ValueError), ()), SPACE, "the task Task raised ValueError: its own .*line"),
    "no dict": (returning(1.0), SPACE, "epoch returned float as metrics; return a dict of scalars"),
    "score is a float": (
        pj.Task(start, step, (), score=lambda x, hparams, data: x),
        SPACE,
        "score returned .* as metrics; return a dict of scalars",
    ),
    "a metric of some texts": (
        pj.Task(start, by_text, ()),
        SPACE | {"kind": pj.choice("a", "b")},
        "the task reports the metric 'extra' with kind b, not with kind a; report the same ones with all",
    ),
    "updates raise": (counted(updates=raises()), SPACE, f"the task Task: hints.updates {FAILED}"),
    "updates by shape": (
        counted(updates=lambda hparams: np.ones(3)),
        SPACE,
        r"the task Task: hints.updates returned float64\[3\] for 12 trials; return a number, or one for each",
    ),
    "flops of NaN": (counted(flops=lambda hparams: np.nan), SPACE, "the task Task: hints.flops returned nan; return f"),
    "too many parameters": (
        counted(parameters=lambda hparams: 2),
        SPACE,
        "hints.parameters counts 2, the arrays have 1",
    ),
}


@pytest.mark.parametrize("name", TRAINED)
def test_a_task_that_goes_wrong(name):
    """Before anything is trained."""
    task, space, says = TRAINED[name]
    heard = Epochs()
    rank = pj.pareto("loss", "parameters") if name == "too many parameters" else None
    with pytest.raises(ValueError, match=says) as error:
        pj.search(task, space, trials=12, epochs=2, callbacks=[heard], rank=rank)
    one_line(error)
    assert heard.epochs == 0


class Epochs(pj.Callback):
    """Counts epochs that were trained."""

    epochs = 0

    def epoch(self, result):
        self.epochs += 1


def test_hints_of_numpys_integers_and_one_number_for_all_are_right():
    task = counted(updates=lambda hparams: np.int64(3), epochs=np.int64(4), flops=lambda hparams: 1e6 * hparams["x"])
    results = pj.search(task, SPACE, trials=4, epochs=9)
    assert results.summary["model_steps"] == 3 * 4 * 4


# Models


class Net(nnx.Module):
    """A model of one's own, which fails where a test says."""

    def __init__(self, hparams, rngs):
        self.layer = nnx.Linear(3, 2, rngs=rngs)
        if hparams.get("fails") == "init":
            raise RuntimeError("its own")

    def __call__(self, x):
        return self.layer(x) / {}["shape"] if self.layer.out_features == 2 else x


def model(parameters, operations=lambda shape, outputs, hparams: 1.0):
    return Model(
        lambda shape, outputs, hparams, rngs: nnx.Linear(shape[0], outputs, rngs=rngs),
        None,
        {"bend": pj.uniform(0, 1)},
        parameters,
        operations,
    )


def exact(shape, outputs, hparams):
    return (shape[0] + 1) * outputs


COUNTED = {
    "too few": (model(lambda shape, outputs, hparams: 1), "hints.parameters counts 1, the arrays have 8"),
    "too many": (model(lambda shape, outputs, hparams: 99), "hints.parameters counts 99, the arrays have 8"),
    "raises": (model(raises()), f"the task Supervised: hints.parameters {FAILED}"),
    "negative": (model(lambda shape, outputs, hparams: -1), "hints.parameters returned -1; return finite numbers"),
    "operations": (model(exact, lambda shape, outputs, hparams: np.nan), "hints.flops returned nan; return finite"),
}


@pytest.mark.parametrize("name", COUNTED)
def test_a_model_that_counts_wrongly(table, name, monkeypatch):
    """By which pareto ranks."""
    given, says = COUNTED[name]
    monkeypatch.setitem(MODELS, "strange", given)
    rank = pj.pareto("val_loss", "parameters")
    with pytest.raises(ValueError, match=says) as error:
        pj.search(pj.supervised(table, model="strange"), RATE, trials=4, epochs=1, rank=rank)
    one_line(error)


@pytest.mark.parametrize(
    ("fails", "says"),
    [
        (
            "init",
            r"the task Supervised raised RuntimeError: its own \(.*test_strangers.py, line \d+, in Net.__init__\)",
        ),
        ("call", r"the task Supervised raised KeyError: 'shape' \(.*test_strangers.py, line \d+, in Net.__call__\)"),
    ],
)
def test_a_model_that_raises_is_named_with_its_line(table, fails, says):
    with pytest.raises(ValueError, match=says) as error:
        pj.search(pj.supervised(table, model=Net), RATE | {"fails": fails}, trials=4, epochs=1)
    one_line(error)


# Kinds of targets


class Plain(Kind):
    """A right one, of which the wrong ones are made: classes, by their logits."""

    name = "plain"
    ranks = "hits"
    reports = {"hits": "max"}  # noqa: RUF012
    chances = True

    @classmethod
    def targets(cls, y, name, target):
        return class_targets(y, name, target)

    @property
    def outputs(self):
        return len(self.classes)

    def losses(self, hparams, outputs, targets):
        return optax.softmax_cross_entropy_with_integer_labels(outputs, targets)

    def metrics(self, outputs, targets, units):
        return {"hits": (outputs.argmax(-1) == targets).mean()}

    def predicted(self, outputs):
        likely = np.exp(outputs - outputs.max(-1, keepdims=True))
        return likely / likely.sum(-1, keepdims=True)

    def decided(self, predicted):
        return np.asarray(self.classes)[predicted.argmax(-1)]

    def row_losses(self, predicted, targets):
        return -np.log(predicted[np.arange(len(targets)), targets])

    def scores(self, predicted, targets):
        hits = (predicted.argmax(-1) == targets).mean()
        return {"loss": self.row_losses(predicted, targets).mean(), "hits": hits}

    def as_outputs(self, predicted):
        return np.log(predicted)

    def score(self, predicted, targets):
        return float((predicted == targets).mean())


def kind(base=Plain, **wrong):
    """A kind that is wrong in some of its attributes."""
    return type("Wrong", (base,), {"name": "wrong"} | wrong)


def lacking(name):
    """The right kind without one of its methods."""
    return type("Wrong", (Kind,), {key: value for key, value in vars(Plain).items() if key not in (name, "__dict__")})


def changed(name, change):
    """The right kind, of which one method's result is changed."""
    return kind(**{name: lambda self, *given: change(getattr(Plain, name)(self, *given))})


WRONG_KINDS = {
    "no losses": (lacking("losses"), "the kind Wrong has no losses; write it"),
    "no targets": (lacking("targets"), "the kind Wrong has no targets; write it"),
    "misspelt": (kind(metric=lambda self: {}), "the kind Wrong: metric is no name .* did you mean metrics"),
    "arguments": (
        kind(losses=lambda self, outputs, targets: 0),
        "the kind Wrong: losses cannot be called with .self, h",
    ),
    "mode": (kind(reports={"hits": "more"}), "the kind Wrong: reports.'hits'. is 'more'; give min or max"),
    "ranks": (kind(ranks="misses"), "the kind Wrong: ranks names 'misses'; reports has hits"),
    "resampled": (
        kind(resampled={"misses": np.subtract}),
        "the kind Wrong: resampled names 'misses'; reports has hits",
    ),
    "targets raise": (kind(targets=classmethod(raises())), f"the kind Wrong: targets {FAILED}"),
    "targets": (kind(targets=classmethod(lambda cls, y, name, target: y)), "the kind Wrong: targets returned array"),
    "outputs": (kind(outputs=property(lambda self: None)), "the kind Wrong: outputs is None; give the width"),
    "check refuses": (kind(check=raises()), f"the kind Wrong: check {FAILED}"),
    "losses raise": (kind(losses=raises()), f"the kind Wrong: losses {FAILED}"),
    "losses of fewer": (
        changed("losses", lambda x: x[1:]),
        r"the kind Wrong: losses has the shape \(63,\) for 64 rows",
    ),
    "losses in a column": (changed("losses", lambda x: x[:, None]), r"the kind Wrong: losses has the shape \(64, 1\)"),
    "losses in a row": (changed("losses", lambda x: x[None]), r"the kind Wrong: losses has the shape \(1, 64\)"),
    "a loss": (changed("losses", lambda x: x.mean()), r"the kind Wrong: losses has the shape \(\) for 64 rows"),
    "losses of NaN": (changed("losses", lambda x: x * np.nan), "the kind Wrong: losses gives loss nan; return finite"),
    "metrics raise": (kind(metrics=raises()), f"the kind Wrong: metrics {FAILED}"),
    "metrics by row": (
        changed("metrics", lambda x: {"hits": jnp.ones(64)}),
        r"metrics gives hits of the shape \(64,\)",
    ),
    "metrics of others": (changed("metrics", lambda x: {"misses": 0.0}), "the kind Wrong: metrics returned .'misses'."),
    "metrics of NaN": (changed("metrics", lambda x: {"hits": jnp.nan}), "the kind Wrong: metrics gives hits nan"),
    "predicted raises": (kind(predicted=raises()), f"the kind Wrong: predicted {FAILED}"),
    "predicted of NaN": (changed("predicted", lambda x: x * np.nan), "the kind Wrong: predicted gives NaN or infinity"),
    "too few columns": (
        changed("predicted", lambda x: x[:, 1:]),
        r"Wrong: predicted has the shape \(64, 1\) for 64 row",
    ),
    "too few rows": (changed("predicted", lambda x: x[1:]), r"Wrong: predicted has the shape \(63, 2\) for 64 rows"),
    "no chances": (changed("predicted", lambda x: x * 2), "Wrong: predicted gives .* return probabilities, 0 to 1"),
    "sum": (changed("predicted", lambda x: x / 2), "Wrong: predicted gives the sum of a row's probabilities as 0.5"),
    "decided raises": (kind(decided=raises()), f"the kind Wrong: decided {FAILED}"),
    "decided otherwise": (changed("decided", lambda x: x + 7), "the kind Wrong: decided gives [78]; return one of"),
    "row losses": (changed("row_losses", lambda x: x.mean()), r"the kind Wrong: row_losses has the shape \(\)"),
    "other row losses": (changed("row_losses", lambda x: 2 * x), "Wrong: (scores|row_losses) gives the (loss|mean) as"),
    "scores raise": (kind(scores=raises()), f"the kind Wrong: scores {FAILED}"),
    "scores of NaN": (changed("scores", lambda x: x | {"hits": np.nan}), "the kind Wrong: scores gives hits nan"),
    "scores that lack": (changed("scores", lambda x: {"hits": x["hits"]}), "the kind Wrong: scores returned .'hits'."),
    "scores that contradict": (
        changed("scores", lambda x: x | {"hits": 1 - x["hits"]}),
        r"the kind Wrong: scores gives the hits as 0.\d+, metrics as 0.\d+; let them agree",
    ),
    "a loss that contradicts": (
        changed("scores", lambda x: x | {"loss": -x["loss"]}),
        "the kind Wrong: scores gives the loss as -.*, losses as .*; let them agree",
    ),
    "score": (changed("score", lambda x: "good"), "the kind Wrong: score gives a score of 'good'"),
    "as_outputs": (changed("as_outputs", lambda x: -x), "the kind Wrong: as_outputs gives the outputs of other pred"),
    "constant": (kind(constant=lambda self, y: np.ones(5)), r"the kind Wrong: constant has the shape \(5,\)"),
    "describe": (changed("describe", lambda x: x | {"f": np.log}), "the kind Wrong: describe returned no JSON value"),
    "from_json": (
        kind(from_json=classmethod(lambda cls, content, loss: cls())),
        "the kind Wrong: from_json makes anoth",
    ),
    "resampled otherwise": (
        kind(resampled={"hits": lambda predicted, targets: np.zeros(len(targets))}),
        "the kind Wrong: resampled.'hits'. gives the mean as 0, scores as",
    ),
}


@pytest.mark.parametrize("name", WRONG_KINDS)
def test_a_wrong_kind_of_targets(table, name, monkeypatch):
    given, says = WRONG_KINDS[name]
    monkeypatch.setitem(KINDS, "wrong", given)
    with pytest.raises(ValueError, match=says) as error:
        pj.supervised(table, kind="wrong")
    one_line(error)


def test_popjaxs_own_kinds_agree_with_themselves(monkeypatch):
    """Although no search waits for that to be tried."""
    monkeypatch.setattr(probing, "PROVEN", ())
    rng = np.random.default_rng(0)
    zero, one = np.zeros(()), np.ones(())
    values = rng.normal(3, 5, (64, 2))
    probing.check_on_rows(Classification(("a", "b", "c")), rng.integers(0, 3, 64), zero, one)
    probing.check_on_rows(Multilabel(names=("a", "b")), rng.random((64, 2)) > 0.4, zero, one)
    probing.check_on_rows(Regression(), values[:, 0], values[:, 0].mean(), values[:, 0].std())
    several = Values(names=("u", "v"), units=tuple(values.std(0)))
    probing.check_on_rows(several, values, values.mean(0), values.std(0))
