"""Targets: classes, labels or values, as they are read, and warnings about their kind. No JAX here."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from popjax.core.text import short
from popjax.data.columns import MAX_CLASSES

DOUBTFUL = 300  # distinct integers up to which a regression may be classes
LARGEST = 1e100  # beyond it the variance of a column overflows


class Targets(NamedTuple):
    """Targets and their kind.

    Attributes:
        y: int indices of classes (rows,), float (rows,) or (rows, outputs), bool (rows, labels), or of the kind "own"
            any numbers (rows, ...).
        kind: the name of a kind of targets.
        classes: labels of a classification, in their order; else None.
        doubt: what may be wrong about the kind, in one line; empty if nothing.
    """

    y: np.ndarray
    kind: str
    classes: tuple[Any, ...] | None = None
    doubt: str = ""


class Reads(Protocol):
    """How targets of a kind are read from values (rows, ...); raises ValueError in one line.

    `name` is that of the data, and `target` that of the column, for errors.
    """

    def __call__(self, y: np.ndarray, name: str, target: str, /) -> Targets: ...


def guessed(y: np.ndarray, name: str, target: str, own_loss: bool = False) -> Targets:
    """Targets of the kind that their dtype and values suggest; raises ValueError in one line.

    With one value per row, texts, bools and integers with at most 20 distinct values are classes. With several, bools
    and integers 0 and 1 are labels, others a regression; with a user-defined loss they are of the kind "own".
    """
    if y.ndim > 1:
        return several_guessed(y, name, target, own_loss)
    y = typed_targets(y, name, target)
    distinct = len(np.unique(y)) if y.dtype.kind in "iuf" else 0
    if y.dtype.kind == "f" or distinct > MAX_CLASSES:
        return value_targets(y, name, target)._replace(doubt=regression_doubt(y, distinct, target))
    return class_targets(y, name, target)


def several_guessed(y: np.ndarray, name: str, target: str, own_loss: bool) -> Targets:
    """Targets with several columns, as labels or as values; with a user-defined loss of the kind "own"."""
    if own_loss and y.shape[1:] != (1,):
        return own_targets(y, name, target)
    y = target_columns(y, name, target)
    binary = is_binary(y)
    one_hot = binary and bool((y.sum(1) == 1).all())
    remedy = f"{target} is one-hot, so its columns are taken as several %s; if they are one class a row, give argmax(1)"
    if binary and y.dtype.kind != "f":
        doubt = f"the columns of {target} are 0 and 1, so they are taken as labels; if they are values, say "
        doubt = "" if y.dtype.kind == "b" else doubt + 'kind="regression" (--kind regression)'
        return label_targets(y, name, target)._replace(doubt=remedy % "labels" if one_hot else doubt)
    return value_targets(y, name, target)._replace(doubt=remedy % "values" if one_hot else "")


def class_targets(y: np.ndarray, name: str, target: str, order: Sequence[Any] = ()) -> Targets:
    """Indices of classes from labels (rows,), which are sorted, or in an `order`; raises ValueError for anything else.

    >>> class_targets(np.array(["low", "high"]), "data", "y", ("low", "medium", "high")).y.tolist()
    [0, 2]
    """
    if y.ndim > 1:
        target_columns(y, name, target)
        raise ValueError(f"{name}: {target} has several columns; give numbers or truth values, or one of classes")
    codes, labels = classes(typed_targets(y, name, target), name, target)
    if order:
        if unknown := [label for label in labels if label not in order]:
            known = ", ".join(map(repr, order))
            raise ValueError(f"{name}: the target {target!r} holds {short(unknown[0])}; its classes are {known}")
        codes, labels = np.array([order.index(label) for label in labels])[codes], tuple(order)
    return Targets(codes, "classification", labels)


def label_targets(y: np.ndarray, name: str, target: str) -> Targets:
    """Truth values (rows, labels), also from 0 and 1; raises ValueError for anything else."""
    if y.ndim == 1:
        raise ValueError(f"{name}: several labels are truth values (rows, labels), and {target} is {list(y.shape)}")
    y = target_columns(y, name, target)
    if not is_binary(y):
        bad = y[~np.isin(y, (0, 1))][0]
        raise ValueError(f"{name}: several labels are truth values, and {target} holds {short(bad)}; give 0 and 1")
    return Targets(y.astype(bool), "multilabel")


def value_targets(y: np.ndarray, name: str, target: str) -> Targets:
    """Real values (rows,) or (rows, outputs); raises ValueError for texts, and for a column that does not vary."""
    if y.ndim > 1:
        columns = target_columns(y, name, target).T
        return Targets(np.stack([reals(column, name, target) for column in columns], 1), "regression")
    y = typed_targets(y, name, target)
    if y.dtype.kind not in "biuf":
        raise ValueError(f"{name}: the target {target!r} holds {short(y[0])}, so no regression; leave kind out")
    return Targets(reals(y, name, target), "regression")


def target_columns(y: np.ndarray, name: str, target: str) -> np.ndarray:
    """Several columns of numbers or truth values (rows, columns), all of which vary; raises ValueError for others."""
    if y.ndim > 2 or y.shape[1] < 2:
        remedy = "give y[:, 0]" if y.ndim == 2 else "give a custom loss=, or one value or one row of values a row"
        raise ValueError(f"{name}: {target} has shape {y.shape}; {remedy}")
    y = typed_targets(y.ravel(), name, target).reshape(y.shape)
    if y.dtype.kind not in "biuf":
        raise ValueError(f"{name}: {target} has several columns; give numbers or truth values, or one of classes")
    constant = next((at for at, column in enumerate(y.T) if (column == column[0]).all()), None)
    if constant is not None:
        what = f"column {constant} of {target} is {short(y[0, constant])} in every row; nothing to learn"
        raise ValueError(f"{name}: {what}: leave it out")
    return y


def is_binary(y: np.ndarray) -> bool:
    """True for truth values, and numbers 0 and 1."""
    return y.dtype.kind == "b" or bool(np.isin(y, (0, 1)).all())


def own_targets(y: np.ndarray, name: str, target: str) -> Targets:
    """Targets for a user-defined loss: finite numbers of any shape, integers as they are; raises ValueError."""
    y = typed_targets(y.ravel(), name, target).reshape(y.shape)
    if y.dtype.kind not in "biuf":
        raise ValueError(f"{name}: {target} is {y.dtype}; a loss of your own gets numbers")
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        row = int(np.argmin(np.isfinite(y.reshape(len(y), -1)).all(1))) + 1
        raise ValueError(f"{name}: {target} is not finite in row {row}; give a number")
    check_whole(y, f"{name}: {target}")
    return Targets(y.astype(float) if y.dtype.kind == "f" else y, "own")


def check_whole(values: np.ndarray, what: str) -> None:
    """Raise ValueError for integers of magnitude 2**31 or more, since devices have 32 bits."""
    if values.dtype.kind in "iu" and values.size:
        most = max(int(values.max()), int(values.min()), key=abs)
        if abs(most) >= 2**31:
            raise ValueError(f"{what} holds {most}; give whole numbers below 2**31")


def typed_targets(y: np.ndarray, name: str, target: str) -> np.ndarray:
    """Array of the values' own dtype; texts stay objects, since an array of text pads each to the longest."""
    if y.dtype.kind == "O" and not all(isinstance(value, str) for value in y):
        if not all(isinstance(value, bool | int | float | str | np.generic) for value in y.tolist()):
            raise ValueError(f"{name}: the target {target!r} has values other than numbers, texts and booleans")
        y = np.array(y.tolist())
        if y.dtype.kind == "O":  # integers that 64 bits do not hold
            try:
                y = y.astype(float)
            except OverflowError:
                beyond = f"integers beyond {LARGEST:g}; replace them by smaller numbers"
                raise ValueError(f"{name}: the target {target!r} has {beyond}") from None
    if y.dtype.kind not in "biufOUST":
        raise ValueError(f"{name}: the target {target!r} is {y.dtype}; give numbers, texts or truth values")
    return y


