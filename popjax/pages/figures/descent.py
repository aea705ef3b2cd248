"""Lineage of copied trials: which one continues which, and what was changed in training. No JAX here."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from popjax.core.text import cut
from popjax.pages.axes import Axis
from popjax.pages.drawing import GREY, WINNER, layout, ruled, shown, templated
from popjax.pages.figures.figure import Drawing, Figure, varied
from popjax.pages.framing import thinned
from popjax.pages.markup import section
from popjax.space.points import units_of
from popjax.store.history import History
from popjax.store.results import Results

LEAVES, LINES = 150, 60  # trials of the tree, and of the panels


def section_of(results: Results, axes: Sequence[Axis]) -> str:
    """HTML section of the family tree and the hyperparameters that changed; empty without copies or changes."""
    if results.history is None or results.best is None:
        return ""
    lived = changed(results, varied(axes))
    caption = (
        "A line is a trial, a fork a copy of it: where the lines of the end come from. The winner's weights were "
        "trained along the thick line."
    )
    body = '<div class="figure" id="tree"></div>'
    if lived:
        boxes = "".join(f'<div class="figure" id="history-{at}"></div>' for at in range(len(lived)))
        words = "What the weights of the end were trained with, epoch by epoch; the thick line is the winner's."
        body += f'\n<p class="caption">{words}</p>\n<div class="panels">{boxes}</div>'
    return section("Which trial continues which", caption, body)


def changed(results: Results, differ: list[Axis]) -> list[Axis]:
    """The hyperparameters that changed between epochs along the lineage of a trial trained to the end."""
    if results.history is None:
        return []
    followed = [results.history.of(trial) for trial in descendants(results, LEAVES)]
    other = lambda values: (values[1:] != values[:-1]).any()
    return [axis for axis in differ if any(other(one[axis.name]) for one in followed)]


def descendants(results: Results, most: int) -> list[int]:
    """About `most` of the trials that were trained to the end, or fewer, the winner among them."""
    drawn = thinned(results, most)
    return drawn[np.isin(drawn, results.order)].tolist()


def tree(results: Results, history: History) -> dict[str, Any]:
    """The family tree of the trials that were trained to the end: a line for each ancestor, a fork at each copy."""
    assert results.best is not None
    trials = np.array(descendants(results, LEAVES))
    lines = history.lineages[trials]
    order = np.lexsort(lines.T[::-1])
    lines, winner = lines[order], int(np.flatnonzero(trials[order] == results.best.trial)[0])
    edges: list[tuple[np.ndarray, int, int, float]] = []  # rows of an edge, its ends, height of its fork
    waiting = [(rows, 0, float(rows.mean())) for rows in rows_by_value(lines[:, 0], np.arange(len(lines)))]
    count = lines.shape[1]
    while waiting:
        rows, begin, fork = waiting.pop()
        differ = (lines[rows] != lines[rows[:1]]).any(0)
        end = int(differ.argmax()) if differ.any() else count
        edges.append((rows, begin, end, fork))
        heirs = rows_by_value(lines[rows, end], rows) if end < count else []
        waiting += [(part, end, float(rows.mean())) for part in heirs]
    thick = [edge for edge in edges if winner in edge[0]]
    ticks = {"range": [0, count + 0.02 * count], **({"dtick": 1} if count <= 12 else {"tickformat": ",d"})}
    axis = {"visible": False, "range": [-1, len(lines)], "fixedrange": True}
    return {
        "traces": [branches(lines, edges, "trials", GREY, 1), branches(lines, thick, "winner", WINNER, 3)],
        "layout": layout(
            height=420,
            xaxis=ruled("epoch", **ticks),
            yaxis=axis,
        ),
        "alt": f"{len(set(lines[:, 0].tolist())):,} first trials have {len(lines):,} heirs at the end",
    }


def rows_by_value(values: np.ndarray, rows: np.ndarray) -> list[np.ndarray]:
    """The rows in groups of successive equal values."""
    cuts = np.flatnonzero(values[1:] != values[:-1]) + 1
    return np.split(rows, cuts)


def branches(
    lines: np.ndarray, edges: list[tuple[np.ndarray, int, int, float]], name: str, color: str, width: int
) -> dict[str, Any]:
    """Edges as one trace with gaps: from the fork to the height of the edge, and along it."""
    xs, ys, texts = list[Any](), list[Any](), list[str]()
    for rows, begin, end, fork in edges:
        place = float(rows.mean())
        heirs = f"{len(rows)} of {len(lines)} at the end" if len(rows) > 1 else "to the end"
        xs += [begin, begin, end, None]
        ys += [round(fork, 3), round(place, 3), round(place, 3), None]
        texts += [f"trial {lines[rows[0], begin]}, epochs {begin + 1} to {end}, {heirs}"] * 4
    line = {"color": color, "width": width}
    what = "%{text}<extra></extra>"
    known = {"type": "scatter", "mode": "lines", "name": name, "line": line, "hovertemplate": what}
    return {**known, "x": xs, "y": ys, "text": texts, "opacity": 0.7 if color == GREY else 1}


def histories(results: Results, history: History, axes: list[Axis]) -> list[dict[str, Any]]:
    """Figures of hyperparameters by epoch, along the lineages of the trials trained to the end."""
    assert results.best is not None
    trials = [trial for trial in descendants(results, LINES) if trial != results.best.trial]
    followed = {trial: history.of(trial) for trial in [*trials, results.best.trial]}
    return [epoch_lines(axis, followed, trials, results.best.trial) for axis in axes]


def epoch_lines(axis: Axis, followed: dict[int, dict[str, np.ndarray]], trials: list[int], best: int) -> dict[str, Any]:
    """Figure of one hyperparameter by epoch; `followed`: trial -> name -> (epochs,)."""
    epochs = max(len(one[axis.name]) for one in followed.values())

    def lines(rows: list[int], name: str, **line: Any) -> dict[str, Any]:
        columns = [followed[row][axis.name] for row in rows]
        heights = [np.append(units_of(axis.scale, column), np.nan) for column in columns]
        texts = [[axis.label_of(value) for value in column.tolist()] + [""] for column in columns]
        flat = np.concatenate(heights) if heights else np.empty(0)
        return {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "meta": rows,
            "line": {"shape": "hv", **line},
            "x": [x for column in columns for x in [*range(1, len(column) + 1), None]],
            "y": [None if np.isnan(unit) else round(unit, 4) for unit in flat.tolist()],
            "text": [shown(text) for column in texts for text in column],
            "hovertemplate": f"epoch %{{x}}: {templated(axis.name)} %{{text}}<extra></extra>",
        }

    ends = [axis.label_of(value) for value in followed[best][axis.name][[0, -1]].tolist()]
    ticks = {"tickvals": axis.places, "ticktext": [shown(cut(tick.value, 10)) for tick in axis.ticks]}
    return {
        "traces": [
            lines(trials, "trials", color=GREY, width=1) | {"opacity": 0.35},
            lines([best], "winner", color=WINNER, width=3),
        ],
        "layout": layout(
            height=250,
            showlegend=False,
            margin={"l": 64, "r": 16, "t": 8, "b": 44},
            xaxis=ruled("epoch", range=[0.5, epochs + 0.5], fixedrange=True),
            yaxis=ruled(shown(axis.name), range=[-0.04, 1.04], fixedrange=True, **ticks),
        ),
        "alt": f"{axis.name} of the winner by epoch, from {ends[0]} to {ends[1]}",
    }


def data_of(results: Results, axes: Sequence[Axis]) -> dict[str, Any]:
    """The tree, and a figure of each hyperparameter that changed."""
    history = results.history
    assert history is not None
    return {"tree": tree(results, history), "histories": histories(results, history, changed(results, varied(axes)))}


def plots_of(results: Results, axes: Sequence[Axis]) -> dict[str, Callable[[], Drawing]]:
    """Name -> drawing: "tree", and "learning_rate by epoch" of each hyperparameter that changed."""
    history = results.history
    if history is None or results.best is None:
        return {}
    plots: dict[str, Callable[[], Drawing]] = {"tree": lambda: tree(results, history)}
    lived = changed(results, varied(axes))
    return plots | {f"{axis.name} by epoch": lambda axis=axis: histories(results, history, [axis])[0] for axis in lived}


FIGURE = Figure(section_of, plots_of, data_of)
