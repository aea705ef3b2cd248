"""Whole numbers that a user gives. No JAX here."""

from typing import Any

import numpy as np


def check_count(name: str, value: Any, low: int = 1) -> int:
    """A whole number of at least `low`; raises ValueError for anything else.

    >>> check_count("epochs", 3)
    3
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < low:
        raise ValueError(f"{name}={value!r}: give a whole number of at least {low}")
    return int(value)
