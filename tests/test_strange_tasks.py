"""Tasks, models, transforms and kinds of a stranger: what is wrong in one is said where it enters, in one line.

Inner modules: the base classes that an author of a model, a transform or a kind imports, and the probing of kinds.
"""

import dataclasses
import functools
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import refused
from flax import nnx
from strangers import FAILED, RATE, SPACE, raises, start, step

import popjax as pj
from popjax.data.targets import class_targets
from popjax.models.built_in import Model
from popjax.supervision.kinds import probing
from popjax.supervision.kinds.classification import Classification
from popjax.supervision.kinds.kind import Kind
from popjax.supervision.kinds.multilabel import Multilabel
from popjax.supervision.kinds.regression import Regression, Values


@pytest.fixture(scope="module")
def table():
    """Rows of three columns, with two classes."""
    x = np.random.default_rng(0).normal(3.0, 5.0, (120, 3))
    return x, (x[:, 0] > 3).astype(int)


# Tasks


def counted(**hints):
    return pj.Task(start, step, (), hints=pj.Hints(**hints))


def mine(**attributes):
    """A task with attributes of its own."""
    return type("Mine", (pj.Task,), attributes)(start, step, ())


TASKS = {
    "init": (lambda: pj.Task(lambda key: 0, step, ()), "task Task", "init", "(key, hparams, data"),
    "epoch": (lambda: pj.Task(start, lambda x, hparams: x, ()), "task Task", "epoch", "(state, h"),
    "score": (lambda: pj.Task(start, step, (), score=lambda x: x), "task Task", "score", "cannot be called with"),
    "no function": (lambda: pj.Task(3, step, ()), "task Task", "init is a int", "give a function of"),
    "misspelt": (lambda: mine(setting={"mine": 1}), "task Mine", "setting is no name", "did you mean settings"),
    "updates": (lambda: counted(updates=400), "updates is a int", "give a function of (hparams"),
    "flops": (lambda: counted(flops=4e6), "flops is a float", "give a function of (hparams"),
    "hint's arguments": (lambda: counted(updates=lambda: 4), "updates", "called with (hparams)"),
    "epochs": (lambda: counted(epochs=2.5), "epochs=2.5", "whole number"),
    "a text": (lambda: counted(shapes="depth"), "shapes='depth'", "tuple"),
    "shapes": (lambda: counted(shapes=3), "shapes=3", "give"),
    "branches": (lambda: counted(branches="depth"), "branches='depth'", "give"),
    "copies": (lambda: counted(copies=1), "copies=1", "give"),
}


@pytest.mark.parametrize("name", TASKS)
def test_a_wrong_task_is_refused_where_it_is_made(name):
    make, *names = TASKS[name]
    with refused(*names):
        make()


def epoch(metrics):
    """A task with such an epoch, which returns its state and these metrics."""
    return pj.Task(start, lambda x, hparams, data: (x, metrics(x, hparams)), ())


def returning(answer):
    return pj.Task(start, lambda x, hparams, data: answer(x), ())


def by_number(x, hparams):
    return {"loss": x * hparams["x"]} | ({"extra": x} if hparams["width"] == 3 else {})


def by_text(x, hparams):
    return {"loss": x * hparams["x"]} | ({"extra": x} if hparams["kind"] == "b" else {})


