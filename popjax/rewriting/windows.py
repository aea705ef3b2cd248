"""Windows of images, as the rows of a matrix or place by place.

An axis after the other, so that 3 + 3 slices are copied in the place of 9. The barriers keep XLA from fusing a copy
into what reads it several times, forward and backward: it would be computed each time, and in a slower order.
"""

import functools
import itertools
import operator
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from popjax.rewriting.target import barrier

type Sizes = tuple[int, ...]

LONG = (jnp.float32, jnp.float64)  # numbers whose sums may be taken in another order
SHORTEST = 16  # loop that LLVM vectorizes: on a shorter innermost axis all that is fused with slices goes one by one
MOST = 64  # places in a window, above which its pooling is left to XLA, and a sum over them is not written out
COPY = 40  # the time to copy a number, forward and backward, in products of two numbers


class Windows(NamedTuple):
    """Where windows lie on images, by axis of pixels.

    Attributes:
        taps: their sizes.
        strides: the distances between them.
        dilation: the distances between the taps of one.
        padding: the zeros before and after the pixels.
    """

    taps: Sizes
    strides: Sizes
    dilation: Sizes
    padding: tuple[tuple[int, int], ...]

    def counts(self, sizes: Sequence[int]) -> Sizes:
        """How many there are along axes of so many pixels.

        >>> Windows((3,), (2,), (1,), ((1, 1),)).counts([8])
        (4,)
        """
        axes = zip(sizes, *self, strict=True)
        spans = [(size + sum(around) - (tap - 1) * apart, stride) for size, tap, stride, apart, around in axes]
        return tuple(max(0, -(-span // stride)) for span, stride in spans)


def patches(x: jax.Array, taps: Sizes, strides: Sizes, dilation: Sizes) -> jax.Array:
    """All windows of images: (rows, *pixels, channels) -> (rows, *windows, product of taps * channels).

    Args:
        x: images, already padded.
        taps: the window's size along each axis of pixels.
        strides: the distance between windows.
        dilation: the distance between taps.

    >>> patches(jnp.arange(4.0).reshape(1, 4, 1), (2,), (1,), (1,)).tolist()
    [[[0.0, 1.0], [1.0, 2.0], [2.0, 3.0]]]
    """
    for axis, tap, stride, apart in reversed([*zip(itertools.count(1), taps, strides, dilation)]):
        if tap > 1 or stride > 1:
            x = barrier(jnp.concatenate(shifted(x, axis, tap, stride, apart), -1))
    return x


def bordered(x: jax.Array, around: Sequence[tuple[int, int]]) -> jax.Array:
    """Images with zeros before and after each axis of pixels; the axes after those of `around` have none."""
    return lax.pad(
        x,
        jnp.zeros((), x.dtype),
        [(0, 0, 0), *((*width, 0) for width in around), *[(0, 0, 0)] * (x.ndim - 1 - len(around))],
    )


def shifted(x: jax.Array, axis: int, tap: int, stride: int, apart: int) -> list[jax.Array]:
    """For each of the `tap` places in a window along `axis`, what the windows have there."""
    span = x.shape[axis] - (tap - 1) * apart
    return [lax.slice_in_dim(x, i * apart, i * apart + span, stride, axis) for i in range(tap)]


def split_windows(x: jax.Array, axis: int, tap: int) -> list[jax.Array]:
    """`shifted` of windows beside each other; its derivative is one array, and not the sum of `tap` padded ones."""
    count = x.shape[axis] // tap
    x = lax.slice_in_dim(x, 0, count * tap, axis=axis)
    parts = x.reshape(*x.shape[:axis], count, tap, *x.shape[axis + 1 :])
    return [part.squeeze(axis + 1) for part in lax.split(parts, (1,) * tap, axis + 1)]


def summed(*arrays: jax.Array) -> jax.Array:
    """The sum of each number (...)."""
    return functools.reduce(operator.add, arrays)
