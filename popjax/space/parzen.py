"""The multivariate tree-structured Parzen estimator (Bergstra et al. 2011). It knows no Space.

One density is estimated from the good points, one from the others; of several candidates drawn from the first, the
next point is the one with the largest ratio of the two. The densities are those of Optuna's
`TPESampler(multivariate=True)`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

CANDIDATES = 24  # drawn per point; the best is taken
RECENT = 25  # latest points, of weight 1; older ones have less, down to 1/n for the first of n
NARROWEST = 100  # a component is at least 1/NARROWEST of an axis wide


def parzen(
    n: int,
    good: np.ndarray,
    others: np.ndarray,
    sizes: Sequence[int],
    seed: Any,
    prior: Callable[[np.ndarray], np.ndarray] | None = None,
) -> np.ndarray:
    """The next n points (n, axes); each counts among `others` for those after it, so that they spread out.

    Args:
        n: number of points.
        good: the good points (m, axes), oldest first.
        others: the other points (k, axes), likewise.
        sizes: number of values of each axis, which are 0, 1, ...; 0 for numbers, which lie in [0, 1].
        seed: for `numpy.random.default_rng`.
        prior: what is added to the logarithm of the ratio, (n,) of points (n, axes); None: nothing.

    >>> good, others = np.array([[0.8], [0.82]] * 8), np.array([[0.1], [0.5]])
    >>> bool((parzen(8, good, others, [0], seed=0) > 0.6).all())
    True
    """
    near = Density(good, sizes)
    candidates = near.sample(n * CANDIDATES, np.random.default_rng(seed))
    gain = near.log(candidates)
    if prior is not None:
        gain = gain + prior(candidates)
    gain = gain.reshape(n, CANDIDATES)
    candidates = candidates.reshape(n, CANDIDATES, len(sizes))
    points = np.empty((n, len(sizes)))
    for row in range(n):
        far = Density(np.concatenate([others, points[:row]]), sizes)
        points[row] = candidates[row, np.argmax(gain[row] - far.log(candidates[row]))]
    return points


class Density:
    """A mixture of product densities over the axes: one component per point (m, axes), and one over the whole cube.

    Along an axis of numbers a component is a normal truncated to [0, 1], as wide as its neighbours are far; on an axis
    of values it prefers the point's own value, the more strongly the more points there are.
    """

    def __init__(self, points: np.ndarray, sizes: Sequence[int]) -> None:
        self.number = np.equal(sizes, 0)
        weights = np.append(recent(len(points)), 1)
        numbers = points[:, self.number]
        self.weights = weights / weights.sum()
        self.centres = np.concatenate([numbers, np.full((1, numbers.shape[1]), 0.5)])
        self.widths = np.concatenate([widths(numbers), np.ones((1, numbers.shape[1]))])
        self.chances = {
            axis: chances(points[:, axis].astype(int), sizes[axis]) for axis in np.flatnonzero(~self.number).tolist()
        }
        self.below = ndtr(-self.centres / self.widths)  # normal CDF at 0, and at 1: (m + 1, axes of numbers)
        self.up_to = ndtr((1 - self.centres) / self.widths)

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw n points (n, axes)."""
        component = rng.choice(len(self.weights), n, p=self.weights)
        points = np.empty((n, len(self.number)))
        below, up_to = self.below[component], self.up_to[component]
        drawn = ndtri(below + rng.random(below.shape) * (up_to - below))
        points[:, self.number] = np.clip(self.centres[component] + self.widths[component] * drawn, 0, 1)
        for axis, chance in self.chances.items():
            points[:, axis] = (chance[component].cumsum(1)[:, :-1] < rng.random((n, 1))).sum(1)
        return points

    def log(self, points: np.ndarray) -> np.ndarray:
        """Logarithm of the density (n,) at points (n, axes).

        The exponent of a normal is a polynomial of the point, so two matrix products give all components.
        """
        numbers, square = points[:, self.number], self.widths**-2
        whole = np.log(self.widths * (self.up_to - self.below)) + np.log(2 * np.pi) / 2
        level = np.log(self.weights) - (whole + self.centres**2 * square / 2).sum(1)
        of_each = level + numbers @ (self.centres * square).T - numbers**2 @ square.T / 2
        for axis, chance in self.chances.items():
            of_each += np.log(chance[:, points[:, axis].astype(int)]).T
        most = of_each.max(1)
        density: np.ndarray = most + np.log(np.exp(of_each - most[:, None]).sum(1))
        return density


def recent(n: int) -> np.ndarray:
    """Weights (n,) of points, oldest first: rising linearly from 1/n, then 1 for the last `RECENT`."""
    return np.append(np.linspace(1 / max(n, 1), 1, max(n - RECENT, 0)), np.ones(min(n, RECENT)))


def widths(numbers: np.ndarray) -> np.ndarray:
    """Widths (m, axes) of components: the distance along each axis from a point to its farther neighbour.

    The outermost points have one neighbour; a single point has the ends 0 and 1. Clipped to
    [1 / min(NARROWEST, m + 2), 1].
    """
    m, axes = numbers.shape
    order = numbers.argsort(0, kind="stable")
    ascending = np.take_along_axis(numbers, order, 0)
    gaps = np.diff(ascending, axis=0, prepend=np.zeros((1, axes)), append=np.ones((1, axes)))
    farther = np.maximum(gaps[:-1], gaps[1:])
    if m > 1:
        farther[0], farther[-1] = gaps[1], gaps[-2]
    widths = np.empty_like(numbers)
    np.put_along_axis(widths, order, farther, 0)
    return widths.clip(1 / min(NARROWEST, 2 + m), 1)


def chances(values: np.ndarray, size: int) -> np.ndarray:
    """Probabilities (m + 1, size) of values per component: in proportion to 1/(m + 1), plus 1 for a point's own."""
    chance = np.full((len(values) + 1, size), 1 / (len(values) + 1))
    chance[np.arange(len(values)), values] += 1
    return chance / chance.sum(1, keepdims=True)
