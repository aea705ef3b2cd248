"""The importance of each hyperparameter, beside its expected tier, and the two that matter most. No JAX here."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from popjax.core.text import plural
from popjax.pages.axes import Axis
from popjax.pages.drawing import MIDDLE, layout, rounded, ruled, shown, templated
from popjax.pages.figures.figure import Drawing, Figure, varied
from popjax.pages.figures.panels import ticked
from popjax.pages.importance import Pair, among_the_best, importance, interaction
from popjax.pages.markup import section, table
from popjax.space.defaults import TIERS
from popjax.space.scales import Integers
from popjax.store.results import Results

PALE = 0.08  # the opacity of a square without any of the best
STEADY = 256  # number of trials from which the importance differs little between draws


def section_of(results: Results, axes: Sequence[Axis]) -> str:
    """HTML section of importance, the greatest first, beside the expected tier; empty without a winner."""
    differ = varied(axes)
    if results.best is None or not differ:
        return ""
    shares, best = importance(results), among_the_best(results)
    caption = (
        f"How much each hyperparameter decides, in these trials, whether one is among the best tenth, "
        f"{best.sum():,} of {plural(len(best), 'trial')} (PED-ANOVA), beside its tier in the order of the courses: "
        "1 is tuned first, 3 last; those without one are not in it."
    )
    if shares and len(best) < STEADY:
        caption += f" Of fewer than {STEADY} trials the shares move by tens of percent between draws."
    caption += " All rounds are pooled; later ones search where earlier ones were good." if results.rounds.max() else ""
    caption += " A pruned trial is behind those that were trained further." if results.pruned.any() else ""
    head = ["hyperparameter", "tier", "importance here"]
    if not shares:
        rows = [[shown(axis.name), str(TIERS.get(axis.name, "-"))] for axis in differ]
        few = "<p>Too few different trials to tell the importance.</p>"
        return section("What mattered", caption, table(head[:2], rows, "words") + few)
    rows = []
    for name, share in sorted(shares.items(), key=lambda item: -item[1]):
        bar = f'<span class="bar" style="width:{70 * share:.1f}%"></span> {100 * share:.0f} %'
        rows.append([shown(name), str(TIERS.get(name, "-")), bar])
    return section("What mattered", caption, table(head, rows, "words shares") + interaction_of(results))


def interaction_of(results: Results) -> str:
    """HTML of the two that matter most: a sentence and the box of their figure; empty if too few trials have both."""
    pair = interaction(results)
    if pair is None:
        return ""
    across, upwards = (shown(axis.name) for axis in pair.axes)
    said = (
        "The two that matter most: which share of a square's trials is among the best tenth. Of what "
        f"{across} and {upwards} decide together, {100 * pair.combined:.0f} % is in how they are combined; near 0 the "
        "best value of one does not depend on the other."
    )
    most = (pair.best / np.maximum(pair.every, 1)).max()
    said += f" The palest squares have none of the best; in the fullest, {100 * most:.0f} % are."
    return f'<p class="caption">{said}</p><div class="figure" id="interaction"></div>'


def plots_of(results: Results, axes: Sequence[Axis]) -> dict[str, Callable[[], Drawing]]:
    """The squares of the two that matter most; empty without a winner or if too few trials have both."""
    pair = None if results.best is None else interaction(results)
    return {} if pair is None else {"interaction": partial(squares_figure, pair)}


def squares_figure(pair: Pair) -> dict[str, Any]:
    """Which share of each square's trials is among the best tenth, as its colour; squares without trials are white."""
    across, upwards = pair.axes
    wide, high = 1 / np.array(pair.every.shape)
    columns, rows = np.nonzero(pair.every)
    best, every = pair.best[columns, rows], pair.every[columns, rows]
    share = best / every
    places = [values_of(axis, number) for axis, number in zip(pair.axes, pair.every.shape, strict=True)]
    squares = zip(best.tolist(), every.tolist(), columns.tolist(), rows.tolist(), strict=True)
    bars = {
        "type": "bar",
        "x": ((columns + 0.5) * wide).tolist(),
        "base": (rows * high).tolist(),
        "y": [0.95 * high] * len(rows),
        "width": 0.97 * wide,
        "marker": {"color": MIDDLE, "opacity": rounded(PALE + (1 - PALE) * share / share.max(), 3)},
        "customdata": [[b, of, places[0][column], places[1][row]] for b, of, column, row in squares],
        "hovertemplate": f"{templated(across.name)} %{{customdata[2]}}<br>{templated(upwards.name)} %{{customdata[3]}}"
        "<br>%{customdata[0]} of %{customdata[1]} trials<extra></extra>",
    }
    lines = {"range": [0, 1], "fixedrange": True, "showgrid": False}
    return {
        "traces": [bars],
        "layout": layout(
            height=360,
            showlegend=False,
            margin={"l": 70, "r": 12, "t": 12, "b": 62},
            xaxis=ruled(shown(across.name), **lines, **ticked(across)),
            yaxis=ruled(shown(upwards.name), **(lines | ticked(upwards) | {"automargin": True})),
        ),
        "alt": fullest(across, upwards, best, every, places, columns, rows),
    }


def fullest(
    across: Axis,
    upwards: Axis,
    best: np.ndarray,
    every: np.ndarray,
    places: Sequence[list[str]],
    columns: np.ndarray,
    rows: np.ndarray,
) -> str:
    """The square with the largest share of the best, in words."""
    at = int((best / every).argmax())
    where = f"{across.name} {places[0][columns[at]]} and {upwards.name} {places[1][rows[at]]}"
    return f"Of the best tenth most are where {where}: {best[at]} of {every[at]} trials there"


def values_of(axis: Axis, squares: int) -> list[str]:
    """What each square along an axis stands for: its value, or its first and its last one."""
    scale, shown_at = axis.scale, lambda unit: shown(axis.label_of(axis.scale.from_unit(unit)))
    if math.isinf(scale.levels):
        return [f"{shown_at(at / squares)} to {shown_at((at + 1) / squares)}" for at in range(squares)]
    if isinstance(scale, Integers):
        centres = scale.to_unit(np.arange(scale.low, scale.high + 1))
    else:
        centres = (np.arange(int(scale.levels)) + 0.5) / scale.levels
    inside = [centres[(centres * squares).astype(int) == at] for at in range(squares)]
    spelled = [[shown_at(float(unit)) for unit in units[[0, -1]]] if len(units) else ["", ""] for units in inside]
    return [first if first == last else f"{first} to {last}" for first, last in spelled]


FIGURE = Figure(section_of, plots_of)
