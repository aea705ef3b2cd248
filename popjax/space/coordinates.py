"""Points as a learning sampler sees them: numbers on the axes of their scales, categories by index. No JAX here."""

from typing import Any

import numpy as np

from popjax.space.scales import Choice, Scale
from popjax.space.values import present


def category_values(scale: Scale) -> list[Any]:
    """The values of a choice that are not all numbers; empty for any other scale."""
    return list(scale.values) if isinstance(scale, Choice) and not scale.numeric else []


def units_of(scale: Scale, column: np.ndarray) -> np.ndarray:
    """Unit coordinates (n,) of values (n,) on their scale; NaN where there is no value."""
    there = present(column)
    found = np.full(len(column), np.nan)
    found[there] = scale.to_unit(column[there])
    return found


def coordinates(scale: Scale, column: np.ndarray) -> np.ndarray:
    """Coordinates (n,) of values (n,): on the scale, from 0 to 1, or the index of a category; NaN for no value.

    >>> from popjax.space.scales import choice, log_uniform
    >>> coordinates(log_uniform(0.01, 1), np.array([0.01, 0.1, None])).tolist()
    [0.0, 0.5, nan]
    >>> coordinates(choice("a", "b"), np.array(["b", "a"])).tolist()
    [1.0, 0.0]
    """
    found, values = units_of(scale, column), category_values(scale)
    return np.floor(found * len(values)) if values else found.clip(0, 1)


def units(scale: Scale, found: np.ndarray) -> np.ndarray:
    """Unit coordinates (n,), for `Scale.from_unit`, of the `coordinates` (n,)."""
    values = category_values(scale)
    return (found + 0.5) / len(values) if values else found
