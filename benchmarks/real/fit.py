"""One method on one split of one table, in a process of its own: prints its scores, seconds and memory as JSON.

`megabytes` are the most that the process, or one of its children, held while it fitted. Of the larger tables also how
long 100,000 predictions take, and the sums of the test rows' losses in blocks, for paired differences.
"""

import argparse
import json
import os
import resource
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from methods import PEERS, PLACE, Fit, Part, Predict, cleaned, linear, same
from sklearn.metrics import r2_score, root_mean_squared_error
from tables import LARGE, LARGE_FINAL, TABLES, parted


def population(**given: Any) -> Fit:
    """popjax's estimators at their defaults, but for `given`."""

    def fit(classes: bool, seed: int, part: Part, options: dict[str, Any]) -> tuple[Any, Predict]:
        import popjax as pj

        kind = pj.PopulationClassifier if classes else pj.PopulationRegressor
        made = (lambda rows: cleaned(rows, part.x)) if "model" in given else same
        model = kind(random_state=seed, shuffle=not part.timely, **given | options)
        return model.fit(made(part.x), part.y, groups=part.groups), made

    return fit


def varied(schedule: str | None = None, **scales: Any) -> Fit:
    """popjax's classifier or regressor in its default space, but for the schedule and `scales`."""

    def fit(classes: bool, seed: int, part: Part, options: dict[str, Any]) -> tuple[Any, Predict]:
        import popjax as pj
        from popjax.study.effort import effort_of

        rows: dict[str, Any] = {"groups": part.groups, "shuffle": not part.timely, "test": 0}
        kind = "classification" if classes else "regression"
        usual = effort_of(pj.supervised((part.x, part.y), "tabular", "adamw", kind=kind, **rows)).space
        return population(space=pj.Space(**usual.entries() | scales), schedule=schedule)(classes, seed, part, options)

    return fit


def together(size: int, method: str) -> Fit:
    """popjax's classifier or regressor, which predicts by `size` trials, chosen by `method`."""

    def fit(classes: bool, seed: int, part: Part, options: dict[str, Any]) -> tuple[Any, Predict]:
        import popjax as pj

        rule = pj.together(size, method, "val_loss", at="best", patience=16)
        return population(rank=rule)(classes, seed, part, options)

    return fit


def unscaled(classes: bool, seed: int, part: Part, options: dict[str, Any]) -> tuple[Any, Predict]:
    """popjax's classifier or regressor with the scales of the inputs held at 1."""
    from popjax.models import tabular

    tabular.FASTER = 0.0
    return population()(classes, seed, part, options)


VARIANTS: dict[str, Fit] = {
    "popjax, no embeddings": varied(embedding=1),
    "popjax, no scales of inputs": unscaled,
    "popjax, constant rate": varied("inverse", decay=0.0),
    "popjax, no dropout": varied(dropout=0.0),
    "popjax, no decay": varied(weight_decay=0.0),
    "popjax, relu": varied(activation="relu"),
    "popjax, b2 = 0.999": varied(b2=0.999),
    "popjax, standardized": population(input_transform="standardize"),
    "popjax, 64 epochs": population(epochs=64),
    "popjax, 8 folds": population(folds=8),
    "popjax, 3 folds": population(folds=3),
    "popjax, 16 trials": population(trials=16),
    "popjax, not halved": population(scheduler=None),
    "popjax, greedy in 40 steps": together(40, "greedy"),
    "popjax, mean of the best 4": together(4, "mean"),
    "popjax, the best one": together(1, "mean"),
    "popjax, labels smoothed": varied(label_smoothing=0.1),
    "popjax, ema": varied(ema=0.98),
    "popjax, no ema": varied(ema=0.0),
}
METHODS: dict[str, Fit] = {"popjax": population(), "popjax mlp": population(model="mlp")} | PEERS
ALL = METHODS | VARIANTS
OF_CLASSES = ("popjax, labels smoothed", "RealMLP-TD, log loss", "LightGBM, balanced")  # they are of no other tables


BLOCKS, MANY = 50, 100_000
PROCESSES = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)