def reals(y: np.ndarray, name: str, target: str) -> np.ndarray:
    """Float64 values; raises ValueError for infinite or too large ones, and if all are equal."""
    y = y.astype(float)
    if np.abs(y).max() > LARGEST:
        what = f"the target {target!r} has infinite values, or some beyond {LARGEST:g}"
        raise ValueError(f"{name}: {what}; replace them by smaller numbers")
    if y.min() == y.max():
        raise ValueError(f"{name}: the target {target!r} is {y[0]} in every row; nothing to learn")
    return y


def classes(y: np.ndarray, name: str, target: str) -> tuple[np.ndarray, tuple[Any, ...]]:
    """int64 indices into the sorted labels, and the labels; raises ValueError for a single one."""
    if y.dtype.kind == "O":
        labels: list[Any] = sorted(set(y))
        places = {label: code for code, label in enumerate(labels)}
        codes = np.array([places[label] for label in y])
    else:
        values, codes = np.unique(y.astype(str) if y.dtype.kind in "ST" else y, return_inverse=True)
        labels = values.tolist()
    if len(labels) == 1:
        what = f"the target {target!r} has one class only, {short(labels[0])}"
        raise ValueError(f"{name}: {what}; give two or more")
    return codes.astype(np.int64), tuple(labels)


def regression_doubt(y: np.ndarray, distinct: int, target: str) -> str:
    """Warning for a regression with so few distinct values that they may be classes; else empty."""
    most = DOUBTFUL
    if y.dtype.kind == "f":  # whole numbers too, where one was missing
        most = MAX_CLASSES if (y % 1 == 0).all() else 2
    if distinct > most:
        return ""
    what = "real" if y.dtype.kind == "f" else "whole"
    return (
        f"the target {target!r} has {distinct} different {what} values, so it is taken as a regression; "
        'if they are classes, say kind="classification" (--kind classification)'
    )
