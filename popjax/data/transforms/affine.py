"""Transforms that shift, scale and clip each feature; compiled programs can apply them. No JAX here."""

import dataclasses
from typing import Any

import numpy as np

from popjax.data.transforms.bounds import FAR, TINY, limits
from popjax.data.transforms.transform import Columns, Transform


@dataclasses.dataclass(frozen=True, eq=False)
class Affine(Transform):
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
        found: np.ndarray = xp.clip((x - mean) / scale, -limit, limit)
        return found


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
        mean, scale = x.mean(axes), x.std(axes)
        known = (mean, np.where(scale > TINY * np.abs(mean), scale, 1.0), np.array(FAR))
        return type(self)(*(np.broadcast_to(one, x.shape[1:]).copy() for one in known))


def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column of `x`; the deviation of a constant one is 1."""
    mean, scale = x.mean(0), x.std(0)
    return mean, np.where(scale > TINY * np.abs(mean), scale, 1.0)
