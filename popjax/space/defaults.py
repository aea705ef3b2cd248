"""Hyperparameters by name: default ranges and values, and tuning priorities. No JAX here."""

from collections.abc import Mapping
from typing import Any

from popjax.space.scales import choice, integers, log_uniform, one_minus_log_uniform, uniform

BATCH_SIZES = (16, 32, 64, 128)
DEFAULT_BATCH_SIZE = 32

SEARCHED: dict[str, Any] = {
    "learning_rate": log_uniform(1e-4, 1),
    "momentum": one_minus_log_uniform(0.9, 0.999),
    "hidden": integers(50, 100),
    "depth": integers(2, 4),
    "batch_size": choice(*BATCH_SIZES),
    "decay": uniform(0, 0.2),
}
TIERS = {"learning_rate": 1, "momentum": 2, "hidden": 2, "batch_size": 2, "depth": 3, "decay": 3}
PRIORITIES = (1, 2, 3)
DEFAULTS: dict[str, Any] = {
    "learning_rate": 0.01,
    "momentum": 0.9,
    "b1": 0.9,
    "b2": 0.999,
    "eps": 1e-8,
    "weight_decay": 0.0,
    "decay": 0.0,
    "warmup": 0.0,
    "dropout": 0.0,
    "label_smoothing": 0.0,
    "hidden": 100,
    "depth": 2,
    "batch_size": DEFAULT_BATCH_SIZE,
    "activation": "relu",
}


def hparam(hparams: Mapping[str, Any], name: str) -> Any:
    """The value of a hyperparameter, or its default where `hparams` lacks it."""
    return hparams.get(name, DEFAULTS[name])
