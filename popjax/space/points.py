"""Points of a space: checks of those that a scheduler adds, and coordinates, as a learning sampler sees them.

No JAX here.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from popjax.core.text import short
from popjax.space.scales import Choice, Constant, Scale
from popjax.space.space import Space
from popjax.space.values import is_number, present, python_value


def check_points(space: Space, points: Mapping[str, Any]) -> None:
    """Raise ValueError unless `points` are all columns (trials,) of a space, without gaps but of conditional ones.

    Values may lie outside a range, as those of a later round do, but are whole where it is of whole numbers; those of a
    choice must be among its values.

    >>> from popjax.space.scales import uniform
    >>> check_points(Space(rate=uniform(0, 1)), {"rate": [0.1]})
    Traceback (most recent call last):
    ValueError: add: rate is a list; give a NumPy array (trials,)
    """
    for name in [name for name in points if name not in space][:1]:
        raise ValueError(f"add: {name} is no hyperparameter of the space; there are {', '.join(space)}")
    for name in [name for name in space if name not in points][:1]:
        gaps = ", with None where it does not exist" if name in space.conditions else ""
        raise ValueError(f"add: there is no column {name}; give one of each hyperparameter{gaps}")
    for name, column in points.items():
        if not isinstance(column, np.ndarray) or column.ndim != 1:
            shape = f" of shape {column.shape}" if isinstance(column, np.ndarray) else ""
            raise ValueError(f"add: {name} is a {type(column).__name__}{shape}; give a NumPy array (trials,)")
    lengths = {name: len(column) for name, column in points.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name} has {count}" for name, count in lengths.items())
        raise ValueError(f"add: {said} values; give the same number of each")
    for name, column in points.items():
        there = present(column)
        if name not in space.conditions and not there.all():
            raise ValueError(f"add: {name} of new trial {int(np.argmin(there))} has no value; give one")
        check_values(name, space[name], column[there])


def check_values(name: str, scale: Scale, values: np.ndarray) -> None:
    """Raise ValueError for values (n,) not among a choice, or not finite numbers on a range."""
    if isinstance(scale, Choice):
        others = [value for value in dict.fromkeys(values.tolist()) if value not in scale.values]
        if others:
            raise ValueError(f"add: {name}={others[0]!r} is not among {scale}; add one that is")
    elif scale.numeric and not isinstance(scale, Constant):
        cells = values.tolist() if values.dtype.kind == "O" else []
        others = [value for value in cells if not is_number(python_value(value))]
        if values.dtype.kind not in "iufO" or others:
            words = f"has {short(others[0])}" if others else f"is a column of {values.dtype}"
            raise ValueError(f"add: {name} {words}; give numbers")
        finite = np.isfinite(values.astype(float))
        if not finite.all():
            raise ValueError(f"add: {name}={values[~finite][0]}: give a finite number")
        if scale.whole and (parts := values.astype(float) % 1 != 0).any():
            raise ValueError(f"add: {name}={values[parts][0]}: {scale} has whole numbers; give one")


def category_values(scale: Scale) -> list[Any]:
    """The values of a choice that are not all numbers; empty for any other scale."""
    return list(scale.values) if isinstance(scale, Choice) and not scale.numeric else []


def units_of(scale: Scale, column: np.ndarray) -> np.ndarray:
    """Unit coordinates (n,) of values (n,) on their scale; NaN where there is no value."""
    there = present(column)
    units = np.full(len(column), np.nan)
    units[there] = scale.to_unit(column[there])
    return units


def coordinates(scale: Scale, column: np.ndarray) -> np.ndarray:
    """Coordinates (n,) of values (n,): on the scale, from 0 to 1, or the index of a category; NaN for no value.

    >>> from popjax.space.scales import choice, log_uniform
    >>> coordinates(log_uniform(0.01, 1), np.array([0.01, 0.1, None])).tolist()
    [0.0, 0.5, nan]
    >>> coordinates(choice("a", "b"), np.array(["b", "a"])).tolist()
    [1.0, 0.0]
    """
    units, values = units_of(scale, column), category_values(scale)
    return np.floor(units * len(values)) if values else units.clip(0, 1)


def units(scale: Scale, coordinates: np.ndarray) -> np.ndarray:
    """Unit coordinates (n,), for `Scale.from_unit`, of the `coordinates` (n,)."""
    values = category_values(scale)
    return (coordinates + 0.5) / len(values) if values else coordinates


def points_of(what: str, asked: Mapping[str, np.ndarray], n: int, space: Space) -> dict[str, np.ndarray]:
    """The n points of a sampler's coordinates; raises ValueError for NaN where a hyperparameter has a value."""
    places = {name: units(space[name], np.nan_to_num(column)) for name, column in asked.items()}
    points = {name: scale.from_unit(places.get(name, np.zeros(n))) for name, scale in space.items()}
    for name, active in space.active(points).items():
        if name in asked and (active & np.isnan(asked[name])).any():
            raise ValueError(f"{what}: {name} is NaN where it has a value; return 0 to 1")
    return space.masked(points)
