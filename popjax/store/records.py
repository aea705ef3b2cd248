"""What the records of epochs say: the mean of a trial's members, and the last that is finite."""

from collections.abc import Mapping

import numpy as np


def mean_member(values: np.ndarray) -> np.ndarray:
    """The mean of (trials, folds, repeats, epochs) over folds and repeats."""
    single = values.shape[1] * values.shape[2] == 1
    return values[:, 0, 0] if single else values.mean((1, 2), dtype=np.float64)


def values_after(curves: Mapping[str, np.ndarray], epochs: np.ndarray) -> dict[str, np.ndarray]:
    """Metric -> (trials, ...): what curves (trials, ..., epochs) are after so many epochs (trials,); NaN after none."""
    rows, at = np.arange(len(epochs)), np.maximum(epochs - 1, 0)
    found = {name: curve[rows, ..., at] for name, curve in curves.items()}
    return {name: np.where((epochs > 0).reshape(-1, *[1] * (now.ndim - 1)), now, np.nan) for name, now in found.items()}


def finite_epochs(values: np.ndarray) -> np.ndarray:
    """The epochs (trials, folds, repeats) up to the last finite record; a copy may leave a gap before it."""
    backwards = np.isfinite(values)[..., ::-1]
    return np.where(backwards.any(-1), backwards.shape[-1] - backwards.argmax(-1), 0)
