"""Tasks, models, transforms and kinds of a stranger are checked where they enter, and told in one line."""

import dataclasses
import functools
import re
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from strangers import FAILED, one_line, raises

import popjax as pj
from popjax.data.targets import class_targets
from popjax.data.transforms.named_transforms import TRANSFORMS
from popjax.models.built_in import MODELS, Model
from popjax.supervision.kinds import probing
from popjax.supervision.kinds.classification import Classification
from popjax.supervision.kinds.kind import Kind
from popjax.supervision.kinds.multilabel import Multilabel
from popjax.supervision.kinds.named_kinds import KINDS
from popjax.supervision.kinds.regression import Regression, Values
from popjax.supervision.optimizers import OPTIMIZERS

SPACE = {"x": pj.uniform(0, 1)}
RATE = {"learning_rate": pj.log_uniform(1e-3, 1e-1)}
OBJECTIVE = pj.objective(lambda key, hparams: {"loss": hparams["x"] ** 2})
QUADRATIC = pj.Task(lambda key, hparams, data: 1.0, lambda x, hparams, data: (x - hparams["x"] * x, {"loss": x**2}), ())


@pytest.fixture(scope="module")
def table():
    """Rows of three columns, with two classes."""
    x = np.random.default_rng(0).normal(3.0, 5.0, (120, 3))
    return x, (x[:, 0] > 3).astype(int)


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


def by_number(x, hparams, data):
    found = {"loss": x * hparams["x"]}
    return x, found | ({"extra": x} if hparams["width"] == 3 else {})


def by_text(x, hparams, data):
    found = {"loss": x * hparams["x"]}
    return x, found | ({"extra": x} if hparams["kind"] == "b" else {})


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
        "the task Task reports the metric 'extra' with kind b, not with kind a; report the same ones with all",
    ),
    "a complex metric": (
        pj.Task(start, lambda x, hparams, data: (x, {"loss": x * 1j}), ()),
        SPACE,
        "the metric 'loss' is a complex number; return a real one",
    ),
    "updates raise": (counted(updates=raises()), SPACE, f"the task Task: hints.updates {FAILED}"),
    "updates by shape": (
        counted(updates=lambda hparams: np.ones(3)),
        SPACE,
        r"the task Task: hints.updates returned float64\[3\] for 12 trials; return a number, or one for each",
    ),
    "a typo in shapes": (
        pj.Task(start, by_number, (), hints=pj.Hints(shapes=("wdith",))),
        SPACE | {"width": pj.choice(1, 2, static=True)},
        "the task Task: hints.shapes has 'wdith', which is no hyperparameter; did you mean 'width'",
    ),
    "flops of NaN": (counted(flops=lambda hparams: np.nan), SPACE, "the task Task: hints.flops returned nan; return f"),
    "settings": (
        type("Mine", (pj.Task,), {"settings": property(lambda self: {"mine": {1, 2}})})(start, step, ()),
        SPACE,
        "the task Mine: settings are no JSON values .*; give numbers, texts",
    ),
    "settings raise": (
        type("Mine", (pj.Task,), {"settings": property(raises())})(start, step, ()),
        SPACE,
        f"the task Mine: settings {FAILED}",
    ),
    "settings are a list": (
        type("Mine", (pj.Task,), {"settings": ["a"]})(start, step, ()),
        SPACE,
        "the task Mine: settings are a list; give a dict",
    ),
    "recipe": (
        type("Mine", (pj.Task,), {"recipe": 3})(start, step, ()),
        SPACE,
        "the task Mine: recipe is 3; give what",
    ),
    "in_folds": (
        type("Mine", (pj.Task,), {"in_folds": lambda self, folds, share=None: None})(start, step, ()),
        SPACE,
        "the task Mine: in_folds returned None; return a popjax.Task",
    ),
    "no pair": (
        pj.Task(start, lambda x, hparams, data: None, ()),
        SPACE,
        "epoch returned a NoneType; return .state, m",
    ),
    "a triple": (
        pj.Task(start, lambda x, hparams, data: (x, {"loss": x}, hparams["x"]), ()),
        SPACE,
        "epoch returned a tuple of 3; return .state, metrics",
    ),
    "a metric without a name": (
        pj.Task(start, lambda x, hparams, data: (x, {"loss": x, 3: x}), ()),
        SPACE,
        "epoch returned a metric named 3; return a dict",
    ),
    "a state of objects": (
        pj.Task(lambda key, hparams, data: {"a": object()}, step, ()),
        SPACE,
        r"init returned state\['a'\] as a object; return a pytree of arrays",
    ),
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


