"""What a score on the test rows is worth: that of a constant, that of a linear model, and how sure it is."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from popjax.data.transforms.affine import moments
from popjax.store.results import Results
from popjax.supervision.metrics import judged
from popjax.supervision.predictor import Predictor
from popjax.supervision.problem import Supervised
from popjax.task import Metric

LARGEST = 2e7  # rows x features x classes that a linear model is fitted to
RESAMPLES = 1000
DRAWN, MOST_CLASSES = 500, 30  # of the page: test rows of a regression, classes


def worth(
    results: Results, metric: Metric, test: Mapping[str, float], together: Predictor | None = None, page: bool = True
) -> dict[str, Any]:
    """What summary.json says beside the winner's score on the test rows; empty where there is none, or no dataset.

    `test` holds the winner's scores, `together` the best trials, whose programs the winner shares. `constant`: what
    the largest class, or the mean, of all other rows scores. `test_interval`: the 95% interval of the score, Wilson's
    (1927) of an accuracy, by bootstrap of a mean squared or absolute error; `dependent`: that rows are in groups or in
    time, of which neither knows. `rows`: how many there are of each part. And what `drawn` gives for the page; of
    classes, where there is none, only if `together` has what it takes compiled.
    """
    task, best = results.task, results.best
    if not isinstance(task, Supervised) or best is None or best.trial not in results.states:
        return {}
    data, parts = task.dataset, task.in_folds(results.members[metric].shape[1]).split
    rows = parts.test
    counts = {"train": parts.train.shape[1], "validate": parts.validation.shape[1], "test": len(rows)}
    known: dict[str, Any] = {"rows": counts}
    if len(rows) == 0:
        return known
    if task.given.way.groups is not None or not task.given.way.shuffle:
        known["dependent"] = True
    others = np.delete(data.y, rows)
    constant = np.full(len(rows), others.mean())
    if data.classes is not None:
        constant = np.tile(np.bincount(others, minlength=len(data.classes)) / len(others), (len(rows), 1))
    known["constant"] = named(judged(constant, data.y[rows], task.more))
    shared = together is not None and best.trial in together.trials
    if data.classes is not None and not (shared or page):
        return known | interval_of(metric, test, data.y[rows])
    winner = together.only(best.trial) if together is not None and shared else results.predictor(best.trial)
    known |= drawn(winner.mean_of(data.x[rows]), data.y[rows])
    each = None if data.classes is not None else winner.each_of(data.x[rows])
    return known | interval_of(metric, test, data.y[rows], each)


def drawn(predicted: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
    """What the page shows of the winner on the test rows.

    `confusion`: how many rows of each class (a row) are predicted to be of each, up to 30 classes. `predicted`: pairs
    (true, predicted) of a regression, of at most 500 rows.
    """
    if predicted.ndim == 1:
        some = np.linspace(0, len(targets) - 1, min(len(targets), DRAWN)).astype(int)
        return {"predicted": np.stack([targets, predicted], 1)[some].round(6).tolist()}
    classes = predicted.shape[1]
    counts = np.bincount(targets * classes + predicted.argmax(-1), minlength=classes**2)
    return {"confusion": counts.reshape(classes, classes).tolist()} if classes <= MOST_CLASSES else {}


def interval_of(
    metric: Metric, test: Mapping[str, float], targets: np.ndarray, each: np.ndarray | None = None
) -> dict[str, Any]:
    """The interval of the metric that ranks, on the test rows; empty of one that is no mean over rows.

    `each` are the values (models, rows) of a regression, whose score is the mean of the models'.
    """
    if metric.name == "accuracy":
        return {"test_interval": wilson(test[metric.on("test")], len(targets))}
    if each is None or metric.name not in ("mse", "mae"):
        return {}
    errors = np.abs(each - targets)
    return {"test_interval": bootstrap((errors**2 if metric.name == "mse" else errors).mean(0))}


def wilson(share: float, count: int) -> list[float]:
    """Wilson's 95% interval of a share of so many.

    >>> [round(end, 3) for end in wilson(0.9, 50)]
    [0.786, 0.957]
    """
    z = 1.959964
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    ends = np.round([middle - half, middle + half], 15)  # beside 0 and 1 the last bits are of rounding
    return [float(end) for end in np.clip(ends, 0, 1)]


def bootstrap(values: np.ndarray) -> list[float]:
    """The 95% interval of a mean, by a thousand means of as many values drawn with replacement, always the same."""
    drawn = np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.quantile(values[drawn].mean(1), [0.025, 0.975])
    return [float(low), float(high)]


def named(scores: dict[str, float]) -> dict[str, float]:
    """Scores as those on the test rows."""
    return {Metric.of("test", name): value for name, value in scores.items()}


def linear_scores(task: Supervised, rows: np.ndarray) -> dict[str, float]:
    """What a linear model of all other rows scores on these."""
    from sklearn.linear_model import LogisticRegression, RidgeCV

    dataset = task.dataset
    x = dataset.x.reshape(len(dataset.x), -1)
    others = np.delete(np.arange(len(x)), rows)
    mean, scale = moments(x[others])
    z = (x - mean) / scale
    fit: Callable[..., Any] = functools.partial(RidgeCV, alphas=np.logspace(-3, 3, 13))
    if dataset.classes is not None:
        fit = functools.partial(LogisticRegression, max_iter=1000)
    model = fit().fit(z[others], dataset.y[others])
    if dataset.classes is None:
        return judged(model.predict(z[rows]), dataset.y[rows], task.more)
    chances = np.zeros((len(rows), len(dataset.classes)))
    chances[:, model.classes_] = model.predict_proba(z[rows])
    return judged(chances, dataset.y[rows], task.more)