WIDTH = {"width": pj.choice(1, 2, static=True)}
TYPO = pj.Task(start, lambda x, hparams, data: (x, by_number(x, hparams)), (), hints=pj.Hints(shapes=("wdith",)))
TRAINED = {
    "init raises": (pj.Task(raises(), step, ()), "task Task", *FAILED),
    "epoch raises": (pj.Task(start, raises(), ()), "task Task", *FAILED),
    "score raises": (pj.Task(start, step, (), score=raises()), "task Task", *FAILED),
    "a ValueError": (pj.Task(start, raises(ValueError), ()), "task Task raised ValueError: its own", "line"),
    "no dict": (epoch(lambda x, hparams: hparams["x"]), "epoch returned", "as metrics", "a dict of scalars"),
    "score": (pj.Task(start, step, (), score=lambda x, h, data: x), "score returned", "a dict of scalars"),
    "a complex metric": (epoch(lambda x, hparams: {"loss": hparams["x"] * 1j}), "'loss' is a complex", "real"),
    "without a name": (epoch(lambda x, hparams: {"loss": hparams["x"], 3: x}), "a metric named 3", "return a dict"),
    "updates raise": (counted(updates=raises()), "task Task", "hints.updates", *FAILED),
    "updates by shape": (counted(updates=lambda hparams: np.ones(3)), "hints.updates", "float64[3] for 12 trials"),
    "a typo in shapes": (TYPO, "hints.shapes has 'wdith'", "did you mean 'width'"),
    "flops of NaN": (counted(flops=lambda hparams: np.nan), "hints.flops returned nan", "return f"),
    "settings": (mine(settings=property(lambda self: {"mine": {1, 2}})), "task Mine: settings", "JSON", "numbers"),
    "settings raise": (mine(settings=property(raises())), "task Mine: settings", *FAILED),
    "settings are a list": (mine(settings=["a"]), "task Mine: settings are a list", "give a dict"),
    "recipe": (mine(recipe=3), "task Mine: recipe is 3", "give what"),
    "in_folds": (mine(in_folds=lambda self, folds, share=None: None), "in_folds returned None", "popjax.Task"),
    "no pair": (returning(lambda x: None), "epoch returned a NoneType", "return (state, m"),
    "a triple": (returning(lambda x: (x, {"loss": x}, x)), "epoch returned a tuple of 3", "(state, metrics"),
    "objects": (pj.Task(lambda *given: {"a": object()}, step, ()), "state['a'] as a object", "pytree of arrays"),
    "by a text": (epoch(by_text), "'extra' with kind b", "not with kind a", "the same ones"),
    "too many parameters": (counted(parameters=lambda hparams: 2), "hints.parameters counts 2", "have 1"),
}


@pytest.mark.parametrize("name", TRAINED)
def test_a_task_that_goes_wrong_is_refused_before_it_trains(name):
    task, *names = TRAINED[name]
    space = SPACE | {"by a text": {"kind": pj.choice("a", "b")}, "a typo in shapes": WIDTH}.get(name, {})
    epochs = []
    hears = type("Hears", (pj.Callback,), {"epoch": lambda self, result: epochs.append(result)})()
    rank = pj.pareto("loss", "parameters") if name == "too many parameters" else None
    with refused(*names):
        pj.search(task, space, trials=12, epochs=2, callbacks=[hears], rank=rank)
    assert epochs == []


def test_a_metric_of_some_widths_is_said_before_the_first_of_them_trains():
    with refused("task Task", "'extra' with width 3", "not with width ", "the same ones"):
        pj.search(epoch(by_number), SPACE | {"width": pj.choice(1, 2, 3, static=True)}, trials=12, epochs=2)


def test_the_space_of_a_task_may_be_a_dict():
    assert list(pj.search(mine(space=property(lambda self: SPACE)), trials=3).points) == ["x"]


def test_hints_of_numpys_integers_and_one_number_for_all_are_right():
    task = counted(updates=lambda hparams: np.int64(3), epochs=np.int64(4), flops=lambda hparams: 1e6 * hparams["x"])
    assert pj.search(task, SPACE, trials=4, epochs=9).summary["model_steps"] == 3 * 4 * 4


