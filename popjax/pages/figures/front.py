"""The front of several objectives. No JAX here."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from popjax.metric import Metric
from popjax.pages.axes import Axis
from popjax.pages.drawing import INK, POINT, WINNER, axis_for, layout, rounded, shown, templated
from popjax.pages.figures.figure import Drawing, Figure
from popjax.pages.framing import framed
from popjax.pages.headline import hparams_line, metric_text
from popjax.pages.markup import legend, section
from popjax.store.results import Results
from popjax.store.trial_records import cost_name

DRAWN = 2000  # largest number of trials
DECADES = 10.0  # ratio of largest to smallest value from which an axis is log


def section_of(results: Results, axes: Sequence[Axis]) -> str:
    """HTML section of the front against each further objective; empty for one objective."""
    if results.best is None or len(results.rule.objectives) == 1:
        return ""
    objectives = ", ".join(shown(cost_name(name, results.run)) for name in results.rule.objectives)
    caption = (
        f"On the line are the {len(results.front()):,} trials that no other beats in all of {objectives}; point at one "
        "for its hyperparameters. The winner is the front's best in the first."
    )
    if (states := cost_name("parameters", results.run)) != "parameters":
        caption += f" The task names no parameters, so {states} counts its optimizer, too."
    finished = len(results.order)
    caption += f" The first {DRAWN:,} of {finished:,} trials by rank are drawn." if finished > DRAWN else ""
    marks = legend([("", POINT, "trial"), ("ring", "transparent", "front"), ("star", WINNER, "winner")])
    boxes = "".join(f'<div class="figure" id="{name}"></div>' for name in plots_of(results, axes))
    return section("What a better trial costs", caption, marks + boxes)


def plots_of(results: Results, axes: Sequence[Axis]) -> dict[str, Callable[[], Drawing]]:
    """Name -> drawing for each further objective: "front", "front-1", ..."""
    others = () if results.best is None else results.rule.objectives[1:]
    name = lambda at: f"front-{at}" if at else "front"
    return {name(at): partial(front_figure, results, axes, other) for at, other in enumerate(others)}


def front_figure(results: Results, axes: Sequence[Axis], other: Metric) -> dict[str, Any]:
    """The first objective against another: all finished trials, the front as a line, the winner."""
    assert results.best is not None
    named = cost_name(str(other), results.run)
    values = results.values | dict(results.costs)
    drawn, front = results.order[:DRAWN], np.array(results.front())
    front = front[np.argsort(values[other][front], kind="stable")]

    (x, across), (y, upwards) = (values_and_axis(results, metric, values[metric]) for metric in (other, results.metric))

    def points(rows: np.ndarray, name: str, **how: Any) -> dict[str, Any]:
        hover = f"trial %{{customdata[0]}}<br>{templated(named)} %{{customdata[2]}}"
        hover += f"<br>{templated(results.metric)} %{{customdata[3]}}"
        return {
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "x": rounded(x[rows]),
            "y": rounded(y[rows]),
            "customdata": [
                [trial, hparams_line(axes, trial), *(metric_text(values[m][trial]) for m in (other, results.metric))]
                for trial in rows.tolist()
            ],
            "hovertemplate": f"{hover}<br>%{{customdata[1]}}<extra></extra>",
            **how,
        }

    ring = {"color": "rgba(0,0,0,0)", "size": 9, "line": {"color": INK, "width": 1.6}}
    line = {"mode": "lines+markers", "line": {"color": INK, "width": 1}, "marker": ring}
    star = {"symbol": "star", "color": WINNER, "size": 15, "line": {"color": "#ffffff", "width": 1}}
    return {
        "traces": [
            points(drawn, "trials", marker={"color": POINT, "size": 5, "opacity": 0.7}),
            points(front, "front", **line),
            points(np.array([results.best.trial]), "winner", marker=star),
        ],
        "layout": layout(
            height=380,
            showlegend=False,
            xaxis=across,
            yaxis=upwards,
        ),
        "alt": f"{len(front):,} trials that no other beats in {results.metric} and {named}, of {len(drawn):,}",
    }


def values_and_axis(results: Results, name: Metric, values: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """Values (trials,), clipped, and their axis: a metric's frame, or a cost's range, log over a decade or more."""
    if name in results.members:
        low, high, log = framed(results, name)
    else:
        low, high = float(values[results.order].min()), float(values[results.order].max())
        log = low > 0 and high >= DECADES * low
    title = f"{name}, {name.unit}" if name.unit else cost_name(str(name), results.run)
    return np.clip(values, low, high), axis_for(title, low, high, log)


FIGURE = Figure(section_of, plots_of)
