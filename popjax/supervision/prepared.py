"""The rows of a problem as arguments of the programs."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from popjax.data.dataset import Dataset
from popjax.data.inputs import Inputs, entries, mapped, taken
from popjax.data.splits import Split
from popjax.data.transforms.applying import applied, fitted, in_programs
from popjax.data.transforms.by_feature import Affine, moments

LARGEST_DEVIATION = 1e15  # deviation of a target; the squares of errors many times as large still fit float32


class Rows(NamedTuple):
    """Features (rows, ...), or a dict of such arrays, and targets (rows, ...)."""

    x: Any
    y: Any


class AffineMap(NamedTuple):
    """An affine transform of the features of `Data.rows`: arrays in the shape of a row (see `shifted_and_scaled`)."""

    mean: Any
    scale: Any
    limit: Any


class Fold(NamedTuple):
    """One fold, or with a leading axis all folds: row numbers, and how its rows are transformed.

    Attributes:
        train, validation: numbers of rows in `Data.rows` (rows,), int32.
        y_mean, y_scale: moments of the targets of its training rows, in the units of `Data.rows`.
        affine: an AffineMap, or None for features that are not changed; for a dict of features, a dict of these.
        number: the number of the fold if `Data.rows` and `Data.test` hold the features of all folds, one after
            another; else None.
    """

    train: Any
    validation: Any
    y_mean: Any
    y_scale: Any
    affine: Any = None
    number: Any = None


class Data(NamedTuple):
    """The rows and folds of a problem, as the programs receive them.

    With one fold, features are transformed, scaled targets are standardized over the training rows, and `affine` is
    None. With several, scaled targets and features are standardized over all rows but the test rows, and the programs
    apply each fold's affine transforms; with any other transform, transformed features are stored for each fold.

    Attributes:
        rows: the rows that train or validate; targets (rows, 0) where the features are the targets.
        test: the rows that no trial sees.
        folds: the Fold with a leading axis of folds; with one fold the targets' moments are 0 and 1.
        y_mean, y_std: mean and deviation by which targets are standardized, () or (outputs,); else 0 and 1.
        weight: the weight of each of `rows` in the training loss (rows,), or of its labels (rows, labels); None for
            equal weights.
    """

    rows: Rows
    test: Rows
    folds: Fold
    y_mean: Any
    y_std: Any
    weight: Any = None


def prepared(
    dataset: Dataset,
    x: Inputs,
    split: Split,
    transforms: Sequence[Any],
    y: tuple[np.ndarray, np.ndarray] | None,
    weight: np.ndarray | None = None,
) -> Data:
    """The data of the programs.

    Args:
        x: features (rows, ...) before the transforms.
        transforms: the fitted transforms of each fold: one, or for a dict of features one for each entry.
        y: mean and scale (folds, ...) of each fold's targets; None for targets that are not standardized.
        weight: the weight of each row (rows,), or of each of its labels (rows, labels); None for equal weights.

    Raises ValueError for a target with a deviation too large or too small for float32, and as `prepared_features` does.
    """
    kept = np.delete(np.arange(len(dataset)), split.test)
    seen = split.train[0] if len(split.train) == 1 else kept
    mean, unit = (np.zeros(()), np.ones(())) if y is None else moments(dataset.y[seen])
    y_mean, y_scale = (np.zeros(len(split.train)), np.ones(len(split.train))) if y is None else y
    if not (np.all(unit >= 1 / LARGEST_DEVIATION) and np.all(unit <= LARGEST_DEVIATION)):
        what = f"the target varies by {np.max(unit):.3g}, which has no square in float32"
        raise ValueError(f"{what}; give another unit")
    given = np.zeros((len(dataset), 0)) if dataset.mirrored else dataset.y
    targets = given if y is None else (given - mean) / unit
    trained, tested, affine, number = prepared_features(x, kept, split.test, transforms)
    folds = Fold(
        np.searchsorted(kept, split.train).astype(np.int32),
        np.searchsorted(kept, split.validation).astype(np.int32),
        (y_mean - mean) / unit,
        y_scale / unit,
        affine,
        number,
    )
    rows, test = Rows(trained, targets[kept]), Rows(tested, targets[split.test])
    return Data(rows, test, folds, np.asarray(mean), np.asarray(unit), None if weight is None else weight[kept])


def prepared_features(
    x: Inputs, kept: np.ndarray, test: np.ndarray, transforms: Sequence[Any]
) -> tuple[Inputs, Inputs, Any, Any]:
    """Features of the `kept` rows and of the test rows, and the folds' `affine` and `number` (see Fold).

    Raises ValueError where transforms give rows of different shapes in different folds.
    """
    if len(transforms) == 1:
        features = applied(transforms[0], x)
        return taken(features, kept), taken(features, test), None, None
    if all(in_programs(one) for fold in transforms for one in entries(fold)):
        whole = fitted(transforms[0], taken(x, kept))
        features = mapped(standardized, x, whole)
        return taken(features, kept), taken(features, test), mapped(affine_map_of, whole, *transforms), None
    each = [applied(transform, x) for transform in transforms]
    for one in zip(*map(entries, each), strict=True):
        if len({x.shape for x in one}) > 1:
            shapes = " and ".join(sorted({str(x.shape[1:]) for x in one}))
            raise ValueError(f"a transform makes rows of {shapes} of different folds; give rows of one shape")
    after_another = lambda rows: mapped(lambda *folds: np.concatenate([x[rows] for x in folds]), *each)
    return after_another(kept), after_another(test), None, np.arange(len(transforms), dtype=np.int32)


def standardized(x: np.ndarray, whole: Any) -> np.ndarray:
    """Features standardized by an affine transform without its limits, since each fold has its own."""
    return (x - whole.mean) / whole.scale if isinstance(whole, Affine) else x


def affine_map_of(whole: Any, *folds: Any) -> AffineMap | None:
    """The folds' affine transforms (folds, ...), of features that `whole` standardized; None if not affine."""
    if not isinstance(whole, Affine):
        return None
    mean, scale, limit = (np.array([getattr(fold, name) for fold in folds]) for name in AffineMap._fields)
    return AffineMap((mean - whole.mean) / whole.scale, scale / whole.scale, limit)


def per_row(statistic: Any) -> Any:
    """A statistic () or (outputs,) of targets in a shape that broadcasts over rows: () or (1, outputs)."""
    return statistic if statistic.ndim == 0 else statistic[None]


def shifted_and_scaled(x: Any, affine: AffineMap | None) -> Any:
    """Features (rows, ...), transformed by one fold's `affine`; unchanged if None."""
    if affine is None:
        return x
    return jnp.clip((x - affine.mean[None]) / affine.scale[None], -affine.limit[None], affine.limit[None])
