"""What parallel.js draws: the trials as lines over one axis a hyperparameter. No JAX here."""

from typing import Any

import numpy as np

from popjax.core.text import printable
from popjax.pages.axes import Axis, decades, steps
from popjax.pages.figures import framed, rounded
from popjax.store.results import Results


def parallel(results: Results, varied: list[Axis]) -> dict[str, Any]:
    """The axes, the last of them the metric's, and the order of the trials, best first."""
    return {
        "axes": [*map(hyperparameter, varied), metric(results)],
        "order": results.order.tolist(),
        "winner": results.best.trial if results.best else None,
    }


def hyperparameter(axis: Axis) -> dict[str, Any]:
    """One hyperparameter: where each trial lies, and what it is there."""
    texts = [tick.value + (f" · {tick.window}" if tick.window else "") for tick in axis.ticks]
    return {
        "name": axis.name,
        "ticks": [[unit, printable(text)] for unit, text in zip(rounded(axis.places), texts, strict=True)],
        "units": rounded(axis.units, 4),
        "labels": [printable(axis.label(trial)) for trial in range(len(axis.values))],
    }


def metric(results: Results) -> dict[str, Any]:
    """The metric in its frame, whose ends outliers share; a diverged trial has no place on it."""
    last, kept = results.last[results.metric], ~results.diverged
    low, high, log = framed(results)
    warp = np.log10 if log else np.asarray
    begin, width = float(warp(low)), float(warp(high) - warp(low)) or 1.0
    units = np.where(kept, (warp(np.clip(np.where(kept, last, low), low, high)) - begin) / width, np.nan)
    ticks = [low] if low == high else decades(low, high) if log else steps(low, high)
    return {
        "name": printable(results.metric),
        "ticks": [[(float(warp(tick)) - begin) / width, f"{tick:.4g}"] for tick in ticks],
        "units": rounded(units, 4),
        "labels": [
            f"{value:.4g}" if ok else "diverged" for value, ok in zip(last.tolist(), kept.tolist(), strict=True)
        ],
    }
