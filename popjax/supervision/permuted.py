"""What each column of a table is worth to a model: the loss where the column's cells are permuted."""

import numpy as np

from popjax.supervision.baselines import own_table
from popjax.supervision.predictor import Predictor
from popjax.supervision.problem import Supervised

LEAST, MOST = 50, 2000  # validation rows that are looked at
CELLS = 100_000  # rows x columns x REPEATS
REPEATS = 3


def rises(task: Supervised, predictor: Predictor) -> dict[str, float]:
    """Column -> by how much the loss rises where the column's cells are permuted, the greatest first.

    Permutation importance (Breiman 2001, "Random Forests") on validation rows, of each fold by the models that did not
    train on them; the mean of three permutations with a fixed seed. Of two columns that say the same, both may seem
    worthless. Empty for what is built in or no table, on fewer than 50 rows, where so many columns leave fewer than 50
    for the time that this may take, and with a custom loss.

    Args:
        task: the task, with the folds of the predictor.
        predictor: the predictor of one trial.
    """
    dataset = task.dataset
    if not own_table(dataset) or task.given.options.loss is not None:
        return {}
    columns = dataset.x.shape[1]
    rows = min(MOST, CELLS // (REPEATS * columns), task.split.validation.size)
    if rows < LEAST:
        return {}
    each, rng = -(-rows // len(task.split.validation)), np.random.default_rng(0)
    found = np.mean([in_fold(task, predictor, fold, each, rng) for fold in range(len(task.split.validation))], 0)
    names = dataset.columns or [str(at) for at in range(columns)]
    return {names[at]: float(found[at]) for at in np.argsort(-found, kind="stable")}


def in_fold(task: Supervised, predictor: Predictor, fold: int, most: int, rng: np.random.Generator) -> np.ndarray:
    """The rises (columns,) on at most so many validation rows of a fold, spaced evenly."""
    validation = task.split.validation[fold]
    rows = validation[np.linspace(0, len(validation) - 1, min(most, len(validation))).astype(int)]
    x, targets = task.dataset.x[rows], task.targets(rows)
    unit = task.recipe.y_scale[fold] ** 2 if targets.ndim == 1 else 1.0  # of the squared error of a value

    def loss(x: np.ndarray) -> float:
        each = np.tile(targets, (len(x) // len(targets), *(1,) * (targets.ndim - 1)))
        return float((task.fit.kind.row_losses(predictor.of_fold(x, fold)[0], each) / unit).mean())

    def permuted(column: int) -> np.ndarray:
        changed = np.tile(x, (REPEATS, 1))
        changed[:, column] = np.concatenate([rng.permutation(x[:, column]) for _ in range(REPEATS)])
        return changed

    usual = loss(x)
    return np.array([loss(permuted(at)) - usual for at in range(x.shape[1])])
