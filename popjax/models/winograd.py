"""Convolutions of three taps an axis, two outputs an axis at a time, by fewer products than outputs times taps.

F(2, 3) of Winograd (1980), for networks by Lavin and Gray, Fast Algorithms for Convolutional Neural Networks (2016,
section 4): four products for two outputs of three taps, so in two dimensions 16 where patches take 36, of 4 numbers a
pixel where patches copy 9. Its constants are 1 and 1/2, so its rounding is that of a few additions more.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from popjax.models.windows import shifted

CHANNELS = 16  # below which copies take longer than the products that they save


def fewer_products(x: jax.Array, kernel: jax.Array) -> bool:
    """True if `winograd` is faster than patches: images of several channels, and less than two thirds of the products.

    False for one axis of pixels, where they are two thirds, for images that odd sizes pad much, and for short floats.
    """
    *taps, channels, _ = kernel.shape
    sizes = [size - 2 for size in x.shape[1:-1]]
    if channels < CHANNELS or set(taps) != {3} or x.dtype not in (jnp.float32, jnp.float64) or min(sizes) < 1:
        return False
    return 3 * math.prod(4 * -(-size // 2) for size in sizes) < 2 * math.prod(3 * size for size in sizes)


def winograd(x: jax.Array, kernel: jax.Array, **how: Any) -> jax.Array:
    """A convolution of images, already padded: (rows, *pixels, channels) -> (rows, *pixels - 2, units).

    Args:
        kernel: (3, ..., 3, channels, units), as many 3 as axes of pixels.
        how: options of `jnp.matmul`, such as its precision.

    >>> winograd(jnp.arange(5.0).reshape(1, 5, 1), jnp.ones((3, 1, 1))).ravel().tolist()
    [3.0, 6.0, 9.0]
    """
    axes = range(kernel.ndim - 2)
    wanted = [x.shape[1 + axis] - 2 for axis in axes]
    x = jnp.pad(x, [(0, 0), *((0, size % 2) for size in wanted), (0, 0)])
    for axis in axes:  # each puts an axis of 4 in front
        x, kernel = of_inputs(x, 1 + 2 * axis), of_kernel(kernel, axis)
    *corners, rows = x.shape[: len(axes) + 1]
    tiles, (channels, units) = x.shape[len(axes) + 1 : -1], kernel.shape[-2:]
    x = x.reshape(4 ** len(axes), -1, channels)
    product = lax.optimization_barrier(jnp.matmul(x, kernel.reshape(-1, channels, units), **how))
    product = product.reshape(*corners, rows, *tiles, units)
    for axis in reversed(axes):
        product = of_products(product, 2 + 2 * axis)
    product = product.reshape(rows, *(2 * size for size in tiles), units)
    return lax.optimization_barrier(product[:, *(slice(size) for size in wanted)])


def of_inputs(x: jax.Array, axis: int) -> jax.Array:
    """(..., 2 * tiles + 2, ...) -> (4, ..., tiles, ...): what the products take of each tile of four inputs."""
    a, b, c, d = shifted(x, axis, 4, 2, 1)
    return lax.optimization_barrier(jnp.stack([a - c, b + c, c - b, b - d]))


def of_kernel(kernel: jax.Array, axis: int) -> jax.Array:
    """(..., 3, ...) -> (4, ...): what the products take of three taps."""
    a, b, c = (lax.index_in_dim(kernel, tap, axis, keepdims=False) for tap in range(3))
    return jnp.stack([a, (a + b + c) / 2, (a - b + c) / 2, c])


def of_products(product: jax.Array, axis: int) -> jax.Array:
    """(4, ...) -> (..., 2, ...): the two outputs of each tile, at `axis`."""
    a, b, c, d = product
    return jnp.stack([a + b + c, b - c - d], axis)
