"""Eight real tables, five splits each, the same test rows for all: popjax's plain MLP and scikit-learn's estimators.

The score is the accuracy on a quarter of the rows, or R² of a regression, and the seconds are those of `fit`. Texts are
one-hot for scikit-learn's estimators; its networks and linear models get standardized features. Run with
`uv run --with palmerpenguins --with statsmodels python benchmarks/tables.py`, whose packages hold four of the tables.
Prints one JSON object.
"""

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import loguniform
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import RandomizedSearchCV, train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import popjax as pj
from popjax.core.machine import device

SEARCHED, EPOCHS = 20, 30  # of scikit-learn's random search, over three folds; popjax trains as many epochs


def penguins(target: str) -> tuple[pd.DataFrame, np.ndarray]:
    """The penguins of Palmer station without those that lack a cell, by species or by sex."""
    from palmerpenguins import load_penguins

    frame = load_penguins().dropna().drop(columns="year")
    return frame.drop(columns=target), frame[target].to_numpy(str)


def fair() -> tuple[pd.DataFrame, np.ndarray]:
    """Fair's survey: whether there was an affair."""
    from statsmodels.datasets import fair as table

    frame = table.load_pandas().data
    return frame.drop(columns="affairs"), (frame["affairs"] > 0).to_numpy()


def anes96() -> tuple[pd.DataFrame, np.ndarray]:
    """The American national election study of 1996: the vote."""
    from statsmodels.datasets import anes96 as table

    frame = table.load_pandas().data
    return frame.drop(columns="vote"), frame["vote"].to_numpy(int)


def bundled(load: Callable[..., Any]) -> Callable[[], tuple[pd.DataFrame, np.ndarray]]:
    """A table of scikit-learn's."""
    return lambda: load(return_X_y=True, as_frame=True)


TABLES: dict[str, Callable[[], tuple[pd.DataFrame, Any]]] = {
    "digits": bundled(load_digits),
    "wine": bundled(load_wine),
    "breast_cancer": bundled(load_breast_cancer),
    "diabetes": bundled(load_diabetes),
    "penguins, species": lambda: penguins("species"),
    "penguins, sex": lambda: penguins("sex"),
    "fair": fair,
    "anes96": anes96,
}


def peers(classes: bool, seed: int) -> dict[str, Any]:
    """scikit-learn's estimators for numbers."""
    network = MLPClassifier if classes else MLPRegressor
    scales = {
        "mlp__hidden_layer_sizes": [(50,), (100,), (50, 50), (100, 100)],
        "mlp__learning_rate_init": loguniform(1e-4, 1e-1),
        "mlp__alpha": loguniform(1e-6, 1e-1),
        "mlp__batch_size": [16, 32, 64, 128],
    }
    pipe = make_pipeline(StandardScaler(), network(max_iter=EPOCHS, random_state=seed))
    pipe.steps[-1] = ("mlp", pipe.steps[-1][1])
    boosted = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    linear = LogisticRegression(max_iter=2000) if classes else RidgeCV(alphas=np.logspace(-3, 3, 13))
    return {
        f"random search of {SEARCHED} scikit-learn MLPs": RandomizedSearchCV(
            pipe, scales, n_iter=SEARCHED, cv=3, n_jobs=-1, random_state=seed
        ),
        "linear": make_pipeline(StandardScaler(), linear),
        "boosted trees": boosted(random_state=seed),
    }


def compare(name: str, seed: int, options: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Of each method the score on the test rows of one split, and the seconds of its fit."""
    x, y = TABLES[name]()
    y = np.asarray(y)
    classes = name != "diabetes"
    rows = train_test_split(np.arange(len(y)), test_size=0.25, random_state=seed, stratify=y if classes else None)
    train, test = (np.sort(each) for each in rows)
    kind = pj.PopulationClassifier if classes else pj.PopulationRegressor
    estimator = kind(random_state=seed, **{"model": "mlp"} | options)
    begun = time.perf_counter()
    estimator.fit(x.iloc[train], y[train])
    seconds = time.perf_counter() - begun
    winner = estimator.results_.predictor(estimator.best_index_)
    found = {
        "popjax, the winner": (winner.score(x.iloc[test], y[test]), seconds),
        "popjax, 25 together": (estimator.score(x.iloc[test], y[test]), seconds),
    }
    numbers = pd.get_dummies(x).to_numpy(float)
    for method, peer in peers(classes, seed).items():
        begun = time.perf_counter()
        peer.fit(numbers[train], y[train])
        found[method] = (peer.score(numbers[test], y[test]), time.perf_counter() - begun)
    return found


def measure(name: str, seeds: int, options: dict[str, Any]) -> dict[str, Any]:
    """Means over the splits, and how far the 25 together are from the best of the others, with its standard error."""
    found = []
    for seed in range(seeds):
        found.append(compare(name, seed, options))
        print(f"{name}: {seed + 1} of {seeds}", file=sys.stderr, flush=True)
    table = np.array([list(each.values()) for each in found])  # (seeds, methods, 2)
    methods = list(found[0])
    means = table.mean(0)
    others = [index for index, method in enumerate(methods) if not method.startswith("popjax")]
    best = max(others, key=lambda index: means[index, 0])
    apart = table[:, methods.index("popjax, 25 together"), 0] - table[:, best, 0]
    rows = zip(methods, means, strict=True)
    return {
        "methods": {m: {"score": round(score, 4), "seconds": round(took, 2)} for m, (score, took) in rows},
        "best of the others": methods[best],
        "25 together minus that": [round(apart.mean(), 4), round(apart.std(ddof=1) / np.sqrt(seeds), 4)],
    }


def main() -> None:
    """Compare on every table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", default=list(TABLES), choices=list(TABLES))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--options", type=json.loads, default={}, help="of popjax's estimators, as JSON")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")  # scikit-learn's networks are stopped before they converge
    compared = {name: measure(name, arguments.seeds, arguments.options) for name in arguments.tables}
    print(json.dumps({"device": device(), "options": arguments.options, "tables": compared}, indent=1))


if __name__ == "__main__":
    main()
