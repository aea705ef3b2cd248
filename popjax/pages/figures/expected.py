"""The expected best of k trials. No JAX here."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from popjax.pages.axes import Axis, scope
from popjax.pages.drawing import MIDDLE, axis_for, layout, rounded, ruled, shown, templated
from popjax.pages.expected import expected_best
from popjax.pages.figures.figure import Drawing, Figure
from popjax.pages.framing import loss
from popjax.pages.markup import section
from popjax.store.results import Results

SIZES = 60  # number of values of k


def section_of(results: Results, axes: Sequence[Axis]) -> str:
    """HTML section of the expected best of k; empty for one trial, and where `there` says that there is none."""
    if not there(results) or len(results.diverged) == 1:
        return ""
    first = int((results.rounds == 0).sum())
    better = "highest" if results.metric.mode == "max" else "lowest"
    caption = (
        f"The {better} {shown(results.metric)} that k of these {first:,} trials, drawn at random, reach on average: "
        "where the line is flat, more trials would not have helped."
    )
    if results.rounds.max():
        caption += " The first round only: later rounds search around good points, so they are not random."
    if results.diverged[results.rounds == 0].any():
        caption += " A diverged trial counts as the worst."
    if results.infeasible:
        caption += " So does one that violates a limit."
    return section("How many trials were needed", caption, '<div class="figure" id="expected"></div>')


def expected_figure(results: Results) -> dict[str, Any]:
    """The expected best of k trials of the first round."""
    first = np.flatnonzero(results.rounds == 0)
    values = np.where(counting(results), results.values[results.metric], np.nan)[first]
    sizes = np.unique(np.geomspace(1, len(first), SIZES).round().astype(int))
    best = expected_best(values, results.metric.mode, sizes)
    line = {"type": "scatter", "mode": "lines+markers", "line": {"color": MIDDLE, "width": 2}, "marker": {"size": 4}}
    what = f"best of %{{x}}: {templated(results.metric)} %{{y:.4g}}<extra></extra>"
    axis = axis_for(results.metric, *scope(results.metric, best, best, loss(results, results.metric)))
    axis["title"] = {"text": f"expected best {shown(results.metric)}"}
    return {
        "traces": [{**line, "x": sizes.tolist(), "y": rounded(best), "name": "expected", "hovertemplate": what}],
        "layout": layout(
            height=340,
            showlegend=False,
            xaxis=ruled("trials k", type="log", **counts(len(first))),
            yaxis=axis,
        ),
        "alt": f"The expected best {results.metric}: {best[0]:.4g} of one trial, {best[-1]:.4g} of {sizes[-1]:,}",
    }


def counts(most: int) -> dict[str, Any]:
    """Ticks at 1, 2, 5, 10, ... trials, and at all of them."""
    values = [digit * 10**power for power in range(9) for digit in (1, 2, 5) if digit * 10**power < 0.8 * most]
    return {"tickvals": [*values, most], "ticktext": [f"{value:,}" for value in [*values, most]]}


def plots_of(results: Results, axes: Sequence[Axis]) -> dict[str, Callable[[], Drawing]]:
    """Name -> drawing: "expected", if `there`."""
    return {"expected": lambda: expected_figure(results)} if there(results) else {}


def there(results: Results) -> bool:
    """True if the first round has a feasible ranked trial, and none that was pruned or stopped before its end."""
    first = results.rounds == 0
    early = results.pruned | results.stopped
    return bool((first & counting(results))[results.order].any() and not early[first].any())


def counting(results: Results) -> np.ndarray:
    """bool (trials,): the value counts; those of diverged and infeasible trials count as the worst."""
    return ~results.diverged & results.feasible


FIGURE = Figure(section_of, plots_of)
