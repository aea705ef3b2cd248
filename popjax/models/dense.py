"""Parts of the built-in models: layers of dynamic width, and stacks of dynamic depth.

A layer has as many units as its hyperparameter's scale allows. Units beyond the member's width
have zero weights and are masked after activation and dropout, so they and their gradients stay
zero. A layer beyond the member's depth is the identity.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from popjax.space.defaults import DEFAULTS
from popjax.space.scales import Scale
from popjax.task import HParams

WIDEST = 2**24  # units: their keys alone would fill a machine's memory
LARGE = 20.0  # from which mish is the identity in float64


@jax.custom_jvp
def mish(x: jax.Array) -> jax.Array:
    """x tanh(log(1 + exp(x))) (Misra 2019, arXiv 1908.08681), by one exponential: a third of the time on a CPU."""
    return x * _mish_share(x)[0]


@mish.defjvp
def _mish_slope(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    (x,), (tangent,) = primals, tangents
    share, slope = _mish_share(x)
    return x * share, (share + jnp.minimum(x, LARGE) * slope) * tangent


def _mish_share(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """tanh(log(1 + exp(x))) and its slope."""
    grown = jnp.exp(jnp.minimum(x, LARGE))
    above = grown * (grown + 2)
    below = 1 / (above + 2)
    return above * below, 4 * grown * (grown + 1) * below**2


ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "elu": jax.nn.elu,
    "leaky_relu": jax.nn.leaky_relu,
    "sigmoid": jax.nn.sigmoid,
    "softplus": jax.nn.softplus,
    "mish": mish,
}
GAINS: Mapping[str, float] = {"tanh": 1.0, "sigmoid": 1.0}


class Shape(NamedTuple):
    """The allocated shape of a layer; `taps`: the repetitions of its inputs, such as the pixels of a patch."""

    inputs: int
    units: int
    taps: int = 1


def drawn(key: jax.Array, shapes: Sequence[Shape]) -> list[jax.Array]:
    """Numbers ~ N(0, 1) for the weights of layers of these shapes, (taps * inputs, units) each.

    Each unit has a random key of its own, by its layer's place and by its place in it, so neither padding nor further
    layers change them. Layers with the same inputs are drawn in one call, as each takes XLA a tenth of a second.

    >>> [weights.shape for weights in drawn(jax.random.key(0), [Shape(5, 3), Shape(3, 3), Shape(3, 2)])]
    [(5, 3), (3, 3), (3, 2)]
    """
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(len(shapes)))
    alike: dict[tuple[int, int], list[int]] = {}
    for at, shape in enumerate(shapes):
        alike.setdefault((shape.inputs, shape.taps), []).append(at)
    drawn: dict[int, jax.Array] = {}
    for layers in alike.values():
        weights = drawn_at_once(keys[np.array(layers)], [shapes[at] for at in layers])
        drawn |= zip(layers, weights, strict=True)
    return [drawn[at] for at in range(len(shapes))]


def drawn_at_once(keys: jax.Array, shapes: Sequence[Shape]) -> list[jax.Array]:
    """Numbers as of `drawn` for layers with the same inputs and these keys (layers,)."""
    (inputs, _, taps), units = shapes[0], [shape.units for shape in shapes]
    layer, place = np.repeat(np.arange(len(units)), units), np.concatenate([np.arange(count) for count in units])

    def unit(key: jax.Array, place: jax.Array) -> jax.Array:
        return jax.random.normal(jax.random.fold_in(key, place), (inputs, taps)).T.ravel()

    weights = jax.vmap(unit, out_axes=1)(keys[layer], jnp.asarray(place))
    return jnp.split(weights, np.cumsum(units)[:-1].tolist(), axis=1)


class Dense(nnx.Module):
    """An affine layer (..., taps * inputs) -> (..., units), padded to a capacity.

    Its weights have the variance gain / (taps * active inputs) (He et al. 2015), so a padded layer starts with the same
    ones as an exact one. Biases start at 0.

    Args:
        weights: (taps * capacity, capacity), numbers ~ N(0, 1); see `drawn`.
        shape: the allocated one.
        active: (inputs, units) in use; may be traced.
        gain: the variance of a unit's output for inputs of variance 1.
    """

    def __init__(self, weights: jax.Array, shape: Shape, active: tuple[Any, Any], gain: Any) -> None:
        kernel = weights * jnp.sqrt(gain / (shape.taps * active[0]))
        masks = unit_mask(shape.inputs, active[0]), unit_mask(shape.units, active[1])
        if masks[0] is not None:
            kernel = kernel * jnp.tile(masks[0], shape.taps)[:, None]
        if masks[1] is not None:
            kernel = kernel * masks[1][None]
        self.kernel = nnx.Param(kernel)
        self.bias = nnx.Param(jnp.zeros(shape.units))

    def __call__(self, x: jax.Array) -> jax.Array:
        bias = self.bias[...]
        return x @ self.kernel[...] + bias.reshape((1,) * (x.ndim - 1) + bias.shape)


def unit_mask(capacity: int, active: Any) -> jax.Array | None:
    """Float mask (capacity,): 1 for units in use, 0 for padded ones; None if the width is static and none is padded."""
    if isinstance(active, int) and active == capacity:
        return None
    return (jnp.arange(capacity) < active).astype(float)


def depth_of(hparams: HParams) -> Scale:
    """The scale of the number of layers; raises ValueError if it starts below 1."""
    depth = hparams.size("depth", DEFAULTS["depth"])
    if depth.low < 1:
        raise ValueError(f"depth={depth.low}: give at least 1 hidden layer")
    return depth


def width_of(hparams: HParams, name: str, default: int) -> Scale:
    """The scale of a layer's width; raises ValueError if it starts below 1, or ends beyond any memory."""
    width = hparams.size(name, default)
    if width.low < 1:
        raise ValueError(f"{name}={width.low}: give at least 1 unit")
    if width.high > WIDEST:
        raise ValueError(f"{name}={width.high}: that many units do not fit in memory; choose a smaller one")
    return width


def in_layers(layer: Callable[[int, Any], Any], layers: range, certain: int, depth: Any, x: jax.Array) -> jax.Array:
    """Apply `layer(i, x)` for each i of `layers`, from i = `certain` on only where i < depth."""
    for i in layers:
        x = layer(i, x) if i < certain else jax.lax.cond(depth > i, lambda x, i=i: layer(i, x), lambda x: x, x)
    return x
