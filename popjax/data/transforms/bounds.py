"""Bounds of the coordinates of a feature. No JAX here."""

import numpy as np

FAR, NEAR = 20.0, 1.0  # bounds of a feature, and of a nearly constant one
OTHERS, FEW = 0.01, 5  # share and number of the training rows that may be above the common value, and below
MOST = 20  # training rows for each of the FEW


TINY = 1e-12  # share of a value below which a difference is rounding


def varies(x: np.ndarray) -> np.ndarray:
    """bool, in the shape of a row: the feature has several values, rounding apart."""
    low, high = x.min(0), x.max(0)
    return np.asarray(high - low > TINY * np.maximum(np.abs(low), np.abs(high)))


def limits(x: np.ndarray) -> np.ndarray:
    """Bounds of standardized features, in the shape of a row.

    A feature that is nearly constant on training rows gets a tiny scale, so other rows can lie hundreds of standard
    deviations away, where a model has learned nothing. It is clipped to 1, as a one-hot feature would be
    (benchmarks/standardize.py).
    """
    return np.where(nearly_constant(x), NEAR, FAR)


def nearly_constant(x: np.ndarray) -> np.ndarray:
    """bool, in the shape of a row: one value but for at most 1 % of the rows, or 5 of 100, on either side."""
    last = len(x) - 1
    others = max(int(np.ceil(last * OTHERS)), min(FEW, last // MOST))
    ordered = np.partition(x, (others, last - others), axis=0)
    return ordered[others] == ordered[last - others]
