"""Reductions of records: mean over a trial's members and its error, value after an epoch, last finite epoch."""

from collections.abc import Mapping

import numpy as np


def mean_member(values: np.ndarray) -> np.ndarray:
    """Mean (trials, epochs) over folds and repeats of (trials, folds, repeats, epochs); float64 for several members."""
    single = values.shape[1] * values.shape[2] == 1
    return values[:, 0, 0] if single else values.mean((1, 2), dtype=np.float64)


def error_of_mean(values: np.ndarray) -> np.ndarray:
    """Standard error (trials, ...) of the mean over folds and repeats of values (trials, folds, repeats, ...), float64.

    Repeats share the rows of their fold, so of several folds it is that of the folds' means; of one fold that of its
    repeats, which tells of the seeds alone.
    """
    values = values.astype(np.float64)
    apart = values.mean(2) if values.shape[1] > 1 else values[:, 0]
    error: np.ndarray = apart.std(1, ddof=1) / np.sqrt(apart.shape[1])
    return error


def values_after(curves: Mapping[str, np.ndarray], epochs: np.ndarray) -> dict[str, np.ndarray]:
    """Metric -> (trials, ...): curves (trials, ..., epochs) after `epochs` (trials,) epochs; NaN after none."""
    rows, at = np.arange(len(epochs)), np.maximum(epochs - 1, 0)
    after = {name: curve[rows, ..., at] for name, curve in curves.items()}
    return {name: np.where((epochs > 0).reshape(-1, *[1] * (now.ndim - 1)), now, np.nan) for name, now in after.items()}


def finite_epochs(values: np.ndarray) -> np.ndarray:
    """int (trials, folds, repeats): number of epochs up to the last finite record; a copy may leave a gap before it."""
    backwards = np.isfinite(values)[..., ::-1]
    return np.where(backwards.any(-1), backwards.shape[-1] - backwards.argmax(-1), 0)
