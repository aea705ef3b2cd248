"""What the built-in models are made of: layers of traced width, a stack of traced depth. What is inactive is zero.

A layer is as wide as its hyperparameter's scale allows. The units above the member's own
width get zero weights and are masked after activation and dropout, so neither they nor
their gradients ever leave zero. A layer above the member's own depth is the identity.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from popjax.space.defaults import DEFAULTS
from popjax.space.scales import Scale
from popjax.task import HParams

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "elu": jax.nn.elu,
    "leaky_relu": jax.nn.leaky_relu,
    "sigmoid": jax.nn.sigmoid,
    "softplus": jax.nn.softplus,
}
GAINS: Mapping[str, float] = {"tanh": 1.0, "sigmoid": 1.0}


class Dense(nnx.Module):
    """An affine layer (..., taps * inputs) -> (..., units) with capacity to spare.

    Each unit's weights are drawn from a key of its own, with the variance gain/inputs of
    the active inputs (He et al. 2015), so a padded layer starts as the exact one does.

    Args:
        capacity: (inputs, units), the allocated shape.
        active: (inputs, units) in use; may be traced.
        gain: the variance of a unit's output for inputs of variance 1.
        key: the layer's random key.
        taps: how often the inputs come, such as once for each pixel of a patch.
    """

    def __init__(
        self, capacity: tuple[int, int], active: tuple[Any, Any], gain: Any, key: jax.Array, taps: int = 1
    ) -> None:
        def unit(index: jax.Array) -> jax.Array:
            return jax.random.normal(jax.random.fold_in(key, index), (capacity[0], taps)).T.ravel()

        kernel = jax.vmap(unit, out_axes=1)(jnp.arange(capacity[1])) * jnp.sqrt(gain / (taps * active[0]))
        masks = unit_mask(capacity[0], active[0]), unit_mask(capacity[1], active[1])
        if masks[0] is not None:
            kernel = kernel * jnp.tile(masks[0], taps)[:, None]
        if masks[1] is not None:
            kernel = kernel * masks[1][None]
        self.kernel = nnx.Param(kernel)
        self.bias = nnx.Param(jnp.zeros(capacity[1]))

    def __call__(self, x: jax.Array) -> jax.Array:
        bias = self.bias[...]
        return x @ self.kernel[...] + bias.reshape((1,) * (x.ndim - 1) + bias.shape)


def unit_mask(capacity: int, active: Any) -> jax.Array | None:
    """1 for the units in use, 0 for the padded ones; None where no unit is padded."""
    if isinstance(active, int) and active == capacity:
        return None
    return (jnp.arange(capacity) < active).astype(float)


def depth_of(hparams: HParams) -> Scale:
    """The scale of the number of layers; raises ValueError below 1."""
    depth = hparams.size("depth", DEFAULTS["depth"])
    if depth.low < 1:
        raise ValueError(f"depth={depth.low}: give at least 1 hidden layer")
    return depth


def width_of(hparams: HParams, name: str, default: int) -> Scale:
    """The scale of a layer's width; raises ValueError below 1."""
    width = hparams.size(name, default)
    if width.low < 1:
        raise ValueError(f"{name}={width.low}: give at least 1 unit")
    return width


def through_layers(
    layer: Callable[[int, Any], Any], layers: range, certain: int, depth: Any, x: jax.Array
) -> jax.Array:
    """`x` through `layer(i, x)` of each layer: from `certain` on only where i < depth, else as it is."""
    for i in layers:
        x = layer(i, x) if i < certain else jax.lax.cond(depth > i, lambda x, i=i: layer(i, x), lambda x: x, x)
    return x
