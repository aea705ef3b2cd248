"""What the records of epochs say: the mean of a trial's members, the last that is finite, the order of trials."""

from collections.abc import Mapping

import numpy as np

TIES = "val_loss"  # what decides between trials of equal rank, less is better


def mean_member(values: np.ndarray) -> np.ndarray:
    """The mean of (trials, folds, repeats, epochs) over folds and repeats."""
    single = values.shape[1] * values.shape[2] == 1
    return values[:, 0, 0] if single else values.mean((1, 2), dtype=np.float64)


def after(curves: Mapping[str, np.ndarray], epochs: np.ndarray) -> dict[str, np.ndarray]:
    """Metric -> (trials, ...): what curves (trials, ..., epochs) are after so many epochs (trials,); NaN after none."""
    rows, at = np.arange(len(epochs)), np.maximum(epochs - 1, 0)
    found = {name: curve[rows, ..., at] for name, curve in curves.items()}
    return {name: np.where((epochs > 0).reshape(-1, *[1] * (now.ndim - 1)), now, np.nan) for name, now in found.items()}


def ties(metrics: tuple[str, ...], metric: str) -> tuple[tuple[str, str], ...]:
    """The metrics, each with its mode, that decide between trials of equal `metric`."""
    return ((TIES, "min"),) if TIES in metrics and metric != TIES else ()


def ranking(values: Mapping[str, np.ndarray], metric: str, mode: str) -> np.ndarray:
    """Row numbers, best first; ties by validation loss, then by row."""
    key = values[metric] if mode == "min" else -values[metric]
    return np.lexsort((values.get(TIES, key), key))


def finite_epochs(values: np.ndarray) -> np.ndarray:
    """The epochs (trials, folds, repeats) up to the last finite record; a copy may leave a gap before it."""
    backwards = np.isfinite(values)[..., ::-1]
    return np.where(backwards.any(-1), backwards.shape[-1] - backwards.argmax(-1), 0)
