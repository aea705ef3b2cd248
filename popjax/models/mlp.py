"""The built-in multi-layer perceptron, of dynamic widths and depth."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from popjax.core.text import lookup
from popjax.models.dense import ACTIVATIONS, GAINS, Dense, Shape, depth_of, drawn, in_layers, unit_mask, width_of
from popjax.models.layers import Dropout
from popjax.space.defaults import DEFAULTS, SEARCHED, hparam
from popjax.space.scales import Scale
from popjax.task import HParams

SPACE: Mapping[str, Scale] = {name: SEARCHED[name] for name in ("hidden", "depth")}


class MLP(nnx.Module):
    """A multi-layer perceptron (rows, *shape) -> (rows, outputs).

    `used` inputs, which may be traced, are in use, all if None; the others must be 0.

    Reads `hidden` (or `hidden_1`, `hidden_2`, ... for single layers), `depth` (the number of
    hidden layers) and `dropout`, each dynamic or static, and `activation`, which is static.
    """

    def __init__(
        self, shape: tuple[int, ...], outputs: int, hparams: HParams, rngs: nnx.Rngs, used: Any = None
    ) -> None:
        depth = depth_of(hparams)
        self.depth = hparam(hparams, "depth")
        self.certain = depth.low
        name = hparam(hparams, "activation")
        self.activation = lookup(ACTIVATIONS, "activation", name)
        gain = GAINS.get(name, 2.0)
        layers = range(1, depth.high + 1)
        capacities, widths = self._widths(hparams, layers, gated=depth.low < depth.high)
        inputs = math.prod(shape)
        capacities, widths = [inputs, *capacities], [inputs if used is None else used, *widths]
        gains = [gain] * depth.low + [gain * (self.depth > i) for i in range(depth.low, depth.high)]
        shapes = [Shape(capacities[-1], outputs), *(Shape(capacities[i - 1], capacities[i]) for i in layers)]
        weights = drawn(rngs.params(), shapes)
        self.hidden = nnx.List(Dense(weights[i], shapes[i], (widths[i - 1], widths[i]), gains[i - 1]) for i in layers)
        self.masks = nnx.List(unit_mask(capacities[i], widths[i]) for i in layers)
        last = widths[depth.low]
        for i in layers[depth.low :]:
            last = jnp.where(self.depth >= i, widths[i], last)
        self.out = Dense(weights[0], shapes[0], (last, outputs), 1.0)
        rate = hparam(hparams, "dropout")
        self.dropout = nnx.List(Dropout(rate, rngs=rngs) for _ in layers)

    @staticmethod
    def _widths(hparams: HParams, layers: range, gated: bool) -> tuple[list[int], list[Any]]:
        """Capacity and number of units in use of each layer; one capacity for all if `gated` (the depth is dynamic)."""
        names = [f"hidden_{i}" if f"hidden_{i}" in hparams else "hidden" for i in layers]
        capacities = [width_of(hparams, name, DEFAULTS["hidden"]).high for name in names]
        if gated:  # a skipped layer returns its input, so all need one shape
            capacities = [max(capacities)] * len(capacities)
        return capacities, [hparams.get(name, DEFAULTS["hidden"]) for name in names]

    def __call__(self, x: jax.Array) -> jax.Array:
        x = x.reshape(x.shape[0], -1)
        return self.out(in_layers(self._layer, range(len(self.hidden)), self.certain, self.depth, x))

    def _layer(self, i: int, x: jax.Array) -> jax.Array:
        x = self.dropout[i](self.activation(self.hidden[i](x)))
        mask = self.masks[i]
        return x if mask is None else x * mask[None]


def parameters(shape: tuple[int, ...], outputs: int, hparams: Mapping[str, Any]) -> Any:
    """Number of weights and biases in use; `hparams` may hold arrays (trials,)."""
    depth = hparam(hparams, "depth")
    total: Any = 0
    width: Any = math.prod(shape)
    for i in range(1, int(np.max(depth)) + 1):
        units = hparams.get(f"hidden_{i}", hparam(hparams, "hidden"))
        total = total + np.where(depth >= i, (width + 1) * units, 0)
        width = np.where(depth >= i, units, width)
    return total + (width + 1) * outputs


def operations(shape: tuple[int, ...], outputs: int, hparams: Mapping[str, Any]) -> Any:
    """Floating-point operations of one row's forward pass; `hparams` may hold arrays (trials,)."""
    return 2 * parameters(shape, outputs, hparams)
