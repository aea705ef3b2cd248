"""Transforms of each feature by itself: as it is, shifted and scaled, with bounds. No JAX here."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from popjax.data.transforms.transform import Columns, Transform

FAR, NEAR = 20.0, 1.0  # bounds of a feature, and of a nearly constant one
OTHERS, FEW = 0.01, 5  # share and number of the training rows that may be above the common value, and below
MOST = 20  # training rows for each of the FEW


TINY = 1e-12  # share of a value below which a difference is rounding
SQUARED = 1e-150  # a number below may have no square in float64


def varies(x: np.ndarray) -> np.ndarray:
    """bool, in the shape of a row: the feature has several values, rounding apart."""
    low, high = x.min(0), x.max(0)
    return np.asarray(high - low > TINY * np.maximum(np.abs(low), np.abs(high)))


def limits(x: np.ndarray) -> np.ndarray:
    """Bounds of standardized features, in the shape of a row.

    A feature that is nearly constant on training rows gets a tiny scale, so other rows can lie hundreds of standard
    deviations away, where a model has learned nothing. It is clipped to 1, as a one-hot feature would be
    (benchmarks/standardize.py).
    """
    return np.where(nearly_constant(x), NEAR, FAR)


def nearly_constant(x: np.ndarray) -> np.ndarray:
    """bool, in the shape of a row: one value but for at most 1 % of the rows, or 5 of 100, on either side."""
    last = len(x) - 1
    others = max(int(np.ceil(last * OTHERS)), min(FEW, last // MOST))
    ordered = np.partition(x, (others, last - others), axis=0)
    return ordered[others] == ordered[last - others]


class Unchanged(Transform):
    """Rows as they are; integers stay integers for a user-defined model."""

    def fit(self, x: np.ndarray, columns: Columns) -> "Unchanged":
        """Itself."""
        return self

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The same rows."""
        return x


@dataclasses.dataclass(frozen=True, eq=False)
class Known(Unchanged):
    """Codes (rows, columns): one that no training row of the fold has becomes 0, that of an unknown text.

    Else a model would read numbers that it never trained.

    Attributes:
        codes: those that occur in each column.
    """

    codes: Any = None

    def fit(self, x: np.ndarray, columns: Columns) -> "Known":
        """Note the codes of the training rows."""
        return Known([np.unique(column) for column in x.T])

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The rows without other codes."""
        xp = x.__array_namespace__()
        occurs = [xp.asarray(known)[xp.clip(x[:, at], 0, len(known) - 1)] for at, known in enumerate(self.marks)]
        marks: np.ndarray = xp.where(xp.stack(occurs, 1), x, 0)
        return marks

    @functools.cached_property
    def marks(self) -> list[np.ndarray]:
        """For each column, bool (codes + 1,): the code occurs; the last one, of all greater codes, does not."""
        marks = [np.zeros(max(codes, default=0) + 2, bool) for codes in self.codes]
        for mark, codes in zip(marks, self.codes, strict=True):
            mark[codes] = True
        return marks


class OfArrays(Transform):
    """A transform whose fields are arrays, of numbers alone if its features have no shape."""

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`."""
        read = super().from_json(content)
        return cls(*(np.asarray(getattr(read, field.name), float) for field in dataclasses.fields(cls)))


@dataclasses.dataclass(frozen=True, eq=False)
class Affine(OfArrays):
    """(x - mean) / scale, clipped to +-limit.

    Attributes:
        mean, scale, limit: arrays of the shape of a row.
    """

    mean: Any = None
    scale: Any = None
    limit: Any = None

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Standardized rows (rows, ...)."""
        xp, mean, scale, limit = x.__array_namespace__(), self.mean[None], self.scale[None], self.limit[None]
        clipped: np.ndarray = xp.clip((x - mean) / scale, -limit, limit)
        return clipped


class Standardize(Affine):
    """Standardize each feature by its own mean and standard deviation, with bounds of `limits`."""

    def fit(self, x: np.ndarray, columns: Columns) -> Affine:
        """Fit the mean and the deviation of each feature of the training rows."""
        return type(self)(*moments(x), limits(x))


class Global(Affine):
    """Standardize all features together, or each channel of images (rows, height, width, channels).

    Contrasts between neighbouring features are kept.
    """

    def fit(self, x: np.ndarray, columns: Columns) -> Affine:
        """Fit the mean and the deviation over all features of the training rows."""
        axes = tuple(range(x.ndim if x.ndim < 4 else x.ndim - 1))
        mean, scale = (x.mean(axes), deviation(x, axes)) if x.size else (np.zeros(()), np.ones(()))  # texts alone
        known = (mean, np.where(scale > TINY * np.abs(mean), scale, 1.0), np.array(FAR))
        return type(self)(*(np.broadcast_to(value, x.shape[1:]).copy() for value in known))


def deviation(x: np.ndarray, axes: Any) -> np.ndarray:
    """The standard deviation along these axes, also where the squares of the differences are 0 in their dtype.

    >>> deviation(np.array([0, 2.0**-700]), 0).item() == 2.0**-701
    True
    """
    scale = x.std(axes)
    small = scale <= SQUARED
    if not small.any() or not (small & (x.min(axes) < x.max(axes))).any():
        return scale
    largest = np.abs(x).max(axes, keepdims=True)
    unit = np.where(largest > 0, largest, 1.0)
    return np.where(small, (x / unit).std(axes) * unit.reshape(scale.shape), scale)


def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column of `x`; the deviation of a constant one is 1."""
    mean, scale = x.mean(0), deviation(x, 0)
    return mean, np.where(scale > TINY * np.abs(mean), scale, 1.0)


BEND = 3.0  # bound of the coordinates
ENDLESS = 1e18  # its square is still finite, in float32 too


@dataclasses.dataclass(frozen=True, eq=False)
class Robust(OfArrays):
    """z / sqrt(1 + (z / 3)²) with z = (x - median) / interquartile range: a smooth clip to +-3.

    If the quartiles are equal, half the range of the feature replaces the interquartile range; a constant feature
    is 0 (Holzmüller et al. 2024, arXiv 2407.04491, "robust scale and smooth clip").

    Attributes:
        median, scale, limit: arrays of the shape of a row; the scale of a constant feature is 0.
    """

    median: Any = None
    scale: Any = None
    limit: Any = None

    def fit(self, x: np.ndarray, columns: Columns) -> "Robust":
        """Fit the median and the quartiles of the training rows."""
        low, median, high = np.quantile(x, (0.25, 0.5, 0.75), axis=0)
        scale = np.where(high - low > TINY * np.abs(median), high - low, (x.max(0) - x.min(0)) / 2)
        return type(self)(median, np.where(varies(x), scale, 0), limits(x))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Rows (rows, ...), within 3."""
        xp, limit = x.__array_namespace__(), self.limit[None]
        z = xp.clip(self.scaled(x), -ENDLESS, ENDLESS)
        squashed: np.ndarray = xp.clip(z / xp.sqrt(1 + (z / BEND) ** 2), -limit, limit)
        return squashed

    def scaled(self, x: np.ndarray) -> np.ndarray:
        """(x - median) / scale; 0 for a constant feature."""
        varied, scale = self.scale[None] > 0, np.where(self.scale > 0, self.scale, 1)[None]
        values: np.ndarray = x.__array_namespace__().where(varied, (x - self.median[None]) / scale, 0)
        return values
