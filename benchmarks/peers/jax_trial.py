"""The training of one trial as one pure JAX function, for the peers that transform it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from workload import BATCH, SIZES, Workload


def init(key: jax.Array) -> list[tuple[jax.Array, jax.Array]]:
    """Weights and biases."""
    keys = jax.random.split(key, len(SIZES) - 1)
    shapes = zip(keys, SIZES, SIZES[1:], strict=False)
    return [(jax.random.normal(k, (a, b)) * jnp.sqrt(2 / a), jnp.zeros(b)) for k, a, b in shapes]


def logits(params: Any, x: jax.Array) -> jax.Array:
    """The outputs (rows, classes)."""
    for w, b in params[:-1]:
        x = jax.nn.relu(x @ w + b)
    w, b = params[-1]
    return x @ w + b


def loss(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    """The mean cross-entropy; a product with the one-hot labels is faster on a CPU than a gather."""
    return -(jax.nn.log_softmax(logits(params, x)) * jax.nn.one_hot(y, SIZES[-1])).sum(1).mean()


def trainer(work: Workload) -> Callable[[jax.Array, Any, Any], tuple[jax.Array, jax.Array]]:
    """`train(seed, learning_rate, momentum) -> (validation accuracy, updates)`; the rows are its constants."""
    x, y, x_validation, y_validation = map(jnp.asarray, work[:4])

    def train(seed: jax.Array, learning_rate: Any, momentum: Any) -> tuple[jax.Array, jax.Array]:
        def step(carry: Any, rows: jax.Array) -> tuple[Any, None]:
            params, velocity, updates = carry
            gradient = jax.grad(loss)(params, x[rows], y[rows])
            velocity = jax.tree.map(lambda v, g: momentum * v + g, velocity, gradient)
            params = jax.tree.map(lambda p, v: p - learning_rate * v, params, velocity)
            return (params, velocity, updates + 1), None

        def epoch(carry: Any, key: jax.Array) -> tuple[Any, None]:
            order = jax.random.permutation(key, len(x))[: work.steps * BATCH].reshape(work.steps, BATCH)
            return lax.scan(step, carry, order)[0], None

        key, shuffle = jax.random.split(jax.random.key(seed))
        params = init(key)
        start = params, jax.tree.map(jnp.zeros_like, params), 0
        (params, _, updates), _ = lax.scan(epoch, start, jax.random.split(shuffle, work.epochs))
        return (logits(params, x_validation).argmax(1) == y_validation).mean(), updates

    return train


def columns(work: Workload) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The seeds, learning rates and momenta (trials,) of all trials."""
    return jnp.arange(work.trials), jnp.float32(work.learning_rate), jnp.float32(work.momentum)
