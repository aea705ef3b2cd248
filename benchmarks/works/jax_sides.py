"""popjax, a sequential jitted loop and one plain vmap, on one kind of work: `jax_sides.py SIDE WORK`, one JSON line."""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax_networks import NETWORKS
from work import DECAY, RATE, WORKS, Work, rows_of

OTHERS = 8  # rows that validate, and as many that test
MEMBERS, SECONDS = 8, 4.0  # of training that is measured, about


def popjax(name: str, work: Work) -> dict[str, float]:
    """By two searches that are already compiled, of which one trains longer."""
    import popjax as pj

    x, y = rows_of(work)
    rows = np.arange(len(x) + 2 * OTHERS) % len(x)  # a few more, to validate and to test, which the other sides do not
    test, validation = np.arange(len(x), len(x) + OTHERS), np.arange(len(x) + OTHERS, len(rows))
    task = pj.supervised(
        (x[rows], y[rows]), NETWORKS[name], "adamw", test=test, validation=validation, transform="none"
    )
    space = {"learning_rate": pj.log_uniform(RATE, 1.01 * RATE), "weight_decay": DECAY, "batch_size": work.batch}

    def seconds(epochs: int) -> tuple[float, float]:
        wall, used = time.perf_counter(), time.process_time()
        found = pj.search(task, space, trials=MEMBERS, epochs=epochs)
        assert found.summary["model_steps"] == MEMBERS * epochs * work.steps
        return time.perf_counter() - wall, time.process_time() - used

    first, _ = seconds(1)
    wall, used = seconds(1)
    once, _ = seconds(3)
    epochs = max(4, round(SECONDS / max((once - wall) / 2, 1e-3)))
    long_wall, long_used = seconds(1 + epochs)
    updates = MEMBERS * epochs * work.steps
    return {"compile": first - wall, "cpu": (long_used - used) / updates, "wall": (long_wall - wall) / updates}


def parts(name: str, work: Work) -> tuple[Callable[[jax.Array], Any], Callable[..., Any]]:
    """`init(key)` -> state, and `step(state, x, y)` -> state, of one model."""
    optimizer = optax.adamw(RATE, weight_decay=DECAY)
    graph = nnx.split(NETWORKS[name](None, nnx.Rngs(0)), nnx.Param, ...)[0]

    def init(key: jax.Array) -> Any:
        _, params, rest = nnx.split(NETWORKS[name](None, nnx.Rngs(key)), nnx.Param, ...)
        return params, rest, optimizer.init(params)

    def loss(params: Any, rest: Any, x: jax.Array, y: jax.Array) -> tuple[jax.Array, Any]:
        model = nnx.merge(graph, params, rest, copy=True)
        losses = optax.softmax_cross_entropy_with_integer_labels(model(x), y)
        return losses.mean(), nnx.state(model, nnx.Not(nnx.Param))

    def step(state: Any, x: jax.Array, y: jax.Array) -> Any:
        params, rest, moments = state
        gradient, rest = jax.grad(loss, has_aux=True)(params, rest, x, y)
        change, moments = optimizer.update(gradient, moments, params)
        return optax.apply_updates(params, change), rest, moments

    return init, step


def measured(state: Any, epoch: Callable[[Any], Any], updates: int, begin: float) -> dict[str, float]:
    """Seconds an update of repeated epochs; `begin`: before the first was compiled."""
    state = jax.block_until_ready(epoch(state))
    compiled = time.perf_counter() - begin
    wall = time.perf_counter()
    state = jax.block_until_ready(epoch(state))
    epochs = max(2, round(SECONDS / (time.perf_counter() - wall)))
    wall, used = time.perf_counter(), time.process_time()
    for _ in range(epochs):
        state = epoch(state)
    jax.block_until_ready(state)
    done = epochs * updates
    return {
        "compile": compiled,
        "cpu": (time.process_time() - used) / done,
        "wall": (time.perf_counter() - wall) / done,
    }


def loop(name: str, work: Work, scanned: bool) -> dict[str, float]:
    """One model: an epoch is a jitted scan over its batches, or a call of a jitted step for each."""
    x, y = map(jnp.asarray, rows_of(work))
    init, step = parts(name, work)
    rng = np.random.default_rng(0)
    begin = time.perf_counter()
    state = jax.jit(init)(jax.random.key(0))

    def over(state: Any, order: jax.Array) -> Any:
        return jax.lax.scan(lambda state, rows: (step(state, x[rows], y[rows]), None), state, order)[0]

    whole, one = jax.jit(over, donate_argnums=0), jax.jit(step, donate_argnums=0)

    def epoch(state: Any) -> Any:
        order = rng.permutation(len(x)).reshape(work.steps, work.batch)
        if scanned:
            return whole(state, order)
        for rows in order:
            state = one(state, x[rows], y[rows])
        return state

    return measured(state, epoch, work.steps, begin)


def vmap(name: str, work: Work) -> dict[str, float]:
    """All models at once: a jitted, vmapped step for each batch."""
    x, y = map(jnp.asarray, rows_of(work))
    init, step = parts(name, work)
    rng = np.random.default_rng(0)
    begin = time.perf_counter()
    state = jax.jit(jax.vmap(init))(jax.random.split(jax.random.key(0), MEMBERS))
    every = jax.jit(jax.vmap(lambda state, rows: step(state, x[rows], y[rows])), donate_argnums=0)

    def epoch(state: Any) -> Any:
        orders = np.stack([rng.permutation(len(x)) for _ in range(MEMBERS)])
        for rows in np.split(orders, work.steps, 1):
            state = every(state, rows)
        return state

    return measured(state, epoch, MEMBERS * work.steps, begin)


SIDES: dict[str, Callable[[str, Work], dict[str, float]]] = {
    "popjax": popjax,
    "JAX loop": lambda name, work: loop(name, work, False),
    "JAX scan": lambda name, work: loop(name, work, True),
    "JAX vmap": vmap,
}

if __name__ == "__main__":
    print(json.dumps(SIDES[sys.argv[1]](sys.argv[2], WORKS[sys.argv[2]])))