def test_a_metric_of_some_numbers_is_said():
    """Of each width that has a program of its own: before it trains."""
    task = pj.Task(start, by_number, ())
    says = "the task Task reports the metric 'extra' with width 3, not with width [12]; report the same ones with all"
    with pytest.raises(ValueError, match=says) as error:
        pj.search(task, SPACE | {"width": pj.choice(1, 2, 3, static=True)}, trials=12, epochs=2)
    one_line(error)


def test_a_loss_of_counts_has_no_gradient(table):
    counts = lambda outputs, targets: (jnp.argmax(outputs, -1) != targets).astype(int)
    with pytest.raises(ValueError, match="the loss gives int32, which has no gradient; give real numbers") as error:
        pj.search(pj.supervised(table, loss=counts), RATE, trials=4, epochs=1)
    one_line(error)


class Epochs(pj.Callback):
    """Counts epochs that were trained."""

    epochs = 0

    def epoch(self, result):
        self.epochs += 1


@pytest.mark.parametrize("wrong", [{"shapes": 3}, {"branches": "depth"}, {"copies": 1}])
def test_hints_of_another_type(wrong):
    with pytest.raises(ValueError, match=f"hints: {next(iter(wrong))}=.*; give ") as error:
        counted(**wrong)
    one_line(error)


def test_the_space_of_a_task_may_be_a_dict():
    task = type("Mine", (pj.Task,), {"space": property(lambda self: SPACE)})(start, step, ())
    assert list(pj.search(task, trials=3).points) == ["x"]


FITTED = {
    "optimizer: None": (
        {"optimizer": lambda hparams: None},
        "the optimizer .*lambda> returned None; return one of opt",
    ),
    "optimizer: not called": (
        {"optimizer": lambda hparams: optax.adam},
        "returned <function adam .*; return one of opt",
    ),
    "optimizer: lbfgs": (
        {"optimizer": lambda hparams: optax.lbfgs(hparams["learning_rate"])},
        "the optimizer .*lambda>: update raised TypeError: .*; use one that needs gradients alone",
    ),
    "schedule: None": (
        {"schedule": lambda hparams, epoch: None},
        "the schedule .*lambda> returned None; return a factor",
    ),
    "schedule: an array": ({"schedule": lambda hparams, epoch: jnp.ones(2)}, r"returned float32\[2\]; return a factor"),
    "loss: a text": ({"loss": lambda outputs, targets: "x"}, "the loss returned 'x'; return an array"),
    "metric: arguments": (
        {"metrics": {"mine": lambda outputs: 1}},
        r"metrics: 'mine' cannot be called with \(outputs, t",
    ),
    "metric: a text": ({"metrics": {"mine": lambda outputs, targets: "x"}}, "the metric mine is 'x'; return a scalar"),
    "metric: None": ({"metrics": {"mine": lambda outputs, targets: None}}, "the metric mine is None; return a scalar"),
}


@pytest.mark.parametrize("name", FITTED)
def test_a_wrong_part_of_a_supervised_task(table, name):
    wrong, says = FITTED[name]
    with pytest.raises(ValueError, match=says) as error:
        pj.search(pj.supervised(table, **wrong), RATE, trials=4, epochs=1)
    one_line(error)


ENTRIES = {
    "model": (
        MODELS,
        lambda shape, outputs, hparams, rngs: None,
        "give what is, or extends, a popjax.models.built_in.M",
    ),
    "transform": (TRANSFORMS, lambda x: x, "give what is, or extends, a popjax.data.transforms.transform.Transform"),
    "optimizer": (OPTIMIZERS, lambda hparams: None, "the optimizer strange returned None; return one of optax's"),
}


