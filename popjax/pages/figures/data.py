"""The data of a run, and its winner's predictions for the test rows. No JAX here."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from popjax.pages.axes import Axis
from popjax.pages.drawing import GREY, POINT, layout, rounded, ruled, shown
from popjax.pages.figures.figure import Drawing, Figure
from popjax.pages.headline import column_worths, worse_text
from popjax.pages.markup import section, table
from popjax.store.results import Results

MOST = 10  # largest number of outputs that are shown
COLUMNS = 20  # that are shown


def section_of(results: Results, axes: Sequence[Axis]) -> str:
    """HTML section of rows, columns, targets and predictions for the test rows; empty without recorded data."""
    inputs = row_shape(results)
    if not inputs:
        return ""
    facts = [("rows", counted(results)), ("features", inputs), ("columns", html_list(told(results, "columns")))]
    facts.append(what_is_predicted(results))
    body = table(["", ""], [[name, text] for name, text in facts if text], "words facts")
    classes = [str(label) for label in told(results, "classes")]
    counts = matrix(results.summary.get("confusion"), len(classes))
    if counts is not None:
        body += caption("a line is a true class, a column what the winner predicts") + confusion_table(classes, counts)
    labels = told_by_output(results, "confusions", lambda counts: matrix(counts, 2))
    if labels:
        body += caption("a line is what is true of a label, a column what the winner predicts")
    for name, both in labels.items():
        body += f"<h3>{shown(name)}</h3>" + confusion_table(["no", "yes"], both)
    body += columns_table(results)
    drawn = predicted_figures(results)
    if drawn:
        body += caption("what the winner predicts against what is true")
    body += "".join(f'<div class="figure" id="{name}"></div>' for name in drawn)
    scored = "" if results.best is None else ", and scored once, for the winner"
    return section("The data", f"Rows that test were seen by no trial{scored}.", body)


def columns_table(results: Results) -> str:
    """HTML table of the columns whose permuted cells make the winner worst; empty if not known."""
    worths = column_worths(results)
    if not worths:
        return ""
    most = max(worths[0][1], 0.0) or 1.0
    bar = lambda rise: f'<span class="bar" style="width:{max(70 * rise / most, 0):.1f}%"></span> {rise:.3g}'
    rows = [[shown(name), bar(rise)] for name, rise in worths[:COLUMNS]]
    rest = f", {COLUMNS} of {len(worths):,}" if len(worths) > COLUMNS else ""
    worse = shown(worse_text(results))
    text = (
        f"What the columns are worth{rest}: by how much the winner's {worse} on validation rows if a "
        "column's cells change rows at random. Of two columns that say the same, both may seem worthless."
    )
    return f'<p class="caption">{text}</p>' + table(["column", worse], rows, "words shares")


def caption(text: str) -> str:
    """HTML caption of a figure of the test rows."""
    return f'<p class="caption">The test rows: {text}.</p>'


def row_shape(results: Results) -> str:
    """The shape of a row as HTML, for a dict of arrays that of each entry; empty if run.json has none."""
    known = results.run.get("data")
    inputs = known.get("inputs") if isinstance(known, dict) else None
    if isinstance(inputs, dict):
        return ", ".join(f"{shown(name)} {shown(shape_text(shape))}" for name, shape in inputs.items())
    return shown(shape_text(inputs)) if isinstance(inputs, list) and inputs else ""


def shape_text(shape: Any) -> str:
    """A shape as text; "1" for one number per row."""
    return " × ".join(map(str, shape if isinstance(shape, list) else [])) or "1"


def what_is_predicted(results: Results) -> tuple[str, str]:
    """What is predicted: a heading, and the names as HTML."""
    known = results.run.get("data")
    kind = known.get("kind") if isinstance(known, dict) else None
    classes, outputs = told(results, "classes"), told(results, "outputs")
    if classes:
        return "classes", html_list(classes)
    if outputs:
        return "labels" if kind == "multilabel" else "values", html_list(outputs)
    return "target", "of a loss of its own" if kind == "own" else "real values"


def told(results: Results, name: str) -> list[Any]:
    """A list in the data entry of run.json; empty if there is none."""
    known = results.run.get("data")
    values = known.get(name) if isinstance(known, dict) else None
    return values if isinstance(values, list) else []


def counted(results: Results) -> str:
    """The number of rows of each part, as HTML; empty if the summary has none."""
    counts = results.summary.get("rows")
    known = counts.items() if isinstance(counts, dict) else ()
    return ", ".join(f"{count:,} rows {shown(verb)}" for verb, count in known if isinstance(count, int))


def matrix(counts: Any, classes: int) -> list[list[int]] | None:
    """A confusion matrix of a summary; None if it is not one of `classes` classes."""
    rows = counts if classes and isinstance(counts, list) and len(counts) == classes else []
    fits = all(isinstance(row, list) and len(row) == classes for row in rows)
    whole = fits and all(isinstance(count, int) and count >= 0 for row in rows for count in row)
    return rows if rows and whole else None


def predicted_pairs(values: Any) -> np.ndarray | None:
    """The pairs (true, predicted) of a summary, (rows, 2); None for anything else."""
    try:
        pairs = np.array(values or [], float)
    except (TypeError, ValueError):
        return None
    return pairs if pairs.ndim == 2 and pairs.shape[1] == 2 and np.isfinite(pairs).all() else None


def told_by_output[T](results: Results, name: str, read: Callable[[Any], T | None]) -> dict[str, T]:
    """Output -> its entry of a summary under `name`, as read by `read`; the first ten that are not None."""
    known = results.summary.get(name)
    by_output = {str(output): read(value) for output, value in known.items()} if isinstance(known, dict) else {}
    return dict([(output, value) for output, value in by_output.items() if value is not None][:MOST])


def predicted_figures(results: Results) -> dict[str, dict[str, Any]]:
    """Name -> figure of predicted values: "predicted" for one output, "predicted-0", ... for several."""
    alone = predicted_pairs(results.summary.get("predicted"))
    if alone is not None:
        return {"predicted": predicted_figure(alone)}
    several = told_by_output(results, "predictions", predicted_pairs)
    return {f"predicted-{at}": predicted_figure(pairs, name) for at, (name, pairs) in enumerate(several.items())}


def predicted_figure(pairs: np.ndarray, name: str = "") -> dict[str, Any]:
    """Figure of the winner's predictions for the test rows against true values, and the line of equality."""
    true, predicted = (rounded(column) for column in pairs.T)
    ends = [min(true + predicted), max(true + predicted)]
    point = {"mode": "markers", "marker": {"color": POINT, "size": 5, "opacity": 0.7}, "name": "test rows"}
    line = {"mode": "lines", "line": {"color": GREY, "width": 1}, "hoverinfo": "skip", "name": "the same"}
    what = "true %{x:.4g}, predicted %{y:.4g}<extra></extra>"
    axes = {"xaxis": ruled(f"{shown(name)}, true" if name else "true"), "yaxis": ruled("predicted")}
    return {
        "traces": [
            {"type": "scatter", "x": ends, "y": ends, **line},
            {"type": "scatter", "x": true, "y": predicted, **point, "hovertemplate": what},
        ],
        "layout": layout(height=380, showlegend=False, **axes),
    }


def html_list(names: Sequence[Any], most: int = 30) -> str:
    """The first `most` names as HTML, and the number of the others."""
    rest = len(names) - most
    return ", ".join(map(shown, names[:most])) + (f" and {rest:,} more" if rest > 0 else "")


def confusion_table(labels: list[str], confusion: list[list[int]]) -> str:
    """HTML table of test rows by true class (row) and predicted class (column), darker for a larger share."""
    rows = []
    for label, counts in zip(labels, confusion, strict=True):
        total = sum(counts) or 1
        cells = [
            f'<span class="cell" style="--share:{100 * count / total:.0f}%">{count or ""}</span>' for count in counts
        ]
        rows.append([f"<b>{shown(label)}</b>", *cells])
    return table(["", *map(shown, labels)], rows, "words confusion")


def plots_of(results: Results, axes: Sequence[Axis]) -> dict[str, Callable[[], Drawing]]:
    """Name -> drawing of predicted values."""
    return {name: functools.partial(dict, figure) for name, figure in predicted_figures(results).items()}


FIGURE = Figure(section_of, plots_of)
