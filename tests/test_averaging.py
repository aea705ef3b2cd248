"""`ema`: the running mean of a model's weights, against a plain loop and against the weights themselves."""

import numpy as np
import pytest
import stopping
from test_budget import Stops
from test_population_equals_loop import assert_same_as_loop, space_for

import popjax as pj
from popjax.core.trees import named_leaves


@pytest.mark.parametrize(("optimizer", "lanes", "branches"), [("sgd", 1, 8), ("adamw", 1, 1), ("adam", 4, 1)])
def test_a_population_with_means_equals_a_loop(x64, rows, optimizer, lanes, branches, monkeypatch):
    """Of several widths, depths, windows, no mean among them, and batch sizes, also as sums of micro-batches."""
    monkeypatch.setattr("popjax.engine.tracer.MOST_BRANCHES", branches)
    space = space_for(optimizer, "inverse", ema=pj.choice(0.0, 0.5, 0.95))
    assert_same_as_loop(rows, optimizer, "inverse", 3, space, backend=pj.Local(lanes))


def test_no_mean_is_the_bits_of_before(rows):
    space = pj.Space(learning_rate=pj.log_uniform(1e-3, 1e-1), hidden=pj.integers(3, 9), batch_size=pj.choice(8, 16))
    task = pj.supervised(rows, optimizer="adam")
    before = pj.search(task, space, trials=6, epochs=4)
    points = [{name: column[trial] for name, column in before.points.items()} for trial in range(6)]
    start = [point | {"ema": 0.0} for point in points]
    now = pj.search(task, space.replace(ema=pj.choice(0.0, 0.9)), trials=6, epochs=4, start=start)
    for name, curve in before.curves.items():
        np.testing.assert_array_equal(now.curves[name], curve)


def states(task, hparams, epochs):
    """Name -> array of one model after each epoch."""
    session, found = pj.Session(task, hparams, epochs=epochs), []
    for _ in range(epochs):
        session.train(1)
        state = session.state._replace(key=None)
        found.append({name: np.asarray(leaf) for name, leaf in named_leaves(state).items()})
    return found


def test_batch_statistics_are_averaged_too(x64):
    """All rows are a batch, so that an epoch is an update; training does not depend on the mean."""
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(48, 8, 8))
    task = pj.supervised((images, images.mean((1, 2)) > 0.5), "cnn", "sgd", validation=0.25, test=0)
    hparams = {"learning_rate": 0.1, "hidden": 4, "depth": 1, "norm": "batch", "batch_size": 36, "stages": 1}
    ema, epochs = 0.7, 4
    one, other = (states(task, hparams | more, epochs) for more in ({}, {"ema": ema}))
    counted = [name for name in one[0] if name.startswith(("params.", "variables."))]
    assert any(name.startswith("variables.") for name in counted)
    for name in counted:
        summed = sum((1 - ema) * ema ** (epochs - 1 - t) * one[t][name] for t in range(epochs))
        np.testing.assert_allclose(other[-1][name], summed / (1 - ema**epochs), rtol=1e-9, atol=1e-12, err_msg=name)
        np.testing.assert_allclose(other[-1][f"trained.{name}"], one[-1][name], rtol=1e-9, atol=1e-12, err_msg=name)


def test_the_mean_is_what_predicts_and_goes_on(rows, tmp_path):
    """Interrupted, resumed and predicted with, with best epochs kept, it has the bits of a search left alone."""
    task = pj.supervised(rows, optimizer="adam")
    space = pj.Space(learning_rate=pj.log_uniform(1e-3, 1e-1), hidden=8, ema=pj.one_minus_log_uniform(0.9, 0.999))
    rank = pj.best("val_loss", at="best", keep=2)
    alone = pj.search(task, space, trials=6, epochs=8, rank=rank)
    stops = Stops(3)
    options = {"trials": 6, "epochs": 8, "rank": rank, "out": tmp_path / "run"}
    stopping.search(task, space, stop=stops.stop, every=1, callbacks=[stops], **options)
    resumed = pj.search(task, space, every=1, resume=True, **options)
    assert resumed.summary["steps_run"] == alone.summary["model_steps"] * 5 // 8
    for name, curve in alone.curves.items():
        np.testing.assert_array_equal(resumed.curves[name], curve)
    x, y = task.dataset.x[task.split.validation[0]], task.dataset.y[task.split.validation[0]]
    chances = pj.load_best(tmp_path / "run").predict_proba(x)
    loss = -np.log(chances[np.arange(len(y)), y]).mean()
    assert loss == pytest.approx(resumed.best.value, rel=1e-5)


def test_it_may_change_on_the_way(x64, rows):
    """A person sets it after two epochs: the mean goes on, each update by the window that it had."""
    task = pj.supervised(rows, optimizer="sgd")
    updates = len(task.split.train[0])  # all rows are a batch
    hparams = {"learning_rate": 0.1, "hidden": 4, "depth": 1, "batch_size": updates}
    raw = states(task, hparams, 4)
    session = pj.Session(task, hparams | {"ema": 0.9}, epochs=4, space=pj.Space(**hparams, ema=pj.uniform(0.1, 0.95)))
    session.train(2)
    session.set(ema=0.5)
    session.train(2)
    kernels = [one["params.out.kernel"] for one in raw]
    shares = [0.1 * 0.9 * 0.25, 0.1 * 0.25, 0.5 * 0.5, 0.5]
    expected = sum(share * kernel for share, kernel in zip(shares, kernels, strict=True)) / (1 - 0.81 * 0.25)
    np.testing.assert_allclose(session.state.params["out"]["kernel"], expected, rtol=1e-9)


@pytest.mark.parametrize("ema", [1.0, -0.1, float("nan")])
def test_a_window_out_of_range_is_refused(rows, ema):
    with pytest.raises(ValueError, match=r"ema"):
        pj.search(pj.supervised(rows), {"learning_rate": 0.1, "ema": ema}, trials=1, epochs=1)
