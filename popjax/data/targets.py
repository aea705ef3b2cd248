"""What is to be predicted: classes or real values, and what may be wrong about that. No JAX here."""

from typing import Any

import numpy as np

from popjax.data.columns import MAX_CLASSES, short

KINDS = ("classification", "regression")
REPORTED = ("loss", "accuracy", "balanced_accuracy", "mse", "mae", "r2")  # metrics of every trial of either kind
DOUBTFUL = 300  # distinct whole numbers, up to which they may as well be classes
LARGEST = 1e100  # beyond it the variance of a column overflows


def targets(y: np.ndarray, name: str, target: str, kind: str | None) -> tuple[np.ndarray, tuple[Any, ...] | None, str]:
    """Targets (rows,) as indices into classes, the classes, and a doubt; or as real values, None and a doubt.

    What is meant follows from `kind`, or else from the values: texts, truth values and integers with at most 20
    distinct values are classes. A doubt is one line, empty if there is none. Raises ValueError in one line.
    """
    if kind not in (None, *KINDS):
        raise ValueError(f"kind={kind!r}; choose {' or '.join(KINDS)}")
    y = typed(y, name, target)
    if kind == "regression" and y.dtype.kind not in "biuf":
        raise ValueError(f"{name}: the target {target!r} holds {short(y[0])}, so it is no regression; leave kind out")
    distinct = len(np.unique(y)) if y.dtype.kind in "iuf" else 0
    real = y.dtype.kind == "f" or distinct > MAX_CLASSES
    if kind == "regression" or (kind is None and real):
        return reals(y, name, target), None, "" if kind else doubt(y, distinct, target)
    return *classes(y, name, target), ""


def typed(y: np.ndarray, name: str, target: str) -> np.ndarray:
    """Python values as the array they are; texts stay objects, since in an array each takes the room of the longest."""
    if y.dtype.kind == "O" and not all(isinstance(value, str) for value in y):
        if not all(isinstance(value, bool | int | float | str | np.generic) for value in y.tolist()):
            raise ValueError(f"{name}: the target {target!r} has values that are no numbers, texts or truth values")
        y = np.array(y.tolist())
    if y.dtype.kind not in "biufOUST":
        raise ValueError(f"{name}: the target {target!r} is {y.dtype}; give numbers, texts or truth values")
    return y


def reals(y: np.ndarray, name: str, target: str) -> np.ndarray:
    """Real values; raises ValueError for infinite ones, and where all are the same."""
    y = y.astype(float)
    if np.abs(y).max() > LARGEST:
        what = f"the target {target!r} has infinite values, or some beyond {LARGEST:g}"
        raise ValueError(f"{name}: {what}; replace them by smaller numbers")
    if y.min() == y.max():
        raise ValueError(f"{name}: the target {target!r} is {y[0]} in every row; nothing to learn")
    return y


def classes(y: np.ndarray, name: str, target: str) -> tuple[np.ndarray, tuple[Any, ...]]:
    """Indices into the sorted labels, and these; raises ValueError for a single one."""
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


def doubt(y: np.ndarray, distinct: int, target: str) -> str:
    """What may be wrong about a target that is taken for real values."""
    few = distinct == 2 if y.dtype.kind == "f" else distinct <= DOUBTFUL
    if not few:
        return ""
    what = "real" if y.dtype.kind == "f" else "whole"
    return (
        f"the target {target!r} has {distinct} different {what} values, so it is taken as a regression; "
        'if they are classes, say kind="classification" (--kind classification)'
    )
