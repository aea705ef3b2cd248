"""The learning curves of all trials, as one figure with gaps. No JAX here."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from popjax.pages.axes import Axis, scope
from popjax.pages.drawing import DIVERGED, FAINT, GREY, MIDDLE, WINNER, axis_for, layout, rounded, ruled
from popjax.pages.figures.figure import Drawing, Figure
from popjax.pages.framing import curved, error_axis, errors, learned, loss, metrics
from popjax.pages.markup import at_the_end, section, thinning
from popjax.store.records import error_of_mean, mean_member, values_after
from popjax.store.results import Results


def section_of(results: Results, axes: Sequence[Axis]) -> str:
    """HTML section of the learning curves; empty for runs of one epoch or without training."""
    if results.members[results.metric].shape[-1] == 1 or not results.epochs_run.any():
        return ""
    lines = "the mean of its folds and repeats" if results.errors else "one trial"
    parts = [f"Each thin line is {lines if not results.errors else 'one trial, ' + lines}, epoch by epoch"]
    if results.best is not None:
        few = learned(results).sum() < (~results.diverged).sum()
        those = "came nearer to the best than to a constant" if few else "did not diverge"
        parts.append(f"the blue line is the median and the blue band the middle half of the trials that {those}")
        parts.append("the thick line is the winner" + (" with ± one standard error" if results.errors else ""))
    if results.diverged.any():
        parts.append("a diverged trial ends with a cross at its last whole epoch, if it had one")
    if results.best_epochs is not None:
        several = " (the mean over folds and repeats)" if results.errors else ""
        parts.append(f"a trial's dot is its best epoch{several}, by whose value it ranks")
    if results.counted.resting.any():
        parts.append("a trial that rests, out of patience, ends there, and counts with its last value in the band")
    if results.pruned.any():
        parts.append("a pruned trial's line ends where it was left, and the median is of the others from there on")
    if results.stopped.any():
        parts.append("a stopped trial's line ends where it was stopped")
    caption = "; ".join(parts) + "." + thinning(len(curved(results)), len(results.diverged), "curves")
    caption += at_the_end(results) + " Drag to enlarge, double-click to see all."
    return section("Learning curves", caption, '<div class="figure" id="curves"></div>')


def curves_figure(results: Results) -> dict[str, Any]:
    """Every metric per epoch: the trials as one line with gaps, the quartiles, the winner, the diverged."""
    drawn = curved(results)
    lost = drawn[results.diverged[drawn]].tolist()
    kept = [
        trial
        for trial in drawn[~results.diverged[drawn]].tolist()
        if not (results.best and trial == results.best.trial)
    ]
    epochs = results.members[results.metric].shape[-1]
    reached = max(1, int(results.epochs_run.max()))
    ticks = {"range": [0.5, reached + 0.5], **({"dtick": 1} if reached <= 12 else {"tickformat": ",d"})}
    return {
        "traces": curve_traces(results, kept, lost),
        "layout": layout(height=440, xaxis=ruled("epoch", **ticks), showlegend=True),
        "alt": finding(results, len(drawn)),
        "epochs": epochs,
        "metrics": [metric_curves(results, name, kept, lost) for name in metrics(results)],
    }


def finding(results: Results, drawn: int) -> str:
    """What the curves show, in words."""
    said = f"The curves of {drawn:,} trials over {results.epochs_run.max():,} epochs"
    if results.best is None:
        return f"{said}; none has a winner's"
    name, best = results.metric, results.best.trial
    middle = np.nanmedian(results.values[name][learned(results)])
    first = results.curves[name][best][np.isfinite(results.curves[name][best])][0]
    ends = f"goes from {first:.4g} to {results.best.value:.4g} in {name}, the median ends at {middle:.4g}"
    return f"{said}: the winner, trial {best}, {ends}"


def curve_traces(results: Results, kept: list[int], lost: list[int]) -> list[dict[str, Any]]:
    """The traces of each group, without heights, which `metric_curves` gives."""
    thin = {"mode": "lines", "type": "scatter"}
    quiet = {"hoverinfo": "skip", "type": "scatter", "mode": "lines"}
    quartile = {"color": MIDDLE, "width": 1}
    grey = {"color": FAINT, "width": 1 if len(kept) < 200 else 0.7}
    traces: list[dict[str, Any]] = [
        {**thin, "name": "trials", "trials": kept, "line": grey},
        {**thin, "name": "diverged", "trials": lost, "line": {"color": DIVERGED, "width": 1}},
        {
            "name": "where they broke off",
            "trials": lost,
            "at": results.epochs_run[lost].tolist(),
            "type": "scatter",
            "mode": "markers",
            "marker": {"symbol": "x-thin-open", "color": DIVERGED, "size": 6},
            "showlegend": False,
        },
        {**quiet, "name": "25 %", "line": quartile, "showlegend": False},
        {**quiet, "name": "middle half", "line": quartile, "fill": "tonexty", "fillcolor": "rgba(0,114,178,0.14)"},
        {**quiet, "name": "median", "line": {"color": MIDDLE, "width": 2.2}},
    ]
    if results.best is None:
        return traces[: 1 if kept else 0] + traces[1 : 3 if lost else 1]
    if results.errors:
        band = {"color": WINNER, "width": 0}
        traces += [
            {**quiet, "name": "-", "line": band, "showlegend": False},
            {**quiet, "name": "± standard error", "line": band, "fill": "tonexty", "fillcolor": "rgba(213,94,0,0.22)"},
        ]
    traces.append({**thin, "name": "winner", "trials": [results.best.trial], "line": {"color": WINNER, "width": 3}})
    traces += [best_marks(results, [results.best.trial, *kept])] if results.best_epochs is not None else []
    return traces if lost else traces[:1] + traces[3:]


def best_marks(results: Results, trials: list[int]) -> dict[str, Any]:
    """A dot at the best epoch of each of these trials, the winner first."""
    assert results.best_epochs is not None
    others = len(trials) - 1
    marker = {"color": [WINNER, *[GREY] * others], "size": [9, *[3] * others], "opacity": [1, *[0.6] * others]}
    at = results.best_epochs[trials].mean((1, 2)).tolist()
    return {"name": "best epoch", "trials": trials, "at": at, "type": "scatter", "mode": "markers", "marker": marker}


def metric_curves(results: Results, name: str, kept: list[int], lost: list[int]) -> dict[str, Any]:
    """The heights of one metric for `curve_traces`, and its axis."""
    curve = results.curves[name]
    running = curve[~results.diverged] if results.best else curve
    won = [] if results.best is None else [results.best.trial]
    keep = np.append(curve[won], results.values[name][won])
    shape = scope(name, running, keep, loss(results, name)) if np.isfinite(running).any() else (0.0, 1.0, False)
    known: dict[str, Any] = {"name": name, "axis": axis_for(name, *shape)}
    floor = errors(results, name)
    if floor is not None:
        known |= {"floor": floor, "errors": error_axis(name, *shape[:2], floor)}
    ends = values_after({name: curve}, results.epochs_run)[name]
    broken = [gapped(curve[lost]), rounded(ends[lost])] if lost else []
    if results.best is None:
        return {**known, "heights": [*([gapped(curve[kept])] if kept else []), *broken]}
    heights = [gapped(curve[kept]), *broken]
    present = mean_member(results.counted.present[name])
    present = present[learned(results)]
    there = np.isfinite(present).any(0)  # the epochs that a trial has
    low, middle, high = np.full((3, len(there)), np.nan)
    low[there], middle[there], high[there] = np.nanquantile(present[:, there], [0.25, 0.5, 0.75], axis=0)
    heights += [rounded(low), rounded(high), rounded(middle)]
    winner = curve[results.best.trial]
    if results.errors:
        (error,) = error_of_mean(results.counted.present[name][[results.best.trial]])
        heights += [rounded(winner - error), rounded(winner + error)]
    heights.append(gapped(winner[None]))
    if results.best_epochs is not None:
        heights.append(rounded(results.values[name][[results.best.trial, *kept]]))
    return known | {"heights": heights}


def gapped(curves: np.ndarray) -> list[Any]:
    """Curves (trials, epochs) one after another, each followed by a gap."""
    return rounded(np.pad(curves.astype(float), ((0, 0), (0, 1)), constant_values=np.nan))


def plots_of(results: Results, axes: Sequence[Axis]) -> dict[str, Callable[[], Drawing]]:
    """Name -> drawing: the curves of each metric; "curves" are those of the ranking metric."""
    names = {"curves": results.metric} | {name: name for name in results.members}
    return {name: partial(plot_of, results, metric) for name, metric in names.items()}


def plot_of(results: Results, metric: str) -> dict[str, Any]:
    """The learning curves of one metric, with the x values that the page's script would give them."""
    figure = curves_figure(results)
    (chosen,) = [entry for entry in figure["metrics"] if entry["name"] == metric]
    epochs = figure["epochs"]
    traces = []
    for trace, heights in zip(figure["traces"], chosen["heights"], strict=True):
        kept = {name: value for name, value in trace.items() if name not in ("trials", "at")}
        x = trace.get("at") or [place % (epochs + 1) + 1 for place in range(len(heights))]
        traces.append({**kept, "x": x, "y": heights})
    return {"traces": traces, "layout": {**figure["layout"], "yaxis": chosen["axis"]}}


FIGURE = Figure(section_of, plots_of, lambda results, axes: {"curves": curves_figure(results)}, of_metric=True)
