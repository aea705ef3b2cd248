"""The best hand-written loop for one population, as the yardstick: no line of popjax.

MLP 64-100-100-10 on digits, SGD with momentum or Adam, exact shapes, `lax.map` over the
members, one thread a core, one executable. Prints microseconds per update of one model.
"""

import argparse
import json
import os
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from sklearn.datasets import load_digits

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--members", type=int, default=64)
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--batch", type=int, default=32)
parser.add_argument("--optimizer", choices=("sgd", "adam"), default="sgd")
parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
parser.add_argument("--runs", type=int, default=3)
options = parser.parse_args()

x, y = load_digits(return_X_y=True)
x = jnp.asarray((x / 8 - 1)[:1437], jnp.float32)
y = jnp.asarray(y[:1437])
n, batch = len(x), options.batch
steps = n // batch


def init(key):
    sizes = (64, 100, 100, 10)
    keys = jax.random.split(key, 3)
    weights = [jax.random.normal(k, (a, b)) * jnp.sqrt(2 / a) for k, a, b in zip(keys, sizes, sizes[1:], strict=False)]
    params = [(w, jnp.zeros(w.shape[1])) for w in weights]
    zeros = jax.tree.map(jnp.zeros_like, params)
    return params, (zeros, zeros, jnp.float32(0)) if options.optimizer == "adam" else zeros, key


def loss(params, x, y):
    for w, b in params[:-1]:
        x = jax.nn.relu(x @ w + b)
    w, b = params[-1]
    return -(jax.nn.log_softmax(x @ w + b) * jax.nn.one_hot(y, 10)).sum(1).mean()


def adam(params, moments, gradient, rate):
    m, v, count = moments
    count = count + 1
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, gradient)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, gradient)
    c1, c2 = 1 - 0.9**count, 1 - 0.999**count
    params = jax.tree.map(lambda p, m, v: p - rate * (m / c1) / (jnp.sqrt(v / c2) + 1e-8), params, m, v)
    return params, (m, v, count)


def epoch(state, rate, momentum, x, y):
    def step(carry, rows):
        params, velocity = carry
        value, gradient = jax.value_and_grad(loss)(params, x[rows], y[rows])
        if options.optimizer == "adam":
            return adam(params, velocity, gradient, rate), value
        velocity = jax.tree.map(lambda v, g: momentum * v + g, velocity, gradient)
        return (jax.tree.map(lambda p, v: p - rate * v, params, velocity), velocity), value

    params, velocity, key = state
    key, shuffle = jax.random.split(key)
    rows = jax.random.permutation(shuffle, n)[: steps * batch].reshape(steps, batch)
    (params, velocity), values = lax.scan(step, (params, velocity), rows)
    return (params, velocity, key), values.mean()


def epoch_of_part(states, rates, momenta, x, y):
    return lax.map(lambda member: epoch(*member, x, y), (states, rates, momenta))


part = options.members // options.threads
keys = jax.random.split(jax.random.key(0), (options.threads, part))
rates = jnp.asarray(np.geomspace(1e-3, 1e-1, part), jnp.float32)
momenta = jnp.full(part, 0.9, jnp.float32)
start = [jax.vmap(init)(k) for k in keys]
compiled = jax.jit(epoch_of_part).lower(start[0], rates, momenta, x, y).compile()


def train(states):
    for _ in range(options.epochs):
        states, values = compiled(states, rates, momenta, x, y)
        jax.block_until_ready(values)


readings = []
for _ in range(options.runs):
    threads = [threading.Thread(target=train, args=(states,)) for states in start]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall = time.perf_counter() - begin
    readings.append(wall / (options.epochs * steps * part * options.threads) * 1e6)
print(json.dumps({"us_per_update": [round(r, 1) for r in readings], "batch": batch, "members": part * options.threads}))
