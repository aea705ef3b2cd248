"""Eight kinds of work: the shapes, batches and rows that every side trains, drawn from a seed."""

from typing import NamedTuple

import numpy as np


class Work(NamedTuple):
    """What is trained: one row's shape, the number of classes, rows of a batch, batches of an epoch."""

    shape: tuple[int, ...]
    classes: int
    batch: int
    steps: int


WORKS = {
    "mlp": Work((64,), 10, 32, 64),
    "mlp256": Work((50,), 10, 256, 16),
    "cnn8": Work((8, 8, 1), 10, 64, 16),
    "cnn28": Work((28, 28, 1), 10, 64, 8),
    "cnn32": Work((32, 32, 3), 10, 64, 4),
    "conv1d": Work((40, 4), 10, 64, 16),
    "gru": Work((40, 4), 10, 64, 8),
    "attention": Work((40, 4), 10, 64, 8),
}
RATE, DECAY = 1e-3, 1e-2  # of AdamW


def rows_of(work: Work) -> tuple[np.ndarray, np.ndarray]:
    """Rows (rows, ...) of normal numbers and their classes (rows,), by a linear function of them."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(work.batch * work.steps, *work.shape)).astype(np.float32)
    flat = x.reshape(len(x), -1)
    return x, (flat @ rng.normal(size=(flat.shape[1], work.classes))).argmax(1)
