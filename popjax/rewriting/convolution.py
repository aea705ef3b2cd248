"""Convolutions computed as matrix products of patches or tiles and weights: on a CPU what costs least, else patches.

XLA runs a convolution inside a loop on a CPU as plain nested loops, and one with different weights
for each member as a grouped convolution; a matrix product is fast in both cases.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from popjax.rewriting.depthwise import depthwise
from popjax.rewriting.row_patches import by_row_patches, cost_of_row_patches
from popjax.rewriting.target import on_cpu
from popjax.rewriting.whole_patches import by_whole_patches, cost_of_whole_patches
from popjax.rewriting.windows import MOST, Windows, bordered, patches
from popjax.rewriting.winograd import by_tiles, cost_of_tiles


def convolve(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None = None,
    *,
    window_strides: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    lhs_dilation: tuple[int, ...],
    rhs_dilation: tuple[int, ...],
    dimension_numbers: lax.ConvDimensionNumbers,
    feature_group_count: int,
    batch_group_count: int,
    precision: Any,
    preferred_element_type: Any,
    **others: Any,
) -> jax.Array:
    """`lax.conv_general_dilated` as a matrix product.

    Args:
        bias: a number of each unit, which is added, in an array of any shape; of one group only.

    Raises ValueError for batch groups.
    """
    if batch_group_count != 1:
        raise ValueError("popjax.rewrite: wrap the function before it is differentiated, not after")
    inputs, weights, wanted = dimension_numbers
    x = x.transpose((inputs[0], *inputs[2:], inputs[1]))  # (rows, *pixels, channels)
    kernel = kernel.transpose((*weights[2:], weights[1], weights[0]))  # (*taps, channels of a group, units)
    *taps, channels, units = kernel.shape
    between = [(0, 0, dilation - 1) for dilation in lhs_dilation]
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *between, (0, 0, 0)])
    groups, how = feature_group_count, {"precision": precision, "preferred_element_type": preferred_element_type}
    windows = Windows(tuple(taps), window_strides, rhs_dilation, padding)
    if groups == 1 and on_cpu():
        bias = None if bias is None else bias.reshape(*[1] * (kernel.ndim - 1), units)
        product = convolved(x, kernel, windows, bias, **how)
    elif channels == 1 and math.prod(taps) <= MOST and on_cpu():
        kind = preferred_element_type or x.dtype
        product = depthwise(x.astype(kind), kernel.astype(kind), windows)
    else:
        neighbourhoods = patches(bordered(x, padding), *windows[:3])
        product = of_groups(neighbourhoods, kernel.reshape(math.prod(taps), channels, units), groups, **how)
    order = [0, product.ndim - 1, *range(1, product.ndim - 1)]  # to (rows, units, *pixels)
    return product.transpose(order).transpose([wanted.index(axis) for axis in range(product.ndim)])


def of_groups(neighbourhoods: jax.Array, kernel: jax.Array, groups: int, **how: Any) -> jax.Array:
    """Patches (..., taps * groups * channels) times a kernel (taps, channels, units): (..., units)."""
    taps, channels, units = kernel.shape
    if groups == 1:
        return jnp.matmul(neighbourhoods, kernel.reshape(-1, units), **how)
    *pixels, _ = neighbourhoods.shape
    neighbourhoods = neighbourhoods.reshape(*pixels, taps, groups, channels)
    kernel = kernel.reshape(taps, channels, groups, units // groups)
    return jnp.einsum("...tgc,tcgu->...gu", neighbourhoods, kernel, **how).reshape(*pixels, units)


def convolved(
    x: jax.Array, kernel: jax.Array, windows: Windows, bias: jax.Array | None = None, **how: Any
) -> jax.Array:
    """A convolution of images: (rows, *pixels, channels) -> (rows, *windows, units).

    Args:
        kernel: (*taps, channels, units).
        windows: where they lie.
        bias: (1, ..., units), which is added.
        how: options of `jnp.matmul`, such as its precision.
    """
    method = min(METHODS, key=lambda method: METHODS[method](x, kernel, windows))
    return method(x, kernel, windows, bias, **how)


METHODS: Mapping[Callable[..., jax.Array], Callable[[jax.Array, jax.Array, Windows], float]] = {  # and their costs
    by_whole_patches: cost_of_whole_patches,
    by_row_patches: cost_of_row_patches,
    by_tiles: cost_of_tiles,
}
