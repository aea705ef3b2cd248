"""The built-in convolutional network, of dynamic channels and depth."""

from collections.abc import Mapping
from typing import Any

import jax
from flax import nnx
from jax import lax

from popjax.core.text import lookup
from popjax.models.dense import ACTIVATIONS, GAINS, Dense, Shape, depth_of, drawn, in_layers, unit_mask, width_of
from popjax.models.layers import Dropout
from popjax.space.defaults import SEARCHED, hparam
from popjax.space.scales import Scale, integers
from popjax.task import HParams

CHANNELS = 16
SPACE: Mapping[str, Scale] = {"hidden": integers(8, 32), "depth": SEARCHED["depth"]}  # hidden: the channels
TAPS = 9  # of a 3 x 3 kernel
PATCHED = 40  # the time to copy one number into a patch, in operations
TILED = 3  # operations of two channels, of 18 by patches, as timed of 8 to 32 channels


class CNN(nnx.Module):
    """A small convolutional network (rows, height, width, channels) -> (rows, outputs).

    A 3 x 3 convolution, a 2 x 2 max-pooling (before the activation, of a quarter of the numbers then), further 3 x 3
    convolutions with equal numbers of channels, the mean over the pixels, and an affine layer. Reads `hidden` (the
    channels), `depth` (the number of convolutions) and `dropout` (before the last layer), each dynamic or static, and
    `activation`, which is static.
    """

    def __init__(self, shape: tuple[int, ...], outputs: int, hparams: HParams, rngs: nnx.Rngs) -> None:
        depth, width = depth_of(hparams), width_of(hparams, "hidden", CHANNELS)
        self.depth = hparam(hparams, "depth")
        self.certain = depth.low
        channels = hparams.get("hidden", CHANNELS)
        name = hparam(hparams, "activation")
        self.activation = lookup(ACTIVATIONS, "activation", name)
        gain = GAINS.get(name, 2.0)
        capacities = [shape[-1]] + [width.high] * depth.high
        active = [shape[-1]] + [channels] * depth.high
        used = [gain] * depth.low + [gain * (self.depth > i) for i in range(depth.low, depth.high)]
        shapes = [Shape(capacities[i], capacities[i + 1], TAPS) for i in range(depth.high)]
        last = Shape(width.high, outputs)
        weights = drawn(rngs.params(), [last, *shapes])
        self.convolutions = nnx.List(
            Dense(weights[i + 1], shapes[i], (active[i], active[i + 1]), used[i]) for i in range(depth.high)
        )
        self.mask = unit_mask(width.high, channels)
        self.dropout = Dropout(hparam(hparams, "dropout"), rngs=rngs)
        self.out = Dense(weights[0], last, (channels, outputs), 1.0)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self._active(0, nnx.max_pool(self._convolved(0, x), (2, 2), (2, 2)))
        layer = lambda i, x: self._active(i, self._convolved(i, x))
        x = in_layers(layer, range(1, len(self.convolutions)), self.certain, self.depth, x)
        return self.out(self.dropout(x.mean((1, 2))))

    def _convolved(self, i: int, x: jax.Array) -> jax.Array:
        kernel = self.convolutions[i].kernel[...].reshape(3, 3, x.shape[-1], -1)
        return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def _active(self, i: int, x: jax.Array) -> jax.Array:
        x = self.activation(x + self.convolutions[i].bias[...][None, None, None])
        return x if self.mask is None else x * self.mask[None, None, None]


def parameters(shape: tuple[int, ...], outputs: int, hparams: Mapping[str, Any]) -> Any:
    """Number of weights and biases in use; `hparams` may hold arrays (trials,)."""
    depth, channels = hparam(hparams, "depth"), hparams.get("hidden", CHANNELS)
    first, later = (TAPS * shape[-1] + 1) * channels, (TAPS * channels + 1) * channels
    return first + (depth - 1) * later + (channels + 1) * outputs


def operations(shape: tuple[int, ...], outputs: int, hparams: Mapping[str, Any]) -> Any:
    """Operations of one image's forward pass, with the cost of its patches; `hparams` may hold arrays (trials,)."""
    depth, channels = hparam(hparams, "depth"), hparams.get("hidden", CHANNELS)
    height, width, inputs = shape
    pixels, pooled = height * width, (height // 2) * (width // 2)
    first = pixels * (2 * (TAPS * inputs + 1) * channels + PATCHED * TAPS * inputs)
    later = pooled * (TILED * channels + PATCHED * TAPS) * channels
    return first + (depth - 1) * later + 2 * (channels + 1) * outputs
