"""The targets of scikit-learn's estimators: checked as it requires, and labels in the dtype that they came in."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import column_or_1d

from popjax.core.text import plural
from popjax.data.checks import targets_lost
from popjax.data.frames import cells_of


def checked_targets(y: np.ndarray, kind: str) -> np.ndarray:
    """Targets (rows,), or (rows, outputs) of several columns; raises ValueError for those that the kind cannot have."""
    y = y if y.ndim == 2 and y.shape[1] > 1 else column_or_1d(y, warn=True)
    if (lost := targets_lost(y)).any():  # elsewhere such rows are left out; here X and y are the user's to align
        raise missing_targets_error(int(lost.sum()), int(lost.argmax()))
    if kind == "classification":
        check_classification_targets(y)
        if y.ndim == 2 and type_of_target(y) != "multilabel-indicator":
            raise ValueError("y has several columns of more than two classes; fit an estimator to each of them")
    return y


def check_labels(y: Any) -> None:
    """Raise ValueError for missing values among Python objects (rows,), which scikit-learn compares with texts."""
    cells = cells_of(y) if hasattr(y, "isna") else y if isinstance(y, np.ndarray) else np.asarray(y, object)
    if cells.dtype != object or cells.ndim != 1:
        return
    lost = [not isinstance(cell, str) and str(cell) in ("None", "nan", "<NA>") for cell in cells]
    if any(lost):
        raise missing_targets_error(sum(lost), lost.index(True))


def missing_targets_error(count: int, first: int) -> ValueError:
    """The error of so many missing targets, the first in a row from 0."""
    what = f"y has {plural(count, 'missing cell')}, the first in row {first + 1}"
    return ValueError(f"{what}; fill them in, or leave such rows out")


def as_labels(classes: Sequence[Any], dtype: np.dtype[Any]) -> np.ndarray:
    """Labels in the dtype of y; in their own dtype if that changes a label of y_val, such as a longer text.

    >>> as_labels((0, 1), np.dtype(bool)), as_labels(("a", "long"), np.dtype("U1")).tolist()
    (array([False,  True]), ['a', 'long'])
    """
    own = np.array(classes)
    made = own.astype(dtype)
    return made if made.tolist() == own.tolist() else own
