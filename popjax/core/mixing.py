"""How dtypes mix in what popjax computes of its own: as JAX has it by default, whatever the process has set."""

import functools
from collections.abc import Callable

import jax


def mixing[**Given, Found](function: Callable[Given, Found]) -> Callable[Given, Found]:
    """The function, within which counts, booleans and real numbers mix also under jax_numpy_dtype_promotion="strict".

    >>> import jax.numpy as jnp
    >>> with jax.numpy_dtype_promotion("strict"):
    ...     mixing(lambda: jnp.int32(2) * 0.5)().item()
    1.0
    """

    @functools.wraps(function)
    def within(*args: Given.args, **kwargs: Given.kwargs) -> Found:
        with jax.numpy_dtype_promotion("standard"):
            return function(*args, **kwargs)

    return within
