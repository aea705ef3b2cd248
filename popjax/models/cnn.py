"""The built-in convolutional network: stages of convolutions and a pool, of dynamic channels and depth."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax import lax

from popjax.core.text import lookup
from popjax.models.dense import ACTIVATIONS, GAINS, Dense, Shape, depth_of, drawn, in_layers, unit_mask, width_of
from popjax.models.layers import Dropout, max_pool
from popjax.models.norms import NORMS, of_channels
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
        if hparams["norm"] == "batch" and depth.low < depth.high:
            raise NeedsStatic("depth", "a convolution that some members skip has no batch statistics")
        count = stages_of(shape, hparams)
        self.depth, self.certain, self.further = hparams["depth"], depth.low, range(1, depth.high)
        sizes = [(factor * width.high, factor * hparams["hidden"]) for factor in map(growth, range(count))]
        inputs = [(shape[-1], shape[-1]), *sizes]  # of each stage: the channels there is room for, and those in use
        layers = [(i, stage) for i in range(depth.high) for stage in range(count)]  # in the order of their keys
        ends = [(sizes[stage] if i else inputs[stage], sizes[stage]) for i, stage in layers]
        shapes = [Shape(before[0], after[0], TAPS) for before, after in ends]
        last = Shape(sizes[-1][0], outputs, math.prod(pooled(shape, count)))
        own, *weights = drawn(rngs.params(), [last, *shapes])
        used = [1 if i < depth.low else self.depth > i for i, _ in layers]
        made = [
            Convolution(weights[at], shapes[at], (before[1], after[1]), used[at], hparams)
            for at, (before, after) in enumerate(ends)
        ]
        self.stages = nnx.List(nnx.List(made[stage::count]) for stage in range(count))
        self.dropout = Dropout(hparam(hparams, "dropout"), rngs=rngs)
        self.out = Dense(own, last, (sizes[-1][1], outputs), 1.0)

    def __call__(self, x: jax.Array) -> jax.Array:
        for stage in self.stages:
            x = stage[0](x, pool=True)
            added = lambda i, x, stage=stage: x + stage[i](x)
            x = in_layers(added, self.further, self.certain, self.depth, x)
        rows, *_, channels = x.shape
        first = x.reshape(rows, -1, channels).swapaxes(1, 2)  # so channels without use are the last units
        return self.out(self.dropout(first).swapaxes(1, 2).reshape(rows, -1))


class Convolution(nnx.Module):
    """A 3 x 3 convolution (rows, height, width, channels), normalized and active; a pool before that if asked for.

    Args:
        weights, shape, active: see Dense.
        used: whether the member has this layer, 1 or a traced truth value.
        hparams: `norm` and `activation`.
    """

    def __init__(self, weights: jax.Array, shape: Shape, active: tuple[Any, Any], used: Any, hparams: HParams) -> None:
        name = hparam(hparams, "activation")
        self.activation = lookup(ACTIVATIONS, "activation", name)
        self.dense = Dense(weights, shape, active, GAINS.get(name, 2.0) * used)
        self.norm = lookup(NORMS, "norm", hparams["norm"])(shape.units, active[1])
        self.mask = unit_mask(shape.units, active[1])

    def __call__(self, x: jax.Array, pool: bool = False) -> jax.Array:
        kernel = self.dense.kernel[...].reshape(3, 3, x.shape[-1], -1)
        x = lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        x = (max_pool(x) if pool else x) + of_channels(self.dense.bias[...])
        x = self.activation(self.norm(x))
        return x if self.mask is None else x * of_channels(self.mask)


def growth(stage: int) -> int:
    """The channels of a stage, as a multiple of those of the first."""
    return min(2**stage, GROWTH)


def usual_stages(shape: tuple[int, ...]) -> int:
    """The number of stages where `stages` is no hyperparameter.

    >>> [usual_stages((size, size, 1)) for size in (2, 8, 28, 32, 64)]
    [1, 1, 2, 3, 4]
    """
    return int(min(max(math.log2(min(shape[:2]) / SMALLEST), 1), STAGES))


def stages_of(shape: tuple[int, ...], hparams: HParams) -> int:
    """The number of stages; raises NeedsStatic for several, and ValueError if the last one had nothing to pool."""
    stages, most = hparams.size("stages", usual_stages(shape)), int(math.log2(min(shape[:2])))
    if stages.low < stages.high:
        raise NeedsStatic("stages", "the images' size depends on it")
    if not 1 <= stages.low <= most:
        raise ValueError(f"stages={stages.low}: images of {shape[0]} x {shape[1]} pixels have 1 to {most}")
    return stages.low


def pooled(shape: tuple[int, ...], stages: int) -> tuple[int, int]:
    """Height and width after so many stages."""
    height, width = (size >> stages for size in shape[:2])
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
