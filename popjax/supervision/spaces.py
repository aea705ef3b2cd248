"""Default spaces: the hyperparameters that a built-in model, optimizer and schedule read."""

import itertools
from collections.abc import Sequence
from typing import Any

from popjax.models.built_in import MODELS, model_named
from popjax.space.defaults import BATCH_SIZES, DEFAULT_BATCH_SIZE, DEFAULTS, PRIORITIES, SEARCHED, TIERS
from popjax.space.scales import LogUniform, choice, integers, log_integers, log_uniform, one_minus_log_uniform
from popjax.space.space import Space
from popjax.supervision.optimizers import RMSPROP_B2

RATES = {  # ranges of adaptive optimizers, measured by benchmarks/ranges.py
    "adam": log_uniform(1e-3, 1e-1),
    "adamw": log_uniform(1e-3, 1e-1),
    "rmsprop": log_uniform(1e-3, 1),
}
MOMENTUM = ("sgd", "nesterov")
NO_DECAY = ("cosine", "flat")


def untuned(optimizer: str | None, schedule: str | None, rows: int, model: str) -> dict[str, Any]:
    """The default values of the hyperparameters of a built-in model and its training: name -> value."""
    others: dict[str, Any] = {"batch_size": min(DEFAULT_BATCH_SIZE, rows)}
    built_in = MODELS.get(model, MODELS["mlp"])
    optimizer, schedule = optimizer or built_in.optimizer, schedule or built_in.schedule
    others |= built_in.untuned
    others |= {"b2": RMSPROP_B2} if optimizer == "rmsprop" else {}
    others |= {"decay": 1.0} if schedule == "exponential" else {}
    return DEFAULTS | others


def default_space(
    priority: int = 3,
    optimizer: str | Sequence[str] | None = None,
    schedule: str | Sequence[str] | None = None,
    rows: int | None = None,
    model: str = "mlp",
) -> Space:
    """The default space of a sweep.

    Hyperparameters that are not in it keep their defaults; so do Adam's b1, b2 and eps, which
    rarely matter (Ng, Deep Learning Specialization, course 2, week 3).

    Args:
        priority: 1 for the learning rate alone; 2 also momentum, hidden units and batch size;
            3 also depth and learning-rate decay.
        optimizer: the name of a built-in optimizer, which determines the range of the learning rate, and if there is
            a momentum. Several are a choice, over the joint range, and the momentum exists for those that have it. If
            None, the model's.
        schedule: of the learning rate, or several; an exponential decay is searched near 1, and those that end in a
            cosine have none. If None, the model's.
        rows: number of training rows; larger batch sizes are left out, and a model may have one for so many.
        model: the name of a built-in model, which adds its hyperparameters: "mlp"; "cnn" or "tabular", with ranges of
            their own for the rate and the decay of their optimizer.

    Raises:
        ValueError: for a priority that is not 1, 2 or 3, and an unknown model.

    >>> import popjax as pj
    >>> list(pj.default_space(priority=2, optimizer="adam"))
    ['learning_rate', 'hidden', 'batch_size']
    >>> pj.default_space(optimizer=["adam", "sgd"]).conditions["momentum"]
    {'optimizer': ('sgd',)}
    """
    if priority not in PRIORITIES:
        raise ValueError(f"priority={priority!r}: choose 1, 2 or 3")
    built_in = model_named(model)
    optimizer, schedule = optimizer or built_in.optimizer, schedule or built_in.schedule
    several = {
        name: [given] if isinstance(given, str) else list(given)
        for name, given in (("optimizer", optimizer), ("schedule", schedule))
    }
    pairs = {
        (one, other): scales_of(priority, one, other, rows, model)
        for one, other in sorted(itertools.product(*several.values()))
    }
    scales: dict[str, Any] = {}
    for name in dict.fromkeys((*SEARCHED, *built_in.space, *built_in.training)):
        there = [pair for pair, known in pairs.items() if name in known]
        if there:
            scales[name] = widest([pairs[pair][name] for pair in there])
            condition = {parent: {pair[at] for pair in there} for at, parent in enumerate(several)}
            fewer = {parent: sorted(some) for parent, some in condition.items() if len(some) < len(several[parent])}
            scales[name] = scales[name].when(**fewer) if fewer else scales[name]
    return Space(**scales, **{name: choice(*given) for name, given in several.items() if len(given) > 1})


def table_space(rows: int) -> Space:
    """The space of `PopulationClassifier` and `PopulationRegressor` with AdamW: also small models and strong decay.

    On tables of a few hundred rows the larger models of the default space fit noise (benchmarks/tables.py).

    >>> print(table_space(1000)["weight_decay"])
    log_uniform(0.001, 3)
    """
    known = scales_of(3, "adamw", "inverse", rows, "mlp")
    return Space(
        learning_rate=log_uniform(3e-4, 3e-2),
        weight_decay=log_uniform(1e-3, 3),
        hidden=log_integers(8, 100),
        depth=integers(1, 3),
        batch_size=known["batch_size"],
        decay=known["decay"],
    )


def widest(scales: Sequence[Any]) -> Any:
    """The log-uniform scale from the least low to the greatest high, if all are log-uniform; else the last scale."""
    if not all(isinstance(scale, LogUniform) for scale in scales):
        return scales[-1]
    return log_uniform(min(scale.low for scale in scales), max(scale.high for scale in scales))


def scales_of(priority: int, optimizer: str, schedule: str, rows: int | None, model: str) -> dict[str, Any]:
    """The default space with one optimizer and one schedule: name -> Scale, or a constant batch size."""
    known = {name: SEARCHED[name] for name in ("learning_rate", "momentum", "batch_size", "decay")}
    known |= {"learning_rate": RATES.get(optimizer, SEARCHED["learning_rate"])}
    built_in = model_named(model)
    known |= {**built_in.space, **(built_in.training if optimizer == built_in.optimizer else {})}
    scales = {name: scale for name, scale in known.items() if TIERS.get(name, PRIORITIES[-1]) <= priority}
    if optimizer not in MOMENTUM:
        scales.pop("momentum", None)
    if schedule in NO_DECAY:
        scales.pop("decay", None)
    if schedule == "exponential" and "decay" in scales:
        scales["decay"] = one_minus_log_uniform(0.9, 0.999)
    if rows is not None and "batch_size" in scales:
        sizes = BATCH_SIZES if built_in.batch is None else [built_in.batch(rows)]
        fitting = [size for size in sizes if size <= rows]
        scales["batch_size"] = choice(*fitting) if len(fitting) > 1 else min([rows, *fitting])
    return scales
