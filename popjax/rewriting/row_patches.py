"""Convolutions by patches along all axes of pixels but the first, whose taps are summed after the product.

Of 5 x 5 taps a patch of rows has 5 numbers a channel and not 25, and the product 5 a unit: less to copy, forward and
backward, if units are not many more than channels. Rows of padding have no products.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from popjax.rewriting.blocks import in_blocks
from popjax.rewriting.products import by_rows
from popjax.rewriting.windows import COPY, LONG, Windows, bordered, patches, summed

SUMMAND = 4  # the time of a number of a sum, forward and backward, in products of two numbers


def cost_of_row_patches(x: jax.Array, kernel: jax.Array, windows: Windows) -> float:
    """Of an image, in products of two numbers; infinite for strides of the first axis, one axis, and short floats."""
    first, *others, channels, units = kernel.shape
    if not others or windows.strides[0] != 1 or x.dtype not in LONG:
        return math.inf
    inputs = math.prod(others) * channels
    summands = first**2 * units * SUMMAND  # backward, each number is a sum over the taps, too
    return patches_of_rows(x, windows) * (inputs * (first * units + COPY) + summands)


def by_row_patches(
    x: jax.Array, kernel: jax.Array, windows: Windows, bias: jax.Array | None = None, **how: Any
) -> jax.Array:
    """A convolution of images: (rows, *pixels, channels) -> (rows, *windows, units).

    Args:
        kernel: (*taps, channels, units).
        windows: where they lie, with a stride of 1 along the first axis.
        bias: (1, ..., units), which is added.
        how: options of `jnp.matmul`, such as its precision.

    >>> image, kernel = jnp.arange(4.0).reshape(1, 4, 1, 1), jnp.ones((2, 1, 1, 1))
    >>> by_row_patches(image, kernel, Windows((2, 1), (1, 1), (1, 1), ((1, 0), (0, 0)))).ravel().tolist()
    [0.0, 1.0, 3.0, 5.0]
    """
    first, *others, _, units = kernel.shape
    (low, high), apart = windows.padding[0], windows.dilation[0]
    weights = jnp.moveaxis(kernel, 0, -2).reshape(-1, first * units)

    def layer(x: jax.Array) -> jax.Array:
        cut = patches(x, (1, *others), windows.strides, windows.dilation)
        product = by_rows(cut, weights, how)
        if first > 3 and units > 16:  # its derivative is one array, that of slices a slow sum of many
            parts = lax.split(product, (units,) * first, -1)
        else:
            parts = [product[..., i * units : (i + 1) * units] for i in range(first)]
        ends = [(low - i * apart, high - (first - 1 - i) * apart) for i in range(first)]
        moved = [bordered(part, [end]) for part, end in zip(parts, ends, strict=True)]
        return summed(*moved)

    copies = patches_of_rows(x, windows) * max(weights.shape)
    return in_blocks(layer, bordered(x, [(0, 0), *windows.padding[1:]]), copies, bias=bias)


def patches_of_rows(x: jax.Array, windows: Windows) -> int:
    """How many an image has: of each row, also of those from which no window begins."""
    return x.shape[1] * math.prod(windows.counts(x.shape[1:-1])[1:])
