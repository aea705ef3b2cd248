"""Which way of a convolution is fastest, and how much slower the one is that its cost chooses.

Forward and backward on one core, 64 images of 14 and 28 pixels a side, 3 and 5 taps; the first layers without the
gradient of their inputs, as in training.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable

os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from popjax.core.machine import device
from popjax.rewriting.convolution import METHODS
from popjax.rewriting.windows import Windows

ROWS, BATCHES, SECONDS = 64, 4, 0.05
FIRST = [(1, 8), (1, 16), (1, 32), (3, 16), (3, 32), (3, 64)]  # channels, units
LATER = [(8, 8), (8, 32), (16, 16), (16, 32), (16, 64), (32, 32), (32, 64), (64, 64)]


def milliseconds(way: Callable[..., jax.Array], side: int, kernel: jax.Array, windows: Windows, first: bool) -> float:
    """Of an update of the kernel, the least of three; of later layers also the gradient of the images."""
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.normal(size=(BATCHES, ROWS, side, side, kernel.shape[-2])), jnp.float32)
    slope = jnp.asarray(rng.normal(size=(ROWS, side, side, kernel.shape[-1])), jnp.float32)
    value = lambda kernel, x: (jax.nn.relu(way(x, kernel, windows)) * slope).sum()  # whose slope needs the forward pass

    def body(kernel: jax.Array, x: jax.Array) -> tuple[jax.Array, list[jax.Array]]:
        change, *others = jax.grad(value, (0,) if first else (0, 1))(kernel, lax.optimization_barrier(x))
        return kernel + 1e-9 * change, [other.ravel()[0] for other in others]

    run = jax.jit(lambda kernel: lax.scan(body, kernel, images))

    def seconds(times: int) -> float:
        begin = time.process_time()
        for _ in range(times):
            found = run(kernel)
        jax.block_until_ready(found)
        return (time.process_time() - begin) / times

    seconds(1)
    times = max(1, round(SECONDS / seconds(1)))
    return min(seconds(times) for _ in range(3)) / BATCHES * 1e3


def main() -> None:
    """Print a JSON line a shape, and the means and the largest of chosen over fastest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="14 pixels and 3 taps alone")
    quick = parser.parse_args().quick
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    ratios = []
    for side, taps in [(14, 3)] if quick else [(14, 3), (28, 3), (14, 5), (28, 5)]:
        windows = Windows((taps,) * 2, (1, 1), (1, 1), ((taps // 2,) * 2,) * 2)
        for channels, units in FIRST + LATER:
            kernel = jnp.full((taps, taps, channels, units), 0.01)
            x = jax.ShapeDtypeStruct((ROWS, side, side, channels), kernel.dtype)
            costs = {way: cost(x, kernel, windows) for way, cost in METHODS.items()}
            found = {
                way: milliseconds(way, side, kernel, windows, (channels, units) in FIRST)
                for way, cost in costs.items()
                if np.isfinite(cost)
            }
            chosen = min(METHODS, key=lambda way: costs[way])
            ratios.append(found[chosen] / min(found.values()))
            row = {"side": side, "taps": taps, "channels": channels, "units": units, "chosen": chosen.__name__}
            print(json.dumps(row | {way.__name__: round(value, 3) for way, value in found.items()}), flush=True)
    print(json.dumps({"device": device(), "mean": np.mean(ratios).round(3), "largest": max(ratios)}), file=sys.stderr)


if __name__ == "__main__":
    main()
