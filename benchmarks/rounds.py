"""Does coarse to fine pay? Three rounds against one at the same number of trials, on digits and wine.

Every seed has a split, points and initial weights of its own. The winner is judged by its
validation score, which is what a search sees, and by its score on rows that no trial saw.
Prints one JSON object.
"""

import argparse
import json
import sys
from typing import Any

import numpy as np
from scipy.stats import t

import popjax as pj
from popjax.core.machine import device
from popjax.data.dataset import built_in

SCORES = ("validation", "test", "last third")


def winner(dataset: str, rounds: int, trials: int, epochs: int, seed: int) -> list[float]:
    """Validation and test accuracy of the winner, and the median validation accuracy of the last third."""
    task = pj.supervised(built_in(dataset), seed=seed)
    space = pj.default_space(rows=task.data.folds.train.shape[1])
    results = pj.search(task, space, trials=trials, epochs=epochs, seed=seed, scheduler=pj.rounds(rounds))
    last = np.where(results.diverged, 0, results.values["val_accuracy"])[-(trials // 3) :]
    assert results.best is not None
    return [results.best.value, results.summary["test_value"], float(np.median(last))]


def interval(values: np.ndarray) -> list[float]:
    """Mean and half the width of its 95% interval."""
    half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return [round(float(values.mean()), 5), round(float(half), 5)]


def measure(dataset: str, trials: int, epochs: int, seeds: int) -> dict[str, Any]:
    """The mean scores of one and of three rounds, and the mean difference seed by seed."""
    scores = []
    for seed in range(seeds):
        scores.append([winner(dataset, rounds, trials, epochs, seed) for rounds in (1, 3)])
        print(f"{dataset}: {seed + 1} of {seeds}", file=sys.stderr, flush=True)
    one, three = np.array(scores).transpose(1, 0, 2)
    return {
        name: {
            "one round": interval(one[:, i]),
            "three rounds": interval(three[:, i]),
            "three minus one": interval(three[:, i] - one[:, i]),
        }
        for i, name in enumerate(SCORES)
    }


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="two seeds, 12 trials, 2 epochs")
    options = parser.parse_args()
    size = (12, 2, 2) if options.quick else (options.trials, options.epochs, options.seeds)
    report: dict[str, Any] = dict(zip(("trials", "epochs", "seeds"), size, strict=True)) | {"device": device()}
    print(json.dumps(report | {dataset: measure(dataset, *size) for dataset in ("digits", "wine")}))


if __name__ == "__main__":
    main()
