"""Pooling of images by slices; the derivative of XLA's takes ten times as long."""

import functools
import itertools
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from popjax.rewriting.picks import pays, picked
from popjax.rewriting.pointwise import array_of
from popjax.rewriting.target import barrier, on_cpu
from popjax.rewriting.windows import SHORTEST, Sizes, shifted, split_windows


def max_pooled(x: Any, **how: Any) -> jax.Array:
    """The largest number of each window of `lax.reduce_window`; `x`: an array or a `Pointwise` result."""
    array, sizes = array_of(x), how["window_dimensions"]
    floats = jnp.issubdtype(array.dtype, jnp.floating)
    least = -np.inf if floats else False if array.dtype == bool else np.iinfo(array.dtype).min
    pool = lambda x: pooled(x, join=largest, start=least, **how)
    beside = how["window_strides"] == sizes and {*how["base_dilation"], *how["window_dilation"]} == {1}
    inside = not any(map(any, how["padding"])) and all(map(operator.ge, array.shape, sizes))
    picks = on_cpu() and floats and beside and inside and pays(x, sizes)
    return picked(pool, x, sizes) if picks else pool(array)


def pooled(
    x: jax.Array,
    *,
    join: Callable[..., jax.Array],
    start: float,
    window_dimensions: Sizes,
    window_strides: Sizes,
    padding: tuple[tuple[int, int], ...],
    base_dilation: Sizes,
    window_dilation: Sizes,
) -> jax.Array:
    """`lax.reduce_window` by `join`, which combines arrays; `start`: what the padding holds."""
    inside = [(low, high, apart - 1) for (low, high), apart in zip(padding, base_dilation, strict=True)]
    x = lax.pad(x, jnp.asarray(start, x.dtype), inside)
    sizes = zip(itertools.count(), window_dimensions, window_strides, window_dilation)
    for axis, tap, stride, apart in reversed([*sizes]):
        if tap > 1 or stride > 1:
            x = barrier(x) if x.shape[-1] < SHORTEST else x
            beside = (stride, apart) == (tap, 1)
            x = join(*(split_windows(x, axis, tap) if beside else shifted(x, axis, tap, stride, apart)))
    return barrier(x)


@jax.custom_jvp
def largest(*arrays: jax.Array) -> jax.Array:
    """The largest of each number (...); its derivative is that of the first which is as large, as in XLA."""
    return functools.reduce(jnp.maximum, arrays)


@largest.defjvp
def _largest_tangents(arrays: tuple[jax.Array, ...], tangents: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
    highest, change = arrays[0], tangents[0]
    for other, other_change in zip(arrays[1:], tangents[1:], strict=True):
        change = jnp.where(highest >= other, change, other_change)
        highest = jnp.maximum(highest, other)
    return highest, change
