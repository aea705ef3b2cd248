"""The data that a run learned from, and what its winner makes of the test rows. No JAX here."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from popjax.pages.axes import Axis
from popjax.pages.drawing import GREY, POINT, layout, rounded, ruled, shown
from popjax.pages.figures.base import Drawing, Figure
from popjax.pages.markup import section, table
from popjax.store.results import Results


def section_of(results: Results, axes: Sequence[Axis]) -> str:
    """What was learned from: rows, columns and classes, and what the winner makes of the test rows."""
    if not told(results, "inputs"):
        return ""
    columns, classes, sizes = (told(results, name) for name in ("columns", "classes", "inputs"))
    inputs = " × ".join(map(str, sizes))
    facts = [("rows", counted(results)), ("features", shown(inputs)), ("columns", listed(columns))]
    facts += [("classes", listed(classes)) if classes else ("target", "real values")]
    body = table(["", ""], [[name, text] for name, text in facts if text], "words facts")
    counts = matrix(results, len(classes))
    if counts is not None:
        body += confusion_table([str(label) for label in classes], counts)
    if pairs(results) is not None:
        body += '<p class="caption">The test rows: what the winner predicts against what is true.</p>'
        body += '<div class="figure" id="predicted"></div>'
    scored = "" if results.best is None else ", and scored once, for the winner"
    return section("The data", f"Rows that test were seen by no trial{scored}.", body)


def told(results: Results, name: str) -> list[Any]:
    """A list that run.json has of the data; empty where it has none."""
    known = results.run.get("data")
    found = known.get(name) if isinstance(known, dict) else None
    return found if isinstance(found, list) else []


def counted(results: Results) -> str:
    """How many rows each part has; nothing where a summary does not say."""
    counts = results.summary.get("rows")
    known = counts.items() if isinstance(counts, dict) else ()
    return ", ".join(f"{count:,} rows {shown(verb)}" for verb, count in known if isinstance(count, int))


def matrix(results: Results, classes: int) -> list[list[int]] | None:
    """The confusion matrix of a summary, if it is one of so many classes."""
    counts = results.summary.get("confusion")
    rows = counts if classes and isinstance(counts, list) and len(counts) == classes else []
    fits = all(isinstance(row, list) and len(row) == classes for row in rows)
    whole = fits and all(isinstance(count, int) and count >= 0 for row in rows for count in row)
    return rows if rows and whole else None


def pairs(results: Results) -> np.ndarray | None:
    """The pairs (true, predicted) of a summary (rows, 2), if it has some."""
    try:
        found = np.array(results.summary.get("predicted") or [], float)
    except (TypeError, ValueError):
        return None
    return found if found.ndim == 2 and found.shape[1] == 2 and np.isfinite(found).all() else None


def predicted_figure(results: Results) -> dict[str, Any] | None:
    """What the winner predicts of the test rows against what is true, and the line where both are the same."""
    found = pairs(results)
    if found is None:
        return None
    true, predicted = (rounded(column) for column in found.T)
    ends = [min(true + predicted), max(true + predicted)]
    point = {"mode": "markers", "marker": {"color": POINT, "size": 5, "opacity": 0.7}, "name": "test rows"}
    line = {"mode": "lines", "line": {"color": GREY, "width": 1}, "hoverinfo": "skip", "name": "the same"}
    what = "true %{x:.4g}, predicted %{y:.4g}<extra></extra>"
    return {
        "traces": [
            {"type": "scatter", "x": ends, "y": ends, **line},
            {"type": "scatter", "x": true, "y": predicted, **point, "hovertemplate": what},
        ],
        "layout": layout(height=380, showlegend=False, xaxis=ruled("true"), yaxis=ruled("predicted")),
    }


def listed(names: Sequence[Any], most: int = 30) -> str:
    """Names as HTML, the first of many."""
    rest = len(names) - most
    return ", ".join(map(shown, names[:most])) + (f" and {rest:,} more" if rest > 0 else "")


def confusion_table(labels: list[str], confusion: list[list[int]]) -> str:
    """How many test rows of each class (a row) are predicted to be of each (a column), darker for a larger share."""
    rows = []
    for label, counts in zip(labels, confusion, strict=True):
        total = sum(counts) or 1
        cells = [
            f'<span class="cell" style="--share:{100 * count / total:.0f}%">{count or ""}</span>' for count in counts
        ]
        rows.append([f"<b>{shown(label)}</b>", *cells])
    words = '<p class="caption">The test rows: a line is a true class, a column what the winner predicts.</p>'
    return words + table(["", *map(shown, labels)], rows, "words confusion")


def data_of(results: Results, axes: Sequence[Axis]) -> dict[str, Any]:
    """What the winner of a regression predicts."""
    figure = predicted_figure(results)
    return {} if figure is None else {"predicted": figure}


def plots_of(results: Results, axes: Sequence[Axis]) -> dict[str, Callable[[], Drawing]]:
    """The same as "predicted"."""
    figure = predicted_figure(results)
    return {} if figure is None else {"predicted": lambda: figure}


FIGURE = Figure(section_of, data_of, plots_of)