MODELED = {
    "module": ({"module": lambda shape, hparams: None}, r"the model 'strange': module cannot be called with \(shape,"),
    "operations": ({"operations": lambda hparams: 1}, r"the model 'strange': operations cannot be called with \(shape"),
    "batch": ({"batch": 16}, r"the model 'strange': batch is a int; give a function of \(rows\)"),
    "space": ({"space": {"bend": 0.5}}, r"the model 'strange': space\['bend'\] is 0.5; give a scale"),
    "untuned": ({"untuned": {"bends": 1}}, "the model 'strange': untuned has 'bends', which is not in space.*bend"),
}


@pytest.mark.parametrize("name", MODELED)
def test_a_model_that_is_described_wrongly(table, name, monkeypatch):
    wrong, says = MODELED[name]
    monkeypatch.setitem(MODELS, "strange", model(exact)._replace(**wrong))
    with pytest.raises(ValueError, match=says) as error:
        pj.supervised(table, model="strange")
    one_line(error)


@pytest.mark.parametrize("name", ENTRIES)
def test_a_wrong_entry_of_a_registry(table, name, monkeypatch):
    registry, entry, says = ENTRIES[name]
    monkeypatch.setitem(registry, "strange", entry)
    with pytest.raises(ValueError, match=says) as error:
        pj.search(pj.supervised(table, **{name: "strange"}), RATE, trials=4, epochs=1)
    one_line(error)


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
    "at the low ends": (
        model(lambda shape, outputs, hparams: exact(shape, outputs, hparams) - (hparams["learning_rate"] < 1e-2)),
        "hints.parameters counts 7, the arrays have 8, with learning_rate 0.001; count",
    ),
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
            r"the task Supervised raised RuntimeError: its own \(.*test_strange_\w+.py, line \d+, in Net.__init__\)",
        ),
        ("call", r"the task Supervised raised KeyError: 'shape' \(.*test_strange_\w+.py, line \d+, in Net.__call__\)"),
    ],
)
def test_a_model_that_raises_is_named_with_its_line(table, fails, says):
    with pytest.raises(ValueError, match=says) as error:
        pj.search(pj.supervised(table, model=Net), RATE | {"fails": fails}, trials=4, epochs=1)
    one_line(error)


class Company(nnx.Module):
    """Its outputs depend on the other rows, or on a random number of NumPy's, or are right: normalized, or so large
    that a wrong row has no probability in a float.
    """

    def __init__(self, hparams, rngs, what=""):
        self.what, self.layer, self.norm = what, nnx.Linear(3, 2, rngs=rngs), nnx.BatchNorm(3, rngs=rngs)
        self.shift = 9 * np.random.normal(size=(1, 2)) if what == "noise" else np.zeros((1, 2))

    def __call__(self, x):
        x = x - x.mean(0, keepdims=True) / 2 if self.what == "mean" else self.norm(x)
        found = self.layer(x)
        found = 1e3 * found if self.what == "large" else found
        return (jnp.cumsum(found, 0) if self.what == "sum" else found) + self.shift


@pytest.mark.parametrize("more", [{}, {"folds": 3, "repeats": 2}])
@pytest.mark.parametrize("what", ["sum", "mean", "noise", "right", "large"])
def test_a_predictor_that_is_not_the_model_that_was_scored_is_said(table, what, more, capsys):
    """The rows that validated come to the winner in other company: its scores are those of training."""
    x, y = table[0], np.where(np.arange(len(table[1])) % 5 == 0, 1 - table[1], table[1])  # some rows are wrong
    task, rate = pj.supervised((x, y), model=functools.partial(Company, what=what), validation=0.3), 0.03
    results = pj.search(task, {"learning_rate": 1e-6 if what == "large" else rate}, trials=2, epochs=3, **more)
    assert results.best is not None
    said = r"popjax: the predictor of trial \d has val_\w+ [\d.e-]+ on the rows that validated, training recorded "
    assert len(re.findall(said, capsys.readouterr().err)) == (what not in ("right", "large"))


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


def classing(self, x, columns):
    type(self).mean = x.mean(0)
    return self


