"""The built-in convolutional network: stages of convolutions and a pool, of dynamic channels and depth."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from popjax.core.text import lookup
from popjax.models.dense import ACTIVATIONS, GAINS, Dense, Shape, depth_of, drawn, in_layers, unit_mask, width_of
from popjax.models.layers import Dropout
from popjax.space.defaults import hparam
from popjax.space.scales import Scale, log_uniform, uniform
from popjax.task import HParams, NeedsStatic

UNTUNED: Mapping[str, Any] = {"hidden": 16, "depth": 2, "norm": "batch"}
TRAINING: Mapping[str, Scale] = {"learning_rate": log_uniform(1e-3, 1e-2), "weight_decay": log_uniform(1e-3, 1)}
SPACE: Mapping[str, Scale] = {
    "dropout": uniform(0, 0.5),
    "augment_shift": uniform(0, 0.15),
    "augment_turn": uniform(0, 15),
}
BATCHES = ((2000, 32),)  # rows below which a batch has so many; then LARGEST
LARGEST = 64
SMALLEST, STAGES = 4, 4  # pixels of a side after the last stage, where there are as many; the most stages
GROWTH = 4  # the channels double from stage to stage, to at most so many times those of the first
GROUP = 8  # channels that are normalized together
RUNNING, LEAST = 0.1, 1e-5  # the share of the last batch in running moments; added to a variance
TAPS = 9  # of a 3 x 3 kernel
PATCHED = 40  # the time to copy one number into a patch, in operations
TILED = 3  # operations of two channels, of 18 by patches, as timed of 8 to 32 channels


class CNN(nnx.Module):
    """A convolutional network (rows, height, width, channels) -> (rows, outputs).

    Each stage is a 3 x 3 convolution, a 2 x 2 max-pooling (before the activation, of a quarter of the numbers then),
    and `depth` - 1 further 3 x 3 convolutions, each added to its input (He et al. 2016, arXiv 1512.03385). A stage has
    twice the channels of the one before, at most 4 times those of the first. The images get smaller until the shorter
    side has 4 to 7 pixels, in one to four stages, or as many as `stages` says; dropout and an affine layer over all
    channels of all pixels follow.

    Reads `hidden` (the channels of the first stage), `depth` and `dropout`, each dynamic or static, and `stages`,
    `activation` and `norm`, which are static: "none", "batch" (Ioffe and Szegedy 2015), of the images in a batch, or
    "group" (Wu and He 2018), of 8 neighbouring channels of one image.
    """

    def __init__(self, shape: tuple[int, ...], outputs: int, hparams: HParams, rngs: nnx.Rngs) -> None:
        hparams = hparams.replace(**{name: value for name, value in UNTUNED.items() if name not in hparams})
        depth, width = depth_of(hparams), width_of(hparams, "hidden", UNTUNED["hidden"])
        stages = hparams.size("stages", usual_stages(shape))
        if stages.low < stages.high:
            raise NeedsStatic("stages", "the images' size depends on it")
        self.depth, self.certain, self.stages = hparams["depth"], depth.low, checked_stages(shape, stages.low)
        name, norm = hparam(hparams, "activation"), lookup(NORMS, "norm", hparams["norm"])
        self.activation = lookup(ACTIVATIONS, "activation", name)
        if hparams["norm"] == "batch" and depth.low < depth.high:
            raise NeedsStatic("depth", "a convolution that some members skip has no batch statistics")
        gain = GAINS.get(name, 2.0)
        growing = [growth(stage) for stage in range(self.stages)]
        capacities, active = [[factor * size for factor in growing] for size in (width.high, hparams["hidden"])]
        layers = [(stage, i) for i in range(depth.high) for stage in range(self.stages)]  # in the order of their keys
        into = lambda sizes, stage, i: sizes[stage] if i else [shape[-1], *sizes][stage]
        shapes = [Shape(into(capacities, *at), capacities[at[0]], TAPS) for at in layers]
        last = Shape(capacities[-1], outputs, math.prod(pooled(shape, self.stages)))
        weights = drawn(rngs.params(), [last, *shapes])
        gains = [gain if i < depth.low else gain * (self.depth > i) for _, i in layers]
        self.further = range(1, depth.high)
        self.convolutions = nnx.List(
            Dense(weights[1 + at], shapes[at], (into(active, stage, i), active[stage]), gains[at])
            for at, (stage, i) in enumerate(layers)
        )
        self.norms = nnx.List(norm(capacities[stage], active[stage], rngs) for stage, _ in layers)
        self.masks = nnx.List(unit_mask(*sizes) for sizes in zip(capacities, active, strict=True))
        self.dropout = Dropout(hparam(hparams, "dropout"), rngs=rngs)
        self.out = Dense(weights[0], last, (active[-1], outputs), 1.0)

    def __call__(self, x: jax.Array) -> jax.Array:
        for stage in range(self.stages):
            x = self._active(stage, max_pool(self._convolved(stage, x)))
            x = in_layers(functools.partial(self._further, stage), self.further, self.certain, self.depth, x)
        return self.out(self.dropout(x.reshape(x.shape[0], -1)))

    def _further(self, stage: int, i: int, x: jax.Array) -> jax.Array:
        at = i * self.stages + stage
        return x + self._active(at, self._convolved(at, x))

    def _convolved(self, at: int, x: jax.Array) -> jax.Array:
        kernel = self.convolutions[at].kernel[...].reshape(3, 3, x.shape[-1], -1)
        return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def _active(self, at: int, x: jax.Array) -> jax.Array:
        x = self.norms[at](x + of_channels(self.convolutions[at].bias[...]))
        x, mask = self.activation(x), self.masks[at % self.stages]
        return x if mask is None else x * of_channels(mask)


class Same(nnx.Module):
    """No normalization."""

    def __init__(self, capacity: int, active: Any, rngs: nnx.Rngs) -> None:
        """See NORMS."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return x


