"""What a figure of the report is."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from popjax.pages.axes import Axis
from popjax.store.results import Results

Drawing = Mapping[str, Any]  # what plotly takes: {"traces": [...], "layout": {...}}


def nothing(results: Results, axes: Sequence[Axis]) -> dict[str, Any]:
    """Of a part of the report that draws nothing."""
    return {}


class Figure(NamedTuple):
    """A part of the report: a section of its page, and what is drawn in it.

    Each function takes the results and the axes of all hyperparameters.

    Attributes:
        section: a heading, a caption and boxes, as HTML; empty where there is nothing to show.
        data: name -> what report.js draws; called where there is a section.
        plots: name -> what makes a drawing, for `Results.plot`.
        of_metric: whether it follows the page's choice of the metric.
    """

    section: Callable[[Results, Sequence[Axis]], str]
    data: Callable[[Results, Sequence[Axis]], Mapping[str, Any]] = nothing
    plots: Callable[[Results, Sequence[Axis]], Mapping[str, Callable[[], Drawing]]] = nothing
    of_metric: bool = False


def varied(axes: Sequence[Axis]) -> list[Axis]:
    """The axes of the hyperparameters that differ between trials."""
    return [axis for axis in axes if axis.varied]
