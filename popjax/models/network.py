"""The model of one member as pure functions."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from popjax.core.trees import named_leaves


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


def check_params(params: Any) -> None:
    """Raise ValueError for a trained array that is not of real numbers.

    >>> check_params({"steps": jnp.zeros(3, int)})
    Traceback (most recent call last):
    ValueError: the model's parameter 'steps' is int32, which has no gradient; make it a variable that is no parameter
    """
    for name, array in named_leaves(params).items():
        if not jnp.issubdtype(array.dtype, jnp.floating):
            what = f"the model's parameter {name!r} is {array.dtype}, which has no gradient"
            raise ValueError(f"{what}; make it a variable that is no parameter")


def check_variables(before: Any, after: Any) -> None:
    """Raise ValueError for variables that a call of the model made, dropped, or gave another shape or dtype.

    >>> check_variables({"mean": jnp.zeros(3)}, {"mean": jnp.zeros((1, 3))})
    Traceback (most recent call last):
    ValueError: the model's variable 'mean' is float32[3] at first and float32[1, 3] after a call; keep shape and dtype
    """
    then, now = named_leaves(before), named_leaves(after)
    for name in then | now:
        first, last = (f"{one[name].dtype}{list(one[name].shape)}" if name in one else "none" for one in (then, now))
        if first != last:
            remedy = "make it in __init__" if name not in then else "keep shape and dtype"
            raise ValueError(f"the model's variable {name!r} is {first} at first and {last} after a call; {remedy}")
