"""Baselines of a score on the test rows: a constant, a linear model, boosted trees; and its confidence interval."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from popjax.core.text import failure, tell
from popjax.data.built_in import BUILT_IN
from popjax.data.dataset import Dataset
from popjax.data.inputs import taken
from popjax.data.transforms.by_feature import moments
from popjax.metric import Metric
from popjax.store.files import jsonable
from popjax.store.results import Results
from popjax.supervision.kinds.kind import Kind
from popjax.supervision.predictor import Predictor
from popjax.supervision.problem import Supervised
from popjax.supervision.unpredicted import uneven, unpredicted

LARGEST = 2e7  # rows x features x outputs, up to which a linear model is fitted
FEWEST = 200  # rows from which trees are fitted: a leaf takes 20
MOST_CELLS, MOST_CODES = 1e6, 255  # rows x columns x outputs up to which trees are fitted; texts of a column
RESAMPLES = 1000
DRAWN = 2**24  # row numbers at once, of 16 bytes each with their values


def worth(
    results: Results, metric: Metric, test: Mapping[str, float], together: Predictor | None = None, page: bool = True
) -> dict[str, Any]:
    """Entries of summary.json about the winner's score on the test rows; only `rows` if there are no test rows.

    Empty for a task that is not supervised, and without a winner that was kept.

    - `rows`: the number of rows of each part.
    - `dependent`: True if rows are in groups or in order of time, which the interval does not take into account.
    - `constant`: the test scores of the constant prediction (see `Kind.constant`) from all other rows; `guess`: that
      prediction in words.
    - `test_interval`: the 95% interval of the score: Wilson's (1927) of an accuracy, by bootstrap of a mean error over
      rows (see `Kind.resampled`).
    - `uneven`: True if a class has few rows beside another.
    - `unpredicted`: classes that test rows have and the winner predicts for none, known where the page's are.
    - what the page draws (see `Kind.drawn`): if there is a `page`, if bootstrap needs the predictions, or if
      `together` has compiled the winner's program.

    Args:
        test: the winner's scores on the test rows.
        together: the ensemble of the best trials, or None.
        page: True if a page is written.
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
    if task.problem.splitting.groups is not None or not task.problem.splitting.shuffle:
        known["dependent"] = True
    kind = task.fit.kind
    known |= tried("the constant prediction", lambda: constant_scores(task, rows))
    known |= {"uneven": True} if uneven(kind, data.y) else {}
    shared = together is not None and best.trial in together.trials
    if kind.own or not (kind.resampled or shared or page):
        return known | interval_of(metric, test, data.y[rows])
    winner = together.only(best.trial) if together is not None and shared else results.predictor(best.trial)
    x = taken(data.x, rows)
    drawn = tried("what the page draws", lambda: told_of_rows(kind, winner.mean_of(x), data.y[rows]))
    errors = kind.resampled.get(metric.name)
    if errors is None:
        return known | drawn | interval_of(metric, test, data.y[rows])
    each = lambda: np.mean([errors(predicted, data.y[rows]) for predicted in winner.each_of(x)], 0)
    return known | drawn | tried("the interval of the score", lambda: {"test_interval": bootstrap(each())})


def constant_scores(task: Supervised, rows: np.ndarray) -> dict[str, Any]:
    """`constant` and `guess` of `worth`; empty for a kind without a constant prediction."""
    kind = task.fit.kind
    constant = kind.constant(np.delete(task.dataset.y, rows, 0))
    if constant is None:
        return {}
    predicted = np.broadcast_to(constant, (len(rows), *constant.shape))
    return {"constant": on_test(task.judged(predicted, rows)), "guess": kind.guess}


