"""Embeddings of numbers by cosines of trained frequencies."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from popjax.models.dense import unit_mask

FREQUENCIES = 16
COS = (0.999999989, -19.7392045, 64.9391159, -85.4501134, 60.1674298, -25.9668846, 6.52770596)
SIN = (6.2831853, -41.3417004, 81.6051308, -76.7030056, 42.0258515, -14.8995784, 3.23778009)


class Periodic(nnx.Module):
    """(rows, columns) -> (rows, numbers * columns): W₂cos(2π(w₁x + b₁)) + b₂ of each column by itself.

    Of each column 16 frequencies w₁ ~ N(0, scale²), phases b₁ ~ U(-1/2, 1/2), W₂ and b₂ ~ U(-1/4, 1/4)
    (Holzmüller et al. 2024, arXiv 2407.04491, "PBLD"). The result is ordered by number, then by column; numbers that
    are not in use are 0 and stay so while nothing reads them, and a padded embedding starts as an exact one.

    Args:
        columns: number of columns.
        capacity: numbers allocated for each column.
        active: numbers in use; may be traced.
        scale: standard deviation of the frequencies; may be traced.
        key: the random key.
    """

    def __init__(self, columns: int, capacity: int, active: Any, scale: Any, key: jax.Array) -> None:
        keys = jax.random.split(key)
        self.frequencies = nnx.Param(jax.random.normal(keys[0], (columns, FREQUENCIES)) * scale)
        shape = (1 + capacity, columns, FREQUENCIES + 1)  # one draw, as each takes XLA a good part of a second
        drawn = jax.random.uniform(keys[1], shape, minval=-0.5, maxval=0.5)
        self.phases = nnx.Param(drawn[0, :, :FREQUENCIES])
        mask = unit_mask(capacity, active)
        below = drawn[1:] * (2 * FREQUENCIES**-0.5) * (1 if mask is None else mask[:, None, None])
        self.weights = nnx.Param(below[:, :, :FREQUENCIES])
        self.bias = nnx.Param(below[:, :, FREQUENCIES])

    def __call__(self, x: jax.Array) -> jax.Array:
        """Embedded columns of `x` (rows, columns)."""
        sums = weighted_waves(x, self.frequencies[...], self.phases[...], self.weights[...])
        return (sums + self.bias[...].T[:, :, None]).transpose(2, 1, 0).reshape(x.shape[0], -1)


@jax.custom_jvp
def weighted_waves(x: jax.Array, frequencies: jax.Array, phases: jax.Array, weights: jax.Array) -> jax.Array:
    """Sums over f of weights cos(2π (frequencies x + phases)) (columns, numbers, rows), for x (rows, columns).

    Its derivative is written out, as XLA's own takes half as long again on a CPU: in reverse, what weights multiply is
    fused with the sines, and one product each gives the gradients of weights, and of frequencies and phases.
    """
    return _weighted(weights, cos_of_turns(_turns(x, frequencies, phases)))


@weighted_waves.defjvp
def _slope(primals: tuple[jax.Array, ...], tangents: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
    (x, frequencies, phases, weights), (x_tangents, *parameters_tangents, weights_tangents) = primals, tangents
    turns, with_one = _turns(x, frequencies, phases), jnp.stack([x.T, jnp.ones_like(x.T)], 1)
    waves, slope = cos_of_turns(turns), -2 * jnp.pi * sin_of_turns(turns)
    turned = jnp.einsum("cjr,cjf->crf", with_one, jnp.stack(parameters_tangents, 1))
    turned = (turned + x_tangents.T[:, :, None] * frequencies[:, None]) * slope
    total = jnp.stack([(turned * number[:, None]).sum(-1) for number in weights], 1)
    return _weighted(weights, waves), total + _weighted(weights_tangents, waves)


def _turns(x: jax.Array, frequencies: jax.Array, phases: jax.Array) -> jax.Array:
    return x.T[:, :, None] * frequencies[:, None] + phases[:, None]


def _weighted(weights: jax.Array, waves: jax.Array) -> jax.Array:
    return jnp.einsum("crf,ncf->cnr", waves, weights)


def cos_of_turns(turns: jax.Array) -> jax.Array:
    """cos(2π turns); in float32 by a polynomial with an error below 1e-6, ten times as fast as XLA's on a CPU."""
    if turns.dtype != jnp.float32:
        return jnp.cos(2 * jnp.pi * turns)
    rest = turns - jnp.round(turns)
    return polynomial(COS, rest * rest)


def sin_of_turns(turns: jax.Array) -> jax.Array:
    """sin(2π turns), as `cos_of_turns`."""
    if turns.dtype != jnp.float32:
        return jnp.sin(2 * jnp.pi * turns)
    rest = turns - jnp.round(turns)
    return rest * polynomial(SIN, rest * rest)


def polynomial(coefficients: tuple[float, ...], x: jax.Array) -> jax.Array:
    """The polynomial with these coefficients, constant first, by Horner's rule."""
    value = jnp.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = value * x + coefficient
    return value
