"""The hyperparameters that popjax knows: their default, and how they are searched. No JAX here."""

from typing import Any

from popjax.scales import choice, integers, log_uniform, one_minus_log_uniform, uniform
from popjax.space import Space

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


def default_space(schedule: str = "inverse", rows: int | None = None) -> Space:
    """What the sweep searches when nothing else is said.

    Args:
        schedule: of the learning rate; an exponential decay is searched near 1.
        rows: training rows; batch sizes above are left out.
    """
    scales = dict(SEARCHED)
    if schedule == "exponential":
        scales["decay"] = one_minus_log_uniform(0.9, 0.999)
    if rows is not None:
        fitting = [size for size in BATCH_SIZES if size <= rows]
        scales["batch_size"] = choice(*fitting) if len(fitting) > 1 else min(rows, BATCH_SIZES[0])
    return Space(**scales)
