"""One accelerator from end to end, in under eight minutes: run it where you have one.

Population sizes for the MLP (SGD, Adam) and the CNN at two precisions of a product; what a
sequential jitted loop and a plain vmap reach on the same device; and the plans. Bandwidth and
arithmetic are set against a copy and a product measured here. Needs jax, optax, flax and numpy
only. Writes `results/gpu-<device>.json`.
"""

import argparse
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import popjax as pj
from popjax.core.machine import device, versions
from popjax.supervision.spaces import default_space

SIZES = (1, 4, 16, 64, 256, 1024, 4096, 16384)
ROWS, BATCH, LIMIT = 1797, 64, 450
PASSES = {"sgd": 6, "adam": 8}  # how often an update reads or writes all parameters, at the least


def rows() -> tuple[np.ndarray, np.ndarray]:
    """Rows like those of digits, which need no dataset: ten noisy prototypes."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 10, ROWS)
    return rng.normal(size=(10, 64))[y] + rng.normal(size=(ROWS, 64)), y


def seconds(function: Callable[[], Any], repeats: int = 3) -> float:
    """The best of some runs."""
    readings = []
    for _ in range(repeats):
        begin = time.perf_counter()
        jax.block_until_ready(function())
        readings.append(time.perf_counter() - begin)
    return min(readings)


def measured() -> dict[str, float]:
    """Bytes a second of a copy, and operations a second of a product at two precisions."""
    accelerator = jax.default_backend() != "cpu"
    big = jnp.ones(2**28 if accelerator else 2**24, jnp.float32)
    copy = jax.jit(lambda x: x + 1)
    size = 8192 if accelerator else 1024
    square = jnp.ones((size, size), jnp.float32)
    found = {"copy_bytes": 2 * big.nbytes / seconds(lambda: copy(big), 5)}
    for precision in ("default", "highest"):
        product = jax.jit(lambda x, p=precision: jnp.matmul(x, x, precision=p))
        jax.block_until_ready(product(square))
        found[f"flops_{precision}"] = 2 * size**3 / seconds(lambda f=product: f(square), 5)
    return found


def population(task: pj.Task, space: pj.Space, members: int, plan: str = "one") -> dict[str, float]:
    """Updates a second, from the difference of two runs; and the seconds of compiling."""
    first = pj.search(task, space, trials=members, epochs=1, backend=pj.Local(plan=plan))
    each = first.summary["model_steps"]
    epochs = int(np.clip(1.0 / max(first.summary["train_seconds"], 1e-3), 1, 40)) + 1
    short = pj.search(task, space, trials=members, epochs=1, backend=pj.Local(plan=plan)).summary["train_seconds"]
    long = pj.search(task, space, trials=members, epochs=1 + epochs, backend=pj.Local(plan=plan)).summary[
        "train_seconds"
    ]
    rate = each * epochs / max(long - short, 1e-9)
    return {"updates_per_second": rate, "compile_seconds": first.summary["compile_seconds"]}


def baseline(vmapped: int, optimizer_steps: int = 200) -> float:
    """Updates a second of a plain loop over one model's jitted training, or of one vmap over many."""
    x, y = (jnp.asarray(a) for a in rows())
    x = x.astype(jnp.float32)
    sizes = (64, 100, 100, 10)

    def train(key: jax.Array) -> jax.Array:
        keys = jax.random.split(key, 3)
        params = [
            (jax.random.normal(k, (a, b)) * jnp.sqrt(2 / a), jnp.zeros(b))
            for k, a, b in zip(keys, sizes, sizes[1:], strict=False)
        ]

        def loss(params: Any, index: jax.Array) -> jax.Array:
            h = x[index]
            for w, b in params[:-1]:
                h = jax.nn.relu(h @ w + b)
            w, b = params[-1]
            return -(jax.nn.log_softmax(h @ w + b) * jax.nn.one_hot(y[index], 10)).sum(1).mean()

        def step(carry: Any, i: jax.Array) -> tuple[Any, None]:
            params, velocity = carry
            gradient = jax.grad(loss)(params, (i * BATCH + jnp.arange(BATCH)) % ROWS)
            velocity = jax.tree.map(lambda v, g: 0.9 * v + g, velocity, gradient)
            return (jax.tree.map(lambda p, v: p - 0.01 * v, params, velocity), velocity), None

        start = params, jax.tree.map(jnp.zeros_like, params)
        return lax.scan(step, start, jnp.arange(optimizer_steps))[0][0][0][0].sum()

    keys = jax.random.split(jax.random.key(0), max(vmapped, 8))
    if vmapped:
        program = jax.jit(jax.vmap(train))
        jax.block_until_ready(program(keys))
        return vmapped * optimizer_steps / seconds(lambda: program(keys))
    program = jax.jit(train)
    jax.block_until_ready(program(keys[0]))
    return 8 * optimizer_steps / seconds(lambda: [program(key) for key in keys])


def main() -> None:
    """Print one JSON object, and write it to results/ unless --quick."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two sizes; also for a CPU")
    options = parser.parse_args()
    begin = time.perf_counter()
    roof = measured()
    data = rows()
    rates = pj.log_uniform(1e-4, 1e-2)
    mlp = pj.Space(learning_rate=rates, hidden=100, depth=2, batch_size=BATCH)
    cnn = pj.Space(learning_rate=rates, hidden=16, depth=2, batch_size=BATCH)
    parameters = 65 * 100 + 101 * 100 + 101 * 10
    found: dict[str, Any] = {"device": device(), "versions": versions(), "measured": roof, "populations": []}
    found["sequential_updates_per_second"] = baseline(0)
    found["vmap_updates_per_second"] = {n: baseline(n) for n in ((8,) if options.quick else (64, 1024))}
    images = data[0].reshape(-1, 8, 8, 1), data[1]
    cases = [("mlp", "sgd", mlp, data), ("mlp", "adam", mlp, data), ("cnn", "sgd", cnn, images)]
    for precision in ("default", "highest"):
        for model, optimizer, space, of in cases:
            task = pj.supervised(of, model=model, optimizer=optimizer)
            for members in (2, 16) if options.quick else SIZES:
                if time.perf_counter() - begin > LIMIT:
                    break
                with jax.default_matmul_precision(precision):
                    row = population(task, space, members)
                row |= {"model": model, "optimizer": optimizer, "precision": precision, "members": members}
                if model == "mlp":
                    rate = row["updates_per_second"]
                    row["of_copy"] = rate * 4 * parameters * PASSES[optimizer] / roof["copy_bytes"]
                    row["of_product"] = rate * 6 * parameters * BATCH / roof[f"flops_{precision}"]
                found["populations"].append(row)
                print(json.dumps(row), flush=True)
    task = pj.supervised(data)
    members = 16 if options.quick else 512
    wide = default_space().replace(hidden=pj.log_integers(16, 256))
    found["plans"] = {plan: population(task, wide, members, plan) for plan in ("one", "widths", "buckets")}
    found["seconds"] = time.perf_counter() - begin
    if not options.quick:
        name = re.sub(r"\W+", "-", found["device"]).strip("-").lower()
        (Path(__file__).parent / "results" / f"gpu-{name}.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
