"""The tree-structured Parzen estimator (Bergstra et al. 2011), over all axes together. It knows no Space.

Two densities are laid around points that were tried, one around the good ones and one around the others; the next
point is the one of several from the first at which their ratio is largest. The densities are those of Optuna's
`TPESampler(multivariate=True)`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

CANDIDATES = 24  # of which the best is taken
RECENT = 25  # points that weigh fully; those before them less, down to 1/n of the first
NARROWEST = 100  # a component is no narrower than this part of an axis


def parzen(n: int, good: np.ndarray, others: np.ndarray, sizes: Sequence[int], seed: Any) -> np.ndarray:
    """The next n points (n, axes); each counts among the others for those after it, so that they do not crowd.

    Args:
        n: how many.
        good: the good points (m, axes) in the order in which they were tried.
        others: the others, likewise.
        sizes: of each axis how many values it has, which are 0, 1, ...; 0 for numbers, which lie in [0, 1].
        seed: for `numpy.random.default_rng`.

    >>> good, others = np.array([[0.8], [0.82]] * 8), np.array([[0.1], [0.5]])
    >>> bool((parzen(8, good, others, [0], seed=0) > 0.6).all())
    True
    """
    near = Density(good, sizes)
    candidates = near.sample(n * CANDIDATES, np.random.default_rng(seed))
    gain = near.log(candidates).reshape(n, CANDIDATES)
    candidates = candidates.reshape(n, CANDIDATES, len(sizes))
    points = np.empty((n, len(sizes)))
    for row in range(n):
        far = Density(np.concatenate([others, points[:row]]), sizes)
        points[row] = candidates[row, np.argmax(gain[row] - far.log(candidates[row]))]
    return points


class Density:
    """A mixture of products over the axes: a component around each point, and one as wide as all.

    A component is normal within [0, 1] along a number, as wide as its neighbours are away; of an axis with values it
    takes the point's own, or, more rarely the more points there are, any.
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
        self.below = ndtr(-self.centres / self.widths)  # of a component, what would lie below 0, and up to 1
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
        """The logarithm of the density (n,) at points (n, axes).

        The exponent of a normal distribution is a polynomial of the point: two products of matrices give all.
        """
        numbers, square = points[:, self.number], self.widths**-2
        whole = np.log(self.widths * (self.up_to - self.below)) + np.log(2 * np.pi) / 2
        level = np.log(self.weights) - (whole + self.centres**2 * square / 2).sum(1)
        of_each = level + numbers @ (self.centres * square).T - numbers**2 @ square.T / 2
        for axis, chance in self.chances.items():
            of_each += np.log(chance[:, points[:, axis].astype(int)]).T
        most = of_each.max(1)
        found: np.ndarray = most + np.log(np.exp(of_each - most[:, None]).sum(1))
        return found


def recent(n: int) -> np.ndarray:
    """What points (n,) weigh, the latest last."""
    return np.append(np.linspace(1 / max(n, 1), 1, max(n - RECENT, 0)), np.ones(min(n, RECENT)))


def widths(numbers: np.ndarray) -> np.ndarray:
    """How far (m, axes) along each axis the farther neighbour of each point is; of a single point, the farther end."""
    m, axes = numbers.shape
    order = numbers.argsort(0, kind="stable")
    ascending = np.take_along_axis(numbers, order, 0)
    gaps = np.diff(ascending, axis=0, prepend=np.zeros((1, axes)), append=np.ones((1, axes)))
    farther = np.maximum(gaps[:-1], gaps[1:])
    if m > 1:
        farther[0], farther[-1] = gaps[1], gaps[-2]
    found = np.empty_like(numbers)
    np.put_along_axis(found, order, farther, 0)
    return found.clip(1 / min(NARROWEST, 2 + m), 1)


def chances(values: np.ndarray, size: int) -> np.ndarray:
    """The chance (m + 1, size) of each value in each component: equal, but that a point's own counts as one more."""
    chance = np.full((len(values) + 1, size), 1 / (len(values) + 1))
    chance[np.arange(len(values)), values] += 1
    return chance / chance.sum(1, keepdims=True)
