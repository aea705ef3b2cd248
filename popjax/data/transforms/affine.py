"""Transforms that move, scale and bound each feature: the programs apply them. No JAX here."""

import dataclasses
from typing import Any

import numpy as np

from popjax.data.transforms.bounds import FAR, TINY, limits
from popjax.data.transforms.transform import Columns, Transform


@dataclasses.dataclass(frozen=True, eq=False)
class Affine(Transform):
    """(x - mean) / scale within +-limit.

    Attributes:
        mean, scale, limit: arrays of the shape of a row.
    """

    mean: Any = None
    scale: Any = None
    limit: Any = None

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Rows (rows, ...), standardized."""
        return np.clip((x - self.mean) / self.scale, -self.limit, self.limit)


class Standardize(Affine):
    """Each feature by its own mean and standard deviation (see `limits`)."""

    def fit(self, x: np.ndarray, columns: Columns) -> Affine:
        """The mean and the deviation of the training rows."""
        return type(self)(*moments(x), limits(x))


class Global(Affine):
    """Features by the mean and deviation of all together, or of each channel of images (rows, height, width, channels).

    So neighbours keep their contrasts.
    """

    def fit(self, x: np.ndarray, columns: Columns) -> Affine:
        """The mean and the deviation of all features of the training rows."""
        axes = tuple(range(x.ndim if x.ndim < 4 else x.ndim - 1))
        mean, scale = x.mean(axes), x.std(axes)
        known = (mean, np.where(scale > TINY * np.abs(mean), scale, 1.0), np.array(FAR))
        return type(self)(*(np.broadcast_to(one, x.shape[1:]).copy() for one in known))


def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of every column of `x`; of a constant one the deviation is 1."""
    mean, scale = x.mean(0), x.std(0)
    return mean, np.where(scale > TINY * np.abs(mean), scale, 1.0)
