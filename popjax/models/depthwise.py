"""Convolutions of each channel by itself, as sums over the taps."""

import itertools

import jax
import jax.numpy as jnp
from jax import lax

from popjax.models.windows import Sizes, shifted, summed


def depthwise(x: jax.Array, kernel: jax.Array, strides: Sizes, dilation: Sizes) -> jax.Array:
    """A convolution of images, already padded, without sums over channels: (rows, *pixels, channels) -> (..., units).

    The slices along the last axis of pixels are copied, those along the others are parts of the sum, which is so read
    in order of memory.

    Args:
        kernel: (*taps, 1, units), as many units of each channel, those of the first one first.
        strides: the distance between windows.
        dilation: the distance between taps.

    >>> depthwise(jnp.arange(4.0).reshape(1, 4, 1), jnp.ones((2, 1, 1)), (1,), (1,)).ravel().tolist()
    [1.0, 3.0, 5.0]
    """
    *taps, _, units = kernel.shape
    x, kernel = jnp.repeat(x, units // x.shape[-1], -1), kernel.reshape(*taps, *(1,) * (x.ndim - 1), units)
    *others, last = zip(itertools.count(1), taps, strides, dilation)
    copied = [lax.optimization_barrier(part) for part in shifted(x, *last)]
    parts: dict[tuple[int, ...], jax.Array] = {(at,): part for at, part in enumerate(copied)}
    for axis in reversed(others):
        parts = {(at, *place): part for place, whole in parts.items() for at, part in enumerate(shifted(whole, *axis))}
    return lax.optimization_barrier(summed(*(part * kernel[place] for place, part in parts.items())))
