"""Convolutions of many taps by patches along all axes of pixels but the first, whose taps are summed afterwards.

Of 5 x 5 taps a patch of rows has 5 numbers a channel and not 25, and the product 5 a unit: less to copy, forward and
backward. Rows of padding have no products.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from popjax.models.windows import Sizes, bordered, by_rows, patches, shifted, summed


def fewer_copies(x: jax.Array, kernel: jax.Array, strides: Sizes) -> bool:
    """True if `by_row_patches` is faster than whole patches: less than two thirds of the numbers are written.

    False for one axis of pixels, where a patch of a row is a pixel, and for short floats.
    """
    first, *others, channels, units = kernel.shape
    if not others or strides[0] != 1 or x.dtype not in (jnp.float32, jnp.float64):
        return False
    taps = math.prod(others) * channels
    return 3 * (taps + first * units) < 2 * first * taps


def by_row_patches(
    x: jax.Array, kernel: jax.Array, strides: Sizes, dilation: Sizes, around: tuple[int, int], **how: Any
) -> jax.Array:
    """A convolution of images, already padded but along the first axis: (rows, *pixels, channels) -> (..., units).

    Args:
        kernel: (*taps, channels, units).
        strides: the distance between windows, 1 along the first axis.
        dilation: the distance between taps.
        around: the padding before and after the first axis.
        how: options of `jnp.matmul`, such as its precision.

    >>> image, kernel = jnp.arange(4.0).reshape(1, 4, 1, 1), jnp.ones((2, 1, 1, 1))
    >>> by_row_patches(image, kernel, (1, 1), (1, 1), (1, 0)).ravel().tolist()
    [0.0, 1.0, 3.0, 5.0]
    """
    first, *others, _, units = kernel.shape
    windows = patches(x, (1, *others), strides, dilation)
    weights = jnp.moveaxis(kernel, 0, -2).reshape(-1, first * units)
    product = by_rows(lambda rows: jnp.matmul(rows, weights, **how), windows)
    rows = shifted(bordered(product, [around]), 1, first, 1, dilation[0])
    parts = [part[..., i * units : (i + 1) * units] for i, part in enumerate(rows)]
    return lax.optimization_barrier(summed(*parts))
