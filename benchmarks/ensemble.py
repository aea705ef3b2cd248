"""Is the mean of several better than the winner? On rows that no trial saw, seed by seed, over four tables.

Every seed has a split, points and initial weights of its own. `mean` takes the best k by the metric that ranks,
`greedy` selects with replacement by the loss on the validation rows (Caruana et al. 2004). Prints one JSON object: of
each method the score and the loss on the test rows, and their difference to the winner's, with 95% intervals.
"""

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import t

import popjax as pj
from popjax.commands.experiment import enable_cache
from popjax.core.machine import device
from popjax.data.built_in import BUILT_IN
from popjax.data.dataset import built_in
from popjax.store.results import Results
from popjax.supervision.ensemble import judged
from popjax.supervision.predictor import Predictor

KEPT = 50
METHODS: dict[str, Callable[[Results], Predictor]] = {
    "winner": lambda results: results.predictor(results.best.trial),  # type: ignore[union-attr]
    **{f"mean of {k}": (lambda results, k=k: pj.ensemble(results, size=k)) for k in (5, 10, 25, 50)},
    "greedy, 25 steps": lambda results: pj.ensemble(results, size=25, method="greedy"),
}


def scores(dataset: str, trials: int, epochs: int, folds: int, seed: int) -> list[list[float]]:
    """Of each method the accuracy and the log loss on the test rows, or R² and the mean squared error."""
    data = built_in(dataset)
    task = pj.supervised(data, seed=seed)
    space = pj.default_space(rows=task.data.folds.train.shape[1] // 2)
    results = pj.search(task, space, trials, epochs, seed=seed, folds=folds, keep=KEPT)
    rows = results.task.hints.folded.parts(folds).test
    found = []
    for method in METHODS.values():
        values = judged(method(results).mean_of(data.x[rows]), data.y[rows])
        found.append([values.get("accuracy", values.get("r2", 0.0)), values.get("mse", values.get("loss", 0.0))])
    return found


def interval(values: np.ndarray) -> list[float]:
    """Mean and half the width of its 95% interval."""
    half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return [float(f"{value:.4g}") for value in (values.mean(), half)]


def measure(dataset: str, trials: int, epochs: int, folds: int, seeds: int) -> dict[str, Any]:
    """The mean scores of each method, and their difference to the winner's, seed by seed."""
    found = []
    for seed in range(seeds):
        found.append(scores(dataset, trials, epochs, folds, seed))
        print(f"{dataset}: {seed + 1} of {seeds}", file=sys.stderr, flush=True)
    table = np.array(found)  # (seeds, methods, 2)
    return {
        name: {
            "score": interval(table[:, row, 0]),
            "loss": interval(table[:, row, 1]),
            "score, minus the winner's": interval(table[:, row, 0] - table[:, 0, 0]),
            "loss, share of the winner's": float(f"{table[:, row, 1].mean() / table[:, 0, 1].mean():.3f}"),
        }
        for row, name in enumerate(METHODS)
    }


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--folds", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="two seeds, 60 trials, 2 epochs")
    options = parser.parse_args()
    size = (60, 2, 1, 2) if options.quick else (options.trials, options.epochs, options.folds, options.seeds)
    enable_cache()
    report: dict[str, Any] = dict(zip(("trials", "epochs", "folds", "seeds"), size, strict=True))
    report |= {"device": device()}
    print(json.dumps(report | {dataset: measure(dataset, *size) for dataset in BUILT_IN}))


if __name__ == "__main__":
    main()