class BatchNorm(nnx.Module):
    """Each channel of (rows, height, width, channels) to mean 0 and variance 1 over a batch, and then scaled.

    In evaluation over the running moments of the batches, of which each counts a tenth. A padded channel stays 0.
    """

    def __init__(self, capacity: int, active: Any, rngs: nnx.Rngs) -> None:
        self.scale, self.bias = nnx.Param(jnp.ones(capacity)), nnx.Param(jnp.zeros(capacity))
        self.mean, self.variance = nnx.BatchStat(jnp.zeros(capacity)), nnx.BatchStat(jnp.ones(capacity))
        self.use_running_average = False

    def __call__(self, x: jax.Array) -> jax.Array:
        if self.use_running_average:
            mean, variance = self.mean[...], self.variance[...]
        else:
            mean = x.mean((0, 1, 2))
            variance = jnp.square(x - of_channels(mean)).mean((0, 1, 2))
            self.mean[...] = (1 - RUNNING) * self.mean[...] + RUNNING * mean
            self.variance[...] = (1 - RUNNING) * self.variance[...] + RUNNING * variance
        scale = self.scale[...] * lax.rsqrt(variance + LEAST)
        return x * of_channels(scale) + of_channels(self.bias[...] - mean * scale)


class GroupNorm(nnx.Module):
    """Groups of GROUP channels of an image to mean 0 and variance 1, and each channel scaled; padded ones count not."""

    def __init__(self, capacity: int, active: Any, rngs: nnx.Rngs) -> None:
        self.scale, self.bias = nnx.Param(jnp.ones(capacity)), nnx.Param(jnp.zeros(capacity))
        self.used = (jnp.arange(capacity) < active).astype(float)
        self.group = np.arange(capacity) // GROUP

    def __call__(self, x: jax.Array) -> jax.Array:
        same = (self.group[:, None] == self.group[None]).astype(float) * self.used[:, None]
        count = of_images(jnp.maximum(same.sum(0), 1))
        mean = of_images(x.mean((1, 2)) @ same) / count
        variance = of_images(jnp.square(x - mean).mean((1, 2)) @ same) / count
        return (x - mean) * lax.rsqrt(variance + LEAST) * of_channels(self.scale[...]) + of_channels(self.bias[...])


def of_channels(values: jax.Array) -> jax.Array:
    """Values (channels,) beside images (rows, height, width, channels)."""
    return values[None, None, None]


def of_images(values: jax.Array) -> jax.Array:
    """Values (rows, channels) or (channels,) beside images (rows, height, width, channels)."""
    return values.reshape(-1, 1, 1, values.shape[-1])