def processor_seconds() -> float:
    """Processor seconds of this process and of its finished children."""
    used = [resource.getrusage(each) for each in PROCESSES]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def judged(classes: bool, model: Any, rows: Any, y: np.ndarray) -> tuple[dict[str, Any], np.ndarray]:
    """The scores on test rows, and the loss of each: its log loss or squared error."""
    if not classes:
        told = np.asarray(model.predict(rows), float).ravel()
        scores = {"score": float(r2_score(y, told)), "loss": float(root_mean_squared_error(y, told))}
        return scores, (told - y) ** 2
    chances = np.asarray(model.predict_proba(rows), float)
    chances = np.clip(chances, 1e-7, 1)
    chances /= chances.sum(1, keepdims=True)
    labels = np.asarray(model.classes_).astype(str)
    losses = -np.log(chances[labels == y[:, None]])
    return {"score": float((labels[chances.argmax(1)] == y).mean()), "loss": float(losses.mean())}, losses


def behind(losses: np.ndarray, others: np.ndarray) -> dict[str, float]:
    """By how much the mean of `losses` is above that of `others`, and the standard error of this paired difference."""
    difference = losses - others
    return {"behind_linear": difference.mean(), "error": difference.std(ddof=1) / len(difference) ** 0.5}


def in_blocks(losses: np.ndarray, clusters: np.ndarray) -> dict[str, list[float]]:
    """Sums of the losses of test rows in at most BLOCKS blocks of neighbouring clusters, with their numbers of rows.

    So days that follow one another, whose losses are alike, are in one block.
    """
    known, number = np.unique(clusters, return_inverse=True)
    blocks = min(BLOCKS, len(known))
    block = number * blocks // len(known)
    sums, rows = np.bincount(block, losses), np.bincount(block)
    return {"losses": [float(f"{one:.6g}") for one in sums], "rows": rows.tolist()}


def seconds_to_predict(model: Any, made: Predict, x: pd.DataFrame, classes: bool) -> float:
    """Wall seconds that MANY predictions take, of the rows `x` again and again, with their encoding."""
    many = x.iloc[np.arange(MANY) % len(x)].reset_index(drop=True)
    begun = time.perf_counter()
    (model.predict_proba if classes else model.predict)(made(many))
    return time.perf_counter() - begun


def main() -> None:
    """Fit, predict the test rows, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", choices=list(TABLES))
    parser.add_argument("split", type=int)
    parser.add_argument("method", choices=list(ALL))
    parser.add_argument(
        "--options",
        type=json.loads,
        default={},
        help='of popjax\'s estimators, or {"seconds": 60} of AutoGluon, as JSON',
    )
    parser.add_argument("--out", type=Path, help="keeps the predictions for the test rows, in a .npy file")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = PLACE.name  # each fit compiles its own programs
    part, test = parted(arguments.table, arguments.split)
    classes = TABLES[arguments.table].classes
    wall, used = time.perf_counter(), processor_seconds()
    model, made = ALL[arguments.method](classes, arguments.split, part, arguments.options)
    seconds = {"wall": time.perf_counter() - wall, "cpu": processor_seconds() - used}
    megabytes = max(resource.getrusage(each).ru_maxrss for each in PROCESSES) / 1024
    rows = made(test.x)
    found, losses = judged(classes, model, rows, test.y)
    if arguments.table in LARGE | LARGE_FINAL:
        found["predicting"] = seconds_to_predict(model, made, test.x, classes)
        found["blocks"] = in_blocks(losses, test.clusters)
    elif arguments.method == "popjax":
        other, made_linear = linear(classes, arguments.split, part, {})
        found |= behind(losses, judged(classes, other, made_linear(test.x), test.y)[1])
    if arguments.out:
        np.save(arguments.out, model.predict_proba(rows) if classes else model.predict(rows))
    found["megabytes"] = megabytes
    rounded = lambda value: value if isinstance(value, dict) else round(float(value), 6)
    print(json.dumps({name: rounded(value) for name, value in {**found, **seconds}.items()}))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
