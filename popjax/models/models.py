"""Built-in models, whose width and depth may be traced: what is inactive is zero and stays zero.

A layer is as wide as its hyperparameter's scale allows. The units above the member's own
width get zero weights and are masked after activation and dropout, so neither they nor
their gradients ever leave zero. A layer above the member's own depth is the identity.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from popjax.models.layers import Dropout, max_pool, patches
from popjax.space.defaults import CHANNELS, DEFAULTS, value
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
TAPS = 9  # of a 3 x 3 kernel
PATCHED = 40  # operations in the time that one number takes on its way into a patch
GAINS: Mapping[str, float] = {"tanh": 1.0, "sigmoid": 1.0}


def lookup(table: Mapping[str, Any], kind: str, name: Any) -> Any:
    """The entry `name` of a table; raises ValueError listing what there is."""
    if name not in table:
        raise ValueError(f"unknown {kind} {name!r}; there are {', '.join(table)}")
    return table[name]


class Dense(nnx.Module):
    """An affine layer (..., taps * inputs) -> (..., units) with room to spare.

    Each unit's weights are drawn from a key of its own, with the variance gain/inputs of
    the active inputs (He et al. 2015), so a padded layer starts as the exact one does.

    Args:
        room: (inputs, units), the allocated shape.
        active: (inputs, units) in use; may be traced.
        gain: the variance of a unit's output for inputs of variance 1.
        key: the layer's random key.
        taps: how often the inputs come, such as once for each pixel of a patch.
    """

    def __init__(
        self, room: tuple[int, int], active: tuple[Any, Any], gain: Any, key: jax.Array, taps: int = 1
    ) -> None:
        def unit(index: jax.Array) -> jax.Array:
            return jax.random.normal(jax.random.fold_in(key, index), (room[0], taps)).T.ravel()

        kernel = jax.vmap(unit, out_axes=1)(jnp.arange(room[1])) * jnp.sqrt(gain / (taps * active[0]))
        masks = unit_mask(room[0], active[0]), unit_mask(room[1], active[1])
        if masks[0] is not None:
            kernel = kernel * jnp.tile(masks[0], taps)[:, None]
        if masks[1] is not None:
            kernel = kernel * masks[1][None]
        self.kernel = nnx.Param(kernel)
        self.bias = nnx.Param(jnp.zeros(room[1]))

    def __call__(self, x: jax.Array) -> jax.Array:
        bias = self.bias[...]
        return x @ self.kernel[...] + bias.reshape((1,) * (x.ndim - 1) + bias.shape)


def unit_mask(room: int, active: Any) -> jax.Array | None:
    """1 for the units in use, 0 for the padded ones; None where no unit is padded."""
    if isinstance(active, int) and active == room:
        return None
    return (jnp.arange(room) < active).astype(float)


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


def through(layer: Callable[[int, Any], Any], layers: range, certain: int, depth: Any, x: jax.Array) -> jax.Array:
    """`x` through `layer(i, x)` of each layer: from `certain` on only where i < depth, else as it is."""
    for i in layers:
        x = layer(i, x) if i < certain else jax.lax.cond(depth > i, lambda x, i=i: layer(i, x), lambda x: x, x)
    return x


class MLP(nnx.Module):
    """A multi-layer perceptron (rows, *shape) -> (rows, outputs).

    Reads `hidden` (or `hidden_1`, `hidden_2`, ... for single layers), `depth` (the number
    of hidden layers), `dropout`, all of them dynamic or static, and `activation`.
    """

    def __init__(self, shape: tuple[int, ...], outputs: int, hparams: HParams, rngs: nnx.Rngs) -> None:
        depth = depth_of(hparams)
        self.depth = value(hparams, "depth")
        self.certain = depth.low
        name = value(hparams, "activation")
        self.activation = lookup(ACTIVATIONS, "activation", name)
        gain = GAINS.get(name, 2.0)
        key = rngs.params()
        layers = range(1, depth.high + 1)
        rooms, widths = self._widths(hparams, layers, gated=depth.low < depth.high)
        inputs = math.prod(shape)
        rooms, widths = [inputs, *rooms], [inputs, *widths]
        used = [gain] * depth.low + [gain * (self.depth > i) for i in range(depth.low, depth.high)]
        self.hidden = nnx.List(
            Dense((rooms[i - 1], rooms[i]), (widths[i - 1], widths[i]), used[i - 1], jax.random.fold_in(key, i))
            for i in layers
        )
        self.masks = nnx.List(unit_mask(rooms[i], widths[i]) for i in layers)
        last = widths[depth.low]
        for i in layers[depth.low :]:
            last = jnp.where(self.depth >= i, widths[i], last)
        self.out = Dense((rooms[-1], outputs), (last, outputs), 1.0, jax.random.fold_in(key, 0))
        rate = value(hparams, "dropout")
        self.dropout = nnx.List(Dropout(rate, rngs=rngs) for _ in layers)

    @staticmethod
    def _widths(hparams: HParams, layers: range, gated: bool) -> tuple[list[int], list[Any]]:
        """The room for units and the units in use, layer by layer."""
        names = [f"hidden_{i}" if f"hidden_{i}" in hparams else "hidden" for i in layers]
        rooms = [width_of(hparams, name, DEFAULTS["hidden"]).high for name in names]
        if gated:  # a skipped layer passes its input on, so all must be alike
            rooms = [max(rooms)] * len(rooms)
        return rooms, [hparams.get(name, DEFAULTS["hidden"]) for name in names]

    def __call__(self, x: jax.Array) -> jax.Array:
        x = x.reshape(len(x), -1)
        return self.out(through(self._layer, range(len(self.hidden)), self.certain, self.depth, x))

    def _layer(self, i: int, x: jax.Array) -> jax.Array:
        x = self.dropout[i](self.activation(self.hidden[i](x)))
        mask = self.masks[i]
        return x if mask is None else x * mask[None]


class CNN(nnx.Module):
    """A small convolutional network (rows, height, width, channels) -> (rows, outputs).

    A 3 x 3 convolution and a 2 x 2 max-pooling, further convolutions of one shape, the mean
    over the pixels, and an affine layer. Reads `hidden` (the channels), `depth` (the number
    of convolutions), `dropout` (before the last layer), all of them dynamic or static, and
    `activation`.
    """

    def __init__(self, shape: tuple[int, ...], outputs: int, hparams: HParams, rngs: nnx.Rngs) -> None:
        depth, width = depth_of(hparams), width_of(hparams, "hidden", CHANNELS)
        self.depth = value(hparams, "depth")
        self.certain = depth.low
        channels = hparams.get("hidden", CHANNELS)
        name = value(hparams, "activation")
        self.activation = lookup(ACTIVATIONS, "activation", name)
        gain = GAINS.get(name, 2.0)
        key = rngs.params()
        rooms = [shape[-1]] + [width.high] * depth.high
        active = [shape[-1]] + [channels] * depth.high
        used = [gain] * depth.low + [gain * (self.depth > i) for i in range(depth.low, depth.high)]
        self.convolutions = nnx.List(
            Dense((rooms[i], rooms[i + 1]), (active[i], active[i + 1]), used[i], jax.random.fold_in(key, i + 1), TAPS)
            for i in range(depth.high)
        )
        self.mask = unit_mask(width.high, channels)
        self.dropout = Dropout(value(hparams, "dropout"), rngs=rngs)
        self.out = Dense((width.high, outputs), (channels, outputs), 1.0, jax.random.fold_in(key, 0))

    def __call__(self, x: jax.Array) -> jax.Array:
        x = max_pool(self._layer(0, x))
        x = through(self._layer, range(1, len(self.convolutions)), self.certain, self.depth, x)
        return self.out(self.dropout(x.mean((1, 2))))

    def _layer(self, i: int, x: jax.Array) -> jax.Array:
        x = self.activation(self.convolutions[i](patches(x, 3)))
        return x if self.mask is None else x * self.mask[None, None, None]


def mlp_parameters(shape: tuple[int, ...], outputs: int, hparams: Mapping[str, Any]) -> Any:
    """How many weights and biases the MLP has in use; `hparams` may hold arrays (trials,)."""
    depth = value(hparams, "depth")
    total: Any = 0
    width: Any = math.prod(shape)
    for i in range(1, int(np.max(depth)) + 1):
        units = hparams.get(f"hidden_{i}", value(hparams, "hidden"))
        total = total + np.where(depth >= i, (width + 1) * units, 0)
        width = np.where(depth >= i, units, width)
    return total + (width + 1) * outputs


def cnn_parameters(shape: tuple[int, ...], outputs: int, hparams: Mapping[str, Any]) -> Any:
    """How many weights and biases the CNN has in use; `hparams` may hold arrays (trials,)."""
    depth, channels = value(hparams, "depth"), hparams.get("hidden", CHANNELS)
    first, later = (TAPS * shape[-1] + 1) * channels, (TAPS * channels + 1) * channels
    return first + (depth - 1) * later + (channels + 1) * outputs


def mlp_operations(shape: tuple[int, ...], outputs: int, hparams: Mapping[str, Any]) -> Any:
    """Floating-point operations of one row's way forward; `hparams` may hold arrays (trials,)."""
    return 2 * mlp_parameters(shape, outputs, hparams)


def cnn_operations(shape: tuple[int, ...], outputs: int, hparams: Mapping[str, Any]) -> Any:
    """Operations of one image's way forward, patches included; `hparams` may hold arrays (trials,)."""
    depth, channels = value(hparams, "depth"), hparams.get("hidden", CHANNELS)
    height, width, inputs = shape
    pixels, pooled = height * width, (height // 2) * (width // 2)
    first = pixels * (2 * (TAPS * inputs + 1) * channels + PATCHED * TAPS * inputs)
    later = pooled * (2 * (TAPS * channels + 1) * channels + PATCHED * TAPS * channels)
    return first + (depth - 1) * later + 2 * (channels + 1) * outputs


SIZES = {"mlp": mlp_parameters, "cnn": cnn_parameters}
OPERATIONS = {"mlp": mlp_operations, "cnn": cnn_operations}
MODELS: dict[str, Callable[..., nnx.Module]] = {"mlp": MLP, "cnn": CNN}