NORMS: dict[str, Callable[[int, Any, nnx.Rngs], nnx.Module]] = {"none": Same, "batch": BatchNorm, "group": GroupNorm}


def max_pool(x: jax.Array) -> jax.Array:
    """2 x 2 max-pooling; along an axis of one pixel none."""
    window = tuple(min(2, size) for size in x.shape[1:3])
    return nnx.max_pool(x, window, window)


def growth(stage: int) -> int:
    """The channels of a stage, as a multiple of those of the first."""
    return min(2**stage, GROWTH)


def usual_stages(shape: tuple[int, ...]) -> int:
    """The number of stages where `stages` is no hyperparameter.

    >>> [usual_stages((size, size, 1)) for size in (2, 8, 28, 32, 64)]
    [1, 1, 2, 3, 4]
    """
    return int(min(max(math.log2(min(shape[:2]) / SMALLEST), 1), STAGES))


def checked_stages(shape: tuple[int, ...], stages: int) -> int:
    """The number of stages; raises ValueError if the last one had nothing to pool."""
    most = max(1, int(math.log2(max(shape[:2]))))
    if not 1 <= stages <= most:
        raise ValueError(f"stages={stages}: images of {shape[0]} x {shape[1]} pixels have 1 to {most}")
    return stages


def pooled(shape: tuple[int, ...], stages: int) -> tuple[int, int]:
    """Height and width after so many stages."""
    height, width = (max(1, size >> stages) for size in shape[:2])
    return height, width


def parameters(shape: tuple[int, ...], outputs: int, hparams: Mapping[str, Any]) -> Any:
    """Number of weights and biases in use; `hparams` may hold arrays (trials,)."""
    return by_stages(own_parameters, shape, outputs, {**UNTUNED, **hparams})


def operations(shape: tuple[int, ...], outputs: int, hparams: Mapping[str, Any]) -> Any:
    """Operations of one image's forward pass, with the cost of its patches; `hparams` may hold arrays (trials,)."""
    return by_stages(own_operations, shape, outputs, {**UNTUNED, **hparams})


def by_stages(count: Callable[..., Any], shape: tuple[int, ...], outputs: int, hparams: Mapping[str, Any]) -> Any:
    """`count(shape, outputs, hparams, stages)`, where `hparams` may hold an array (trials,) of numbers of stages."""
    known = hparams.get("stages", usual_stages(shape))
    if not np.ndim(known):
        return count(shape, outputs, hparams, known)
    each = {stages: count(shape, outputs, hparams, stages) for stages in np.unique(known).tolist()}
    return sum((known == stages) * counted for stages, counted in each.items())


def own_parameters(shape: tuple[int, ...], outputs: int, hparams: Mapping[str, Any], stages: int) -> Any:
    """See `parameters`."""
    depth, biases = hparams["depth"], 1 + 2 * (hparams["norm"] != "none")
    total, before, channels = 0, shape[-1], hparams["hidden"]
    for stage in range(stages):
        channels = growth(stage) * hparams["hidden"]
        total = total + (TAPS * before + biases) * channels + (depth - 1) * (TAPS * channels + biases) * channels
        before = channels
    return total + (math.prod(pooled(shape, stages)) * channels + 1) * outputs


def own_operations(shape: tuple[int, ...], outputs: int, hparams: Mapping[str, Any], stages: int) -> Any:
    """See `operations`."""
    depth, total, before, channels = hparams["depth"], 0, shape[-1], hparams["hidden"]
    for stage in range(stages):
        channels, tiled = growth(stage) * hparams["hidden"], TILED if stage else 2 * TAPS
        pixels, after = (math.prod(pooled(shape, stage + more)) for more in (0, 1))
        total = total + pixels * ((tiled * channels + PATCHED * TAPS) * before + 2 * channels)
        total = total + (depth - 1) * after * (TILED * channels + PATCHED * TAPS) * channels
        before = channels
    return total + 2 * math.prod(pooled(shape, stages)) * channels * outputs


def batch(rows: int) -> int:
    """The batch size for so many images, chosen on the development sets of benchmarks/real_images.py.

    >>> batch(1000), batch(100_000)
    (32, 64)
    """
    return next((size for below, size in BATCHES if rows < below), LARGEST)
