"""Targets: classes or real values, and warnings about their kind. No JAX here."""

from typing import Any, NamedTuple

import numpy as np

from popjax.core.text import short
from popjax.data.columns import MAX_CLASSES

KIND_NAMES = ("classification", "multilabel", "regression", "own")
REPORTED = ("loss", "accuracy", "balanced_accuracy", "mse", "mae", "r2")  # metrics of all trials of some kind
OF_OUTPUTS = ("_mse", "_mae", "_r2")  # suffixes of the metrics of one of several outputs
DOUBTFUL = 300  # distinct integers up to which a regression may be classes
LARGEST = 1e100  # beyond it the variance of a column overflows


class Targets(NamedTuple):
    """Targets and their kind.

    Attributes:
        y: int indices of classes (rows,), float (rows,) or (rows, outputs), bool (rows, labels), or of the kind "own"
            any numbers (rows, ...).
        kind: one of KIND_NAMES.
        classes: labels of a classification, sorted; else None.
        doubt: what may be wrong about the kind, in one line; empty if nothing.
    """

    y: np.ndarray
    kind: str
    classes: tuple[Any, ...] | None = None
    doubt: str = ""


def reported(name: str) -> bool:
    """True for a metric that trials of some kind of target always report.

    >>> reported("r2"), reported("price_r2"), reported("f1")
    (True, True, False)
    """
    return name in REPORTED or name.endswith(OF_OUTPUTS)


def targets_of(y: np.ndarray, name: str, target: str, kind: str | None, own_loss: bool = False) -> Targets:
    """Targets from values (rows, ...): by `kind`, or else by their dtype and values; raises ValueError in one line.

    With one value per row, texts, bools and integers with at most 20 distinct values are classes. With several, bools
    and integers 0 and 1 are labels, others a regression; with a user-defined loss they are of the kind "own".
    """
    if kind not in (None, *KIND_NAMES):
        raise ValueError(f"kind={kind!r}; choose {', '.join(KIND_NAMES[:-1])} or {KIND_NAMES[-1]}")
    if kind == "own" and not own_loss:
        raise ValueError('kind="own" needs a custom loss; give loss=')
    column = y.ndim == 2 and y.shape[1] == 1
    if kind == "own" or (kind is None and own_loss and y.ndim > 1 and not column):
        return Targets(owned(y, name, target), "own")
    if y.ndim > 1:
        return several_targets(y, name, target, kind)
    if kind == "multilabel":
        raise ValueError(f"{name}: several labels are truth values (rows, labels), and {target} is {list(y.shape)}")
    y = typed_targets(y, name, target)
    if kind == "regression" and y.dtype.kind not in "biuf":
        raise ValueError(f"{name}: the target {target!r} holds {short(y[0])}, so no regression; leave kind out")
    distinct = len(np.unique(y)) if y.dtype.kind in "iuf" else 0
    real = y.dtype.kind == "f" or distinct > MAX_CLASSES
    if kind == "regression" or (kind is None and real):
        doubt = "" if kind else regression_doubt(y, distinct, target)
        return Targets(reals(y, name, target), "regression", None, doubt)
    codes, labels = classes(y, name, target)
    return Targets(codes, "classification", labels)


def several_targets(y: np.ndarray, name: str, target: str, kind: str | None) -> Targets:
    """Targets with several columns, as labels or as values; raises ValueError."""
    if y.ndim > 2 or y.shape[1] < 2:
        remedy = "give y[:, 0]" if y.ndim == 2 else "give a custom loss=, or one value or one row of values a row"
        raise ValueError(f"{name}: {target} has shape {y.shape}; {remedy}")
    y = typed_targets(y.ravel(), name, target).reshape(y.shape)
    if kind == "classification" or y.dtype.kind not in "biuf":
        raise ValueError(f"{name}: {target} has several columns; give numbers or truth values, or one of classes")
    binary = y.dtype.kind == "b" or bool(np.isin(y, (0, 1)).all())
    if kind == "multilabel" and not binary:
        bad = y[~np.isin(y, (0, 1))][0]
        raise ValueError(f"{name}: several labels are truth values, and {target} holds {short(bad)}; give 0 and 1")
    one = next((at for at, column in enumerate(y.T) if (column == column[0]).all()), None)
    if one is not None:
        what = f"column {one} of {target} is {short(y[0, one])} in every row; nothing to learn: leave it out"
        raise ValueError(f"{name}: {what}")
    one_hot = kind is None and binary and bool((y.sum(1) == 1).all())
    remedy = f"{target} is one-hot, so its columns are taken as several %s; if they are one class a row, give argmax(1)"
    if kind == "multilabel" or (kind is None and binary and y.dtype.kind != "f"):
        doubt = f"the columns of {target} are 0 and 1, so they are taken as labels; if they are values, say "
        doubt = "" if kind or y.dtype.kind == "b" else doubt + 'kind="regression" (--kind regression)'
        return Targets(y.astype(bool), "multilabel", None, remedy % "labels" if one_hot else doubt)
    doubt = remedy % "values" if one_hot else ""
    return Targets(np.stack([reals(column, name, target) for column in y.T], 1), "regression", None, doubt)


def owned(y: np.ndarray, name: str, target: str) -> np.ndarray:
    """Targets for a user-defined loss: finite numbers of any shape, integers as they are; raises ValueError."""
    y = typed_targets(y.ravel(), name, target).reshape(y.shape)
    if y.dtype.kind not in "biuf":
        raise ValueError(f"{name}: {target} is {y.dtype}; a loss of your own gets numbers")
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        row = int(np.argmin(np.isfinite(y.reshape(len(y), -1)).all(1))) + 1
        raise ValueError(f"{name}: {target} is not finite in row {row}; give a number")
    check_whole(y, f"{name}: {target}")
    return y.astype(float) if y.dtype.kind == "f" else y


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
    few = distinct == 2 if y.dtype.kind == "f" else distinct <= DOUBTFUL
    if not few:
        return ""
    what = "real" if y.dtype.kind == "f" else "whole"
    return (
        f"the target {target!r} has {distinct} different {what} values, so it is taken as a regression; "
        'if they are classes, say kind="classification" (--kind classification)'
    )
