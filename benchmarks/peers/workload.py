"""What every peer trains, and what it tells about it. NumPy alone, so that every environment has it.

An MLP 64-100-100-10 with relu on digits: SGD with momentum, batches of 32, 1408 rows shuffled
every epoch, He's normal initialization, float32. Every trial has a learning rate and a momentum.
"""

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

SIZES = (64, 100, 100, 10)
BATCH = 32


class Workload(NamedTuple):
    """The rows, standardized by the training rows; the trials (trials,); how long to train each."""

    x: np.ndarray
    y: np.ndarray
    x_validation: np.ndarray
    y_validation: np.ndarray
    learning_rate: np.ndarray
    momentum: np.ndarray
    epochs: int
    raw: dict[str, np.ndarray]

    @property
    def trials(self) -> int:
        """How many trials there are."""
        return len(self.learning_rate)

    @property
    def steps(self) -> int:
        """Updates in an epoch."""
        return len(self.x) // BATCH


class Outcome(NamedTuple):
    """What a peer found: accuracies (trials,) in the order of the trials, and where the time went.

    `updates` is counted where the training is, not computed from the settings, wherever that is possible.
    """

    accuracies: Any
    updates: int
    compile_seconds: float
    train_seconds: float
    settings: str


def load(path: str | Path) -> Workload:
    """The workload in an NPZ file."""
    raw = dict(np.load(path))
    train, validation = raw["train"], raw["validation"]
    mean, scale = raw["x"][train].mean(0), raw["x"][train].std(0)
    x = ((raw["x"] - mean) / np.where(scale > 0, scale, 1)).astype(np.float32)
    rows = x[train], raw["y"][train], x[validation], raw["y"][validation]
    return Workload(*rows, raw["learning_rate"], raw["momentum"], int(raw["epochs"]), raw)


def cores() -> int:
    """The CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