WRONG_PARTS = {
    "optimizer: None": ({"optimizer": lambda hparams: None}, "optimizer", "returned None", "return one of opt"),
    "optimizer: uncalled": ({"optimizer": lambda hparams: optax.adam}, "returned <function adam", "return one of opt"),
    "optimizer: lbfgs": ({"optimizer": lambda hparams: optax.lbfgs(0.1)}, "update raised TypeError", "gradients alone"),
    "schedule: None": ({"schedule": lambda hparams, epoch: None}, "schedule", "returned None", "return a factor"),
    "schedule: an array": ({"schedule": lambda hparams, epoch: jnp.ones(2)}, "float32[2]", "return a factor"),
    "loss: a text": ({"loss": lambda outputs, targets: "x"}, "loss returned 'x'", "return an array"),
    "loss: counts": ({"loss": lambda outputs, targets: (outputs.argmax(-1) != targets).astype(int)}, "int32", "real"),
    "metric: arguments": ({"metrics": {"mine": lambda outputs: 1}}, "'mine' cannot be called with (outputs, t"),
    "metric: a text": ({"metrics": {"mine": lambda outputs, targets: "x"}}, "metric mine is 'x'", "return a scalar"),
    "metric: None": ({"metrics": {"mine": lambda outputs, targets: None}}, "metric mine is None", "return a scalar"),
}


@pytest.mark.parametrize("name", WRONG_PARTS)
def test_a_wrong_part_of_a_supervised_task(table, name):
    wrong, *names = WRONG_PARTS[name]
    with refused(*names):
        pj.search(pj.supervised(table, **wrong), RATE, trials=4, epochs=1)


# Models


def model(parameters, operations=lambda shape, outputs, hparams: 1.0):
    module = lambda shape, outputs, hparams, rngs: nnx.Linear(shape[0], outputs, rngs=rngs)
    return Model(module, None, {"bend": pj.uniform(0, 1)}, parameters, operations)


def exact(shape, outputs, hparams):
    return (shape[0] + 1) * outputs


def low(shape, outputs, hparams):
    return exact(shape, outputs, hparams) - (hparams["learning_rate"] < 1e-2)


