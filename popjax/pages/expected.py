"""The expected best of k trials of a random search. No JAX here."""

import numpy as np


def expected_best(values: np.ndarray, mode: str, sizes: np.ndarray) -> np.ndarray:
    """The expected best of k of these values, drawn without replacement, for each k in `sizes`.

    Exact, by order statistics: of n values in ascending order, the i-th is the greatest of
    k with probability C(i-1, k-1) / C(n, k). A value that is not finite counts as the worst
    finite one.

    Args:
        values: a value per trial (trials,).
        mode: "max" or "min".
        sizes: each k, from 1 to the number of values.

    >>> expected_best(np.array([0.0, 1.0, 2.0]), "max", np.array([1, 2, 3])).round(4).tolist()
    [1.0, 1.6667, 2.0]
    """
    from scipy.special import gammaln

    signed = np.asarray(values, float) * (1 if mode == "max" else -1)
    finite = np.isfinite(signed)
    ascending = np.sort(np.where(finite, signed, signed[finite].min()))
    n = len(ascending)

    best = []
    for k in np.asarray(sizes).tolist():
        rank = np.arange(k, n + 1)
        chances = gammaln(rank) - gammaln(rank - k + 1)  # log C(i-1, k-1), up to a term that all ranks share
        weights = np.exp(chances - chances[-1])
        best.append(weights @ ascending[k - 1 :] / weights.sum())
    return np.array(best) * (1 if mode == "max" else -1)
