"""Inputs of a model: an array (rows, ...), or a dict of such arrays by name. No JAX here."""

from collections.abc import Callable, Mapping
from typing import Any

type Inputs = Any  # np.ndarray | dict[str, np.ndarray]; mypy follows no union through `mapped`


def mapped(function: Callable[..., Any], inputs: Inputs, *others: Any) -> Any:
    """Apply a function to the array, or to each entry of a dict with the same entry of each of `others`.

    >>> mapped(len, {"a": [1, 2], "b": [3]}), mapped(len, [1, 2])
    ({'a': 2, 'b': 1}, 2)
    """
    if not isinstance(inputs, Mapping):
        return function(inputs, *others)
    return {name: function(array, *(other[name] for other in others)) for name, array in inputs.items()}


def entries(inputs: Inputs) -> list[Any]:
    """List of the array alone, or of the arrays of a dict."""
    return list(inputs.values()) if isinstance(inputs, Mapping) else [inputs]


def taken(inputs: Inputs, rows: Any) -> Inputs:
    """Inputs of some of the rows."""
    return mapped(lambda one: one[rows], inputs)
