"""Convolutions of many taps by patches along all axes of pixels but the first, whose taps are summed afterwards.

Of 5 x 5 taps a patch of rows has 5 numbers a channel and not 25, and the product 5 a unit: less to copy, forward and
backward, for a few products more at the border.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from popjax.models.windows import Sizes, by_rows, patches, shifted, summed


def fewer_copies(x: jax.Array, kernel: jax.Array, strides: Sizes) -> bool:
    """True if `by_row_patches` is faster than whole patches: less than two thirds of the numbers are written.

    False for one axis of pixels, where a patch of rows is a pixel, and for few rows, where the border is much of them.
    """
    first, *others, channels, units = kernel.shape
    rows = x.shape[1] - first + 1
    if not others or strides[0] != 1 or x.dtype not in (jnp.float32, jnp.float64) or rows < 2 * (first - 1):
        return False
    taps = math.prod(others) * channels
    return 3 * (taps + first * units) < 2 * first * taps


def by_row_patches(x: jax.Array, kernel: jax.Array, strides: Sizes, dilation: Sizes, **how: Any) -> jax.Array:
    """A convolution of images, already padded: (rows, *pixels, channels) -> (rows, *windows, units).

    Args:
        kernel: (*taps, channels, units).
        strides: the distance between windows, 1 along the first axis.
        dilation: the distance between taps.
        how: options of `jnp.matmul`, such as its precision.

    >>> by_row_patches(jnp.arange(4.0).reshape(1, 4, 1, 1), jnp.ones((2, 1, 1, 1)), (1, 1), (1, 1)).ravel().tolist()
    [1.0, 3.0, 5.0]
    """
    first, *others, _, units = kernel.shape
    windows = patches(x, (1, *others), strides, dilation)
    weights = jnp.moveaxis(kernel, 0, -2).reshape(-1, first * units)
    product = by_rows(lambda rows: jnp.matmul(rows, weights, **how), windows)
    rows = shifted(product, 1, first, 1, dilation[0])
    parts = [part[..., i * units : (i + 1) * units] for i, part in enumerate(rows)]
    return lax.optimization_barrier(summed(*parts))
