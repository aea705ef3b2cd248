"""Shared by the report's figures: colours, axes and texts, as plain data for plotly. No JAX here."""

import html
import math
from typing import Any

import numpy as np

from popjax.core.text import printable

# Okabe and Ito's colours, which most colour-blind people can tell apart
INK, GREY, WINNER, MIDDLE, DIVERGED, POINT = "#1b1f24", "#8a929b", "#D55E00", "#0072B2", "#CC79A7", "#56B4E9"
FAINT = "#949494"  # a line of which there are many: 3 to 1 on white
ROUNDS = ("#56B4E9", "#009E73", "#E69F00", "#0072B2", "#000000")


def shown(value: Any) -> str:
    """A text in one line, escaped for HTML and plotly."""
    return html.escape(printable(str(value)).replace("\n", " "))


def templated(text: Any) -> str:
    """A text escaped for a plotly template, in which a percent sign begins a placeholder."""
    return shown(text).replace("%", "&#37;")


def rounded(values: Any, digits: int = 5) -> list[Any]:
    """Numbers, flattened, in `digits` significant digits for JSON; None for what is not finite."""
    floats = np.asarray(values, float).ravel().tolist()
    return [float(f"{value:.{digits}g}") if math.isfinite(value) else None for value in floats]


def round_color(number: int, count: int) -> str:
    """The colour of a round out of `count`; successive rounds share one if there are more than colours."""
    return ROUNDS[number * len(ROUNDS) // max(count, len(ROUNDS))]


def layout(**more: Any) -> dict[str, Any]:
    """The layout that all plotly figures share, with `more`."""
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
        "modebar": {"remove": ["sendChartToCloud"]},  # "Share chart" offers to upload it
        **more,
    }


def ruled(title: str, **more: Any) -> dict[str, Any]:
    """An axis with thin lines, with `more`."""
    lines = {"gridcolor": "#eceff2", "linecolor": "#c4cad1", "zeroline": False, "ticks": "outside", "ticklen": 4}
    return {**lines, "tickcolor": "#c4cad1", "automargin": True, "title": {"text": title, "standoff": 8}, **more}


def axis_for(name: str, low: float, high: float, log: bool, below: float = 0.0, above: float = 0.0) -> dict[str, Any]:
    """The axis of a metric from low to high with some air, log or linear; shares `below` and `above` stay free."""
    low, high = (math.log10(low), math.log10(high)) if log else (low, high)
    air = 0.05 * (high - low) or 0.05 * abs(high) or 0.1
    kind: dict[str, Any] = {"type": "linear", "dtick": None, "tickformat": None, "minexponent": 5}
    if log:
        step = math.ceil((high - low) / 8) if high - low > 2.5 else "D2"
        kind = {"type": "log", "dtick": step, "tickformat": "~g" if step == "D2" else None}  # else 0.05 is labelled 5
    return ruled(
        shown(name),
        range=[low - air - below * (high - low + 2 * air), high + air + above * (high - low + 2 * air)],
        exponentformat="power",
        hoverformat=".4g",
        **kind,
    )
