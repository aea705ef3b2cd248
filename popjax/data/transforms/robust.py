"""The transform by median and quartiles, whose far ends are bent. No JAX here."""

import dataclasses
from typing import Any

import numpy as np

from popjax.data.transforms.bounds import TINY, limits, varies
from popjax.data.transforms.transform import Columns, Transform

BEND = 3.0  # where coordinates end
ENDLESS = 1e100  # whose square is a number yet


@dataclasses.dataclass(frozen=True, eq=False)
class Robust(Transform):
    """z / sqrt(1 + (z / 3)²) of z = (x - median) / interquartile range: what is far away ends at 3 without a kink.

    Of a feature half of whose rows are alike half its whole range takes the place of the quartiles', and a constant
    one is 0 (Holzmüller et al. 2024, arXiv 2407.04491, "robust scale and smooth clip").

    Attributes:
        median, scale, limit: arrays of the shape of a row; a scale of 0 is a constant feature's.
    """

    median: Any = None
    scale: Any = None
    limit: Any = None

    def fit(self, x: np.ndarray, columns: Columns) -> "Robust":
        """The median and the quartiles of the training rows."""
        low, median, high = np.quantile(x, (0.25, 0.5, 0.75), axis=0)
        scale = np.where(high - low > TINY * np.abs(median), high - low, (x.max(0) - x.min(0)) / 2)
        return type(self)(median, np.where(varies(x), scale, 0), limits(x))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Rows (rows, ...), within 3."""
        z = np.clip(self.scaled(x), -ENDLESS, ENDLESS)
        return np.clip(z / np.sqrt(1 + (z / BEND) ** 2), -self.limit, self.limit)

    def scaled(self, x: np.ndarray) -> np.ndarray:
        """(x - median) / scale, 0 of a constant feature."""
        return np.where(self.scale > 0, (x - self.median) / np.where(self.scale > 0, self.scale, 1), 0)
