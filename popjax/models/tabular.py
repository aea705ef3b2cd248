"""The built-in model for tables: embedded columns, a scale for each input, a multi-layer perceptron."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from popjax.models import mlp
from popjax.models.mlp import MLP
from popjax.models.periodic import FREQUENCIES, Periodic
from popjax.models.texts import EmbeddedTexts, inputs_of_texts, parameters_of_texts
from popjax.space.scales import Scale, integers, log_uniform, one_minus_log_uniform, uniform
from popjax.task import HParams

WAVE = 20  # operations of a cosine
FASTER = 6.0  # times the learning rate, for the scales of the inputs
UNTUNED: Mapping[str, Any] = {"hidden": 128, "activation": "mish", "embedding": 4, "frequency_scale": 0.5}
BATCHES = ((2000, 32), (6000, 64), (20_000, 128))  # rows below which a batch has so many; then LARGEST
LARGEST = 256
TRAINING: Mapping[str, Scale] = {
    "learning_rate": log_uniform(1e-3, 3e-2),
    "weight_decay": log_uniform(1e-4, 1),
    "b2": one_minus_log_uniform(0.9, 0.999),
}
SPACE: Mapping[str, Scale] = {
    "depth": integers(1, 3),
    "dropout": uniform(0, 0.4),
    "embedding": integers(2, 4),
    "frequency_scale": log_uniform(0.05, 3),
}


class Tabular(nnx.Module):
    """{"numbers": (rows, columns), "codes": (rows, columns)} -> (rows, outputs), for the rows of a table.

    A number is an input, beside the `embedding` - 1 numbers of its `Periodic` embedding, whose frequencies have the
    standard deviation `frequency_scale`; texts become inputs by `EmbeddedTexts`. Each input is multiplied by a trained
    scale, which starts at 1; then follow the layers of an `MLP`, which reads its hyperparameters. After RealMLP
    (Holzmüller et al. 2024, arXiv 2407.04491), without what made no difference (benchmarks/README.md).
    """

    def __init__(self, shape: Mapping[str, Any], outputs: int, hparams: HParams, rngs: nnx.Rngs) -> None:
        hparams.within("embedding", 1, np.inf)
        hparams.within("frequency_scale", 0, np.inf)
        hparams = hparams.replace(**{name: value for name, value in UNTUNED.items() if name not in hparams})
        (columns,), levels = shape["numbers"], shape["codes"]
        room, numbers = hparams.size("embedding", UNTUNED["embedding"]).high, hparams["embedding"]
        keys = jax.random.split(rngs.params())
        self.texts = EmbeddedTexts(levels, keys[0])
        scale, embedded = hparams["frequency_scale"], columns > 0 and room > 1
        periodic = [Periodic(columns, room - 1, numbers - 1, scale, keys[1])] if embedded else []
        self.periodic = nnx.List(periodic)
        texts = inputs_of_texts(levels)
        self.scale = nnx.Param(jnp.zeros(texts + columns * room))
        self.layers = MLP((texts + columns * room,), outputs, hparams, rngs, used=texts + columns * numbers)

    def __call__(self, x: Mapping[str, jax.Array]) -> jax.Array:
        numbers = x["numbers"]
        parts = [*self.texts(x["codes"]), numbers, *(embedded(numbers) for embedded in self.periodic)]
        scale = 1 + FASTER * self.scale[...]
        return self.layers(jnp.concatenate(parts, 1) * scale[None])


def batch(rows: int) -> int:
    """The batch size for so many rows, chosen on the development tables of benchmarks/real_tables.py.

    >>> batch(1000), batch(100_000)
    (32, 256)
    """
    return next((size for below, size in BATCHES if rows < below), LARGEST)


def inputs_in_use(shape: Mapping[str, Any], hparams: Mapping[str, Any]) -> Any:
    """Number of inputs of the first layer that are in use."""
    return inputs_of_texts(shape["codes"]) + shape["numbers"][0] * with_untuned(hparams)["embedding"]


def with_untuned(hparams: Mapping[str, Any]) -> dict[str, Any]:
    """The hyperparameters, with the model's defaults for those that are not tuned."""
    return {**UNTUNED, **hparams}


def parameters(shape: Mapping[str, Any], outputs: int, hparams: Mapping[str, Any]) -> Any:
    """Number of trained numbers in use; `hparams` may hold arrays (trials,)."""
    hparams = with_untuned(hparams)
    inputs, columns = inputs_in_use(shape, hparams), shape["numbers"][0]
    periodic = columns * (2 * FREQUENCIES * (hparams["embedding"] > 1) + (FREQUENCIES + 1) * (hparams["embedding"] - 1))
    return inputs + periodic + parameters_of_texts(shape["codes"]) + mlp.parameters((inputs,), outputs, hparams)


def operations(shape: Mapping[str, Any], outputs: int, hparams: Mapping[str, Any]) -> Any:
    """Floating-point operations of one row's forward pass; `hparams` may hold arrays (trials,)."""
    hparams = with_untuned(hparams)
    waves = shape["numbers"][0] * FREQUENCIES * (WAVE + 2 * (hparams["embedding"] - 1))
    return waves + mlp.operations((inputs_in_use(shape, hparams),), outputs, hparams)
