"""Convolutions of any function computed as matrix products of patches or tiles and weights, its pooling by slices.

XLA runs a convolution inside a loop on a CPU as plain nested loops, and one with different weights
for each member as a grouped convolution; a matrix product is fast in both cases. The derivative of its
max-pooling takes ten times as long as that of slices.
"""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal
from jax.extend.core.primitives import (
    cond_p,
    conv_general_dilated_p,
    dot_general_p,
    jit_p,
    reduce_window_max_p,
    reduce_window_min_p,
    reduce_window_p,
    reduce_window_sum_p,
    remat_p,
    scan_p,
    while_p,
)

from popjax.models.depthwise import depthwise
from popjax.models.products import affine
from popjax.models.row_patches import by_row_patches, cost_of_row_patches
from popjax.models.whole_patches import by_whole_patches, cost_of_whole_patches
from popjax.models.windows import Windows, bordered, largest, patches, pooled, summed
from popjax.models.winograd import by_tiles, cost_of_tiles

MOST = 64  # places in a window, above which its pooling is left to XLA, and a sum over them is not written out


def by_patches[**P, T](function: Callable[P, T]) -> Callable[P, T]:
    """The same function, its convolutions computed as matrix products of patches or tiles, its pooling by slices.

    The derivative of a layer's weights copies the narrower of its matrices (see `products`).

    For a custom Task: wrap the model's forward pass before it is differentiated.
    `supervised` wraps every custom model. Arguments are pytrees of arrays. What is inside a custom
    derivative is unchanged.

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
        if equation.primitive in FAST and fits(equation.params):
            outputs = [FAST[equation.primitive](*inputs, **equation.params)]
        elif equation.primitive is jit_p:
            inner = equation.params["jaxpr"]
            outputs = evaluate(inner.jaxpr, inner.consts, [*inputs])
        else:
            equation = equation.replace(params=rewritten(equation))
            variables = [variable for variable in equation.invars if not isinstance(variable, Literal)]
            alone = jaxpr.replace(constvars=[], invars=variables, outvars=equation.outvars, eqns=[equation])
            outputs = jax.core.eval_jaxpr(alone, [], *map(read, variables))
        known.update(zip(equation.outvars, outputs, strict=True))
    return [read(variable) for variable in jaxpr.outvars]


def rewritten(equation: Any) -> dict[str, Any]:
    """The parameters of an equation; the bodies of loops, branches and checkpoints are computed as `evaluate` does."""
    if equation.primitive not in (scan_p, while_p, cond_p, remat_p):
        return equation.params

    def body(value: Any) -> Any:
        if isinstance(value, ClosedJaxpr):
            return jax.make_jaxpr(lambda *given: evaluate(value.jaxpr, value.consts, [*given]))(*value.in_avals)
        if isinstance(value, Jaxpr):
            return body(ClosedJaxpr(value, [])).jaxpr
        return tuple(map(body, value)) if isinstance(value, tuple) else value

    return {name: body(value) for name, value in equation.params.items()}


def left_to_xla(jaxpr: Jaxpr) -> set[str]:
    """Which of "convolution" and "pooling" a program still has, also in its loops, branches and derivatives."""
    found = {XLA[equation.primitive] for equation in jaxpr.eqns if equation.primitive in XLA}
    inner = [
        value for equation in jaxpr.eqns for value in jax.tree.leaves([*equation.params.values()], is_leaf=is_program)
    ]
    programs = [value.jaxpr if isinstance(value, ClosedJaxpr) else value for value in inner if is_program(value)]
    return found.union(*map(left_to_xla, programs))


def is_program(value: Any) -> bool:
    """True for a jaxpr."""
    return isinstance(value, Jaxpr | ClosedJaxpr)


def fits(params: Mapping[str, Any]) -> bool:
    """True but for images without pixels, and for so large a window of a pool that slices are more than XLA's loop."""
    return params.get("padding") != () and math.prod(params.get("window_dimensions", ())) <= MOST


def max_pooled(x: jax.Array, **how: Any) -> jax.Array:
    """The largest number of each window of `lax.reduce_window`."""
    least = -np.inf if jnp.issubdtype(x.dtype, jnp.floating) else False if x.dtype == bool else np.iinfo(x.dtype).min
    return pooled(x, join=largest, start=least, **how)


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
    between = [(0, 0, dilation - 1) for dilation in lhs_dilation]
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *between, (0, 0, 0)])
    groups, how = feature_group_count, {"precision": precision, "preferred_element_type": preferred_element_type}
    windows = Windows(tuple(taps), window_strides, rhs_dilation, padding)
    if groups == 1:
        product = convolved(x, kernel, windows, **how)
    elif channels == 1 and math.prod(taps) <= MOST:
        kind = preferred_element_type or x.dtype
        product = depthwise(x.astype(kind), kernel.astype(kind), windows)
    else:
        neighbourhoods = patches(bordered(x, padding), *windows[:3])
        pixels = neighbourhoods.shape[:-1]
        neighbourhoods = neighbourhoods.reshape(*pixels, math.prod(taps), groups, channels)
        kernel = kernel.reshape(-1, channels, groups, units // groups)
        product = jnp.einsum("...tgc,tcgu->...gu", neighbourhoods, kernel, **how).reshape(*pixels, units)
    order = [0, product.ndim - 1, *range(1, product.ndim - 1)]  # to (rows, units, *pixels)
    return product.transpose(order).transpose([wanted.index(axis) for axis in range(product.ndim)])


def convolved(x: jax.Array, kernel: jax.Array, windows: Windows, **how: Any) -> jax.Array:
    """A convolution of images: (rows, *pixels, channels) -> (rows, *windows, units).

    Args:
        kernel: (*taps, channels, units).
        windows: where they lie.
        how: options of `jnp.matmul`, such as its precision.
    """
    way = min(WAYS, key=lambda way: WAYS[way](x, kernel, windows))
    return way(x, kernel, windows, **how)


WAYS: Mapping[Callable[..., jax.Array], Callable[[jax.Array, jax.Array, Windows], float]] = {  # and their costs
    by_whole_patches: cost_of_whole_patches,
    by_row_patches: cost_of_row_patches,
    by_tiles: cost_of_tiles,
}
FAST: Mapping[Any, Callable[..., jax.Array]] = {
    conv_general_dilated_p: convolve,
    dot_general_p: affine,
    reduce_window_max_p: max_pooled,
    reduce_window_sum_p: functools.partial(pooled, join=summed, start=0),
}
XLA: Mapping[Any, str] = {
    conv_general_dilated_p: "convolution",
    **dict.fromkeys([reduce_window_max_p, reduce_window_min_p, reduce_window_sum_p, reduce_window_p], "pooling"),
}
