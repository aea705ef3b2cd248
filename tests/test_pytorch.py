"""popjax's optimizers are PyTorch's: from the same weights and rows in the same order, the same curves.

pytorch_curves.json holds what torch.optim gives, written by make_pytorch_curves.py.
"""

import itertools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from popjax.supervision.optimizers import OPTIMIZERS

DATA = json.loads(Path(__file__).with_name("pytorch_curves.json").read_text())
RUNS = DATA["runs"]
CURVES = ("train_loss", "val_loss")


def loss_of(params, x, y):
    """Mean cross-entropy of a relu MLP with params [W1, b1, W2, b2, ...]."""
    *hidden, (w, b) = zip(params[::2], params[1::2], strict=True)
    for kernel, bias in hidden:
        x = jnp.maximum(x @ kernel + bias[None, :], 0)
    logits = x @ w + b[None, :]
    return jnp.mean(jax.nn.logsumexp(logits, axis=1) - logits[jnp.arange(len(y)), y])


def train(name, hparams):
    """The curves of one of popjax's optimizers on the JSON's rows, from the JSON's weights."""
    x, y, x_val, y_val, order = (jnp.asarray(DATA[key]) for key in ("x", "y", "x_val", "y_val", "order"))
    params = [jnp.asarray(w) for w in DATA["weights"]]
    optimizer = OPTIMIZERS[name](hparams)
    state = optimizer.init(params)

    @jax.jit
    def step(params, state, rows):
        loss, gradients = jax.value_and_grad(loss_of)(params, x[rows], y[rows])
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, loss

    val_loss = jax.jit(lambda params: loss_of(params, x_val, y_val))
    curves = {name: [] for name in CURVES}
    for rows in order:
        losses = []
        for batch in rows.reshape(-1, DATA["batch_size"]):
            params, state, loss = step(params, state, batch)
            assert loss.dtype == jnp.float64
            losses.append(float(loss))
        curves["train_loss"].append(np.mean(losses))
        curves["val_loss"].append(float(val_loss(params)))
    return curves


def distance(left, right):
    """The smaller of the two curves' largest differences: beyond a bound, both curves differ."""
    return min(np.max(np.abs(np.subtract(left[name], right[name]))) for name in CURVES)


@pytest.mark.parametrize("run", RUNS)
def test_curves_are_pytorchs(x64, run):
    curves = train(RUNS[run]["optimizer"], RUNS[run]["hparams"])
    for name in CURVES:
        np.testing.assert_allclose(curves[name], RUNS[run][name], rtol=1e-9, err_msg=name)


def test_every_optimizer_has_a_run():
    assert {run["optimizer"] for run in RUNS.values()} == set(OPTIMIZERS)


@pytest.mark.parametrize(("left", "right"), list(itertools.combinations(RUNS, 2)))
def test_runs_differ(left, right):
    assert distance(RUNS[left], RUNS[right]) > 1e-3


@pytest.mark.parametrize(
    ("run", "name", "wrong"),
    [
        ("sgd", "sgd", {"momentum": 0.89}),
        ("sgd", "nesterov", {}),
        ("nesterov_decay", "sgd", {}),
        ("nesterov_decay", "nesterov", {"weight_decay": 0.0}),
        ("adam", "adam", {"b1": 0.85}),
        ("adam", "adam", {"b2": 0.9}),
        ("adam_decay", "adamw", {}),
        ("adamw", "adam", {}),
        ("rmsprop", "rmsprop", {"b2": 0.9}),
        ("rmsprop", "rmsprop", {"eps": 1e-3}),
    ],
)
def test_a_wrong_optimizer_gives_other_curves(x64, run, name, wrong):
    assert distance(train(name, RUNS[run]["hparams"] | wrong), RUNS[run]) > 1e-3
