"""Convolutions of any function computed as matrix products of patches and weights.

XLA runs a convolution inside a loop on a CPU as plain nested loops, and one with different weights
for each member as a grouped convolution; a matrix product is fast in both cases.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Jaxpr, Literal
from jax.extend.core.primitives import conv_general_dilated_p, jit_p


def by_patches[**P, T](function: Callable[P, T]) -> Callable[P, T]:
    """The same function with its convolutions computed as matrix products of patches and weights.

    For a custom Task with convolutions: wrap the model's forward pass before it is differentiated.
    `supervised` wraps every custom model. Arguments are pytrees of arrays. Convolutions inside a
    `scan`, `cond`, `checkpoint` or custom derivative are unchanged.

    >>> kernel, image = jnp.ones((3, 3, 1, 4)), jnp.ones((2, 8, 8, 1))
    >>> def forward(kernel, image):
    ...     return lax.conv_general_dilated(image, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    >>> bool(jnp.allclose(by_patches(forward)(kernel, image), forward(kernel, image)))
    True
    """

    def patched(*args: P.args, **kwargs: P.kwargs) -> T:
        closed, shape = jax.make_jaxpr(function, return_shape=True)(*args, **kwargs)
        outputs = evaluate(closed.jaxpr, closed.consts, jax.tree.leaves((args, kwargs)))
        return jax.tree.unflatten(jax.tree.structure(shape), outputs)

    return patched


def evaluate(jaxpr: Jaxpr, consts: list[Any], arguments: list[Any]) -> list[Any]:
    """The outputs of a jaxpr, with its convolutions computed as matrix products."""
    known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *arguments], strict=True))

    def read(variable: Any) -> Any:
        return variable.val if isinstance(variable, Literal) else known[variable]

    for equation in jaxpr.eqns:
        inputs = map(read, equation.invars)
        if equation.primitive is conv_general_dilated_p:
            outputs = [convolve(*inputs, **equation.params)]
        elif equation.primitive is jit_p:
            inner = equation.params["jaxpr"]
            outputs = evaluate(inner.jaxpr, inner.consts, [*inputs])
        else:
            variables = [variable for variable in equation.invars if not isinstance(variable, Literal)]
            alone = jaxpr.replace(constvars=[], invars=variables, outvars=equation.outvars, eqns=[equation])
            outputs = jax.core.eval_jaxpr(alone, [], *map(read, variables))
        known.update(zip(equation.outvars, outputs, strict=True))
    return [read(variable) for variable in jaxpr.outvars]


def convolve(
    x: jax.Array,
    kernel: jax.Array,
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
    """`lax.conv_general_dilated` as a matrix product; raises ValueError for batch groups."""
    if batch_group_count != 1:
        raise ValueError("by_patches: wrap the function before it is differentiated, not after")
    given, weights, wanted = dimension_numbers
    x = x.transpose((given[0], *given[2:], given[1]))  # (rows, *pixels, channels)
    kernel = kernel.transpose((*weights[2:], weights[1], weights[0]))  # (*taps, channels of a group, units)
    *taps, channels, units = kernel.shape
    inside = [(low, high, dilation - 1) for (low, high), dilation in zip(padding, lhs_dilation, strict=True)]
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *inside, (0, 0, 0)])
    neighbourhoods = patches(x, tuple(taps), window_strides, rhs_dilation)
    groups = feature_group_count
    how = {"precision": precision, "preferred_element_type": preferred_element_type}
    if groups == 1:
        product = jnp.matmul(neighbourhoods, kernel.reshape(-1, units), **how)
    else:
        pixels = neighbourhoods.shape[:-1]
        neighbourhoods = neighbourhoods.reshape(*pixels, math.prod(taps), groups, channels)
        kernel = kernel.reshape(-1, channels, groups, units // groups)
        product = jnp.einsum("...tgc,tcgu->...gu", neighbourhoods, kernel, **how).reshape(*pixels, units)
    order = [0, product.ndim - 1, *range(1, product.ndim - 1)]  # to (rows, units, *pixels)
    return product.transpose(order).transpose([wanted.index(axis) for axis in range(product.ndim)])


def patches(
    x: jax.Array, taps: tuple[int, ...], strides: tuple[int, ...] | None = None, dilation: tuple[int, ...] | None = None
) -> jax.Array:
    """All windows of images: (rows, *pixels, channels) -> (rows, *windows, product of taps * channels).

    Args:
        x: images, already padded.
        taps: the window's size along each axis of pixels.
        strides: the distance between windows, 1 by default.
        dilation: the distance between taps, 1 by default.

    >>> patches(jnp.arange(4.0).reshape(1, 4, 1), (2,)).tolist()
    [[[0.0, 1.0], [1.0, 2.0], [2.0, 3.0]]]
    """
    ones = (1,) * len(taps)
    strides, dilation = strides or ones, dilation or ones
    spans = [size - (tap - 1) * apart for size, tap, apart in zip(x.shape[1:-1], taps, dilation, strict=True)]

    def shifted(tap: tuple[int, ...]) -> jax.Array:
        starts = [index * apart for index, apart in zip(tap, dilation, strict=True)]
        ends = [start + span for start, span in zip(starts, spans, strict=True)]
        return lax.slice(x, (0, *starts, 0), (len(x), *ends, x.shape[-1]), (1, *strides, 1))

    return jnp.concatenate([shifted(tap) for tap in itertools.product(*map(range, taps))], -1)
