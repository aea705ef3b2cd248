"""The figures of the report as plain data for plotly. No JAX here."""

import html
import math
from typing import Any

import numpy as np

from popjax.core.text import printable
from popjax.pages.axes import SHARES, is_loss, scope
from popjax.pages.expected import expected_best
from popjax.store.results import Results

# Okabe and Ito's colours, which most colour-blind people can tell apart
INK, GREY, WINNER, MIDDLE, DIVERGED, POINT = "#1b1f24", "#8a929b", "#D55E00", "#0072B2", "#CC79A7", "#56B4E9"
ROUNDS = ("#56B4E9", "#009E73", "#E69F00", "#0072B2", "#000000")
CURVES = 600
SIZES = 60  # of k, at which the expected best is computed
TEN = 10


def shown(value: Any) -> str:
    """A text that HTML and plotly show as it is."""
    return html.escape(printable(str(value)).replace("\n", " "))


def templated(text: Any) -> str:
    """A text within a template of plotly's, which would fill in what a percent sign begins."""
    return shown(text).replace("%", "&#37;")


def rounded(values: Any, digits: int = 5) -> list[Any]:
    """Numbers in few digits for JSON; None for what is not finite."""
    floats = np.asarray(values, float).ravel().tolist()
    return [float(f"{value:.{digits}g}") if math.isfinite(value) else None for value in floats]


def thinned(results: Results, most: int) -> np.ndarray:
    """At most about `most` trials, evenly spaced by rank with the diverged last; the ten best and the winner always."""
    return spaced(results, np.concatenate([results.order, np.flatnonzero(results.diverged)]), most)


def curved(results: Results) -> np.ndarray:
    """The trials whose curves are drawn: also those that were left before the end."""
    left = np.flatnonzero((results.pruned | results.stopped) & (results.epochs_run > 0) & ~results.diverged)
    return spaced(results, np.concatenate([results.order, left, np.flatnonzero(results.diverged)]), CURVES)


def spaced(results: Results, rows: np.ndarray, most: int) -> np.ndarray:
    """Of these trials in this order about `most`, evenly spaced, with the ten best and the winner."""
    if len(rows) <= most:
        return np.sort(rows)
    some = rows[np.linspace(0, len(rows) - 1, most).round().astype(int)]
    kept = [*results.order[:TEN].tolist(), *([results.best.trial] if results.best else [])]
    return np.union1d(some, np.array(kept, int))


def color(results: Results, trial: int) -> str:
    """The colour of a trial's point: that of its round, where there are several."""
    count = int(results.rounds.max()) + 1
    return round_color(int(results.rounds[trial]), count) if count > 1 else POINT


def round_color(number: int, count: int) -> str:
    """The colour of a round, of so many: where there are more than colours, those that follow one another share one."""
    return ROUNDS[number * len(ROUNDS) // max(count, len(ROUNDS))]


def layout(**more: Any) -> dict[str, Any]:
    """What all plotly figures share."""
    font = {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 12, "color": INK}
    legend = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"size": 12}}
    return {
        "font": font,
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "margin": {"l": 58, "r": 12, "t": 12, "b": 44},
        "hovermode": "closest",
        "hoverlabel": {"bgcolor": "#ffffff", "bordercolor": "#c4cad1", "font": font, "align": "left"},
        "legend": legend,
        **more,
    }


def ruled(title: str, **more: Any) -> dict[str, Any]:
    """An axis with thin lines."""
    lines = {"gridcolor": "#eceff2", "linecolor": "#c4cad1", "zeroline": False, "ticks": "outside", "ticklen": 4}
    return {**lines, "tickcolor": "#c4cad1", "automargin": True, "title": {"text": title, "standoff": 8}, **more}


def scaled(name: str, low: float, high: float, log: bool, below: float = 0.0, above: float = 0.0) -> dict[str, Any]:
    """The axis of a metric from low to high with some air, in decades or plain; shares of it are free at its ends."""
    low, high = (math.log10(low), math.log10(high)) if log else (low, high)
    air = 0.05 * (high - low) or 0.05 * abs(high) or 0.1
    kind: dict[str, Any] = {"type": "linear", "dtick": None, "tickformat": None, "minexponent": 5}
    if log:
        step = math.ceil((high - low) / 8) if high - low > 2.5 else "D2"
        kind = {"type": "log", "dtick": step, "tickformat": "~g" if step == "D2" else None}  # else 5 stands for 0.05
    return ruled(
        shown(name),
        range=[low - air - below * (high - low + 2 * air), high + air + above * (high - low + 2 * air)],
        exponentformat="power",
        hoverformat=".4g",
        **kind,
    )


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
        "epochs": epochs,
        "ended": results.epochs_run[lost].tolist(),
        "metrics": [metric_curves(results, name, kept, lost) for name in metrics(results)],
    }


