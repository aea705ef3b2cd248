"""Is the mean of several better than the winner? On rows that no trial saw, seed by seed, over six tables.

Every seed has a split, points and initial weights of its own. Of a search without folds: the winner, the best k by the
metric that ranks together (`mean`), and selection with replacement by the loss on the validation rows (`greedy`;
Caruana et al. 2004). Of the same points on three folds, where each trial is three models: the same, the smallest model
within one standard error (`one-se`), and selection by the loss on the rows that each model did not train on. Run with
`uv run --with palmerpenguins --with statsmodels python benchmarks/ensemble.py`, whose packages hold two of the tables.
Prints one JSON object, and writes it beside the others unless --quick: of each method the score and the loss on the
test rows, and their difference to the winner's, with 95% intervals.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t
from tables import fair, penguins

import popjax as pj
from popjax.core.machine import device
from popjax.data.built_in import BUILT_IN
from popjax.store.results import Results
from popjax.supervision.predictor import Predictor

RESULTS = Path(__file__).parent / "results" / "ensemble.json"
KEPT, FOLDS = 50, 3
TABLES: dict[str, Callable[[], Any]] = {
    **{name: (lambda name=name: name) for name in BUILT_IN},
    "penguins": lambda: penguins("species"),
    "fair": fair,
}


def first(results: Results) -> Predictor:
    """The trial that ranks first."""
    return results.predictor(int(results.order[0]))


def mean(size: int) -> Callable[[Results], Predictor]:
    """The best trials together."""
    return lambda results: pj.ensemble(results, size=size)


def greedy(results: Results) -> Predictor:
    """25 steps of selection with replacement."""
    return pj.ensemble(results, size=25, method="greedy")


METHODS: dict[int, dict[str, Callable[[Results], Predictor]]] = {  # of a search without folds, and of one with
    1: {"winner": first, **{f"mean of {k}": mean(k) for k in (5, 10, 25, 50)}, "greedy": greedy},
    FOLDS: {
        "winner, folds": first,
        "one-se, folds": lambda results: results.predictor(results.best.trial),  # type: ignore[union-attr]
        "mean of 25, folds": mean(25),
        "greedy out of fold": greedy,
    },
}
NAMES = [name for methods in METHODS.values() for name in methods]


def scores(table: str, trials: int, epochs: int, seed: int) -> list[list[float]]:
    """Of each method the accuracy and the log loss on the test rows, or R² and the mean squared error."""
    task, found = pj.supervised(TABLES[table](), seed=seed), []
    space = pj.default_space(rows=task.data.folds.train.shape[1] // 2)
    for folds, methods in METHODS.items():
        rule = pj.best if folds == 1 else pj.one_se
        results = pj.search(task, space, trials=trials, epochs=epochs, seed=seed, folds=folds, rank=rule(keep=KEPT))
        data, rows = results.task.dataset, results.task.in_folds(folds).split.test
        for method in methods.values():
            values = task.judged(method(results).mean_of(data.x[rows]), rows)
            found.append([values.get("accuracy", values.get("r2", 0.0)), values.get("mse", values.get("loss", 0.0))])
    return found


def interval(values: np.ndarray) -> list[float]:
    """Mean and half the width of its 95% interval."""
    half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return [float(f"{value:.4g}") for value in (values.mean(), half)]


def measure(table: str, trials: int, epochs: int, seeds: int) -> dict[str, Any]:
    """The mean scores of each method, and their difference to the winner's, seed by seed."""
    found = []
    for seed in range(seeds):
        found.append(scores(table, trials, epochs, seed))
        print(f"{table}: {seed + 1} of {seeds}", file=sys.stderr, flush=True)
    values = np.array(found)  # (seeds, methods, 2)
    return {
        name: {
            "score": interval(values[:, row, 0]),
            "loss": interval(values[:, row, 1]),
            "score, minus the winner's": interval(values[:, row, 0] - values[:, 0, 0]),
            "loss, share of the winner's": float(f"{values[:, row, 1].mean() / values[:, 0, 1].mean():.3f}"),
        }
        for row, name in enumerate(NAMES)
    }


def main() -> None:
    """Measure table by table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--tables", default=",".join(TABLES))
    parser.add_argument("--quick", action="store_true", help="two seeds of wine and penguins, 60 trials, 2 epochs")
    options = parser.parse_args()
    tables = ["wine", "penguins"] if options.quick else options.tables.split(",")
    size = (60, 2, 2) if options.quick else (options.trials, options.epochs, options.seeds)
    report: dict[str, Any] = dict(zip(("trials", "epochs", "seeds"), size, strict=True)) | {"device": device()}
    for table in tables:
        report[table] = measure(table, *size)
        if not options.quick:  # after each, since all take a quarter of an hour
            RESULTS.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
