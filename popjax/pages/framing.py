"""What the report's figures show of results: trials, metrics and frames. No JAX here."""

from typing import Any

import numpy as np

from popjax.pages.axes import SHARES, is_loss, scope
from popjax.pages.drawing import POINT, axis_for, round_color
from popjax.store.results import Results

CURVES = 600
TEN = 10


def thinned(results: Results, most: int) -> np.ndarray:
    """About `most` ranked and diverged trials, evenly spaced by rank, with the ten best and the winner; ascending."""
    return spaced(results, np.concatenate([results.order, np.flatnonzero(results.diverged)]), most)


def curved(results: Results) -> np.ndarray:
    """The trials to draw the curves of, also pruned and stopped ones; ascending."""
    left = np.flatnonzero((results.pruned | results.stopped) & (results.epochs_run > 0))
    left = np.setdiff1d(left, results.order)
    return spaced(results, np.concatenate([results.order, left, np.flatnonzero(results.diverged)]), CURVES)


def spaced(results: Results, rows: np.ndarray, most: int) -> np.ndarray:
    """About `most` of these trials, evenly spaced in this order, with the ten best and the winner; ascending."""
    if len(rows) <= most:
        return np.sort(rows)
    some = rows[np.linspace(0, len(rows) - 1, most).round().astype(int)]
    kept = [*results.order[:TEN].tolist(), *([results.best.trial] if results.best else [])]
    return np.union1d(some, np.array(kept, int))


def color(results: Results, trial: int) -> str:
    """The colour of a trial's point: that of its round if there are several."""
    count = int(results.rounds.max()) + 1
    return round_color(int(results.rounds[trial]), count) if count > 1 else POINT


def metrics(results: Results) -> list[str]:
    """The metrics, the ranking one first."""
    return [results.metric, *(name for name in results.members if name != results.metric)]


def errors(results: Results, name: str) -> float | None:
    """The least error on a log axis of 1 - metric, half of the smallest positive one; None if it is no share of 1."""
    if not any(word in name for word in SHARES):
        return None
    left = 1 - np.concatenate([results.curves[name].ravel(), results.values[name]])
    left = left[np.isfinite(left)]
    if not (left > 0).any() or left.min() < 0 or left.max() > 1:
        return None
    return float(f"{left[left > 0].min() / 2:.3g}")


def error_axis(name: str, low: float, high: float, floor: float, *free: float) -> dict[str, Any]:
    """The log axis of 1 - metric, for a metric from low to high; lower is better there."""
    return axis_for(f"1 - {name}", max(1 - high, floor), max(1 - low, 2 * floor), True, *free)


def learned(results: Results) -> np.ndarray:
    """Bool (trials,): not diverged and, if a constant's score is known, nearer to the best value than to that."""
    known = results.summary.get("constant") or {}
    constant = known.get(results.metric.on("test"))
    if results.best is None or not isinstance(constant, int | float):
        return ~results.diverged
    last = results.values[results.metric]
    best = (min if results.metric.mode == "min" else max)(last[results.order])
    near = np.abs(last - best) <= abs(best - constant) / 2
    return np.asarray(~results.diverged & near)


def loss(results: Results, name: str) -> bool:
    """True if the metric ranks and its mode is "min"."""
    return name == results.metric and results.metric.mode == "min"


def lower_is_better(results: Results, name: str) -> bool:
    """True if less of a metric is better: by mode for the ranking one, by name for others."""
    return loss(results, name) or (name != results.metric and is_loss(name))


def framed(results: Results, name: str | None = None) -> tuple[float, float, bool]:
    """The range (low, high, log) of a metric's last values in figures, with the ten best and the winner."""
    name = results.metric if name is None else name
    last = results.values[name]
    kept = np.append(results.order[:TEN], results.best.trial if results.best else []).astype(int)
    return scope(name, last[~results.diverged], last[kept], loss(results, name))


def beyond(results: Results) -> int:
    """Number of trials outside the frame of the ranking metric, which are drawn on its edge."""
    low, high, _ = framed(results)
    values = results.values[results.metric][~results.diverged]
    slack = 1e-5 * max(abs(low), abs(high))
    return int(((values < low - slack) | (values > high + slack)).sum())
