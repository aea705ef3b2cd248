"""The rows of a problem as the programs take them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from popjax.data.dataset import Dataset
from popjax.data.inputs import Inputs, entries, mapped, taken
from popjax.data.splits import Split
from popjax.data.transforms.affine import Affine, moments
from popjax.data.transforms.applying import applied, fitted, in_programs

LARGEST_UNIT = 1e15  # of a target: errors of many times as much have squares in float32


class Rows(NamedTuple):
    """Features (rows, ...), or a dict of such, and targets (rows, ...)."""

    x: Any
    y: Any


class Moves(NamedTuple):
    """What an affine transform does to features, from those of `Data.rows`: arrays in the shape of a row."""

    mean: Any
    scale: Any
    limit: Any


class Fold(NamedTuple):
    """One fold, or with a leading axis all of them: row numbers, and what transforms its rows.

    Attributes:
        moves: a Moves, or None for what stays as it is; of a dict, an entry each.
        number: of the fold, where `Data.rows` and `Data.test` have the features of each fold, one after another; else
            None.
        y_mean, y_scale: of its training rows' targets, in the units of `Data.rows`.
    """

    train: Any
    validation: Any
    y_mean: Any
    y_scale: Any
    moves: Any = None
    number: Any = None


class Data(NamedTuple):
    """What the programs take: every row once, its targets standardized over all that some fold trains on.

    With one fold the features are transformed, and its `moves` are None. With several, affine transforms act in the
    programs, on features that are standardized over all that some fold trains on; other ones have acted already.

    Attributes:
        rows: the rows that train or validate; where the targets are the features, these are all.
        test: the rows that no trial sees.
        folds: a leading axis of folds; with one fold the targets' statistics are 0 and 1.
        y_mean, y_unit: the targets' own units: their mean, and the unit.
        weight: how much each of `rows` counts in the loss that is trained (rows,), or each of its labels
            (rows, labels); None where all count alike.
    """

    rows: Rows
    test: Rows
    folds: Fold
    y_mean: Any
    y_unit: Any
    weight: Any = None


def prepared(
    dataset: Dataset,
    x: Inputs,
    split: Split,
    transforms: Sequence[Any],
    y: tuple[np.ndarray, np.ndarray] | None,
    weight: np.ndarray | None = None,
) -> Data:
    """The rows, as the programs take them.

    Args:
        x: their features (rows, ...), as the transforms take them.
        transforms: of each fold, fitted: one, or one for each entry of a dict.
        y: mean and scale (folds, ...) of each fold's targets; None where they are left as they are.
        weight: how much each row counts (rows,), or each of its labels (rows, labels).

    Raises ValueError for a target that varies by too much or too little for float32.
    """
    kept = np.delete(np.arange(len(dataset)), split.test)
    seen = split.train[0] if len(split.train) == 1 else kept
    mean, unit = (np.zeros(()), np.ones(())) if y is None else moments(dataset.y[seen])
    y_mean, y_scale = (np.zeros(len(split.train)), np.ones(len(split.train))) if y is None else y
    if not (np.all(unit >= 1 / LARGEST_UNIT) and np.all(unit <= LARGEST_UNIT)):
        what = f"the target varies by {np.max(unit):.3g}, which has no square in float32"
        raise ValueError(f"{what}; give another unit")
    given = np.zeros((len(dataset), 0)) if dataset.mirrored else dataset.y
    targets = given if y is None else (given - mean) / unit
    trained, tested, moves, number = prepared_features(x, kept, split.test, transforms)
    folds = Fold(
        np.searchsorted(kept, split.train).astype(np.int32),
        np.searchsorted(kept, split.validation).astype(np.int32),
        (y_mean - mean) / unit,
        y_scale / unit,
        moves,
        number,
    )
    rows, test = Rows(trained, targets[kept]), Rows(tested, targets[split.test])
    return Data(rows, test, folds, np.asarray(mean), np.asarray(unit), None if weight is None else weight[kept])


def prepared_features(
    x: Inputs, kept: np.ndarray, test: np.ndarray, transforms: Sequence[Any]
) -> tuple[Inputs, Inputs, Any, Any]:
    """The features of rows that train or validate and of those that test, and the folds' `moves` and `number`."""
    if len(transforms) == 1:
        found = applied(transforms[0], x)
        return taken(found, kept), taken(found, test), None, None
    if all(in_programs(one) for fold in transforms for one in entries(fold)):
        whole = fitted(transforms[0], taken(x, kept))
        found = mapped(standardized, x, whole)
        return taken(found, kept), taken(found, test), mapped(moves_of, whole, *transforms), None
    each = [applied(transform, x) for transform in transforms]
    for one in zip(*map(entries, each), strict=True):
        if len({x.shape for x in one}) > 1:
            shapes = " and ".join(sorted({str(x.shape[1:]) for x in one}))
            raise ValueError(f"a transform makes rows of {shapes} of different folds; give rows of one shape")
    stacked = mapped(lambda *folds: np.stack(folds), *each)
    flat = [mapped(lambda x, rows=rows: x[:, rows].reshape(-1, *x.shape[2:]), stacked) for rows in (kept, test)]
    return flat[0], flat[1], None, np.arange(len(transforms), dtype=np.int32)


def standardized(x: np.ndarray, whole: Any) -> np.ndarray:
    """Features in the units of an affine transform, without its limits, which each fold has of its own."""
    return (x - whole.mean) / whole.scale if isinstance(whole, Affine) else x


def moves_of(whole: Any, *folds: Any) -> Moves | None:
    """What the folds' affine transforms (folds, ...) do to what one over all rows standardized."""
    if not isinstance(whole, Affine):
        return None
    mean, scale, limit = (np.array([getattr(fold, name) for fold in folds]) for name in Moves._fields)
    return Moves((mean - whole.mean) / whole.scale, scale / whole.scale, limit)


def along_rows(statistic: Any) -> Any:
    """A statistic () or (outputs,) of targets as it is broadcast along rows."""
    return statistic if statistic.ndim == 0 else statistic[None]


def moved(x: Any, moves: Moves | None) -> Any:
    """Features as one fold's transform has them."""
    if moves is None:
        return x
    return jnp.clip((x - moves.mean[None]) / moves.scale[None], -moves.limit[None], moves.limit[None])