RIGHT = model(exact)
ENTRIES = {  # what, what is given, what is said
    "no model": ("model", lambda shape, outputs, hparams, rngs: None, "popjax.models.built_in.M"),
    "no transform": ("transform", lambda x: x, "popjax.data.transforms.transform.Transform"),
    "no optimizer": ("optimizer", lambda hparams: None, "optimizer strange returned None", "one of optax's"),
    "module": ("model", RIGHT._replace(module=lambda shape, hparams: None), "module cannot be called with (shape,"),
    "operations": ("model", RIGHT._replace(operations=lambda hparams: 1), "operations cannot be called with (shape"),
    "batch": ("model", RIGHT._replace(batch=16), "batch is a int", "a function of (rows)"),
    "space": ("model", RIGHT._replace(space={"bend": 0.5}), "space['bend'] is 0.5", "give a scale"),
    "untuned": ("model", RIGHT._replace(untuned={"bends": 1}), "untuned has 'bends'", "bend"),
    "too few": ("model", model(lambda shape, outputs, hparams: 1), "parameters counts 1", "the arrays have 8"),
    "too many": ("model", model(lambda shape, outputs, hparams: 99), "parameters counts 99", "the arrays have 8"),
    "at the low ends": ("model", model(low), "parameters counts 7", "have 8, with learning_rate 0.001"),
    "raises": ("model", model(raises()), "the task Supervised: hints.parameters", *FAILED),
    "negative": ("model", model(lambda shape, outputs, hparams: -1), "parameters returned -1", "finite numbers"),
    "flops of NaN": ("model", model(exact, lambda *given: np.nan), "hints.flops returned nan", "return finite"),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_a_wrong_entry_of_a_registry(table, name, register):
    """Counts are asked for by pareto."""
    what, given, *names = ENTRIES[name]
    register(what, "strange", given)
    with refused(*names):
        task = pj.supervised(table, **{what: "strange"})
        pj.search(task, RATE, trials=4, epochs=1, rank=pj.pareto("val_loss", "parameters"))


class Net(nnx.Module):
    """A model of one's own, which fails where a test says."""

    def __init__(self, hparams, rngs):
        self.layer = nnx.Linear(3, 2, rngs=rngs)
        if hparams["fails"] == "init":
            raise RuntimeError("its own")

    def __call__(self, x):
        return self.layer(x) / {}["shape"]


@pytest.mark.parametrize(
    ("fails", "raised", "where"),
    [("init", "RuntimeError: its own", "Net.__init__"), ("call", "KeyError: 'shape'", "Net.__call__")],
)
def test_a_model_that_raises_is_named_with_its_line(table, fails, raised, where):
    with refused(f"the task Supervised raised {raised}", "test_strange_tasks.py, line ", where):
        pj.search(pj.supervised(table, model=Net), RATE | {"fails": fails}, trials=4, epochs=1)


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
    pj.search(task, {"learning_rate": 1e-6 if what == "large" else rate}, trials=2, epochs=3, **more)
    said = [line for line in capsys.readouterr().err.splitlines() if "on the rows that validated" in line]
    assert len(said) == (what not in ("right", "large"))
    assert all("the predictor of trial" in line and "training recorded" in line for line in said)


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


def with_field(value):
    """A right transform with a field `f` of this value."""
    return dataclasses.make_dataclass("Wrong", [("f", Any, None)], bases=(Transform,), frozen=True)(value)


def held():
    found = transform()
    object.__setattr__(found, "mean", 3.0)
    return found


MEANS = {}


def in_module(self, x, columns):
    MEANS["mean"] = x.mean(0)
    return self


WRONG_TRANSFORMS = {
    "a masked array": (transform(__call__=lambda self, x: np.ma.masked_greater(x, 1)), "masked array", "filled"),
    "no fit": (transform(pj.Transform, __call__=lambda self, x: x), "the transform Wrong has no fit"),
    "no __call__": (transform(pj.Transform, fit=lambda self, x, columns: self), "transform Wrong has no __call__"),
    "None": (transform(fit=lambda self, x, columns: None), "transform Wrong: fit returned None"),
    "another": (transform(fit=lambda self, x, columns: Transform()), "fit returned a Transform", "of the same"),
    "arguments": (transform(fit=lambda self, x: self), "fit cannot be called with (self, x, col"),
    "misspelt": (transform(mising=True), "mising is no name", "did you mean missing"),
    "fit raises": (transform(fit=raises()), "transform Wrong: fit", *FAILED),
    "call raises": (transform(__call__=raises()), "transform Wrong: __call__", *FAILED),
    "to_json raises": (transform(to_json=raises()), "transform Wrong: to_json", *FAILED),
    "from_json raises": (transform(from_json=classmethod(raises())), "transform Wrong: from_json", *FAILED),
    "to_json": (transform(to_json=lambda self: 3), "transform Wrong: to_json returned 3"),
    "rows": (transform(__call__=lambda self, x: x[1:]), "__call__ gives float64[", ", 3] for"),
    "NaN": (transform(__call__=lambda self, x: x * np.nan), "__call__ gives no finite number"),
    "in company": (transform(__call__=lambda self, x: x - x.mean(0)), "other numbers for the first row"),
    "noise": (transform(__call__=lambda self, x: x + np.random.normal(size=x.shape)), "when it is called again"),
    "before the first row": (transform(__call__=lambda self, x: x - x[:1]), "other numbers", "than for all"),
    "summed": (transform(__call__=lambda self, x: x.cumsum(0)), "for the last row alone than for all", "each"),
    "quantiles": (transform(__call__=lambda self, x: np.minimum(x, np.quantile(x, 0.9, axis=0))), "than for all"),
    "by their number": (transform(__call__=lambda self, x: x * (1 + (len(x) > 64))), "three times than for all"),
    "in its class": (transform(fit=classing, __call__=lambda self, x: x - type(self).mean), "the class's mean"),
    "in its module": (transform(fit=in_module, __call__=lambda self, x: x - MEANS["mean"]), "another fold is fitt"),
    "remembered": (transform(__call__=remembering), "transform Wrong", "mean"),
    "JSON changes keys": (with_field({7: 40.0}), "the field 'f' of the transform Wrong is {7: 40.0}", "finite"),
    "no JSON": (with_field(np.log), "the field 'f' of the transform Wrong is <ufunc 'log'>"),
    "seeded": (transform(seeded=lambda self, seed: None), "transform Wrong: seeded returned None"),
    "held": (held(), "transform Wrong: mean is no field", "would not keep it"),
    "no dataclass": (transform(__annotations__={"mean": Any}, mean=None), "the class Wrong is no dataclass"),
    "outside": (transform(fit=forgetting, __call__=lambda self, x: x - getattr(self, "mean", 0.0)), "read back"),
    "written wrongly": (Kept(), "transform Kept: __call__ gives other numbers once its fields are read back"),
}


@pytest.mark.parametrize("name", WRONG_TRANSFORMS)
def test_a_wrong_transform(table, name):
    given, *names = WRONG_TRANSFORMS[name]
    with refused(*names):
        pj.supervised(table, transform=given).in_folds(3)


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


def kind(**wrong):
    """The right kind, but for some of its attributes."""
    return type("Wrong", (Plain,), {"name": "wrong"} | wrong)


def lacking(name):
    """The right kind without one of its methods."""
    return type("Wrong", (Kind,), {key: value for key, value in vars(Plain).items() if key not in (name, "__dict__")})


def changed(name, change):
    """The right kind, of which one method's result is changed."""
    return kind(**{name: lambda self, *given: change(getattr(Plain, name)(self, *given))})


def targets(change):
    """The right kind, of which the targets are changed."""
    return kind(targets=classmethod(lambda cls, *given: change(class_targets(*given))))


FAILING = ("check", "losses", "metrics", "predicted", "decided", "scores", "drawn")
WRONG_KINDS = {f"{name} raises": (kind(**{name: raises()}), f"kind Wrong: {name}", *FAILED) for name in FAILING} | {
    "targets raise": (kind(targets=classmethod(raises())), "kind Wrong: targets", *FAILED),
    "no losses": (lacking("losses"), "kind Wrong has no losses", "write it"),
    "no targets": (lacking("targets"), "kind Wrong has no targets", "write it"),
    "misspelt": (kind(metric=lambda self: {}), "metric is no name", "did you mean metrics"),
    "arguments": (kind(losses=lambda self, outputs, targets: 0), "losses cannot be called with (self, h"),
    "mode": (kind(reports={"hits": "more"}), "reports['hits'] is 'more'", "min or max"),
    "ranks": (kind(ranks="misses"), "ranks names 'misses'", "reports has hits"),
    "resampled": (kind(resampled={"misses": np.subtract}), "resampled names 'misses'", "reports has hits"),
    "targets": (kind(targets=classmethod(lambda cls, y, name, target: y)), "targets returned int64"),
    "outputs": (kind(outputs=property(lambda self: None)), "outputs is None", "give the width"),
    "losses of fewer": (changed("losses", lambda x: x[1:]), "losses has the shape (63,) for 64 rows"),
    "losses in a column": (changed("losses", lambda x: x[:, None]), "losses has the shape (64, 1)"),
    "losses in a row": (changed("losses", lambda x: x[None]), "losses has the shape (1, 64)"),
    "a loss": (changed("losses", lambda x: x.mean()), "losses has the shape () for 64 rows"),
    "losses of NaN": (changed("losses", lambda x: x * np.nan), "losses gives loss nan", "return finite"),
    "metrics by row": (changed("metrics", lambda x: {"hits": jnp.ones(64)}), "metrics gives hits", "(64,)"),
    "metrics of others": (changed("metrics", lambda x: {"misses": 0.0}), "metrics returned ['misses']"),
    "metrics of NaN": (changed("metrics", lambda x: {"hits": jnp.nan}), "metrics gives hits nan"),
    "predicted of NaN": (changed("predicted", lambda x: x * np.nan), "predicted gives NaN or infinity"),
    "too few columns": (changed("predicted", lambda x: x[:, 1:]), "predicted has the shape (64, 1) for 64 row"),
    "too few rows": (changed("predicted", lambda x: x[1:]), "predicted has the shape (63, 2) for 64 rows"),
    "no chances": (changed("predicted", lambda x: x * 2), "predicted gives", "probabilities, 0 to 1"),
    "sum": (changed("predicted", lambda x: x / 2), "predicted gives the sum of a row's probabilities as 0.5"),
    "decided otherwise": (changed("decided", lambda x: x + 7), "decided gives", "return one of"),
    "row losses": (changed("row_losses", lambda x: x.mean()), "row_losses has the shape ()"),
    "other row losses": (changed("row_losses", lambda x: 2 * x), "kind Wrong", " gives the ", "agree"),
    "scores of NaN": (changed("scores", lambda x: x | {"hits": np.nan}), "scores gives hits nan"),
    "scores that lack": (changed("scores", lambda x: {"hits": x["hits"]}), "scores returned ['hits']"),
    "scores that contradict": (
        changed("scores", lambda x: x | {"hits": 1 - x["hits"]}),
        "scores gives the hits",
        "agree",
    ),
    "a loss of other sign": (changed("scores", lambda x: x | {"loss": -x["loss"]}), "gives the loss as -", "agree"),
    "score": (changed("score", lambda x: "good"), "score gives a score of 'good'"),
    "as_outputs": (changed("as_outputs", lambda x: -x), "as_outputs gives the outputs of other pred"),
    "constant": (kind(constant=lambda self, y: np.ones(5)), "constant has the shape (5,)"),
    "constant of NaN": (kind(constant=lambda self, y: np.full(2, np.nan)), "constant gives NaN or inf"),
    "describe": (changed("describe", lambda x: x | {"f": np.log}), "describe returned no JSON value"),
    "from_json": (kind(from_json=classmethod(lambda cls, content, loss: cls())), "from_json makes anoth"),
    "resampled otherwise": (
        kind(resampled={"hits": lambda predicted, y: np.zeros(len(y))}),
        "the mean as 0, scores as",
    ),
    "resampled in a list": (kind(resampled=["hits"]), "resampled is ['hits']", "give a dict"),
    "reports in a list": (kind(reports=["hits"]), "reports is ['hits']", "give a dict"),
    "no name": (kind(name=property(lambda self: "wrong")), "name is <property", "write name = 'mine'"),
    "other rows": (targets(lambda found: found._replace(y=np.sort(found.y))), "the rows are in reve"),
    "another order": (
        targets(lambda found: found._replace(classes=found.classes[::-1])),
        "targets gives row 0",
        "order",
    ),
    "one name": (targets(lambda found: found._replace(classes=("a", "a"))), "the classes are ('a', 'a')", "label"),
    "least likely": (
        kind(decided=lambda self, predicted: np.asarray(self.classes)[predicted.argmin(-1)]),
        *("decided gives [1] where 0 is certain", "return that"),
    ),
    "an error as a score": (
        changed("score", lambda x: 1 - x),
        "score gives 0 where all is right",
        "let more be better",
    ),
    "rows in company": (changed("predicted", lambda x: x[::-1]), "kind Wrong", " gives the "),
    "drawn of another name": (kind(drawn=lambda self, p, y: {"best": 7}), "{'best': 7}", "confusion, confusions"),
    "drawn in an array": (kind(drawn=lambda self, p, y: {"confusion": np.ones((2, 2))}), "no JSON value", "ndarray"),
}


@pytest.mark.parametrize("name", WRONG_KINDS)
def test_a_wrong_kind_of_targets(table, name, register):
    given, *names = WRONG_KINDS[name]
    register("kind", "wrong", given)
    with refused(*names):
        pj.supervised(table, kind="wrong")


@pytest.mark.parametrize("method", ["losses", "metrics", "scores"])
def test_a_kind_that_is_wrong_for_a_class_that_no_row_at_the_beginning_has(method, register):
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

    register("kind", "wrong", kind(**{method: wrong}))
    with refused("the kind Wrong: ", " gives the ", "let them agree"):
        pj.supervised((x, y), kind="wrong")


@pytest.mark.parametrize("method", ["constant", "drawn", "resampled"])
def test_a_kind_that_fails_after_the_training_costs_no_results(table, method, register, capsys, tmp_path):
    def of_a_probe(self, *given):
        raises()() if len(given[-1]) not in (64, 120) else None
        return {"constant": np.array([0.5, 0.5]), "drawn": {"confusion": [[1, 0], [0, 1]]}}[method]

    def errors(predicted, targets):
        return (predicted.argmax(-1) == targets) * 1.0 if len(targets) == 64 else raises()()

    wrong = kind(resampled={"hits": errors}) if method == "resampled" else kind(**{method: of_a_probe})
    register("kind", "wrong", wrong)
    task = pj.supervised(table, kind="wrong")
    results = pj.search(task, {"learning_rate": 0.05}, trials=2, epochs=2, out=tmp_path / "run")
    assert "failed (ZeroDivisionError: its own)" in capsys.readouterr().err
    assert pj.Results.load(tmp_path / "run").best == results.best


def test_a_kind_may_count_its_outputs_in_numpy_and_annotate_its_fields(table, register, tmp_path):
    """Its subclass predicts after loading, and several together."""

    @dataclasses.dataclass(frozen=True)
    class Counted(Plain):
        name: str = "counted"

        @property
        def outputs(self):
            return np.int64(len(self.classes))

    class Further(Counted):
        name = "counted"

    register("kind", "counted", Further)
    task = pj.supervised(table, kind="counted")
    pj.search(task, RATE, trials=4, epochs=2, rank=pj.together(), out=tmp_path / "a")
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


def telling(**hooks):
    """A task whose hooks around training give what they are told to."""
    methods = {name: lambda self, *given, hook=hook: hook(*given[:1]) for name, hook in hooks.items()}
    return type("Telling", (pj.Task,), methods)(start, step, ())


@pytest.mark.parametrize("given", [None, ["linear"], {"linear": 0.5}])
def test_baselines_that_are_no_functions_are_refused_before_training(given, tmp_path):
    with refused("the task Telling: beside returned ", "return name -> function"):
        pj.search(telling(beside=lambda: given), SPACE, trials=2, epochs=2, out=tmp_path / "run")


AFTER = {
    "nothing": (lambda results: None, "TypeError: 'NoneType' object is not iterable"),
    "raises": (raises(), "ZeroDivisionError: its own"),
    "NaN": (lambda results: {"share": float("nan")}, "not JSON compliant"),
    "trials not kept": (lambda results: {"together": (7,)}, "together=(7,) names trials that were not kept"),
}


@pytest.mark.parametrize("name", AFTER)
def test_entries_of_a_summary_that_fail_cost_a_run_nothing(name, tmp_path, capsys):
    given, says = AFTER[name]
    results = pj.search(telling(afterwards=given), SPACE, trials=2, epochs=2, out=tmp_path / "run")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("popjax: the task Telling: afterwards failed (")
    assert says in line
    assert pj.Results.load(tmp_path / "run").best == results.best


def test_entries_of_a_tasks_own_are_in_its_summary(tmp_path):
    task = telling(afterwards=lambda results: {"share": 0.5, "together": results.best_trials(1)})
    results = pj.search(task, SPACE, trials=2, epochs=2, out=tmp_path / "run")
    assert (results.summary["share"], list(results.ensemble)) == (0.5, [results.best.trial])
