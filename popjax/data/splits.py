"""Rows set aside: to test, to validate, fold by fold; and what standardizes the rest. No JAX here."""

import dataclasses
import hashlib
from typing import Any, NamedTuple

import numpy as np

from popjax.data.dataset import Dataset

STANDARDIZE = ("feature", "global", "none")
UNCLIPPED = "unclipped"  # feature by feature, without a limit: as runs did before there was one
FAR, NEAR = 20.0, 3.0  # the largest coordinates of a feature, and of one that is nearly constant
ALIKE = 0.99  # the share of the training rows that then have one value


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Row numbers of the parts, each sorted.

    Attributes:
        train, validation: (folds, rows).
        test: (rows,), the same for every fold.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    @property
    def digest(self) -> str:
        """SHA-256 of the lists of rows."""
        parts = (self.train, self.validation, self.test)
        return hashlib.sha256(b"|".join(part.astype("<i8").tobytes() for part in parts)).hexdigest()


def split(dataset: Dataset, validation: Any, test: Any, seed: int, folds: int = 1, share: float | None = None) -> Split:
    """Test and validation rows set aside by `seed`, at least one each, stratified by class.

    Each is a share of the rows, or the numbers of the rows; no row is a test row where `test` is 0.

    Rows are put in random order within their class, and every part takes rows at even
    distances along that order, so its share of each class is exact to within one row. The
    test rows are set aside first. With several folds the rest is cut into as many
    validation parts of equal size, and the few rows that remain always train; with a
    `share` a part has at most that share of all rows.
    """
    n = len(dataset.y)
    named = {name: numbers(name, part, n) for name, part in (("validation", validation), ("test", test))}
    for name, part in (("validation", validation), ("test", test)):
        if named[name] is None and not (0 < part < 1 or (name == "test" and part == 0)):
            raise ValueError(f"{name}={part}: give a share of the rows between 0 and 1, such as 0.1")
    if named["validation"] is not None and folds > 1:
        raise ValueError(f"folds={folds} cut their own validation rows; give a share, or folds=1")
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"seed={seed!r}: give a whole number of at least 0")
    size = share_of(n, test, named["test"])
    each = (n - size) // folds if folds > 1 else share_of(n, validation, named["validation"])
    each = each if share is None else min(each, max(1, round(n * share)))
    if each < 1 or size + each >= n:
        what = f"folds={folds}" if folds > 1 else f"validation={validation}"
        raise ValueError(f"{what} and test={test} leave no row of {n} to train on or to validate; lower them")
    rng = np.random.default_rng([seed, n])
    strata = np.zeros(n) if dataset.classes is None else dataset.y
    order = np.lexsort((rng.random(n), strata))
    tested, order = _set_aside(order, size, rng, named["test"])
    picked, always = _set_aside(order, each * folds, rng, named["validation"])
    validations = [picked[fold::folds] for fold in range(folds)]
    trains = [np.concatenate([always, *validations[:fold], *validations[fold + 1 :]]) for fold in range(folds)]
    return Split(np.sort(trains, 1), np.sort(validations, 1), np.sort(tested))


def numbers(name: str, part: Any, rows: int) -> np.ndarray | None:
    """The row numbers that a part of the rows is given by; None for a share. Raises ValueError for others."""
    if isinstance(part, bool) or not np.ndim(part):
        if isinstance(part, bool) or not isinstance(part, int | float | np.number):
            raise ValueError(f"{name}={part!r}: give a share of the rows, such as 0.1, or row numbers")
        return None
    given = np.asarray(part)
    if given.ndim != 1 or given.dtype.kind not in "iu" or len(given) == 0 or len(set(given.tolist())) < len(given):
        raise ValueError(f"{name}: give a share of the rows, such as 0.1, or a list of different row numbers")
    if not 0 <= given.min() <= given.max() < rows:
        wrong = given.max() if given.max() >= rows else given.min()
        raise ValueError(f"{name}: there is no row {wrong}; choose 0..{rows - 1}")
    return given


def share_of(rows: int, part: Any, named: np.ndarray | None) -> int:
    """How many rows a part has: at least one, if any."""
    if named is not None:
        return len(named)
    return 0 if part == 0 else max(1, round(rows * part))


def _set_aside(
    order: np.ndarray, size: int, rng: np.random.Generator, named: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """`size` rows at even distances along `order`, or those that are named, and the rest of it."""
    if named is not None:
        taken = np.setdiff1d(named, order)
        if len(taken):
            raise ValueError(f"row {taken[0]} is a validation row and a test row; give each row one part")
        return named, order[~np.isin(order, named)]
    picked = np.floor((np.arange(size) + rng.random()) * len(order) / size).astype(int)
    return order[picked], np.delete(order, picked)


def standardize(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and scale of every column of `x`; a constant column gets scale 1."""
    mean, scale = x.mean(0), x.std(0)
    return mean, np.where(scale > 1e-12 * np.abs(mean), scale, 1.0)


class Standardization(NamedTuple):
    """What makes features (rows, ...) comparable: arrays of the shape of a row.

    Attributes:
        limit: beyond which coordinates are cut off; None for none.
    """

    mean: np.ndarray
    scale: np.ndarray
    limit: np.ndarray | None


def standardization(x: np.ndarray, how: str) -> Standardization:
    """What standardizes features like the training rows `x`.

    A feature whose training rows are nearly all alike gets a tiny scale, so that on other rows it can reach hundreds
    of standard deviations: a model has not learned what that means, and its coordinate ends at 3; others' at 20.

    Args:
        how: "feature": each by its own mean and standard deviation. "global": by those of all features together, or
            of each channel of images (rows, height, width, channels). "none": as they are.
    """
    row = x.shape[1:]
    if how == "none":
        return Standardization(np.zeros(row), np.ones(row), None)
    if how == "global":
        axes = tuple(range(x.ndim if x.ndim < 4 else x.ndim - 1))
        mean, scale = x.mean(axes), x.std(axes)
        scale = np.where(scale > 1e-12 * np.abs(mean), scale, 1.0)
        return Standardization(*(np.broadcast_to(one, row).copy() for one in (mean, scale, np.array(FAR))))
    mean, scale = standardize(x)
    return Standardization(mean, scale, None if how == UNCLIPPED else np.where(nearly_constant(x), NEAR, FAR))


def nearly_constant(x: np.ndarray) -> np.ndarray:
    """Whether, of each feature, all but a hundredth of the rows have one value."""
    last = len(x) - 1
    low, high = int(np.ceil(last * (1 - ALIKE))), int(np.floor(last * ALIKE))
    ordered = np.partition(x, (low, high), axis=0)
    return ordered[low] == ordered[high]
