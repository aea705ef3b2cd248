"""Members of one mixed population are the models that a plain loop trains one by one."""

import itertools

import jax
import loop
import numpy as np
import pytest
from conftest import soaked
from problems import initial_state

import popjax as pj
from popjax.data.dataset import from_arrays
from popjax.data.splits import Splitting, split
from popjax.engine.tracer import Tracer
from popjax.supervision.optimizers import OPTIMIZERS, SCHEDULES

EPOCHS = 14
TRIALS = 10

MIXED = {
    "learning_rate": pj.log_uniform(1e-3, 1e-1),
    "hidden": pj.integers(3, 9),
    "depth": pj.integers(1, 3),
    "batch_size": pj.choice(8, 16, 32),
    "dropout": pj.choice(0.0, 0.3),
    "weight_decay": pj.log_uniform(1e-3, 1e-1),
    "activation": "softplus",
}
READS = {"sgd": {"momentum"}, "nesterov": {"momentum"}, "adam": {"b1", "b2"}, "adamw": {"b1", "b2"}, "rmsprop": {"b2"}}
SCALES = {
    "momentum": pj.one_minus_log_uniform(0.5, 0.99),
    "b1": pj.uniform(0.8, 0.95),
    "b2": pj.one_minus_log_uniform(0.9, 0.999),
}


def space_for(optimizer, schedule, **others):
    scales = MIXED | {name: SCALES[name] for name in sorted(READS[optimizer])} | others
    if schedule not in ("cosine", "flat"):
        scales["decay"] = pj.uniform(0, 0.2) if schedule == "inverse" else pj.one_minus_log_uniform(0.9, 0.99)
    return pj.Space(**scales)


def exact_start(checker, static, trial, seed=0):
    """A trial's initial weights at its exact shape, checked to be padded by zeros, and its key (whatever the fold)."""
    state = initial_state(checker, static, trial, seed)
    return state, exact(state.params, {name: column[trial] for name, column in checker.points.items()})


def exact(params, hparams):
    """[W1, b1, ...] of the active units of a padded MLP's parameters."""
    depth = int(hparams.get("depth", 2))
    widths = [int(hparams.get(f"hidden_{i + 1}", hparams.get("hidden", 100))) for i in range(depth)]
    arrays = []
    layers = [params["hidden"][i] for i in range(len(params["hidden"]))]
    for i, layer in enumerate(layers):
        w, b = np.asarray(layer["kernel"]), np.asarray(layer["bias"])
        inputs = w.shape[0] if i == 0 else (widths[i - 1] if i < depth else 0)
        units = widths[i] if i < depth else 0
        outside = np.ones_like(w, bool)
        outside[:inputs, :units] = False
        assert not w[outside].any(), f"layer {i + 1} has weights outside its active units"
        assert not b[units:].any()
        arrays += [w[:inputs, :units], b[:units]] if i < depth else []
    w, b = np.asarray(params["out"]["kernel"]), np.asarray(params["out"]["bias"])
    assert not w[widths[-1] :].any()
    return [*arrays, w[: widths[-1]], b]


