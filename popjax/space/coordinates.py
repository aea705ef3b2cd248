"""Points as a sampler that learns sees them: numbers on the axes of their scales, texts by their place. No JAX here."""

from typing import Any

import numpy as np

from popjax.space.scales import Choice, Scale
from popjax.space.values import present


def category_values(scale: Scale) -> list[Any]:
    """The values of a choice that has no order; none of a scale of numbers."""
    return list(scale.values) if isinstance(scale, Choice) and not scale.numeric else []


def units_of(scale: Scale, column: np.ndarray) -> np.ndarray:
    """Where values (n,) lie on the unit axis of their scale; NaN for no value."""
    there = present(column)
    found = np.full(len(column), np.nan)
    found[there] = scale.to_unit(column[there])
    return found


def coordinates(scale: Scale, column: np.ndarray) -> np.ndarray:
    """Where values (n,) lie on the axis of their scale, from 0 to 1; of texts, which they are; NaN for no value.

    >>> from popjax.space.scales import choice, log_uniform
    >>> coordinates(log_uniform(0.01, 1), np.array([0.01, 0.1, None])).tolist()
    [0.0, 0.5, nan]
    >>> coordinates(choice("a", "b"), np.array(["b", "a"])).tolist()
    [1.0, 0.0]
    """
    found, values = units_of(scale, column), category_values(scale)
    return np.floor(found * len(values)) if values else found.clip(0, 1)


def units(scale: Scale, found: np.ndarray) -> np.ndarray:
    """Coordinates (n,) as `Scale.from_unit` takes them."""
    values = category_values(scale)
    return (found + 0.5) / len(values) if values else found
