"""Transform of ranks to a normal distribution. No JAX here."""

import dataclasses
from typing import Any

import numpy as np
from scipy.special import ndtri

from popjax.data.transforms.by_feature import limits, varies
from popjax.data.transforms.transform import Columns, Transform

NOISE = 1e-3  # share of a feature's spread; spreads ties, so that ranks have no large jumps
NORMAL = 1.349  # interquartile range of a normal distribution, in deviations
MOST, LEAST, ROWS = 1000, 10, 30  # bounds on the number of quantiles; training rows per quantile
END = 1e-7  # shares are clipped to END and 1 - END, so that coordinates are finite


@dataclasses.dataclass(frozen=True, eq=False)
class Quantile(Transform):
    """Normal coordinate of a value's rank among the training rows, with noise to break ties.

    Tails and outliers count only by their order (Gorishniy et al. 2021, arXiv 2106.11959, section 4).
    One-hot features of texts are left as they are, and a constant feature is 0.

    Attributes:
        seed: seed of the noise.
        noise: deviation of the noise as a share of a feature's `spread`; 0 for none.
        quantiles: of the training rows (quantiles, features).
        limit: bounds of the coordinates (features,).
        left: bool (features,): left as it is.
    """

    seed: int = 0
    noise: float = NOISE
    quantiles: Any = None
    limit: Any = None
    left: Any = None

    def seeded(self, seed: int) -> "Quantile":
        """Copy with noise of this seed."""
        return dataclasses.replace(self, seed=seed)

    def fit(self, x: np.ndarray, columns: Columns) -> "Quantile":
        """Fit the quantiles of the training rows with noise."""
        flat = x.reshape(len(x), -1)
        drawn = np.random.default_rng(self.seed).normal(size=flat.shape)
        count = min(max(len(x) // ROWS, LEAST), MOST, len(x))
        quantiles = np.quantile(flat + self.noise * spread(flat) * drawn, np.linspace(0, 1, count), axis=0)
        limit = np.where(varies(flat), limits(flat), 0)
        left = np.array([text is not None for _, text in columns] or [False] * flat.shape[1])
        return dataclasses.replace(self, quantiles=np.maximum.accumulate(quantiles), limit=limit, left=left)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Rows (rows, ...), within 5.2 except for one-hot features."""
        flat = x.reshape(x.shape[0], len(self.limit))  # an export's number of rows has no len
        return np.where(self.left, flat, normal(flat, self.quantiles, self.limit)).reshape(x.shape)


def spread(x: np.ndarray) -> np.ndarray:
    """Deviation of each feature without its outliers: by its quartiles, or if they are equal its least step.

    0 for a constant feature.
    """
    low, high = np.quantile(x, (0.25, 0.75), axis=0)
    steps = np.diff(np.sort(x, 0), axis=0)
    least = np.where(steps > 0, steps, np.inf).min(0, initial=np.inf)
    return np.where(high > low, (high - low) / NORMAL, np.where(np.isfinite(least), least, 0))


def normal(values: np.ndarray, quantiles: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """Normal coordinates of values (rows, features) by quantiles (quantiles, features); values outside are at the ends.

    A value that equals several quantiles gets the middle of their ranks.
    """
    ranks = np.linspace(0, 1, len(quantiles))
    from_below = interpolated(values, quantiles, ranks)
    share = (from_below - interpolated(-values, -quantiles[::-1], -ranks[::-1])) / 2
    share = np.where(values <= quantiles[0], 0, np.where(values >= quantiles[-1], 1, share))
    return np.clip(ndtri(np.clip(share, END, 1 - END)), -limit, limit)


def interpolated(values: np.ndarray, points: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """Linear interpolation of values (rows, features) between ascending points (n, features) of these heights (n,)."""
    each = [np.interp(*column, heights) for column in zip(values.T, points.T, strict=True)]
    return np.stack(each, 1) if each else values