def curve_traces(results: Results, kept: list[int], lost: list[int]) -> list[dict[str, Any]]:
    """How each group is drawn; the heights are `metric_curves`."""
    thin = {"mode": "lines", "type": "scatter"}
    quiet = {"hoverinfo": "skip", "type": "scatter", "mode": "lines"}
    quartile = {"color": MIDDLE, "width": 1}
    grey = {"color": GREY, "width": 1 if len(kept) < 200 else 0.7}
    traces: list[dict[str, Any]] = [
        {**thin, "name": "trials", "trials": kept, "line": grey, "opacity": 0.28},
        {**thin, "name": "diverged", "trials": lost, "line": {"color": DIVERGED, "width": 1}, "opacity": 0.6},
        {
            "name": "where they broke off",
            "trials": lost,
            "ends": True,
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
    return traces if lost else traces[:1] + traces[3:]


def metrics(results: Results) -> list[str]:
    """The metrics as the page lists them: what ranks comes first."""
    return [results.metric, *(name for name in results.members if name != results.metric)]


def errors(results: Results, name: str) -> float | None:
    """Of a metric that is a share of 1 the least error that its figures show, as they are in decades; else None."""
    if not any(word in name for word in SHARES):
        return None
    left = 1 - results.curves[name]
    left = left[np.isfinite(left)]
    if not (left > 0).any() or left.min() < 0 or left.max() > 1:
        return None
    return float(f"{left[left > 0].min() / 2:.3g}")


def error_axis(name: str, low: float, high: float, floor: float, *free: float) -> dict[str, Any]:
    """The axis of 1 - metric in decades, for a metric from low to high; better is lower there."""
    return scaled(f"1 - {name}", max(1 - high, floor), max(1 - low, 2 * floor), True, *free)


def learned(results: Results) -> np.ndarray:
    """Whether (trials,) a trial did not diverge and, where a constant's score is known, came nearer to the best one."""
    known = results.summary.get("constant") or {}
    constant = known.get(results.metric.replace("val_", "test_", 1))
    if results.best is None or not isinstance(constant, int | float):
        return ~results.diverged
    last, best = results.last[results.metric], results.last[results.metric][results.order[0]]
    near = np.abs(last - best) <= abs(best - constant) / 2
    return np.asarray(~results.diverged & near)


def metric_curves(results: Results, name: str, kept: list[int], lost: list[int]) -> dict[str, Any]:
    """The heights of one metric for `curve_traces`, and its axis."""
    curve = results.curves[name]
    running = curve[~results.diverged] if results.best else curve
    keep = curve[results.best.trial] if results.best else np.empty(0)
    shape = scope(name, running, keep, loss(results, name)) if np.isfinite(running).any() else (0.0, 1.0, False)
    known: dict[str, Any] = {"name": name, "axis": scaled(name, *shape)}
    floor = errors(results, name)
    if floor is not None:
        known |= {"floor": floor, "errors": error_axis(name, *shape[:2], floor)}
    broken = [gapped(curve[lost]), rounded(results.last[name][lost])] if lost else []
    if results.best is None:
        return {**known, "heights": [*([gapped(curve[kept])] if kept else []), *broken]}
    heights = [gapped(curve[kept]), *broken]
    low, middle, high = np.quantile(curve[learned(results)], [0.25, 0.5, 0.75], axis=0)
    heights += [rounded(low), rounded(high), rounded(middle)]
    winner = curve[results.best.trial]
    if results.errors:
        members = results.members[name][results.best.trial].reshape(-1, curve.shape[1]).astype(np.float64)
        error = members.std(0, ddof=1) / math.sqrt(len(members))
        heights += [rounded(winner - error), rounded(winner + error)]
    return {**known, "heights": [*heights, gapped(winner[None])]}


def gapped(curves: np.ndarray) -> list[Any]:
    """Curves (trials, epochs) one after another, each followed by a gap."""
    return rounded(np.pad(curves.astype(float), ((0, 0), (0, 1)), constant_values=np.nan))


def loss(results: Results, name: str) -> bool:
    """Whether a metric is one to make small, whatever it is called."""
    return name == results.metric and results.mode == "min"


def lower_is_better(results: Results, name: str) -> bool:
    """Whether a metric is better where it is lower: what ranks says so, of others the name."""
    return loss(results, name) or (name != results.metric and is_loss(name))


def framed(results: Results, name: str | None = None) -> tuple[float, float, bool]:
    """The range of the last values of a metric that figures show, the best always, and whether in decades."""
    name = results.metric if name is None else name
    last = results.last[name]
    kept = np.append(results.order[:TEN], results.best.trial if results.best else []).astype(int)
    return scope(name, last[~results.diverged], last[kept], loss(results, name))


def beyond(results: Results) -> int:
    """How many trials lie outside of what is framed, and are drawn on its edge."""
    low, high, _ = framed(results)
    values = results.last[results.metric][~results.diverged]
    slack = 1e-5 * max(abs(low), abs(high))
    return int(((values < low - slack) | (values > high + slack)).sum())


def expected_figure(results: Results) -> dict[str, Any]:
    """The expected best of k trials of the first round."""
    first = np.flatnonzero(results.rounds == 0)
    values = np.where(results.diverged, np.nan, results.last[results.metric])[first]
    sizes = np.unique(np.geomspace(1, len(first), SIZES).round().astype(int))
    best = expected_best(values, results.mode, sizes)
    line = {"type": "scatter", "mode": "lines+markers", "line": {"color": MIDDLE, "width": 2}, "marker": {"size": 4}}
    what = f"best of %{{x}}: {templated(results.metric)} %{{y:.4g}}<extra></extra>"
    axis = scaled(results.metric, *scope(results.metric, best, best, loss(results, results.metric)))
    axis["title"] = {"text": f"expected best {shown(results.metric)}"}
    return {
        "traces": [{**line, "x": sizes.tolist(), "y": rounded(best), "name": "expected", "hovertemplate": what}],
        "layout": layout(
            height=340,
            showlegend=False,
            xaxis=ruled("trials k", type="log", **counts(len(first))),
            yaxis=axis,
        ),
    }


def counts(most: int) -> dict[str, Any]:
    """Ticks at 1, 2, 5, 10, ... trials, and at all of them."""
    values = [digit * 10**power for power in range(9) for digit in (1, 2, 5) if digit * 10**power < 0.8 * most]
    return {"tickvals": [*values, most], "ticktext": [f"{value:,}" for value in [*values, most]]}