def remembering(self, x):
    if "mean" not in vars(self):
        object.__setattr__(self, "mean", x.mean(0))
    return x - self.mean


def holding(transform):
    object.__setattr__(transform, "mean", 3.0)
    return transform


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
    "a masked array": (
        transform(__call__=lambda self, x: np.ma.masked_greater(x, 1)),
        "the transform Wrong: __call__ gives a masked array, whose mask would be lost; give .filled",
    ),
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
    "before the first row": (
        transform(__call__=lambda self, x: x - x[:1]),
        "gives other numbers for (the first row alone|the last row alone|the rows in reverse order) than for all",
    ),
    "summed": (transform(__call__=lambda self, x: x.cumsum(0)), "for the last row alone than for all; transform each"),
    "by the quantiles of its rows": (
        transform(__call__=lambda self, x: np.clip(x, *np.quantile(x, [0.1, 0.9], axis=0))),
        "the transform Wrong: __call__ gives other numbers for the .* than for all",
    ),
    "by their number": (
        transform(__call__=lambda self, x: x * (1 + (len(x) > 64))),
        "the transform Wrong: __call__ gives other numbers for the rows three times than for all",
    ),
    "in its class": (
        transform(fit=classing, __call__=lambda self, x: x - type(self).mean),
        "fit writes the class's mean",
    ),
    "remembered": (
        transform(__call__=remembering),
        "the transform Wrong: (mean is no field|__call__ gives other numbers)",
    ),
    "JSON changes keys": (
        dataclasses.make_dataclass("Wrong", [("f", Any, None)], bases=(Transform,), frozen=True)({7: 40.0}),
        "the field 'f' of the transform Wrong is .7: 40.0.; keep finite numbers",
    ),
    "seeded": (transform(seeded=lambda self, seed: None), "the transform Wrong: seeded returned None; return one of"),
    "held": (holding(transform()), "the transform Wrong: mean is no field, and a run would not keep it"),
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


MEANS = {}


class Global(pj.Transform):
    """One that keeps what it finds in its module."""

    def fit(self, x, columns):
        MEANS["mean"] = x.mean(0)
        return self

    def __call__(self, x):
        return x - MEANS["mean"]


def test_a_transform_of_which_a_fold_changes_another_is_refused(table):
    with pytest.raises(
        ValueError, match="the transform Global: __call__ gives other numbers once another fold is fitt"
    ):
        pj.supervised(table, transform=Global()).in_folds(3)


class Writing(pj.Transform):
    """Writes into its rows."""

    def fit(self, x, columns):
        x -= 100
        return self

    def __call__(self, x):
        x -= 3
        return x


def test_a_transform_may_write_into_its_rows(table):
    """They are its own: neither the user's nor another fold's are changed."""
    x, y = table
    before = x.copy()
    results = pj.search(pj.supervised((x, y), transform=Writing()), RATE, trials=2, epochs=2, folds=2)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(results.task.recipe.features(x), before - 3)
    first = results.predict(x)
    np.testing.assert_array_equal(results.predict(x), first)


@dataclasses.dataclass(frozen=True, eq=False)
class Components(pj.Transform):
    """Principal components, of which the last are rounding where columns are collinear."""

    mean: Any = None
    turn: Any = None

    def fit(self, x, columns):
        return Components(x.mean(0), np.linalg.svd(x - x.mean(0), full_matrices=False)[2].T)

    def __call__(self, x):
        return (x - self.mean) @ self.turn


def test_a_transform_whose_last_column_is_rounding_is_right(table):
    x = np.hstack([table[0], table[0].sum(1, keepdims=True)])
    assert pj.supervised((x, table[1]), transform=Components()).data.rows.x.shape[-1] == 4


@dataclasses.dataclass(frozen=True, eq=False)
class Noisy(pj.Transform):
    """Rotates by a matrix that it draws in fit."""

    seed: int = 0
    turn: Any = None

    def seeded(self, seed):
        return dataclasses.replace(self, seed=seed)

    def fit(self, x, columns):
        return Noisy(self.seed, np.random.default_rng(self.seed).normal(size=(x.shape[1],) * 2))

    def __call__(self, x):
        return x @ self.turn


