"""Products of matrices as XLA computes them fast on a CPU, forward and backward.

Two facts of its kernels. Columns are written 16 at a time, and an odd number of sixteens is fast only if it is full:
58 columns take two thirds longer than 64. Of two matrices whose rows are contracted, as for the derivative of weights,
the left one is copied, which takes up to three times as long as the product if it is the wider one.
"""

import functools
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from popjax.rewriting.target import on_cpu

COLUMNS = 32


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def times(rows: jax.Array, weights: jax.Array, how: Mapping[str, Any], longest: float = math.inf) -> jax.Array:
    """Many rows times weights: (..., rows, inputs) x (..., inputs, units) -> (..., rows, units).

    Args:
        how: options of `jnp.matmul`, such as its precision.
        longest: the derivative of weights is summed over so many rows at a time, where they are a part of all; sums of
            sums round less.

    >>> times(jnp.ones((2, 3)), jnp.ones((3, 20)), {}).shape
    (2, 20)
    """
    product = jnp.matmul(rows, widened(weights, -1), **how)
    return lax.optimization_barrier(product)[..., : weights.shape[-1]]


@times.defjvp
def _times_tangents(how: Mapping[str, Any], longest: float, primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    (rows, weights), (of_rows, of_weights) = primals, tangents
    *batch, count, inputs = rows.shape
    product = times(rows, weights, how, longest)
    if inputs < 2 * COLUMNS:  # of more, the derivative's copy without the zeros takes as long
        change = jnp.matmul(lax.optimization_barrier(widened(of_rows, -1)), widened(weights, -2), **how)
    else:
        change = jnp.matmul(of_rows, weights, **how)
    fit = (n for n in range(2, count) if count % n == 0 and longest < count <= n * longest <= 4 * count)
    if parts := next(fit, 0):
        rows = rows.reshape(*batch, parts, -1, inputs)
        of_weights = jnp.broadcast_to(of_weights[..., None, :, :], (*batch, parts, *weights.shape[-2:]))
    of_sums = jnp.matmul(rows, narrow_to_copy(of_weights), **how)
    return product, change + of_sums.reshape(product.shape)


def by_rows(x: jax.Array, weights: jax.Array, how: Mapping[str, Any]) -> jax.Array:
    """`times` of weights (inputs, units) and all rows of (..., inputs) at once: (..., units)."""
    return times(x.reshape(-1, x.shape[-1]), weights, how).reshape(*x.shape[:-1], weights.shape[-1])


def affine(x: jax.Array, weights: jax.Array, *, dimension_numbers: lax.DotDimensionNumbers, **how: Any) -> jax.Array:
    """`lax.dot_general`; for a model's layer, whose weights have no batch axis, with a derivative that is faster."""
    (of_x, of_weights), batches = dimension_numbers
    count = len(of_weights)
    whole = (*of_x, *of_weights) == (*range(x.ndim - count, x.ndim), *range(count))

    def product(x: jax.Array, weights: jax.Array) -> jax.Array:
        return lax.dot_general(x, weights, dimension_numbers, **how)

    if not on_cpu() or not whole or any(map(len, batches)) or not 0 < count < min(x.ndim, weights.ndim):
        return product(x, weights)

    layer = jax.custom_jvp(product)

    @layer.defjvp
    def _layer_tangents(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
        (x, weights), (of_x, of_weights) = primals, tangents
        flat = of_weights.reshape(math.prod(weights.shape[:count]), -1)
        of_weights = narrow_to_copy(flat).reshape(weights.shape)
        return layer(x, weights), product(of_x, weights) + product(x, of_weights)

    return layer(x, weights)


def narrow_to_copy(weights: jax.Array) -> jax.Array:
    """The same weights (..., inputs, units), whose derivative is computed transposed where units are fewer."""
    inputs, units = weights.shape[-2:]
    return lax.optimization_barrier(weights.mT).mT if units < inputs else weights


def widened(x: jax.Array, axis: int) -> jax.Array:
    """With zeros at the end of an axis up to a full number of columns, if less than half of them is missing."""
    missing = -x.shape[axis] % COLUMNS
    width = [(0, 0)] * x.ndim
    width[axis] = (0, missing if 2 * missing < COLUMNS else 0)
    return jnp.pad(x, width)
