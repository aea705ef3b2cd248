"""Convolutions as one product of all patches and the kernel."""

import math
from typing import Any

import jax

from popjax.rewriting.blocks import in_blocks
from popjax.rewriting.products import by_rows
from popjax.rewriting.windows import COPY, Windows, bordered, patches


def cost_of_whole_patches(x: jax.Array, kernel: jax.Array, windows: Windows) -> float:
    """Of an image, in products of two numbers, forward and backward."""
    inputs, units = math.prod(kernel.shape[:-1]), kernel.shape[-1]
    return math.prod(windows.counts(x.shape[1:-1])) * inputs * (units + COPY)


def by_whole_patches(
    x: jax.Array, kernel: jax.Array, windows: Windows, bias: jax.Array | None = None, **how: Any
) -> jax.Array:
    """A convolution of images: (rows, *pixels, channels) -> (rows, *windows, units).

    Args:
        kernel: (*taps, channels, units).
        windows: where they lie.
        bias: (1, ..., units), which is added.
        how: options of `jnp.matmul`, such as its precision.

    >>> image, kernel = jax.numpy.arange(4.0).reshape(1, 4, 1), jax.numpy.ones((2, 1, 1))
    >>> by_whole_patches(image, kernel, Windows((2,), (1,), (1,), ((1, 0),))).ravel().tolist()
    [0.0, 1.0, 3.0, 5.0]
    """
    weights = kernel.reshape(-1, kernel.shape[-1])

    def layer(x: jax.Array) -> jax.Array:
        return by_rows(patches(x, windows.taps, windows.strides, windows.dilation), weights, how)

    copies = math.prod(windows.counts(x.shape[1:-1])) * len(weights)
    return in_blocks(layer, bordered(x, windows.padding), copies, bias=bias)
