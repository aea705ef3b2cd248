"""Where the coordinates of a feature end. No JAX here."""

import numpy as np

FAR, NEAR = 20.0, 1.0  # the largest coordinates of a feature, and of one that is nearly constant
OTHERS, FEW = 0.01, 5  # the share, and the number, of the training rows that may then have more than one value, or less
MOST = 20  # for each of those few there are so many rows


TINY = 1e-12  # of a value, below which a difference is rounding


def varies(x: np.ndarray) -> np.ndarray:
    """Whether each feature has several values, in the shape of a row."""
    low, high = x.min(0), x.max(0)
    return np.asarray(high - low > TINY * np.maximum(np.abs(low), np.abs(high)))


def limits(x: np.ndarray) -> np.ndarray:
    """Where standardized features end, in the shape of a row.

    A feature whose training rows are nearly all alike gets a tiny scale, so that on other rows it can reach hundreds
    of standard deviations, of which a model has learned nothing: it ends at what a text's feature would be, at 1
    (benchmarks/standardize.py).
    """
    return np.where(nearly_constant(x), NEAR, FAR)


def nearly_constant(x: np.ndarray) -> np.ndarray:
    """Whether, of each feature, all but a hundredth of the rows have one value, or all but five of a hundred rows."""
    last = len(x) - 1
    others = max(int(np.ceil(last * OTHERS)), min(FEW, last // MOST))
    ordered = np.partition(x, (others, last - others), axis=0)
    return ordered[others] == ordered[last - others]
