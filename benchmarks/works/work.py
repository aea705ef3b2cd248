"""Kinds of work: the shapes, batches and rows that every side trains, drawn from a seed."""

from typing import NamedTuple

import numpy as np


class Work(NamedTuple):
    """What is trained: one row's shape, the number of classes, rows of a batch, batches of an epoch."""

    shape: tuple[int, ...]
    classes: int
    batch: int
    steps: int


class Images(NamedTuple):
    """A network of two convolutions, each with a pool.

    Attributes:
        side, channels: of the images.
        widths: the channels of the convolutions.
        taps: the side of their windows.
        norms: True for batch normalization after each.
    """

    side: int
    channels: int
    widths: tuple[int, int]
    taps: int = 3
    norms: bool = False

    @property
    def work(self) -> Work:
        """With so many batches that an epoch takes about as long as of the others."""
        return Work((self.side, self.side, self.channels), 10, 64, 4)


def drawn(seed: int) -> Images:
    """Shapes that nothing was tuned on."""
    rng = np.random.default_rng(seed)
    side, channels = int(rng.integers(9, 40)), int(rng.integers(1, 5))
    first, second = (int(rng.integers(6, 65)) for _ in range(2))
    return Images(side, channels, (first, second), int(rng.choice([3, 5])), bool(rng.integers(2)))


IMAGES = {
    "cnn8": Images(8, 1, (16, 32)),
    "cnn28": Images(28, 1, (16, 32)),
    "cnn32": Images(32, 3, (32, 64), norms=True),
    **{f"drawn{seed}": drawn(seed) for seed in range(1, 37)},
}
WORKS = {
    "mlp": Work((64,), 10, 32, 64),
    "mlp256": Work((50,), 10, 256, 16),
    "cnn8": Work((8, 8, 1), 10, 64, 16),
    "cnn28": Work((28, 28, 1), 10, 64, 8),
    "cnn32": Work((32, 32, 3), 10, 64, 4),
    "conv1d": Work((40, 4), 10, 64, 16),
    "gru": Work((40, 4), 10, 64, 8),
    "attention": Work((40, 4), 10, 64, 8),
    **{name: images.work for name, images in IMAGES.items() if name.startswith("drawn")},
}
RATE, DECAY = 1e-3, 1e-2  # of AdamW


def rows_of(work: Work) -> tuple[np.ndarray, np.ndarray]:
    """Rows (rows, ...) of normal numbers and their classes (rows,), by a linear function of them."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(work.batch * work.steps, *work.shape)).astype(np.float32)
    flat = x.reshape(len(x), -1)
    return x, (flat @ rng.normal(size=(flat.shape[1], work.classes))).argmax(1)
