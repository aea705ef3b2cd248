"""What each column of a table is worth to a model: the metric where the column's cells are permuted."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from popjax.data.dataset import Dataset
from popjax.data.dates import dates_of_parts
from popjax.data.doubts import different_numbers
from popjax.metric import Metric
from popjax.supervision.baselines import own_table
from popjax.supervision.predictor import Predictor
from popjax.supervision.problem import Supervised

LEAST, MOST = 50, 2000  # validation rows that are looked at
CELLS = 100_000  # rows x columns x REPEATS
REPEATS = 3


def rises(
    task: Supervised, predictor: Predictor, metric: Metric, least: int = LEAST, cells: int | None = CELLS
) -> dict[str, float]:
    """Column -> by how much the metric gets worse where the column's cells are permuted, the greatest first.

    Permutation importance (Breiman 2001, "Random Forests") on validation rows, of each fold by the models that did not
    train on them; the mean of three permutations with a fixed seed. Of two columns that say the same, both may seem
    worthless. The parts of a date are permuted together. Empty for what is built in or no table, on fewer than `least`
    rows, where so many columns leave fewer than these for the time that this may take, and with a custom loss.

    Args:
        task: the task, with the folds of the predictor.
        predictor: of one trial, or of an ensemble.
        metric: the one that ranks; the loss in the place of one that predictions do not tell.
        cells: rows x columns x repeats that are predicted at most; None if the time does not matter.
    """
    dataset = task.dataset
    if not own_table(dataset) or task.problem.options.loss is not None:
        return {}
    places = places_of(dataset)
    room = MOST if cells is None else cells // (REPEATS * len(places))
    rows = min(MOST, room, task.split.validation.size)
    if rows < least:
        return {}
    each, rng = -(-rows // len(task.split.validation)), np.random.default_rng(0)
    folds = range(len(task.split.validation))
    bad = [badness(task, metric, fold) for fold in folds]
    rise = np.mean([in_fold(task, predictor, fold, each, bad[fold], list(places.values()), rng) for fold in folds], 0)
    names = list(places)
    return {names[at]: float(rise[at]) for at in np.argsort(-rise, kind="stable")}


def places_of(dataset: Dataset) -> dict[str, list[int]]:
    """Column of raw rows -> its places among the coded ones: of a date those of its parts."""
    names = list(dataset.columns) or [str(at) for at in range(dataset.x.shape[1])]
    source = dates_of_parts(dataset.dates)
    places: dict[str, list[int]] = {}
    for at, name in enumerate(names):
        places.setdefault(source.get(name, name), []).append(at)
    return places


def row_names(task: Supervised, worth: Mapping[str, float]) -> str:
    """The column that is worth more than all others together, if it has another whole number in each row; or empty."""
    name, most = next(iter(worth.items()), ("", 0.0))
    if name not in task.dataset.columns or 2 * most <= sum(max(rise, 0.0) for rise in worth.values()):
        return ""
    text = name in task.dataset.levels
    values = task.dataset.x[:, task.dataset.columns.index(name)]
    return name if most > 0 and not text and different_numbers(values) else ""


def measured_by(task: Supervised, metric: Metric) -> str:
    """The name of the metric by which `rises` measures: the one that ranks, or the loss."""
    known = metric.rows == "validation" and (metric.name in task.fit.kind.reports or metric.name in task.more)
    return str(metric) if known else "loss"


def badness(task: Supervised, metric: Metric, fold: int) -> Callable[[np.ndarray, np.ndarray], float]:
    """`(predicted, targets) -> how bad`: the metric, or its negative if more of it is better."""
    kind, sign = task.fit.kind, -1 if metric.mode == "max" else 1
    if measured_by(task, metric) != "loss":
        return lambda predicted, targets: sign * kind.judged(predicted, targets, task.more)[metric.name]
    scaled = task.targets(task.split.validation[fold][:1]).ndim == 1
    unit = task.recipe.y_scale[fold] ** 2 if scaled else 1.0  # of the squared error of a value
    return lambda predicted, targets: float((kind.row_losses(predicted, targets) / unit).mean())


def in_fold(
    task: Supervised,
    predictor: Predictor,
    fold: int,
    most: int,
    bad: Callable[[np.ndarray, np.ndarray], float],
    places: Sequence[list[int]],
    rng: np.random.Generator,
) -> np.ndarray:
    """The rises (columns,), of columns at these `places`, on at most so many validation rows of a fold."""
    rows = spaced_rows(task, task.split.validation[fold], most)
    x, targets = task.dataset.x[rows], task.targets(rows)
    predicted = lambda x: np.average(predictor.of_fold(x, fold), 0, predictor.weights)
    usual = bad(predicted(x), targets)

    def rise(column: list[int]) -> float:
        changed = np.tile(x, (REPEATS, 1))
        changed[:, column] = np.concatenate([rng.permutation(x[:, column]) for _ in range(REPEATS)])
        parts = np.split(predicted(changed), REPEATS)
        return float(np.mean([bad(part, targets) - usual for part in parts]))

    return np.array([rise(column) for column in places])


def spaced_rows(task: Supervised, rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the rows, spaced evenly; of each class in its share, so that a rare one has rows."""
    if len(rows) > most and task.dataset.classes is not None:
        rows = rows[np.argsort(task.dataset.y[rows], kind="stable")]
    return rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)]
