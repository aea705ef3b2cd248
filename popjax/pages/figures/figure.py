"""The contract of a figure of the report."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from popjax.core.text import short
from popjax.pages.axes import Axis
from popjax.store.results import Results

Drawing = Mapping[str, Any]  # what plotly takes: {"traces": [...], "layout": {...}}


def nothing(results: Results, axes: Sequence[Axis]) -> dict[str, Any]:
    """The empty data of a part of the report that draws nothing."""
    return {}


class Figure(NamedTuple):
    """A part of the report: a section of its page, and what is drawn in it.

    Each function takes the results and the axes of all hyperparameters.

    Attributes:
        section: heading, caption and boxes `<div class="figure" id="NAME"></div>`, as HTML; empty if there is nothing
            to show.
        plots: name -> function that returns a drawing, for `Results.plot`, and for the page unless there are data.
        data: what the page gets instead of `plots`: {"plots": name -> drawing}; popjax's own also what report.js knows
            by name. Called only if there is a section.
        of_metric: True if it follows the page's choice of the metric.
    """

    section: Callable[[Results, Sequence[Axis]], str]
    plots: Callable[[Results, Sequence[Axis]], Mapping[str, Callable[[], Drawing]]] = nothing
    data: Callable[[Results, Sequence[Axis]], Mapping[str, Any]] | None = None
    of_metric: bool = False

    def drawn(self, results: Results, axes: Sequence[Axis]) -> dict[str, Any]:
        """The data of the page."""
        if self.data is not None:
            return dict(self.data(results, axes))
        return {"plots": {name: draw() for name, draw in self.functions(results, axes).items()}}

    def functions(self, results: Results, axes: Sequence[Axis]) -> Mapping[str, Callable[[], Drawing]]:
        """`plots`; raises ValueError for anything but functions by name."""
        plots: Any = self.plots(results, axes)
        if not isinstance(plots, Mapping) or not all(map(callable, plots.values())):
            raise ValueError(f"plots returned {short(plots, 60)}; return a dict, name -> function that draws")
        return plots


def varied(axes: Sequence[Axis]) -> list[Axis]:
    """The axes of the hyperparameters that differ between trials."""
    return [axis for axis in axes if axis.varied]
