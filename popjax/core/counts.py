"""Whole numbers that a user gives. No JAX here."""

from typing import Any

import numpy as np


def whole_kind(kind: type) -> bool:
    """Whether values of a type are whole numbers."""
    return issubclass(kind, int | np.integer) and kind is not bool


def check_count(name: str, value: Any, low: int = 1) -> int:
    """A whole number of at least `low`; raises ValueError for anything else.

    >>> check_count("epochs", 3)
    3
    """
    if not whole_kind(type(value)) or value < low:
        raise ValueError(f"{name}={value!r}: give a whole number of at least {low}")
    return int(value)


def check_text(name: str, text: str, low: int = 1) -> int:
    """The same of a text.

    >>> check_text("processes", "4")
    4
    """
    return check_count(name, int(text) if text.isascii() and text.isdigit() else text, low)


def check_number(what: str, value: Any, count: int) -> int:
    """One of the numbers from 0 to `count` - 1; raises ValueError for anything else.

    >>> check_number("there is no trial", np.int64(3), 8)
    3
    """
    if not whole_kind(type(value)) or not 0 <= value < count:
        raise ValueError(f"{what} {value!r}; choose 0..{count - 1}")
    return int(value)


def check_seed(seed: Any, what: str = "seed=") -> int:
    """A number of which a key can be made; raises ValueError for anything else.

    >>> check_seed(7)
    7
    """
    if check_count("seed", seed, 0) >= 2**32:
        raise ValueError(f"{what}{seed}: choose 0 <= seed < 2**32")
    return int(seed)
