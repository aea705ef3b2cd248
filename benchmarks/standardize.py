"""Where should standardized features end? The loss on rows that no trial saw, for several limits, over seven tables.

A nearly constant column has a tiny deviation on the training rows, and so reaches hundreds of it elsewhere. Each limit
is a pair: of all columns, and of those of which nearly all training rows have one value. Beside the
built-in tables: digits on a larger canvas, column by column, whose border is nearly empty; a column that is 0 but for
three rows of 0.001 and 1 in half of the test rows; and one with outliers. Of each limit the test loss of the best 25
trials together, as a share of that without a limit: geometric mean over the seeds. Prints one JSON object, and writes
it beside the others unless --quick.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from ranges import images

import popjax as pj
from popjax.core.machine import device
from popjax.data.built_in import BUILT_IN
from popjax.data.transforms import bounds

RESULTS = Path(__file__).parent / "results" / "standardize.json"
LIMITS = {
    "none": None,
    **{f"{far:g}, {near:g}": (far, near) for far, near in ((20, 20), (20, 3), (20, 1), (10, 1), (5, 1))},
}


def tables(seed: int) -> dict[str, dict[str, Any]]:
    """What `supervised` takes, by name."""
    moved, labels = list(images())[-1][1]
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(600, 7))
    y = (x[:, :6] @ rng.normal(size=6) + 0.3 * rng.normal(size=600) > 0).astype(int)
    x[:, 6] = 0
    x[rng.choice(400, 3, replace=False), 6] = 0.001
    x[400::2, 6] = 1
    wild = x[:, :6] * np.where(rng.random((600, 6)) < 0.01, 1000, 1)
    return {
        **{name: {"data": name} for name in BUILT_IN},
        "digits, moved": {"data": (moved.reshape(len(moved), -1), labels)},
        "a nearly constant column": {"data": (x, y), "test": np.arange(400, 600)},
        "outliers": {"data": (wild, y)},
    }


def loss(given: dict[str, Any], limit: tuple[float, float] | None, trials: int, epochs: int, seed: int) -> float:
    """The test loss of the best 25 together."""
    bounds.FAR, bounds.NEAR = limit or (np.inf, np.inf)
    task = pj.supervised(**given, transform="standardize", seed=seed)
    results = pj.search(task, None, trials=trials, epochs=epochs, seed=seed, rank=pj.best(keep=25))
    scores = results.summary["ensemble"]["test"]
    return float(scores.get("test_mse", scores.get("test_loss")))


def measure(seeds: int, trials: int, epochs: int) -> dict[str, dict[str, float]]:
    """Table -> limit -> the share of the loss without one; and their geometric mean."""
    found: dict[str, list[list[float]]] = {}
    for seed in range(seeds):
        for name, given in tables(seed).items():
            found.setdefault(name, []).append([loss(given, limit, trials, epochs, seed) for limit in LIMITS.values()])
            print(f"{name}: {seed + 1} of {seeds}", file=sys.stderr, flush=True)
    logs = {name: np.log(values).mean(0) - np.log(values).mean(0)[0] for name, values in found.items()}
    logs["geometric mean"] = np.mean(list(logs.values()), 0)
    return {
        name: {limit: float(f"{np.exp(value):.3f}") for limit, value in zip(LIMITS, values, strict=True)}
        for name, values in logs.items()
    }


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="one seed, 30 trials of 2 epochs")
    options = parser.parse_args()
    size = (1, 30, 2) if options.quick else (options.seeds, options.trials, options.epochs)
    report: dict[str, Any] = dict(zip(("seeds", "trials", "epochs"), size, strict=True)) | {"device": device()}
    report["share of the loss without a limit"] = measure(*size)
    if not options.quick:
        RESULTS.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
