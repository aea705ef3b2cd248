"""What the best epoch and patience are worth: popjax's estimators on the eight tables of tables.py.

Each rule trains the same 64 trials in five folds, for 30 or 100 epochs: the last epoch of each model counts, or its
best one, or that with patience. On a quarter of the rows, that no trial saw: the log loss (of values the squared error
over their variance) of the winner and of the 25 together, and their accuracy or R². The seconds are those of processor
time. Run with `uv run --with palmerpenguins --with statsmodels python benchmarks/best_epoch.py`.
Prints one JSON object: of each table and rule the means over the splits.
"""

import argparse
import json
import sys
import time
import warnings
from typing import Any

import numpy as np
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.model_selection import train_test_split
from tables import TABLES

import popjax as pj
from popjax.core.machine import device

RULES: dict[str, tuple[pj.Rule, int]] = {
    "last of 30": (pj.together(), 30),
    "best of 30": (pj.together(at="best"), 30),
    "patience 5, 30": (pj.together(at="best", patience=5), 30),
    "last of 100": (pj.together(), 100),
    "best of 100": (pj.together(at="best"), 100),
    "patience 10, 100": (pj.together(at="best", patience=10), 100),
}


def fitted(name: str, seed: int, rule: pj.Rule, epochs: int, metric: str | None) -> dict[str, float]:
    """What one rule comes to on one split."""
    x, y = TABLES[name]()
    y = np.asarray(y)
    classes = name != "diabetes"
    rows = train_test_split(np.arange(len(y)), test_size=0.25, random_state=seed, stratify=y if classes else None)
    train, test = (np.sort(each) for each in rows)
    make = pj.PopulationClassifier if classes else pj.PopulationRegressor
    rank = pj.together(metric=metric if classes else None, at=rule.at, patience=rule.patience)
    estimator = make(random_state=seed, epochs=epochs, rank=rank)
    begun = time.process_time()
    estimator.fit(x.iloc[train], y[train])
    found = {"seconds": time.process_time() - begun}
    results = estimator.results_
    for name, predictor in (("winner", results.predictor(estimator.best_index_)), ("together", estimator.predictor_)):
        if classes:
            found[f"{name} loss"] = log_loss(y[test], predictor.predict_proba(x.iloc[test]), labels=predictor.classes)
        else:
            found[f"{name} loss"] = mean_squared_error(y[test], predictor.predict(x.iloc[test])) / y[test].var()
        found[f"{name} score"] = predictor.score(x.iloc[test], y[test])
    return found | {"epochs trained": results.trained.mean()}


def main() -> None:
    """Compare on every table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", default=list(TABLES), choices=list(TABLES))
    parser.add_argument("--rules", nargs="+", default=list(RULES), choices=list(RULES))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--metric", help="what ranks classifications: accuracy, if not given, or loss")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    compared: dict[str, Any] = {}
    for name in arguments.tables:
        for rule in arguments.rules:
            found = [fitted(name, seed, *RULES[rule], arguments.metric) for seed in range(arguments.seeds)]
            means = {key: round(float(np.mean([one[key] for one in found])), 4) for key in found[0]}
            compared.setdefault(name, {})[rule] = means
            print(name, rule, means, file=sys.stderr, flush=True)
    asked = {"seeds": arguments.seeds, "metric": arguments.metric}
    print(json.dumps({"device": device(), **asked, "tables": compared}, indent=1))


if __name__ == "__main__":
    main()
