"""Convolutions of each channel by itself, as sums over the taps."""

import itertools

import jax
import jax.numpy as jnp
from jax import lax

from popjax.rewriting.windows import Windows, bordered, shifted, summed


def depthwise(x: jax.Array, kernel: jax.Array, windows: Windows) -> jax.Array:
    """A convolution of images without sums over channels: (rows, *pixels, channels) -> (rows, *windows, units).

    The slices along the last axis of pixels are copied, those along the others are parts of the sum, which is so read
    in order of memory.

    Args:
        kernel: (*taps, 1, units), as many units of each channel, those of the first one first.
        windows: where they lie.

    >>> windows = Windows((2,), (1,), (1,), ((1, 0),))
    >>> depthwise(jnp.arange(4.0).reshape(1, 4, 1), jnp.ones((2, 1, 1)), windows).ravel().tolist()
    [0.0, 1.0, 3.0, 5.0]
    """
    *taps, _, units = kernel.shape
    x = jnp.repeat(bordered(x, windows.padding), units // x.shape[-1], -1)
    kernel = kernel.reshape(*taps, *(1,) * (x.ndim - 1), units)
    *others, last = zip(itertools.count(1), *windows[:3])
    copied = [lax.optimization_barrier(part) for part in shifted(x, *last)]
    parts: dict[tuple[int, ...], jax.Array] = {(at,): part for at, part in enumerate(copied)}
    for axis in reversed(others):
        parts = {(at, *place): part for place, whole in parts.items() for at, part in enumerate(shifted(whole, *axis))}
    return lax.optimization_barrier(summed(*(part * kernel[place] for place, part in parts.items())))
