"""The metric against each hyperparameter, small multiples. No JAX here."""

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from popjax.core.text import cut, plural
from popjax.pages.axes import Axis, Tick
from popjax.pages.drawing import (
    DIVERGED,
    INK,
    POINT,
    WINNER,
    axis_for,
    layout,
    round_color,
    rounded,
    ruled,
    shown,
    templated,
)
from popjax.pages.figures.figure import Drawing, Figure, varied
from popjax.pages.framing import (
    CURVES,
    TEN,
    beyond,
    color,
    error_axis,
    errors,
    framed,
    lower_is_better,
    metrics,
    thinned,
)
from popjax.pages.markup import at_the_end, legend, section, thinning
from popjax.store.results import Results

POINTS = 1000
LETTERS = 38  # width of a panel in characters
LOST = 0.09  # share of a panel for the diverged, at its worst end
NO_PLACE = "A trial in which a hyperparameter is inactive has no point there."


def section_of(results: Results, axes: Sequence[Axis]) -> str:
    """HTML section of the metric against each hyperparameter; empty without a winner."""
    differ = varied(axes)
    if results.best is None or not differ:
        return ""
    caption = "Each point is a trial: where the best points gather is where to search."
    if any(tick.window for axis in differ for tick in axis.ticks):
        caption += " Below a β stands its averaging window 1/(1-β)."
    if any(axis.cell >= 1 / 20 for axis in differ):
        caption += " Points of the same whole number or choice lie beside each other."
    caption += " " + NO_PLACE if not all(axis.everywhere for axis in differ) else ""
    caption += " A trial's values are those of its last epoch." if results.history is not None else ""
    caption += f" {plural(far, 'trial')} outside the frame, drawn at its edge." if (far := beyond(results)) else ""
    ranked = len(results.order) + int(results.diverged.sum())
    if left := len(results.diverged) - ranked:
        caption += f" {plural(left, 'trial')} left before the last epoch {'has' if left == 1 else 'have'} no point."
    caption += at_the_end(results) + thinning(len(thinned(results, POINTS)), ranked, "trials")
    count = int(results.rounds.max()) + 1
    marks = round_marks(count) if count > 1 else [("", POINT, "trial")]
    marks += [("ring", "transparent", "ten best"), ("star", WINNER, "winner")]
    lost = '<span>diverged, at the <span id="worst"></span></span>'  # the page's script names the end
    marks += [("tick", DIVERGED, lost)] if results.diverged.any() else []
    boxes = "".join(f'<div class="figure" id="panel-{at}"></div>' for at in range(len(differ)))
    name = f'<span class="metric">{shown(results.metric)}</span>'
    return section(f"{name} against each hyperparameter", caption, legend(marks) + f'<div class="panels">{boxes}</div>')


def round_marks(count: int) -> list[tuple[str, str, str]]:
    """Legend entries of `count` rounds."""
    shared: dict[str, list[int]] = {}
    for number in range(count):
        shared.setdefault(round_color(number, count), []).append(number + 1)
    said = lambda own: f"round {own[0]}" if len(own) == 1 else f"rounds {own[0]} to {own[-1]}"
    return [("", color, said(own)) for color, own in shared.items()]


def panels(results: Results, differ: Sequence[Axis]) -> list[dict[str, Any]]:
    """A panel of each hyperparameter, without the y values of its points, which the page's script adds."""
    drawn = thinned(results, POINTS)
    return [unplaced(panel(results, axis, drawn)) for axis in differ]


def unplaced(figure: dict[str, Any]) -> dict[str, Any]:
    """A panel without the y values of its points, which all panels share (`heights`)."""
    traces = []
    for trace in figure["traces"]:
        kept = {name: part for name, part in trace.items() if name != "y" or "yaxis" in trace}
        traces.append(kept | {"customdata": [cells[:2] for cells in trace["customdata"]]})
    return figure | {"traces": traces}


def heights(results: Results) -> dict[str, Any]:
    """The trials that are drawn in the panels, and their last values of each metric."""
    drawn = thinned(results, POINTS)
    return {"trials": drawn.tolist(), "metrics": [height(results, name, drawn) for name in metrics(results)]}


def height(results: Results, name: str, drawn: np.ndarray) -> dict[str, Any]:
    """The last values of a metric, its frame and axis; for a share of 1 also the axis of its error."""
    low, high, log = framed(results, name)
    lower, share = lower_is_better(results, name), LOST if results.diverged.any() else 0.0
    free = (0.0, share) if lower else (share, 0.0)
    last, floor = results.values[name][drawn], errors(results, name)
    known: dict[str, Any] = {"name": name, "hover": templated(name), "values": rounded(last), "frame": [low, high]}
    known |= {"axis": axis_for(name, low, high, log, *free), "worst": 1 - LOST / 2 if lower else LOST / 2}
    if floor is not None:
        known |= {"floor": floor, "errors": error_axis(name, low, high, floor, *free[::-1])}
    return known


