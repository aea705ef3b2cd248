"""Checks of whole numbers that a user passes. No JAX here."""

from numbers import Integral
from typing import Any


def whole_kind(kind: type) -> bool:
    """True if values of a type are whole numbers: int or NumPy integers, not bool."""
    return issubclass(kind, Integral) and kind is not bool


def check_count(name: str, value: Any, low: int = 1) -> int:
    """`value` as an int of at least `low`; raises ValueError for anything else.

    >>> check_count("epochs", 3)
    3
    """
    if not whole_kind(type(value)) or value < low:
        raise ValueError(f"{name}={value!r}: give a whole number of at least {low}")
    return int(value)


def check_text(name: str, text: str, low: int = 1) -> int:
    """The int of at least `low` that a str spells in ASCII digits; raises ValueError for anything else.

    >>> check_text("processes", "4")
    4
    """
    return check_count(name, int(text) if text.isascii() and text.isdigit() else text, low)


def check_number(what: str, value: Any, count: int) -> int:
    """`value` as an int from 0 to `count` - 1; raises ValueError, its message starting with `what`, for anything else.

    >>> check_number("there is no trial", 3, 8)
    3
    """
    if not whole_kind(type(value)) or not 0 <= value < count:
        raise ValueError(f"{what} {value!r}; choose 0..{count - 1}")
    return int(value)


def check_seed(seed: Any, what: str = "seed=") -> int:
    """A seed of random keys as an int in 0 <= seed < 2**32; raises ValueError for anything else.

    >>> check_seed(7)
    7
    """
    if not whole_kind(type(seed)) or not 0 <= seed < 2**32:
        raise ValueError(f"{what}{seed!r}: choose a whole number 0 <= seed < 2**32")
    return int(seed)
