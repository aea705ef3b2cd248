"""What every seeker searches, and what it tells of it. NumPy alone, so that every environment has it.

An MLP with relu, SGD with momentum and a rate that falls as 1/(1 + decay·epoch), He's normal initialization, float32:
popjax's default space, 20 epochs at most. All see the same rows, standardized by the training rows, a regression's
targets too. The loss is the mean log loss of the validation rows, or the mean squared error of standardized targets.
"""

import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

EPOCHS = 20
RATES, REST = (1e-4, 1.0), (1e-3, 1e-1)  # of the learning rate, and of 1 - momentum: logarithmic both
HIDDEN, DEPTH, BATCHES, DECAY = (50, 100), (2, 4), (16, 32, 64, 128), (0.0, 0.2)


class Workload(NamedTuple):
    """A table and its rows.

    Attributes:
        x, y: all rows, features (rows, features), targets (rows,): numbers of classes, or values.
        train, validation, test: numbers of rows.
        seed: of the search.
        seconds: how long it may take, from the start of the process.
    """

    x: np.ndarray
    y: np.ndarray
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    seed: int
    seconds: float

    @property
    def classes(self) -> int:
        """How many there are; 0 for a regression."""
        return int(self.y.max()) + 1 if self.y.dtype.kind == "i" else 0

    def standardized(self) -> tuple[np.ndarray, np.ndarray]:
        """Features and targets by the training rows' mean and deviation; classes as they are."""
        x = by_rows(self.x, self.train)
        return x, self.y if self.classes else by_rows(self.y, self.train)


class Told:
    """What came of a search, as it came: `losses` are (time, validation loss) of each trial trained to the end."""

    def __init__(self) -> None:
        self.begun: float | None = None  # when the first epoch was over
        self.losses: list[tuple[float, float]] = []
        self.found: dict[str, Any] = {}

    def epoch(self) -> None:
        """An epoch of some trial is over."""
        self.begun = self.begun or time.time()

    def trial(self, loss: float, at: float | None = None) -> None:
        """A trial is trained to the end."""
        if np.isfinite(loss):
            self.losses.append((time.time() if at is None else at, float(loss)))


def by_rows(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Values standardized by some of their rows."""
    mean, scale = values[rows].mean(0), values[rows].std(0)
    return np.asarray((values - mean) / np.where(scale > 0, scale, 1), np.float32)


def scores(predicted: np.ndarray, y: np.ndarray, classes: int) -> dict[str, float]:
    """Of probabilities (rows, classes) or values (rows,) for targets: the loss, and accuracy or R²."""
    if classes:
        own = predicted[np.arange(len(y)), y]
        return {
            "loss": float(-np.log(np.maximum(own, 1e-15)).mean()),
            "score": float((predicted.argmax(1) == y).mean()),
        }
    error = float(((predicted - y) ** 2).mean())
    return {"loss": error, "score": float(1 - error / y.var())}


def load(path: str | Path) -> Workload:
    """The workload in an NPZ file."""
    raw = np.load(path)
    rows = (raw[name] for name in ("x", "y", "train", "validation", "test"))
    return Workload(*rows, int(raw["seed"]), float(raw["seconds"]))


def cores() -> int:
    """The CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
