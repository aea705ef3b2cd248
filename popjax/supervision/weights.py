"""Weights of rows in the training loss, by class and as the user gives them. No JAX here."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from popjax.data.dataset import Dataset

BALANCED = "balanced"


def weights_of(dataset: Dataset, trained: np.ndarray, class_weight: Any, sample_weight: Any) -> np.ndarray | None:
    """The weight of each row (rows,), or of each of its labels (rows, labels); None if no weights are given.

    Weights have mean 1 over the training rows.

    Args:
        dataset: the rows.
        trained: numbers of the training rows, which "balanced" counts.
        class_weight: None, "balanced" (rows / (classes * rows of the class), as in scikit-learn; for several labels,
            for each label), or label -> weight, 1 for a label that is not named.
        sample_weight: None, or a weight for each row that was given, dropped rows included.

    Raises ValueError for invalid weights, and where all training rows have weight 0.
    """
    weights = np.ones(len(dataset)) if sample_weight is None else by_row(dataset, sample_weight)
    if class_weight is not None and dataset.labelled:
        weights = weights[:, None] * by_label(dataset, trained, class_weight)
    elif class_weight is not None:
        weights = weights * by_class(dataset, trained, class_weight)[dataset.y]
    if class_weight is None and sample_weight is None:
        return None
    if not weights[trained].sum() > 0:
        raise ValueError("the weight of all training rows is zero; give some of them one above it")
    return np.asarray(weights / weights[trained].mean())


def by_row(dataset: Dataset, sample_weight: Any) -> np.ndarray:
    """`sample_weight` without the dropped rows (rows,); raises ValueError unless finite, at least 0, one a row."""
    weights, count = np.asarray(sample_weight), len(dataset) + len(dataset.dropped)
    if weights.shape != (count,) or weights.dtype.kind not in "biuf":
        raise ValueError(
            f"sample_weight is {weights.dtype}{list(weights.shape)} for {count} rows; give one number a row"
        )
    wrong = ~(np.isfinite(weights.astype(float)) & (weights >= 0))
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(f"sample_weight: row {row} weighs {weights[row]}; give finite numbers of at least 0")
    return np.delete(weights.astype(float), dataset.dropped)


def by_class(dataset: Dataset, trained: np.ndarray, class_weight: Any) -> np.ndarray:
    """The weight of each class (classes,), "balanced" or by name; raises ValueError for targets without classes."""
    if dataset.classes is None:
        what = f"a {'custom loss' if dataset.kind == 'own' else dataset.kind} has no classes"
        raise ValueError(f"class_weight={class_weight!r}: {what}; use sample_weight")
    if isinstance(class_weight, str) and class_weight == BALANCED:
        counts = np.bincount(dataset.y[trained], minlength=len(dataset.classes))
        return np.asarray(len(trained) / (np.count_nonzero(counts) * np.maximum(counts, 1)))
    return by_name(dataset.classes, class_weight, "class")


def by_label(dataset: Dataset, trained: np.ndarray, class_weight: Any) -> np.ndarray:
    """The weights of labels (rows, labels): "balanced" between rows with and without each label, or by name."""
    if not (isinstance(class_weight, str) and class_weight == BALANCED):
        return np.broadcast_to(by_name(dataset.outputs, class_weight, "label"), dataset.y.shape)
    have = dataset.y[trained].sum(0)
    true, false = (len(trained) / (2 * np.maximum(count, 1)) for count in (have, len(trained) - have))
    return np.where(dataset.y, true, false)


def by_name(names: Sequence[Any], class_weight: Any, what: str) -> np.ndarray:
    """The weights of `names` (names,), 1 by default; raises ValueError for unknown names and invalid weights."""
    if not isinstance(class_weight, Mapping):
        raise ValueError(f'class_weight={class_weight!r}: give "balanced", or a weight of each label')
    known = dict(zip(names, range(len(names)), strict=True))
    known |= {at: at for at in range(len(names)) if what == "label"}
    weights = np.ones(len(names))
    for label, weight in class_weight.items():
        if label not in known:
            raise ValueError(f"class_weight: there is no {what} {label!r}; there are {', '.join(map(repr, names))}")
        if isinstance(weight, bool) or not isinstance(weight, int | float | np.number) or not 0 <= weight < np.inf:
            raise ValueError(f"class_weight: {label!r} weighs {weight!r}; give a finite number of at least 0")
        weights[known[label]] = weight
    return weights
