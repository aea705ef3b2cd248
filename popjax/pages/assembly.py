"""The figures of a page, each by itself: one that fails is named, and costs the page nothing else. No JAX here."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from popjax.core.faults import fault
from popjax.core.text import short, tell
from popjax.pages.axes import Axis
from popjax.pages.boxes import ids_of
from popjax.pages.drawing import shown
from popjax.pages.figures import curves, descent, panels, parallel, trials
from popjax.pages.figures.figure import Figure
from popjax.pages.markup import section
from popjax.store.results import Results

PROVEN = [each.FIGURE.data for each in (curves, panels, parallel, descent, trials)]  # give what report.js knows by name
RESERVED = ("figures", "metric", "errors", "switch")  # ids of the page itself


def parts_of_page(
    figures: Mapping[str, Figure], results: Results, axes: Sequence[Axis]
) -> tuple[dict[str, str], dict[str, Any]]:
    """The section of each figure by name, as HTML, and the data of all of them, as JSON values for report.js."""
    sections, drawn, places = dict[str, str](), dict[str, Any](plots={}), dict.fromkeys(RESERVED, "the page")
    for name, figure in figures.items():
        try:
            said, data, ids = part(figure, results, axes, places, drawn)
        except Exception as error:
            why = str(error) if isinstance(error, Unusable) else fault("it", error)
            tell(f"popjax: the figure {name}: {why}; the page is written without it")
            said, data, ids = section(f"The figure {shown(name)}", f"It is not drawn: {shown(why)}.", ""), {}, []
        sections[name] = said
        places |= dict.fromkeys(ids, f"the figure {name}")
        drawn |= data | {"plots": drawn["plots"] | data.get("plots", {})}
    return sections, drawn


class Unusable(ValueError):
    """Raised for a figure that does not fit the page."""


def part(
    figure: Figure, results: Results, axes: Sequence[Axis], places: Mapping[str, str], drawn: Mapping[str, Any]
) -> tuple[str, dict[str, Any], list[str]]:
    """The section of a figure, its data and the ids in it; `places`: id -> what has it, of those before it."""
    if not isinstance(figure, Figure):
        raise Unusable(f"its entry in FIGURES is {short(figure)}; give a {Figure.__module__}.Figure")
    said: Any = figure.section(results, axes)
    if not isinstance(said, str):
        raise Unusable(f"section returned a {type(said).__name__}; return HTML")
    data = for_page(figure.drawn(results, axes)) if said else {}
    plots = data.get("plots", {})
    ids = checked_ids(said, plots, places)
    for plot, drawing in plots.items():
        check_drawing(plot, drawing)
    for key in [key for key in data if key != "plots" and (key in drawn or figure.data not in PROVEN)]:
        raise Unusable(f"its data have {key!r}, which report.js reads for popjax's figures alone; give plots")
    return said, data, ids


def checked_ids(said: str, plots: Iterable[str], places: Mapping[str, str]) -> list[str]:
    """The ids of a section; raises Unusable unless it is whole, has a box for each plot, and no id of another part."""
    try:
        ids = ids_of(said)
    except ValueError as error:
        raise Unusable(f"in its section {error}") from None
    for plot in plots:
        if str(plot) not in ids:
            raise Unusable(f'its section has no box for {plot!r}; write <div class="figure" id="{shown(plot)}"></div>')
    for each in ids:
        if each in places or ids.count(each) > 1:
            raise Unusable(f"{places.get(each, 'its section')} has the id {each!r}, too; give another name")
    return ids


def check_drawing(plot: str, drawing: Any) -> None:
    """Raise Unusable for a drawing that plotly does not take."""
    right = isinstance(drawing, Mapping) and isinstance(drawing.get("layout"), Mapping)
    traces = drawing.get("traces") if right else None
    if not isinstance(traces, list | tuple) or not all(isinstance(trace, Mapping) for trace in traces):
        remedy = "return {'traces': [dicts], 'layout': {...}}"
        raise Unusable(f"its plot {plot!r} is {short(drawing, 60)}; {remedy}")


def for_page(data: Any) -> Any:
    """Data as JSON values: arrays as lists, NaN as None; raises Unusable for other objects."""
    try:
        json.dumps(data, allow_nan=False)
        return data
    except (TypeError, ValueError):
        return json_parts(data)


def json_parts(value: Any) -> Any:
    """A value as `for_page` gives it, part by part."""
    if isinstance(value, Mapping):
        return {str(name): json_parts(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [json_parts(part) for part in value]
    if isinstance(value, np.ndarray | np.generic):
        return json_parts(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    raise Unusable(f"it draws a {type(value).__name__}; give numbers, texts, arrays, lists and dicts")
