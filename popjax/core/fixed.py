"""Arrays that cannot be written: records that are shown to a user's code. No JAX here."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


def read_only[T](value: T) -> T:
    """An array, or a mapping of arrays, as views that cannot be written; anything else unchanged.

    >>> values = np.zeros(2)
    >>> read_only({"loss": values})["loss"].sort()
    Traceback (most recent call last):
    ValueError: sort array is read-only
    >>> values.flags.writeable
    True
    """
    if isinstance(value, Mapping):
        return type(value)({name: read_only(item) for name, item in value.items()})  # type: ignore[call-arg]
    if not isinstance(value, np.ndarray):
        return value
    view: Any = value.view()
    view.flags.writeable = False
    return view


def fixed[T](function: Callable[[Any], T]) -> functools.cached_property[T]:
    """A cached property whose arrays cannot be written."""

    @functools.wraps(function)
    def once(self: Any) -> T:
        return read_only(function(self))

    return functools.cached_property(once)
