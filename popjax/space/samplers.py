"""Designs on the unit cube: random, Sobol and grid. They know no Space.

A sampler takes the number of points, the number of distinct levels of each axis (infinite for a
continuous one) and a seed, and returns points (n, axes) in [0, 1).
"""

import math
from collections.abc import Sequence

import numpy as np

from popjax.core.faults import calling
from popjax.core.text import short


def random(n: int, levels: Sequence[float], seed: int) -> np.ndarray:
    """Independent uniform points (n, axes), with a random stream per axis.

    The first k of n rows are the rows for k, and a further axis changes no other.
    """
    columns = [np.random.default_rng([seed, axis]).random(n) for axis in range(len(levels))]
    return np.array(columns).reshape(len(levels), n).T


def sobol(n: int, levels: Sequence[float], seed: int) -> np.ndarray:
    """Scrambled Sobol points (n, axes), evenly spread over all axes together.

    The next power of two is drawn and cut, so the first k of n rows are the rows for k. Raises ValueError for more
    axes than SciPy has Sobol numbers for.
    """
    from scipy.stats import qmc

    if not levels:
        return np.zeros((n, 0))
    if len(levels) > qmc.Sobol.MAXDIM:
        raise ValueError(f"sobol: {len(levels)} hyperparameters are more than {qmc.Sobol.MAXDIM}; use random")
    engine = qmc.Sobol(len(levels), rng=np.random.default_rng(seed))
    return engine.random_base2(math.ceil(math.log2(n)))[:n]


def grid(n: int, levels: Sequence[float], seed: int) -> np.ndarray:
    """A full grid (points, axes) of at most n points, at the centres of equal cells; `seed` is unused."""
    if not levels:
        return np.zeros((1, 0))
    counts = grid_levels(n, levels)
    axes = [(np.arange(count) + 0.5) / count for count in counts]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(math.prod(counts), len(levels))


def grid_levels(n: int, levels: Sequence[float]) -> list[int]:
    """Number of grid values of each axis: one more for the axis with the fewest, while n points allow it."""
    counts = [1] * len(levels)
    while room := [axis for axis, count in enumerate(counts) if count < levels[axis]]:
        fewest = min(room, key=lambda axis: counts[axis])
        if math.prod(counts) // counts[fewest] * (counts[fewest] + 1) > n:
            break
        counts[fewest] += 1
    return counts


SAMPLERS = {"random": random, "sobol": sobol, "grid": grid}
PROVEN = frozenset((random, sobol, grid))  # by tests: no search draws from them twice


def draw(name: str, n: int, levels: Sequence[float], seed: int) -> np.ndarray:
    """Points (n, axes) of the named sampler, at most n of "grid".

    Raises ValueError for an unknown name, and for a sampler that returns anything else, or other points for a seed
    when it is called again.
    """
    if name not in SAMPLERS:
        raise ValueError(f"unknown sampler {name!r}; the samplers are {', '.join(SAMPLERS)}")
    what = f"the sampler {name}"
    with calling(what):
        points = SAMPLERS[name](n, levels, seed)
        again = points if SAMPLERS[name] in PROVEN else SAMPLERS[name](n, levels, seed)
    array = isinstance(points, np.ndarray) and points.ndim == 2 and points.dtype.kind == "f"
    if not array or points.shape[1] != len(levels) or (len(points) != n and name != "grid"):
        raise ValueError(f"{what} returned {short(points)}; return floats {(n, len(levels))}")
    if not ((points >= 0) & (points <= 1)).all():
        wrong = points[~((points >= 0) & (points <= 1))][0]
        raise ValueError(f"{what} returned a point with the coordinate {wrong}; return numbers of at least 0, below 1")
    if not np.array_equal(points, again):
        raise ValueError(f"{what} returned other points when it was called again; draw by its seed")
    return points
