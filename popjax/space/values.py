"""Values of hyperparameters: which are valid, how they are spelled, which mark that there is none. No JAX here."""

import keyword
from typing import Any

import numpy as np


def is_number(value: Any) -> bool:
    """True if `value` is an int or a float, not a bool."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def finite(value: Any) -> bool:
    """True if `value` is a number that float64 or int64 can hold."""
    return is_number(value) and (abs(value) < 2**63 if isinstance(value, int) else bool(np.isfinite(value)))


def python_value(value: Any) -> Any:
    """A scalar of NumPy or JAX, also as an array (), as a Python value; anything else unchanged."""
    return value.item() if getattr(value, "shape", None) == () else value


def word(value: Any) -> str:
    """A value as it is spelled: an identifier without quotes, anything else by its repr.

    >>> word("adam"), word("two words"), word(0.1)
    ('adam', "'two words'", '0.1')
    """
    plainly = isinstance(value, str) and value.isidentifier() and not keyword.iskeyword(value)
    return value if plainly else repr(value)


def absent(value: Any) -> bool:
    """True if a value marks that there is none: None or NaN."""
    return value is None or (isinstance(value, float) and np.isnan(value))


def present(column: np.ndarray) -> np.ndarray:
    """bool (n,): the values of a column (n,) that are there."""
    if column.dtype.kind in "biuf":
        return ~np.isnan(column)
    return np.array([not absent(value) for value in column.tolist()], bool)
