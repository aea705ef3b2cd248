"""A function whose convolutions, pools and products are computed in other ways, which XLA is faster at.

It is traced, and each operation of the trace is carried out as it is or in another way.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, jaxpr_as_fun
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

from popjax.rewriting.biases import empty, with_biases
from popjax.rewriting.convolution import convolve
from popjax.rewriting.pointwise import array_of, pointwise
from popjax.rewriting.pools import max_pooled, pooled
from popjax.rewriting.products import affine
from popjax.rewriting.target import ANY, made_for, on_cpu, target
from popjax.rewriting.windows import MOST, summed


def rewrite[**P, T](function: Callable[P, T]) -> Callable[P, T]:
    """The same function, its convolutions computed as matrix products of patches, its pooling by slices.

    On a CPU they are computed as tiles, too (Winograd's), the derivative of a layer's weights copies the narrower of
    its matrices (see `products`), and that of a pool computes anew what it picks (see `picks`).

    For a custom Task: wrap the model's forward pass before it is differentiated.
    `supervised` wraps "cnn" and every custom model, unless rewrite="none". Arguments are pytrees of arrays. What is
    inside a custom derivative is unchanged. The function is rewritten as it is traced, for the platform that JAX then
    uses.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> import popjax as pj
    >>> kernel, image, layout = jnp.ones((3, 3, 1, 4)), jnp.ones((2, 8, 8, 1)), ("NHWC", "HWIO", "NHWC")
    >>> def forward(kernel, image):
    ...     return jax.lax.conv_general_dilated(image, kernel, (1, 1), "SAME", dimension_numbers=layout)
    >>> bool(jnp.allclose(pj.rewrite(forward)(kernel, image), forward(kernel, image)))
    True
    """

    @functools.wraps(function)
    def rewritten(*args: P.args, **kwargs: P.kwargs) -> T:
        closed, shape = jax.make_jaxpr(function, return_shape=True)(*args, **kwargs)
        leaves = jax.tree.leaves((args, kwargs))
        if target() == ANY:
            outputs = lax.platform_dependent(*leaves, cpu=computed(closed, "cpu"), default=computed(closed, "gpu"))
        else:
            outputs = computed(closed, target())(*leaves)
        return jax.tree.unflatten(jax.tree.structure(shape), outputs)

    return rewritten


def computed(closed: ClosedJaxpr, platform: str) -> Callable[..., list[jax.Array]]:
    """A jaxpr as a function of arrays, rewritten for a platform."""

    def outputs(*arguments: Any) -> list[jax.Array]:
        with made_for(platform):
            return [*map(array_of, evaluate(closed.jaxpr, closed.consts, arguments))]

    return outputs


def evaluate(jaxpr: Jaxpr, consts: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
    """The outputs of a jaxpr, as arrays or `Pointwise` results; so may the arguments be."""
    known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *arguments], strict=True))

    def read(variable: Any) -> Any:
        return variable.val if isinstance(variable, Literal) else known[variable]

    merged = with_biases(jaxpr) if on_cpu() else {}
    within = {layer.outvars[0] for layer, _ in merged.values()}
    for equation in jaxpr.eqns:
        first = next(iter(equation.outvars), None)  # jax.debug.print has no output
        if first in within:
            continue
        layer, bias = merged.get(first, (equation, None))
        inputs, params = [*map(read, layer.invars)], layer.params
        if layer.primitive is jit_p:
            outputs = evaluate(params["jaxpr"].jaxpr, params["jaxpr"].consts, inputs)
        elif layer.primitive is reduce_window_max_p and fits(layer):
            outputs = [max_pooled(*inputs, **params)]
        elif layer.primitive in FAST and fits(layer):
            more = {} if bias is None else {"bias": array_of(read(bias))}
            outputs = [FAST[layer.primitive](*map(array_of, inputs), **params, **more)]
        else:
            variables = [variable for variable in equation.invars if not isinstance(variable, Literal)]
            alone = jaxpr.replace(constvars=[], invars=variables, outvars=equation.outvars, eqns=[fast(equation)])
            outputs = jaxpr_as_fun(ClosedJaxpr(alone, []))(*[array_of(read(variable)) for variable in variables])
            if on_cpu() and len(outputs) == 1:  # what pools compute anew
                outputs = [pointwise(equation, inputs, *outputs)]
        known.update(zip(equation.outvars, outputs, strict=True))
    return [read(variable) for variable in jaxpr.outvars]


def fast(equation: Any) -> Any:
    """An equation; the bodies of loops, branches and checkpoints are computed as `evaluate` does."""
    if equation.primitive not in (scan_p, while_p, cond_p, remat_p):
        return equation

    def body(value: Any) -> Any:
        if isinstance(value, ClosedJaxpr):
            return jax.make_jaxpr(computed(value, target()))(*value.in_avals)
        if isinstance(value, Jaxpr):
            return body(ClosedJaxpr(value, [])).jaxpr
        return tuple(map(body, value)) if isinstance(value, tuple) else value

    return equation.replace(params={name: body(value) for name, value in equation.params.items()})


def fits(equation: Any) -> bool:
    """True but for images without pixels, results without numbers, and for so large a window of a pool that slices are
    more than XLA's loop.
    """
    params = equation.params
    small = math.prod(params.get("window_dimensions", ())) <= MOST
    return params.get("padding") != () and small and not empty(equation)


def left_to_xla(jaxpr: Jaxpr) -> set[str]:
    """Which of "convolution" and "pooling" a program still has, also in its loops, branches and derivatives."""
    names = {XLA[equation.primitive] for equation in jaxpr.eqns if equation.primitive in XLA}
    inner = [
        value for equation in jaxpr.eqns for value in jax.tree.leaves([*equation.params.values()], is_leaf=is_program)
    ]
    programs = [value.jaxpr if isinstance(value, ClosedJaxpr) else value for value in inner if is_program(value)]
    return names.union(*map(left_to_xla, programs))


def is_program(value: Any) -> bool:
    """True for a jaxpr."""
    return isinstance(value, Jaxpr | ClosedJaxpr)


FAST: Mapping[Any, Callable[..., jax.Array]] = {
    conv_general_dilated_p: convolve,
    dot_general_p: affine,
    reduce_window_sum_p: functools.partial(pooled, join=summed, start=0),
}
XLA: Mapping[Any, str] = {
    conv_general_dilated_p: "convolution",
    **dict.fromkeys([reduce_window_max_p, reduce_window_min_p, reduce_window_sum_p, reduce_window_p], "pooling"),
}
