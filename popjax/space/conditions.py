"""Conditions: a hyperparameter that exists only where others have certain values. No JAX here."""

import graphlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from popjax.space.values import finite, python_value, word

WHEN = " when "
Condition = Mapping[str, tuple[Any, ...]]  # parent -> its values for which a hyperparameter is active


def condition_values(parent: str, values: Any) -> tuple[Any, ...]:
    """The values of a condition, given one or several, as a tuple; raises ValueError for none or an invalid one."""
    several = values if isinstance(values, list | tuple | set | frozenset | np.ndarray) else [values]
    found = tuple(map(python_value, several))
    for value in found:
        if not (finite(value) or isinstance(value, str | bool)):
            raise ValueError(f"when {parent}={value!r}: give a finite number, text or truth value, or several")
    if not found:
        raise ValueError(f"when {parent}=(): no values; give at least one")
    return found


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
