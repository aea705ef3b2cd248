"""Problems of every kind, as a user's module has them: the model, the rows, what `supervised` is told."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import popjax as pj
from popjax.engine.member import SEED

ROWS, TOKENS, LENGTH = 90, 7, 4
DRAWS = np.random.default_rng(11)
TABLE = DRAWS.normal(size=(ROWS, 5)) * [1, 10, 0.1, 3, 1] + [0, 5, 1, -2, 0]
VALUES = np.stack([TABLE[:, 0] * 3 + TABLE[:, 1], 1000 * TABLE[:, 2] + 5], 1) + DRAWS.normal(size=(ROWS, 2))
LABELS = np.stack([TABLE[:, 0] > 0, TABLE[:, 1] > 5, TABLE[:, 3] > 0.5], 1)
WORDS = DRAWS.integers(0, TOKENS, (ROWS, LENGTH))
NAMED = (WORDS == 2).any(1).astype(int) + (WORDS == 5).any(1)


def initial_state(tracer, static, trial, seed=0):
    """The state of a trial before its first epoch, as the engine makes it."""
    member = tracer.member(trial, static)
    example = jax.tree.map(lambda aval: jnp.zeros(aval.shape, aval.dtype), member.example)
    values = {name: jnp.asarray(tracer.points[name][trial], member.dtype(name)) for name in member.dynamic}
    example = example._replace(trial=jnp.int32(trial), values=values)
    return member.init(jnp.asarray(seed, SEED.dtype), example, jax.tree.map(jnp.asarray, tracer.task.data)).state


def mean_square(outputs, targets):
    return ((outputs - targets) ** 2).mean(-1)


def dense(inputs, outputs, rngs):
    return nnx.Linear(inputs, outputs, param_dtype=float, rngs=rngs)


class Net(nnx.Module):
    """One hidden layer; the width of its input and output are set by its problem."""

    inputs, outputs = 5, 2

    def __init__(self, hparams, rngs):
        self.hidden = dense(self.inputs, 6, rngs)
        self.out = dense(6, self.outputs, rngs)

    def __call__(self, x):
        return self.out(nnx.tanh(self.hidden(x)))


class Labels(Net):
    outputs = 3


class Coder(Net):
    outputs = 5


class Logs(Net):
    inputs = 10


class Reader(nnx.Module):
    """The mean of what tokens mean."""

    def __init__(self, hparams, rngs):
        self.words = nnx.Embed(TOKENS, 3, param_dtype=float, rngs=rngs)
        self.out = dense(3, 3, rngs)

    def __call__(self, tokens):
        assert jnp.issubdtype(tokens.dtype, jnp.integer)
        return self.out(self.words(tokens).mean(1))


class Both(nnx.Module):
    """Tokens beside a table."""

    def __init__(self, hparams, rngs):
        self.words = nnx.Embed(TOKENS, 3, param_dtype=float, rngs=rngs)
        self.out = dense(8, 3, rngs)

    def __call__(self, rows):
        return self.out(jnp.concatenate([self.words(rows["tokens"]).mean(1), rows["table"]], -1))


@dataclasses.dataclass(frozen=True, eq=False)
class Folded(pj.Transform):
    """Features over their largest, and how far each is from the middle row."""

    middle: np.ndarray | None = None
    most: np.ndarray | None = None

    def fit(self, x, columns):
        return Folded(np.median(x, 0), np.abs(x).max(0))

    def __call__(self, x):
        return np.hstack([x / self.most, np.abs(x - self.middle) / self.most])


PROBLEMS = {
    "values": {"data": (TABLE, VALUES), "model": Net},
    "labels": {"data": (TABLE, LABELS), "model": Labels, "metrics": ["f1", "auc"]},
    "autoencoder": {"data": (TABLE, TABLE), "model": Coder, "loss": mean_square},
    "tokens": {"data": (WORDS, NAMED), "model": Reader, "transform": "none"},
    "dict": {"data": ({"tokens": WORDS, "table": TABLE}, NAMED), "model": Both, "transform": {"table": "robust"}},
    "transform": {"data": (TABLE, VALUES[:, 0]), "model": type("One", (Logs,), {"outputs": 1}), "transform": Folded()},
}
SPACE = {"learning_rate": pj.log_uniform(1e-3, 3e-2), "b1": pj.uniform(0.8, 0.95), "batch_size": 16}


def task(name, **more):
    return pj.supervised(**PROBLEMS[name], optimizer="adam", **more)


def first(name, count=7):
    """The first raw rows of a problem."""
    x = PROBLEMS[name]["data"][0]
    return {key: one[:count] for key, one in x.items()} if isinstance(x, dict) else x[:count]
