"""What is searched where nothing is said: what the model reads, what the optimizer and the schedule read."""

import itertools
from collections.abc import Sequence
from typing import Any

from popjax.core.text import lookup
from popjax.models.built_in import MODELS
from popjax.space.defaults import BATCH_SIZES, DEFAULT_BATCH_SIZE, DEFAULTS, PRIORITIES, SEARCHED, TIERS
from popjax.space.scales import LogUniform, choice, integers, log_integers, log_uniform, one_minus_log_uniform
from popjax.space.space import Space
from popjax.supervision.optimizers import RMSPROP_B2

RATES = {  # of optimizers whose steps have a length of their own, as benchmarks/ranges.py measured
    "adam": log_uniform(1e-3, 1e-1),
    "adamw": log_uniform(1e-3, 1e-1),
    "rmsprop": log_uniform(1e-3, 1),
}
MOMENTUM = ("sgd", "nesterov")
NO_DECAY = ("cosine",)


def untuned(optimizer: str, schedule: str, rows: int, model: str) -> dict[str, Any]:
    """The hyperparameters of the built-in model and its training, with their values where they are not tuned."""
    others: dict[str, Any] = {"batch_size": min(DEFAULT_BATCH_SIZE, rows)}
    others |= MODELS[model].untuned if model in MODELS else {}
    others |= {"b2": RMSPROP_B2} if optimizer == "rmsprop" else {}
    others |= {"decay": 1.0} if schedule == "exponential" else {}
    return DEFAULTS | others


def default_space(
    priority: int = 3,
    optimizer: str | Sequence[str] = "sgd",
    schedule: str | Sequence[str] = "inverse",
    rows: int | None = None,
    model: str = "mlp",
) -> Space:
    """What the sweep searches when nothing else is said.

    What is left out stays at its default; so do Adam's b1, b2 and eps, which rarely matter
    (Ng, Deep Learning Specialization, course 2, week 3).

    Args:
        priority: 1 the learning rate alone; 2 also momentum, hidden units and batch size;
            3 also depth and learning-rate decay.
        optimizer: one without a momentum leaves it out; the learning rate's range is its own. Several are a choice,
            over the ranges of all, and a momentum exists where one has it.
        schedule: of the learning rate; an exponential decay is searched near 1, and cosine has none. Or several.
        rows: training rows; batch sizes above are left out.
        model: a built-in one, which brings what it reads: "mlp", or "cnn", whose hidden units are channels.

    Raises:
        ValueError: for a priority that is not 1, 2 or 3, and an unknown model.

    >>> list(default_space(priority=2, optimizer="adam"))
    ['learning_rate', 'hidden', 'batch_size']
    >>> print(default_space(optimizer=["adam", "sgd"]).entries()["momentum"])
    one_minus_log_uniform(0.9, 0.999) when optimizer=sgd
    """
    if priority not in PRIORITIES:
        raise ValueError(f"priority={priority!r}: choose 1, 2 or 3")
    several = {
        name: [given] if isinstance(given, str) else list(given)
        for name, given in (("optimizer", optimizer), ("schedule", schedule))
    }
    pairs = {
        (one, other): scales_of(priority, one, other, rows, model)
        for one, other in sorted(itertools.product(*several.values()))
    }
    scales: dict[str, Any] = {}
    for name in dict.fromkeys((*SEARCHED, *lookup(MODELS, "model", model).space)):
        there = [pair for pair, known in pairs.items() if name in known]
        if there:
            scales[name] = widest([pairs[pair][name] for pair in there])
            condition = {parent: {pair[at] for pair in there} for at, parent in enumerate(several)}
            fewer = {parent: sorted(some) for parent, some in condition.items() if len(some) < len(several[parent])}
            scales[name] = scales[name].when(**fewer) if fewer else scales[name]
    return Space(**scales, **{name: choice(*given) for name, given in several.items() if len(given) > 1})


def table_space(rows: int) -> Space:
    """What `PopulationClassifier` and `PopulationRegressor` search with AdamW: also small models and strong decay.

    On tables of a few hundred rows a default space of larger models fits noise (benchmarks/tables.py).

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
    """One scale from the least low to the greatest high of all, where they are of a kind; else the last."""
    if not all(isinstance(scale, LogUniform) for scale in scales):
        return scales[-1]
    return log_uniform(min(scale.low for scale in scales), max(scale.high for scale in scales))


def scales_of(priority: int, optimizer: str, schedule: str, rows: int | None, model: str) -> dict[str, Any]:
    """What is searched with one optimizer and one schedule."""
    known = {name: SEARCHED[name] for name in ("learning_rate", "momentum", "batch_size", "decay")}
    known |= {"learning_rate": RATES.get(optimizer, SEARCHED["learning_rate"])}
    known |= lookup(MODELS, "model", model).space
    scales = {name: scale for name, scale in known.items() if TIERS.get(name, PRIORITIES[-1]) <= priority}
    if optimizer not in MOMENTUM:
        scales.pop("momentum", None)
    if schedule in NO_DECAY:
        scales.pop("decay", None)
    if schedule == "exponential" and "decay" in scales:
        scales["decay"] = one_minus_log_uniform(0.9, 0.999)
    if rows is not None and "batch_size" in scales:
        fitting = [size for size in BATCH_SIZES if size <= rows]
        scales["batch_size"] = choice(*fitting) if len(fitting) > 1 else min(rows, BATCH_SIZES[0])
    return scales
