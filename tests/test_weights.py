"""Rows that count for more: as if there were more of them, as scikit-learn balances them, and nowhere else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from sklearn.utils.class_weight import compute_class_weight

import popjax as pj

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 5))
Y = (X[:, 0] + 0.3 * RNG.normal(size=60) > 0.8).astype(int)
HELD = np.arange(0, 60, 4)
REST = np.setdiff1d(np.arange(60), HELD)
SPACE = {"learning_rate": 0.3, "momentum": 0.5, "depth": 1, "hidden": 4}


def curves(x, y, held, batch, **weights):
    """The curves of one model with a batch of all training rows."""
    task = pj.supervised((x, y), validation=held, test=0, transform="none", **weights)
    return pj.search(task, SPACE | {"batch_size": batch}, trials=1, epochs=6).curves


def test_a_weight_of_two_is_the_row_twice(x64):
    """In float64, with rows that are there twice; what validation rows weigh changes nothing."""
    double = REST[:15]
    weight = np.where(np.isin(np.arange(60), double), 2.0, 1.0)
    weight[HELD] = 5.0
    weighed = curves(X, Y, HELD, len(REST), sample_weight=weight)
    twice = curves(np.concatenate([X, X[double]]), np.concatenate([Y, Y[double]]), HELD, len(REST) + 15)
    for name in ("train_loss", "val_loss", "val_accuracy"):
        np.testing.assert_allclose(weighed[name], twice[name], rtol=1e-9)
    assert not np.allclose(weighed["val_loss"], curves(X, Y, HELD, len(REST))["val_loss"], rtol=1e-4)


class Net(nnx.Module):
    def __init__(self, hparams, rngs):
        self.hidden = nnx.Linear(5, 6, rngs=rngs, param_dtype=float)
        self.out = nnx.Linear(6, 1, rngs=rngs, param_dtype=float)

    def __call__(self, x):
        return self.out(jnp.tanh(self.hidden(x)))


@pytest.mark.parametrize("batch", [8, 15])
def test_a_weight_is_a_factor_of_a_rows_loss_and_their_mean_is_one(x64, batch):
    """In mini-batches too, which are not divided by the sum of their own weights."""
    y, weight = X[:, 0] ** 2, RNG.uniform(0.2, 3, 60)
    z, factor = (y - y[REST].mean()) / y[REST].std(), weight / weight[REST].mean()
    asked = {"validation": HELD, "test": 0, "transform": "none"}
    tasks = (
        pj.supervised((X, y), Net, sample_weight=weight, **asked),
        pj.supervised(
            (X, np.stack([z, factor], 1)), Net, loss=lambda o, t: (o[:, 0] - t[:, 0]) ** 2 * t[:, 1], **asked
        ),
    )
    space = {"learning_rate": 0.05, "momentum": 0.5, "batch_size": batch}
    named, own = (pj.search(task, space, trials=1, epochs=6).params(0) for task in tasks)
    for one, other in zip(jax.tree.leaves(named), jax.tree.leaves(own), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


def test_balanced_is_scikit_learns():
    task = pj.supervised((X, Y), class_weight="balanced", validation=HELD, test=0)
    expected = compute_class_weight("balanced", classes=np.array([0, 1]), y=Y[REST])
    np.testing.assert_allclose(task.data.weight, expected[Y])
    assert np.asarray(task.data.weight)[REST].mean() == pytest.approx(1)
    by_hand = np.where(Y == 1, 3.0, 1.0)
    for weights, rows in (({}, by_hand), ({"sample_weight": np.arange(60.0)}, by_hand * np.arange(60))):
        named = pj.supervised((X, Y), class_weight={1: 3.0}, validation=HELD, test=0, **weights)
        np.testing.assert_allclose(named.data.weight, rows / rows[REST].mean())
    assert pj.supervised((X, Y)).data.weight is None


def test_rare_classes_are_found_where_they_count(rows):
    """Nine in ten rows are of one class: balanced, the other one's recall is higher; equal weights are none."""
    rare = (X[:, 0] > 1.1).astype(int)
    x, y = np.tile(X, (5, 1)) + 0.3 * RNG.normal(size=(300, 5)), np.tile(rare, 5)
    space = pj.Space(learning_rate=pj.log_uniform(0.01, 0.1), hidden=8)
    results = {}
    for weight in (None, "balanced"):
        task = pj.supervised((x, y), class_weight=weight, test=0.3)
        results[weight] = pj.search(task, space, trials=8, epochs=8)
    recall = {name: one.values["val_balanced_accuracy"].mean() for name, one in results.items()}
    assert recall["balanced"] > recall[None] + 0.02
    ones = pj.search(pj.supervised((x, y), sample_weight=np.ones(300), test=0.3), space, trials=8, epochs=8)
    np.testing.assert_allclose(ones.curves["val_loss"], results[None].curves["val_loss"], rtol=1e-5)


def test_another_weight_is_another_run(tmp_path):
    pj.search(pj.supervised((X, Y)), SPACE, trials=1, epochs=1, out=tmp_path / "run")
    for weights in ({"class_weight": "balanced"}, {"sample_weight": np.arange(60.0)}):
        with pytest.raises(ValueError, match="task: "):
            pj.search(pj.supervised((X, Y), **weights), SPACE, trials=1, epochs=1, out=tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ({"class_weight": "even"}, "class_weight='even': give \"balanced\", or a weight of each label"),
        ({"class_weight": {7: 1}}, "class_weight: there is no class 7; there are 0, 1"),
        ({"class_weight": {0: -1}}, "class_weight: 0 weighs -1; give a finite number of at least 0"),
        ({"class_weight": {0: 0, 1: 0}}, "the weight of all training rows is zero"),
        ({"sample_weight": [1, 2]}, r"sample_weight is int64\[2\] for 60 rows; give one number a row"),
        ({"sample_weight": ["a"] * 60}, "give one number a row"),
        ({"sample_weight": np.r_[np.nan, np.ones(59)]}, "sample_weight: row 0 weighs nan; give finite numbers"),
    ],
)
def test_what_is_no_weight_is_refused_in_one_line(weights, says):
    with pytest.raises(ValueError, match=says) as caught:
        pj.supervised((X, Y), **weights)
    assert "\n" not in str(caught.value)


def test_a_regression_has_no_class_weights():
    with pytest.raises(ValueError, match="class_weight='balanced': a regression has no classes; use sample_weight"):
        pj.supervised((X, X[:, 0]), class_weight="balanced")


@pytest.mark.soak
def test_the_command_balances(command, tmp_path):
    done = command(
        *("sweep", "--dataset", "breast_cancer", "--class-weight", "balanced", "--trials", 4, "--epochs", 1),
        *("--set", "hidden=4", "--out", "run"),
    )
    assert done.returncode == 0, done.stderr
    assert pj.Results.load(tmp_path / "run").run["task"]["class_weight"] == "balanced"
    again = command("retest", "run", "--top", 1, "--background", 1, "--repeats", 3)
    assert again.returncode == 0, again.stderr
