"""What a score on the test rows is worth: that of a constant, that of a linear model, and how sure it is."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from popjax.data.inputs import taken
from popjax.data.transforms.affine import moments
from popjax.store.results import Results
from popjax.supervision.predictor import Predictor
from popjax.supervision.problem import Supervised
from popjax.task import Metric

LARGEST = 2e7  # rows x features x classes that a linear model is fitted to
RESAMPLES = 1000


def worth(
    results: Results, metric: Metric, test: Mapping[str, float], together: Predictor | None = None, page: bool = True
) -> dict[str, Any]:
    """What summary.json says beside the winner's score on the test rows; empty where there is none, or no dataset.

    `test` holds the winner's scores, `together` the best trials, whose programs the winner shares. `constant`: what
    the largest class, or the mean, of all other rows scores. `test_interval`: the 95% interval of the score, Wilson's
    (1927) of an accuracy, by bootstrap of a mean squared or absolute error; `dependent`: that rows are in groups or in
    time, of which neither knows. `rows`: how many there are of each part. And what the kind of targets draws on
    the page; where there is none, of one value alone, or if `together` has what it takes compiled.
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
    kind = task.fit.kind
    constant = kind.constant(np.delete(data.y, rows, 0))
    if constant is not None:
        known["constant"] = on_test(task.judged(np.broadcast_to(constant, (len(rows), *constant.shape)), rows))
    shared = together is not None and best.trial in together.trials
    if kind.own or not (kind.resampled or shared or page):
        return known | interval_of(metric, test, data.y[rows])
    winner = together.only(best.trial) if together is not None and shared else results.predictor(best.trial)
    x = taken(data.x, rows)
    known |= kind.drawn(winner.mean_of(x), data.y[rows])
    return known | interval_of(metric, test, data.y[rows], winner.each_of(x) if metric.name in kind.resampled else None)


def interval_of(
    metric: Metric, test: Mapping[str, float], targets: np.ndarray, each: np.ndarray | None = None
) -> dict[str, Any]:
    """The interval of the metric that ranks, on the test rows; empty of one that is no mean over rows.

    `each` are the values (models, rows) of a regression, whose score is the mean of the models'.
    """
    if metric.name == "accuracy":
        return {"test_interval": wilson(test[metric.on("test")], len(targets))}
    if each is None:
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


def on_test(scores: dict[str, float]) -> dict[str, float]:
    """Scores as those on the test rows."""
    return {Metric.of("test", name): value for name, value in scores.items()}


def has_linear(task: Supervised, rows: np.ndarray) -> bool:
    """There is a linear model of all other rows, and it takes little time."""
    x = task.dataset.x
    if isinstance(x, Mapping) or len(rows) == 0:
        return False
    return task.fit.kind.linearly(len(x) - len(rows)) and x.size * task.fit.outputs <= LARGEST


def linear_scores(task: Supervised, rows: np.ndarray) -> dict[str, float]:
    """What a linear model of all other rows scores on these; a missing cell is the mean of its column."""
    dataset = task.dataset
    x = dataset.x.reshape(len(dataset.x), -1)
    others = np.delete(np.arange(len(x)), rows)
    lost = np.isnan(x)
    x = np.where(lost, np.ma.masked_array(x, lost)[others].mean(0).filled(0), x) if lost.any() else x
    mean, scale = moments(x[others])
    z = (x - mean) / scale
    model = task.fit.kind.linear(z[others], dataset.y[others])
    return task.judged(model(z[rows]), rows)
