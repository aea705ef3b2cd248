"""The model of one member as pure functions."""

from collections.abc import Callable
from typing import Any, NamedTuple


class Network(NamedTuple):
    """The model of one member as pure functions.

    Attributes:
        params: the initial trained arrays.
        variables: the other arrays that the model updates.
        batch_statistics: True if the model has batch statistics, so that a row's output depends on its batch.
        apply: `(params, variables, x, keys) -> (outputs, variables)`; random keys (rows,) for
            training, None for evaluation.
        module: `(params, variables) ->` the nnx or equinox module with these arrays, in evaluation mode (an equinox
            module with state and its state); of a linen module, its variables.
    """

    params: Any
    variables: Any
    batch_statistics: bool
    apply: Callable[..., tuple[Any, Any]]
    module: Callable[..., Any]