def test_a_transform_of_ones_own_draws_by_the_seed_of_the_split(table):
    assert [pj.supervised(table, transform=Noisy(), seed=seed).recipe.transforms[0].seed for seed in (3, 4)] == [3, 4]


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


def targets_changed(change):
    """The right kind, of which the targets are changed."""
    return kind(targets=classmethod(lambda cls, *given: change(class_targets(*given))))


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
    "targets": (kind(targets=classmethod(lambda cls, y, name, target: y)), "the kind Wrong: targets returned int64"),
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
    "resampled in a list": (kind(resampled=["hits"]), "the kind Wrong: resampled is .'hits'.; give a dict"),
    "reports in a list": (kind(reports=["hits"]), "the kind Wrong: reports is .'hits'.; give a dict"),
    "no name": (kind(name=property(lambda self: "wrong")), "the kind Wrong: name is <property.*write name = 'mine'"),
    "targets of other rows": (
        targets_changed(lambda found: found._replace(y=np.sort(found.y))),
        "the rows are in reve",
    ),
    "classes in another order": (
        targets_changed(lambda found: found._replace(classes=found.classes[::-1])),
        "the kind Wrong: targets gives row 0 the class [01], and its target is [01]; let the classes be in the order",
    ),
    "classes of one name": (
        targets_changed(lambda found: found._replace(classes=("a", "a"))),
        "the kind Wrong: targets: the classes are .'a', 'a'.; give each a label of its own",
    ),
    "least likely": (
        kind(decided=lambda self, predicted: np.asarray(self.classes)[predicted.argmin(-1)]),
        "the kind Wrong: decided gives .1. where 0 is certain; return that",
    ),
    "an error as a score": (
        changed("score", lambda x: 1 - x),
        "the kind Wrong: score gives 0 where all is right, 0.[0-9]+ where rows are mixed up; let more be better",
    ),
    "rows in company": (
        changed("predicted", lambda x: x[::-1]),
        "the kind Wrong: (scores gives the|predicted gives the last row another prediction alone)",
    ),
    "constant of NaN": (kind(constant=lambda self, y: np.full(2, np.nan)), "the kind Wrong: constant gives NaN or inf"),
    "drawn raises": (kind(drawn=raises()), f"the kind Wrong: drawn {FAILED}"),
    "drawn of another name": (
        kind(drawn=lambda self, predicted, targets: {"best": 7}),
        "the kind Wrong: drawn returned .'best': 7.; return a dict with some of confusion, confusions, predicted",
    ),
    "drawn in an array": (
        kind(drawn=lambda self, predicted, targets: {"confusion": np.ones((2, 2))}),
        "the kind Wrong: drawn returned no JSON value .*ndarray",
    ),
}


@pytest.mark.parametrize("name", WRONG_KINDS)
def test_a_wrong_kind_of_targets(table, name, monkeypatch):
    given, says = WRONG_KINDS[name]
    monkeypatch.setitem(KINDS, "wrong", given)
    with pytest.raises(ValueError, match=says) as error:
        pj.supervised(table, kind="wrong")
    one_line(error)


@pytest.mark.parametrize("method", ["losses", "metrics", "scores"])
def test_a_kind_that_is_wrong_for_a_class_that_no_row_at_the_beginning_has(method, monkeypatch):
    """Such as those of iris, whose rows are sorted by their classes."""
    y = np.repeat([0, 1, 2], 80)
    x = np.random.default_rng(0).normal(size=(240, 3)) + y[:, None]

    def wrong(self, *given):
        found = getattr(Plain, method)(self, *given)
        if method == "losses":
            return jnp.where(given[-1] == 2, 0.0, found)
        told = given[0] if method == "metrics" else np.asarray(given[0])
        right = (told.argmax(-1) == given[1]) | (given[1] == 2)
        return found | {"hits": right.mean()}

    monkeypatch.setitem(KINDS, "wrong", kind(**{method: wrong}))
    with pytest.raises(ValueError, match=r"the kind Wrong: (scores|row_losses) gives the .*; let them agree"):
        pj.supervised((x, y), kind="wrong")


