"""Transform by median and quartiles with a smooth clip. No JAX here."""

import dataclasses
from typing import Any

import numpy as np

from popjax.data.transforms.bounds import TINY, limits, varies
from popjax.data.transforms.transform import Columns, Transform

BEND = 3.0  # bound of the coordinates
ENDLESS = 1e18  # its square is still finite, in float32 too


@dataclasses.dataclass(frozen=True, eq=False)
class Robust(Transform):
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
        found: np.ndarray = xp.clip(z / xp.sqrt(1 + (z / BEND) ** 2), -limit, limit)
        return found

    def scaled(self, x: np.ndarray) -> np.ndarray:
        """(x - median) / scale; 0 for a constant feature."""
        varied, scale = self.scale[None] > 0, np.where(self.scale > 0, self.scale, 1)[None]
        found: np.ndarray = x.__array_namespace__().where(varied, (x - self.median[None]) / scale, 0)
        return found