def panel(results: Results, axis: Axis, drawn: np.ndarray) -> dict[str, Any]:
    """The points of one hyperparameter: all, the ten best ringed, the winner, the diverged at the worst end."""
    assert results.best is not None
    last = results.values[results.metric]
    low, high, _ = framed(results)
    known = height(results, results.metric, drawn)
    kept, lost = drawn[~results.diverged[drawn]], drawn[results.diverged[drawn]]

    def points(rows: np.ndarray, name: str, **marker: Any) -> dict[str, Any]:
        trials = rows.tolist()
        texts = [[trial, shown(axis.label(trial)), f"{last[trial]:.4g}"] for trial in trials]
        what = f"trial %{{customdata[0]}}<br>{templated(axis.name)} %{{customdata[1]}}"
        value = f"<br>{templated(results.metric)} %{{customdata[2]}}" if name != "diverged" else "<br>diverged"
        return {
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "marker": marker,
            "customdata": texts,
            "x": rounded(spread_in_cells(axis, rows), 4),
            "y": rounded(np.clip(last[rows], low, high)),
            "hovertemplate": f"{what}{value}<extra></extra>",
        }

    colors = [color(results, trial) for trial in kept.tolist()]
    ring = {"color": "rgba(0,0,0,0)", "size": 9, "line": {"color": INK, "width": 1.6}}
    star = {"symbol": "star", "color": WINNER, "size": 15, "line": {"color": "#ffffff", "width": 1}}
    tick = {"symbol": "line-ns-open", "color": DIVERGED, "size": 9, "line": {"width": 1}}
    worst = points(lost, "diverged", **tick) | {"y": [known["worst"]] * len(lost), "yaxis": "y2"}
    whole = {"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True}
    return {
        "traces": [
            points(kept, "trials", color=colors if results.rounds.max() else POINT, size=5, opacity=0.7),
            points(results.order[:TEN], "ten best", **ring),
            worst,
            points(np.array([results.best.trial]), "winner", **star),
        ],
        "layout": layout(
            height=270,
            showlegend=False,
            margin={"l": 52, "r": 32, "t": 8, "b": 62},
            xaxis=ruled(shown(axis.name), range=[-0.04, 1.04], fixedrange=True, **ticked(axis)),
            yaxis=known["axis"] | {"fixedrange": True},
            yaxis2=whole,
        ),
        "alt": finding(results, axis),
    }


def finding(results: Results, axis: Axis) -> str:
    """Where the ten best lie on an axis, in words."""
    assert results.best is not None
    ten = [trial for trial in results.order[:TEN].tolist() if axis.values[trial] is not None]
    ends = sorted(ten, key=lambda trial: axis.units[trial])
    best = f"the winner's is {axis.label(results.best.trial)}"
    if not ten:
        return f"{results.metric} against {axis.name}: {best}"
    return (
        f"{results.metric} against {axis.name}: of the ten best {axis.label(ends[0])} to {axis.label(ends[-1])}, {best}"
    )


def ticked(axis: Axis) -> dict[str, Any]:
    """Ticks for plotly: a window below its β; numbers are thinned until they fit, names are turned."""
    ticks = axis.ticks
    while axis.scale.numeric and not ticks_fit(ticks):
        ticks = ticks[::2]
    turned = not ticks_fit(ticks)
    return {
        "tickvals": rounded([tick.unit for tick in ticks]),
        "ticktext": [shown(cut(tick.value)) + (f"<br>{tick.window}" if tick.window else "") for tick in ticks],
        "tickangle": 30 if turned else 0,
        "ticklabeloverflow": "allow",
        "automargin": turned,
    }


def ticks_fit(ticks: list[Tick]) -> bool:
    """True if the texts of ticks fit side by side, with a character between them."""
    widths = [max(len(cut(tick.value)), len(tick.window)) for tick in ticks]
    pairs = itertools.pairwise(zip(ticks, widths, strict=True))
    return all((right.unit - left.unit) * LETTERS >= (a + b) / 2 + 1 for (left, a), (right, b) in pairs)


def spread_in_cells(axis: Axis, rows: np.ndarray) -> np.ndarray:
    """Coordinates of trials (rows,), spread within the cell of a whole number or a choice."""
    golden = rows * 0.6180339887 % 1 - 0.5
    return axis.units[rows] + (0.5 * axis.cell * golden if axis.cell >= 1 / 20 else 0)


def data_of(results: Results, axes: Sequence[Axis]) -> dict[str, Any]:
    """The panels, and the heights of their points."""
    return {"panels": panels(results, varied(axes)), "heights": heights(results)}


def plots_of(results: Results, axes: Sequence[Axis]) -> dict[str, Callable[[], Drawing]]:
    """Hyperparameter -> drawing of its panel; empty without a winner."""
    if results.best is None:
        return {}
    drawn = thinned(results, CURVES)
    return {axis.name: partial(panel, results, axis, drawn) for axis in varied(axes)}


FIGURE = Figure(section_of, plots_of, data_of, of_metric=True)