def assert_same_as_loop(rows, optimizer, schedule, classes, space, trials=TRIALS, folds=1, **how):
    task = pj.supervised(rows, optimizer=optimizer, schedule=schedule)
    results = pj.search(task, space, trials=trials, epochs=EPOCHS, rank=pj.best(keep=trials), folds=folds, **how)
    checker = Tracer(task.in_folds(folds), space, space.sample(trials), EPOCHS)
    static = checker.static_names(set())
    cut = split(from_arrays(*rows), Splitting(0.1, 0.1, 0), folds)
    updates = 0
    for trial, fold in itertools.product(range(trials), range(folds)):
        hparams = results.hparams(trial)
        state, start = exact_start(checker, static, trial)
        data = loop.standardized(*rows, cut.train[fold], cut.validation[fold], classes)
        curves, trained = loop.train(start, state.key, data, hparams, optimizer, schedule, EPOCHS, classes)
        updates = max(updates, EPOCHS * (len(data[0][0]) // hparams["batch_size"]))
        for name, curve in curves.items():
            np.testing.assert_allclose(
                results.members[name][trial, fold, 0], curve, rtol=1e-9, err_msg=f"{trial} {name}"
            )
        params = results.params(trial)
        nested = params if folds == 1 else jax.tree.map(lambda array, fold=fold: array[fold], params)
        for ours, theirs in zip(exact(nested, hparams), trained, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
    assert updates >= 50
    return results


@pytest.mark.parametrize(
    ("optimizer", "schedule"),
    soaked([*((optimizer, "inverse") for optimizer in OPTIMIZERS), *(("sgd", s) for s in SCHEDULES if s != "inverse")]),
)
def test_mixed_population_equals_loop(x64, rows, optimizer, schedule):
    assert_same_as_loop(rows, optimizer, schedule, 3, space_for(optimizer, schedule))


@pytest.mark.parametrize(
    ("optimizer", "lanes"), soaked([("adamw", 3), ("adamw", 1), *itertools.product(["sgd", "adam"], [1, 3])])
)
def test_accumulated_batches_equal_loop(x64, rows, optimizer, lanes, monkeypatch):
    """Batch sizes as sums of micro-batches, which lanes need, in one lane too; leftover micro-batches are ignored."""
    monkeypatch.setattr("popjax.engine.tracer.MOST_BRANCHES", 1)
    assert_same_as_loop(rows, optimizer, "inverse", 3, space_for(optimizer, "inverse"), backend=pj.Local(lanes))


def test_vmapped_lanes_equal_loop(x64, rows):
    assert_same_as_loop(rows, "adam", "inverse", 3, space_for("adam", "inverse"), backend=pj.Local(4))


@pytest.mark.parametrize(("widths", "lanes"), soaked([(("hidden",), 1), (("hidden_1", "hidden_2"), 4)]), ids=str)
def test_capped_widths_equal_loop(x64, rows, cheap_programs, widths, lanes):
    """Each trial in the program of the narrowest room that holds it."""
    others = {name: pj.log_integers(2, 28) for name in widths} | {"depth": pj.integers(1, len(widths) + 1)}
    others["batch_size"] = pj.choice(8, 16)
    space = space_for("adamw", "inverse", **{"hidden": 7, **others} if "hidden" not in widths else others)
    results = assert_same_as_loop(rows, "adamw", "inverse", 3, space, backend=pj.Local(lanes, plan="widths"))
    rooms = [results.params(trial)["out"]["kernel"].shape[0] for trial in range(TRIALS)]
    sizes = [0 if lanes == 1 else size for size in results.points["batch_size"].tolist()]  # no branches in many lanes
    assert len(set(rooms)) > 1
    assert len(set(zip(rooms, sizes, strict=True))) == results.summary["buckets"]


@pytest.mark.parametrize("kind", soaked(["classes", "regression"]))
def test_folds_equal_loops_over_their_rows(x64, rows, kind):
    """Each fold is a separate run on its own rows, standardized by its own training rows, from the trial's key."""
    x, y = rows
    offset = x + np.array([1e4, 0, 0, 0, 0])  # where the units of a column must not cost digits
    y, classes = (y, 3) if kind == "classes" else (100 + 20 * np.sin(x[:, 0]) + x[:, 3], None)
    results = assert_same_as_loop(
        (offset, y), "sgd", "inverse", classes, space_for("sgd", "inverse"), trials=5, folds=4
    )
    values = results.members[results.metric][..., -1].reshape(5, 4)
    assert results.values[results.metric] == pytest.approx(values.mean(1))
    assert results.errors[results.metric] == pytest.approx(values.std(1, ddof=1) / 2)


@pytest.mark.parametrize("activation", soaked(["tanh", "relu", "sigmoid"]))
def test_warmup_smoothing_and_widths_by_layer(x64, rows, activation):
    others = {"warmup": pj.integers(1, 6), "label_smoothing": pj.uniform(0.0, 0.2), "activation": activation}
    space = space_for("sgd", "inverse", hidden_1=pj.integers(2, 8), hidden_2=pj.integers(4, 6), **others)
    assert_same_as_loop(rows, "sgd", "inverse", 3, space)


def test_regression_equals_loop(x64, rows):
    x, _ = rows
    y = 100 + 20 * np.sin(x[:, 0]) + x[:, 3]
    results = assert_same_as_loop((x, y), "adamw", "inverse", None, space_for("adamw", "inverse"))
    assert (results.metric, results.metric.mode) == ("val_mse", "min")


@pytest.mark.soak
def test_static_shapes_equal_dynamic_ones(x64, rows):
    """Exact shapes from the same seed give the curves of the padded program, in either way to ask for them."""
    task = pj.supervised(rows)
    dynamic = space_for("sgd", "inverse")
    marked = dynamic.replace(
        hidden=pj.integers(3, 9, static=True),
        depth=pj.integers(1, 3, static=True),
        batch_size=pj.choice(8, 16, 32, static=True),
    )
    expected = pj.search(task, dynamic, trials=3, epochs=EPOCHS)
    assert expected.summary["buckets"] == 1
    for space, plan in ((marked, "one"), (dynamic, "buckets")):
        results = pj.search(task, space, trials=3, epochs=EPOCHS, backend=pj.Local(plan=plan))
        assert results.summary["buckets"] > 1
        for name, curve in expected.curves.items():
            np.testing.assert_allclose(results.curves[name], curve, rtol=1e-9, err_msg=name)


@pytest.mark.soak
def test_a_constant_that_fixes_a_shape_is_exact(x64, rows):
    """hidden=7 as a constant trains what hidden in 7..9 trains where it is 7, from the same key."""
    task = pj.supervised(rows)
    constant = pj.Space(learning_rate=0.05, hidden=7, depth=2, batch_size=16)
    padded = pj.Space(learning_rate=0.05, hidden=pj.choice(7, 9), depth=pj.choice(2, 3), batch_size=pj.choice(8, 16))
    sampled = padded.sample(40)
    match = (sampled["hidden"] == 7) & (sampled["depth"] == 2) & (sampled["batch_size"] == 16)
    trial = int(np.flatnonzero(match)[0])
    wide = pj.search(task, padded, trials=trial + 1, epochs=EPOCHS)
    exact = pj.search(task, constant, trials=trial + 1, epochs=EPOCHS, rank=pj.best(keep=trial + 1))
    assert exact.params(trial)["hidden"][1]["kernel"].shape == (7, 7)
    np.testing.assert_allclose(exact.curves["val_loss"][trial], wide.curves["val_loss"][trial], rtol=1e-9)
