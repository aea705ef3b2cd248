"""Conditions: a hyperparameter that exists only where another one has some values. No JAX here."""

import dataclasses
import graphlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from popjax.space.values import finite, python_value, word

if TYPE_CHECKING:
    from popjax.space.scales import Scale

WHEN = " when "
Condition = Mapping[str, tuple[Any, ...]]  # parent -> the values of it that let a hyperparameter be


@dataclasses.dataclass(frozen=True)
class Conditional:
    """A scale with what its hyperparameter depends on; a Space takes it apart.

    Raises ValueError for a condition without values, or with what is no number, text or truth value.

    >>> from popjax.space.scales import uniform
    >>> print(uniform(0, 1).when(optimizer=("sgd", "nesterov"), depth=3))
    uniform(0, 1) when optimizer=sgd|nesterov and depth=3
    """

    scale: "Scale"
    condition: Condition

    def __post_init__(self) -> None:
        condition = {parent: listed(parent, values) for parent, values in self.condition.items()}
        object.__setattr__(self, "condition", condition)

    def __str__(self) -> str:
        return f"{self.scale}{WHEN}{clauses(self.condition)}" if self.condition else str(self.scale)

    def when(self, **condition: Any) -> Self:
        """The same, with further parents."""
        return dataclasses.replace(self, condition={**self.condition, **condition})


def listed(parent: str, values: Any) -> tuple[Any, ...]:
    """The values of a condition, one or several; raises ValueError for none."""
    several = values if isinstance(values, list | tuple | set | frozenset | np.ndarray) else [values]
    found = tuple(map(python_value, several))
    for value in found:
        if not (finite(value) or isinstance(value, str | bool)):
            raise ValueError(f"when {parent}={value!r}: give a finite number, text or truth value, or several")
    if not found:
        raise ValueError(f"when {parent}=(): no values; give at least one")
    return found


def clauses(condition: Condition) -> str:
    """A condition as a text has it."""
    return " and ".join(f"{parent}={'|'.join(map(word, values))}" for parent, values in condition.items())


def ordered(conditions: Mapping[str, Condition], names: Iterable[str]) -> list[str]:
    """The conditional hyperparameters, each after its parents; raises ValueError for no such parent, or a cycle."""
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


def check_possible(conditions: Mapping[str, Condition], scales: Mapping[str, "Scale"]) -> None:
    """Raise ValueError for a value that a parent never has."""
    for name, condition in conditions.items():
        for parent, values in condition.items():
            for value in values:
                if not scales[parent].has(value):
                    what = f"{name} when {parent}={value!r}: {parent} is never that, it is {scales[parent]}"
                    raise ValueError(f"{what}; name values that it has")


def inactive_value(scale: "Scale") -> Any:
    """What stands in an array where a hyperparameter is not: its scale's low end, or the first of texts."""
    return scale.low if scale.numeric else scale.from_unit(0.0)
