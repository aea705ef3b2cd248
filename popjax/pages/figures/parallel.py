"""Parallel coordinates: the trials as lines over an axis per hyperparameter, drawn by parallel.js. No JAX here."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from popjax.core.text import printable
from popjax.pages.axes import Axis, decades, steps
from popjax.pages.drawing import DIVERGED, WINNER, rounded, shown
from popjax.pages.figures.figure import Figure, varied
from popjax.pages.framing import errors, framed
from popjax.pages.markup import legend, section
from popjax.store.results import Results


def section_of(results: Results, axes: Sequence[Axis]) -> str:
    """HTML section of the parallel coordinates; empty without a winner."""
    differ = varied(axes)
    if results.best is None or not differ:
        return ""
    caption = (
        "Each line is a trial, stronger is better: drag along one or several axes to keep the trials that pass there, "
        "click on an axis to free it."
    )
    caption += " Where a hyperparameter is inactive a line has a gap." if not all(a.everywhere for a in differ) else ""
    marks = [("", WINNER, "winner"), ("", "var(--strong)", "best"), ("", "var(--faint)", "worst")]
    marks += [("", DIVERGED, "diverged")] if results.diverged.any() else []
    caption += " The table below has those that are chosen."
    fixed = ", ".join(f"{shown(axis.name)} {shown(axis.label(0))}" for axis in axes if not axis.varied)
    caption += f" The same in all: {fixed}." if fixed else ""
    layers = '<canvas></canvas><canvas class="over"></canvas>'
    layers += '<svg role="group" aria-label="parallel coordinates of all trials"></svg>'
    box = f'<div class="figure" id="parallel">{layers}</div>'
    body = f'{legend(marks)}{box}\n<p class="selected" aria-live="polite"></p>'
    return section("All hyperparameters at once", caption, body)


def parallel(results: Results, differ: Sequence[Axis]) -> dict[str, Any]:
    """The axes, the metric's last, and the trials best first."""
    return {
        "axes": [*map(hyperparameter, differ), metric(results)],
        "order": results.order.tolist(),
        "lost": np.flatnonzero(results.diverged).tolist(),
        "winner": results.best.trial if results.best else None,
    }


def hyperparameter(axis: Axis) -> dict[str, Any]:
    """The axis of one hyperparameter: ticks, and the coordinate of each trial."""
    texts = [tick.value + (f" · {tick.window}" if tick.window else "") for tick in axis.ticks]
    return {
        "name": axis.name,
        "ticks": [[unit, printable(text)] for unit, text in zip(rounded(axis.places), texts, strict=True)],
        "units": rounded(axis.units, 4),
    }


def metric(results: Results) -> dict[str, Any]:
    """The axis of the metric: outliers lie at the ends of its frame; a diverged trial has no coordinate."""
    last, kept = results.values[results.metric], ~results.diverged
    low, high, log = framed(results)
    floor = errors(results, results.metric)
    warp: Callable[[Any], Any] = np.log10 if log else np.asarray
    if floor is not None:  # log scale of 1 - metric, which tells good trials apart
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
    }


FIGURE = Figure(section_of, data=lambda results, axes: {"parallel": parallel(results, varied(axes))})