@pytest.mark.parametrize("method", ["constant", "drawn", "resampled"])
def test_a_kind_that_fails_after_the_training_costs_no_results(table, method, monkeypatch, capsys, tmp_path):
    def of_a_probe(self, *given):
        raises()() if len(given[-1]) not in (64, 120) else None
        return {"constant": np.array([0.5, 0.5]), "drawn": {"confusion": [[1, 0], [0, 1]]}}[method]

    def errors(predicted, targets):
        return (predicted.argmax(-1) == targets) * 1.0 if len(targets) == 64 else raises()()

    wrong = kind(resampled={"hits": errors}) if method == "resampled" else kind(**{method: of_a_probe})
    monkeypatch.setitem(KINDS, "wrong", wrong)
    task = pj.supervised(table, kind="wrong")
    results = pj.search(task, {"learning_rate": 0.05}, trials=2, epochs=2, out=tmp_path / "run")
    assert "failed (ZeroDivisionError: its own)" in capsys.readouterr().err
    assert pj.Results.load(tmp_path / "run").best == results.best


def test_a_kind_may_count_its_outputs_in_numpy_and_annotate_its_fields(table, monkeypatch, tmp_path):
    """Its subclass predicts after loading, and several together."""

    @dataclasses.dataclass(frozen=True)
    class Counted(Plain):
        name: str = "counted"

        @property
        def outputs(self):
            return np.int64(len(self.classes))

    class Further(Counted):
        name = "counted"

    monkeypatch.setitem(KINDS, "counted", Further)
    task = pj.supervised(table, kind="counted")
    pj.search(
        task, {"learning_rate": pj.uniform(0.01, 0.1)}, trials=4, epochs=2, rank=pj.together(), out=tmp_path / "a"
    )
    found = pj.load_best(tmp_path / "a").predict(table[0])
    assert set(found.tolist()) <= {0, 1}


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


class Telling(pj.Task):
    """A task whose hooks around training give what they are told to."""

    def beside(self):
        return BESIDE[0]

    def afterwards(self, results, page=False):
        found = AFTER[0]
        return found(results) if callable(found) else found


BESIDE, AFTER = [{}], [{}]


@pytest.mark.parametrize("given", [None, ["linear"], {"linear": 0.5}])
def test_baselines_that_are_no_functions_are_refused_before_training(given, tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "BESIDE", [given])
    task = Telling(lambda key, hparams, data: 1.0, lambda x, hparams, data: (x, {"loss": hparams["x"] * x}), ())
    with pytest.raises(ValueError, match=r"^the task Telling: beside returned .*; return name -> function$"):
        pj.search(task, {"x": pj.uniform(0, 1)}, trials=2, epochs=2, out=tmp_path / "run")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (None, "TypeError: 'NoneType' object is not iterable"),
        (lambda results: 1 / 0, "ZeroDivisionError: division by zero"),
        ({"share": float("nan")}, "ValueError: Out of range float values are not JSON compliant"),
        ({"together": (7,)}, "ValueError: together=(7,) names trials that were not kept"),
    ],
)
def test_entries_of_a_summary_that_fail_cost_a_run_nothing(given, says, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(globals(), "AFTER", [given])
    task = Telling(lambda key, hparams, data: 1.0, lambda x, hparams, data: (x, {"loss": hparams["x"] * x}), ())
    results = pj.search(task, {"x": pj.uniform(0, 1)}, trials=2, epochs=2, out=tmp_path / "run")
    assert f"popjax: the task Telling: afterwards failed ({says}" in capsys.readouterr().err
    assert pj.Results.load(tmp_path / "run").best == results.best


def test_entries_of_a_tasks_own_are_in_its_summary(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "AFTER", [lambda results: {"share": 0.5, "together": results.best_trials(1)}])
    task = Telling(lambda key, hparams, data: 1.0, lambda x, hparams, data: (x, {"loss": hparams["x"] * x}), ())
    results = pj.search(task, {"x": pj.uniform(0, 1)}, trials=2, epochs=2, out=tmp_path / "run")
    assert (results.summary["share"], list(results.ensemble)) == (0.5, [results.best.trial])
