"""What parallel.js draws: the trials as lines over one axis a hyperparameter. No JAX here."""

from collections.abc import Callable
from typing import Any

import numpy as np

from popjax.core.text import printable
from popjax.pages.axes import Axis, decades, steps
from popjax.pages.figures import errors, framed, rounded
from popjax.pages.headline import value
from popjax.store.results import Results


def parallel(results: Results, varied: list[Axis]) -> dict[str, Any]:
    """The axes, the last of them the metric's, the order of the trials, best first, and the table's other columns."""
    parameters = results.parameters
    return {
        "axes": [*map(hyperparameter, varied), metric(results)],
        "order": results.order.tolist(),
        "winner": results.best.trial if results.best else None,
        "before": [(results.rounds + 1).tolist()] if results.rounds.max() else [],
        "after": [results.epochs_run.tolist(), *([] if parameters is None else [[f"{n:,}" for n in parameters]])],
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
    floor = errors(results, results.metric)
    warp: Callable[[Any], Any] = np.log10 if log else np.asarray
    if floor is not None:  # good trials are told apart by what is left of 1
        warp = lambda values: -np.log10(np.maximum(1 - np.asarray(values), floor))
    begin, width = float(warp(low)), float(warp(high) - warp(low)) or 1.0
    units = np.where(kept, (warp(np.clip(np.where(kept, last, low), low, high)) - begin) / width, np.nan)
    ticks = [low] if low == high else decades(low, high) if log else steps(low, high)
    if floor is not None and low < high:
        ticks = [1 - left for left in decades(max(1 - high, floor), 1 - low)]
    return {
        "name": printable(results.metric),
        "ticks": [[(float(warp(tick)) - begin) / width, f"{tick:.4g}"] for tick in ticks],
        "units": rounded(units, 4),
        "labels": [value(results, trial) if ok else "diverged" for trial, ok in enumerate(kept.tolist())],
    }
