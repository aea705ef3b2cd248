"""Classes that a model never predicts."""

import numpy as np

from popjax.supervision.kinds.kind import Kind

UNEVEN = 3  # the largest class has at least so many times the rows of the smallest


def unpredicted(kind: Kind, predicted: np.ndarray, targets: np.ndarray) -> list[str]:
    """The classes, or labels, that rows have and no prediction has; empty for other kinds of targets.

    >>> from popjax.supervision.kinds.classification import Classification
    >>> chances = np.array([[0.9, 0.1], [0.8, 0.2]])
    >>> unpredicted(Classification(("no", "yes")), chances, np.array([0, 1]))
    ['yes']
    """
    if not kind.chances:
        return []
    if targets.ndim == 1 and kind.classes is not None:
        lacking = np.setdiff1d(targets, predicted.argmax(-1)).astype(int)
        return [str(kind.classes[at]) for at in lacking]
    decided = np.asarray(kind.decided(predicted), bool)
    return [name for name, own, y in zip(kind.names, decided.T, targets.T, strict=True) if y.any() and not own.any()]


def uneven(kind: Kind, targets: np.ndarray) -> bool:
    """True if the largest class has at least UNEVEN times the rows of the smallest."""
    if kind.classes is None or targets.ndim != 1:
        return False
    counts = np.bincount(targets.astype(int), minlength=len(kind.classes))
    return bool(counts.max() >= UNEVEN * counts.min())