def told_of_rows(kind: Kind, predicted: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
    """What the page draws and `unpredicted`, as read back from JSON; raises an error if it cannot be written."""
    drawn = dict(json.loads(json.dumps(kind.drawn(predicted, targets), allow_nan=False)))
    lacking = unpredicted(kind, predicted, targets)
    return drawn | ({"unpredicted": lacking} if lacking else {})


def interval_of(metric: Metric, test: Mapping[str, float], targets: np.ndarray) -> dict[str, Any]:
    """`test_interval` of an accuracy that ranks; empty for another metric."""
    return {"test_interval": wilson(test[metric.on("test")], len(targets))} if metric.name == "accuracy" else {}


def wilson(share: float, count: int) -> list[float]:
    """Wilson's 95% interval [low, high] of a share of `count` rows.

    >>> [round(end, 3) for end in wilson(0.9, 50)]
    [0.786, 0.957]
    """
    z = 1.959964
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    ends = np.round([middle - half, middle + half], 15)  # near 0 and 1 the last bits are rounding errors
    return [float(end) for end in np.clip(ends, 0, 1)]


def bootstrap(values: np.ndarray) -> list[float]:
    """The 95% bootstrap interval [low, high] of a mean, from 1000 resamples with a fixed seed."""
    rng, at_once = np.random.default_rng(0), max(1, DRAWN // len(values))
    sizes = (min(at_once, RESAMPLES - first) for first in range(0, RESAMPLES, at_once))
    means = [values[rng.integers(0, len(values), (size, len(values)))].mean(1) for size in sizes]
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return [float(low), float(high)]


def on_test(scores: Mapping[str, float]) -> dict[str, float]:
    """Scores under the names of test metrics, such as test_loss; None for one that is not finite."""
    return {Metric.of("test", name): jsonable(value) for name, value in scores.items()}


def has_linear(task: Supervised, rows: np.ndarray) -> bool:
    """True if a linear model can be fitted to all rows but these test `rows`, in little time."""
    dataset = task.dataset
    if isinstance(dataset.x, Mapping) or len(rows) == 0:
        return False
    features = len(dataset.features) or dataset.x[0].size
    size = len(dataset) * features * task.fit.outputs
    return task.fit.kind.linearly(len(dataset) - len(rows)) and size <= LARGEST


def tried[T](what: str, compute: Callable[[], dict[str, T]]) -> dict[str, T]:
    """What `compute` returns; empty if it fails, which is said: a baseline may not cost a run its results."""
    try:
        return compute()
    except Exception as error:
        tell(f"popjax: {what} failed ({failure(error)})")
        return {}


def own_table(dataset: Dataset) -> bool:
    """True for a table that is not built in."""
    return isinstance(dataset.x, np.ndarray) and dataset.x.ndim == 2 and dataset.name not in BUILT_IN


def trees_scores(task: Supervised, rows: np.ndarray) -> dict[str, float]:
    """The scores on test `rows` of boosted trees of all other rows; empty for tables that have none.

    These are built-in ones, images, small and large ones, and those with too many texts in a column.
    """
    if len(rows) == 0 or len(task.dataset) - len(rows) < FEWEST:
        return {}
    dataset = task.dataset
    coded = all(len(texts) <= MOST_CODES for texts in dataset.levels.values())
    if not (own_table(dataset) and coded and dataset.x.size * max(task.fit.outputs, 1) <= MOST_CELLS):
        return {}
    others = np.delete(np.arange(len(dataset)), rows)
    texts = [name in dataset.levels for name in dataset.columns] or [False] * dataset.x.shape[1]
    import sklearn.ensemble  # noqa: F401  whose threads are limited once they are loaded
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "openmp"):  # threads that wait for each other take minutes beside other processes
        model = task.fit.kind.trees(dataset.x[others], dataset.y[others], texts)
    return {} if model is None else task.judged(model(dataset.x[rows]), rows)


def linear_scores(task: Supervised, rows: np.ndarray) -> dict[str, float]:
    """The scores on `rows` of a linear model of all other rows; missing cells are set to the mean of their column."""
    dataset = task.dataset
    x = dataset.one_hot.reshape(len(dataset), -1)
    others = np.delete(np.arange(len(x)), rows)
    lost = np.isnan(x)
    x = np.where(lost, np.ma.masked_array(x, lost)[others].mean(0).filled(0), x) if lost.any() else x
    mean, scale = moments(x[others])
    z = (x - mean) / scale
    model = task.fit.kind.linear(z[others], dataset.y[others])
    return task.judged(model(z[rows]), rows)
