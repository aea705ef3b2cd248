"""How much coordinates decide which points are the best: PED-ANOVA, on counts in the cells of a grid. No JAX here."""

from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

CELLS = 50  # of a range
LEAST = 0.5 / 1.64  # the least width of a kernel, in cells: 90 % of it is in its own


class Kernels(NamedTuple):
    """Densities over the cells of an axis, which each sum to 1.

    Attributes:
        points: of a point in each cell (cells, cells).
        prior: of the one that stands for what is not known (cells,).
    """

    points: np.ndarray
    prior: np.ndarray


def grid_cells(units: np.ndarray) -> np.ndarray:
    """The cells (points,) of coordinates in [0, 1]; those in the middle between two centres are the lower one's."""
    return np.clip(np.ceil(units / (1 / (CELLS - 1)) - 0.5), 0, CELLS - 1).astype(int)


def of_range(counts: np.ndarray) -> Kernels:
    """Normal kernels within the range, whose width is by Scott's rule for points that are counted in cells (cells,)."""
    cells = np.arange(len(counts))
    points = np.repeat(cells, counts)
    number = len(points)
    quartiles = points[max(0, number // 4 - 1)], points[min(number - 1, number * 3 // 4)]
    spread = min((quartiles[1] - quartiles[0]) / 1.34, points.std(ddof=1) if number > 1 else 0.0)
    width = max(1.059 * spread * number**-0.2, LEAST)
    middle = np.array([(len(counts) - 1) / 2])
    return Kernels(normal_kernels(cells, width, cells), normal_kernels(middle, float(len(counts)), cells)[0])


def normal_kernels(centres: np.ndarray, width: float, cells: np.ndarray) -> np.ndarray:
    """Normal densities (centres, cells), cut off at the ends of the grid."""
    away = cells - centres[:, None]
    mass = ndtr((away + 0.5) / width) - ndtr((away - 0.5) / width)
    return mass / mass.sum(1, keepdims=True)


def of_choice(counts: np.ndarray) -> Kernels:
    """Kernels of choices (choices,), between which nothing is near: a point's own choice, and a little of each."""
    choices, kernels = len(counts), np.count_nonzero(counts) + 1
    points = (np.eye(choices) + 1 / kernels) / (1 + choices / kernels)
    return Kernels(points, np.full(choices, 1 / choices))


def density(counts: np.ndarray, *axes: Kernels) -> np.ndarray:
    """The density over cells of points that are counted in them (*cells), by kernels of one axis or of two."""
    smooth, prior = axes[0].points.T @ counts, axes[0].prior
    if len(axes) == 2:
        smooth, prior = smooth @ axes[1].points, np.outer(prior, axes[1].prior)
    return (smooth + prior) / (counts.sum() + 1)


def divergence(best: np.ndarray, every: np.ndarray) -> float:
    """Pearson's divergence of the density of the best points from that of all points, each (*cells).

    The variance that an axis explains of "is among the best", but for a factor that all axes share (equation 8 of
    Watanabe et al. 2023, "PED-ANOVA", arXiv 2304.10255).

    >>> halves = np.array([0.5, 0.5])
    >>> round(divergence(halves, halves), 9), round(divergence(np.array([1.0, 0]), halves), 9)
    (0.0, 1.0)
    """
    best, every = best + 1e-12, every + 1e-12
    return float((every * (best / every - 1) ** 2).sum())
