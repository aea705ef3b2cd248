"""The figures of a page, each by itself: one that fails is named, and costs the page nothing else. No JAX here."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from popjax.core.faults import fault
from popjax.core.text import tell
from popjax.pages.axes import Axis
from popjax.pages.drawing import shown
from popjax.pages.figures.figure import Figure
from popjax.pages.markup import section
from popjax.store.results import Results


def parts_of_page(
    figures: Mapping[str, Figure], results: Results, axes: Sequence[Axis]
) -> tuple[dict[str, str], dict[str, Any]]:
    """The section of each figure by name, as HTML, and the data of all of them, as JSON values for report.js."""
    sections, drawn = dict[str, str](), dict[str, Any](plots={})
    for name, figure in figures.items():
        try:
            said, data = part(figure, results, axes, sections, drawn)
        except Exception as error:
            why = str(error) if isinstance(error, Unusable) else fault("it", error)
            tell(f"popjax: the figure {name}: {why}; the page is written without it")
            said, data = section(f"The figure {shown(name)}", f"It is not drawn: {shown(why)}.", ""), {}
        sections[name] = said
        drawn |= data | {"plots": drawn["plots"] | data.get("plots", {})}
    return sections, drawn


class Unusable(ValueError):
    """Raised for a figure that does not fit the page."""


def part(
    figure: Figure, results: Results, axes: Sequence[Axis], sections: Mapping[str, str], drawn: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """The section of a figure and its data, beside the sections and data of those before it."""
    said: Any = figure.section(results, axes)
    if not isinstance(said, str):
        raise Unusable(f"section returned a {type(said).__name__}; return HTML")
    data = for_page(figure.drawn(results, axes)) if said else {}
    for plot in data.get("plots", {}):
        box = f'id="{shown(plot)}"'
        if box not in said:
            raise Unusable(f'its section has no box for {plot!r}; write <div class="figure" {box}></div>')
        for other in [other for other, html in sections.items() if box in html]:
            raise Unusable(f"the figure {other} draws {plot!r}, too; give another name")
    for key in [key for key in data if key in drawn and key != "plots"]:
        raise Unusable(f"its data have {key!r}, as those of another figure; give plots")
    return said, data


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
        return {str(name): json_parts(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [json_parts(one) for one in value]
    if isinstance(value, np.ndarray | np.generic):
        return json_parts(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    raise Unusable(f"it draws a {type(value).__name__}; give numbers, texts, arrays, lists and dicts")
