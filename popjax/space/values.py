"""Values of hyperparameters: which are valid, how they are spelled, which mark that there is none, and conditions.

A condition: a hyperparameter exists only where others have certain values. No JAX here.
"""

import graphlib
import keyword
from collections.abc import Iterable, Mapping
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


WHEN = " when "
Condition = Mapping[str, tuple[Any, ...]]  # parent -> its values for which a hyperparameter is active


def condition_values(parent: str, values: Any) -> tuple[Any, ...]:
    """The values of a condition, given one or several, as a tuple; raises ValueError for none or an invalid one."""
    several = values if isinstance(values, list | tuple | set | frozenset | np.ndarray) else [values]
    allowed = tuple(map(python_value, several))
    for value in allowed:
        if not (finite(value) or isinstance(value, str | bool)):
            raise ValueError(f"when {parent}={value!r}: give a finite number, text or truth value, or several")
    if not allowed:
        raise ValueError(f"when {parent}=(): no values; give at least one")
    return allowed


def clauses(condition: Condition) -> str:
    """A condition as it is spelled: `parent=a|b and other=c`."""
    return " and ".join(f"{parent}={'|'.join(map(word, values))}" for parent, values in condition.items())


def ordered(conditions: Mapping[str, Condition], names: Iterable[str]) -> list[str]:
    """The conditional hyperparameters, each after its parents; raises ValueError for an unknown parent or a cycle."""
    names = list(names)
    for name, condition in conditions.items():
        for parent in condition:
            if parent not in names:
                raise ValueError(f"{name} when {parent}=...: there is no {parent!r}; there are {', '.join(names)}")
    try:
        order = graphlib.TopologicalSorter(conditions).static_order()
        return [name for name in order if name in conditions]
    except graphlib.CycleError as error:
        chain = " on ".join(error.args[1])
        raise ValueError(f"a hyperparameter depends on itself: {chain}; leave one condition out") from None
