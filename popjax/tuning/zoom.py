"""Coarse to fine: a narrower space around the best trials so far. No JAX here."""

import dataclasses
import logging
import math
from typing import NamedTuple

import numpy as np

from popjax.space.scales import Choice, Integers, OneMinusLogUniform, Range, Scale, Uniform
from popjax.space.space import Points, Space
from popjax.space.values import present
from popjax.store.results import Results

LOG = logging.getLogger("popjax")
FEWEST = 5
EDGE = 0.1  # share of the axis; the best are at an edge if more than half of them lie within it
LONGER = 0.25  # share of its axis by which a range is then extended
FINE = 10  # minimum number of levels on which an edge can be told from chance


class Zoom(NamedTuple):
    """A narrower space around the best trials.

    Attributes:
        space: the narrower space.
        notes: one line for each edge at which the best lie.
    """

    space: Space
    notes: list[str]


def refine(space: Space, results: Results, top: float = 0.1, extend: bool = False) -> Space:
    """A narrower Space, around the best trials.

    Each range shrinks, on its scale's own axis, to the span of the best share `top` of the
    trials, at least 5, with a margin of their mean distance; whole numbers stay whole, and a
    choice keeps the values that the best used, and what exists for other values alone is left
    out. The result lies within `space`, except with `extend`. Where the best lie at an edge, a
    warning is logged that names the range to try.

    Args:
        space: the user's ranges.
        results: all trials so far.
        top: the share of the trials that count as best, above 0 and at most 1.
        extend: move beyond an edge at which the best lie, by a quarter of the axis, for real
            numbers that fix no shape. Never below 0 from a range above it; a uniform range
            within 0..1 stays there.

    Raises:
        ValueError: if no trial is left to zoom in on, `top` is no such share, or the results
            lack a hyperparameter of `space`.

    >>> import numpy as np
    >>> import popjax as pj
    >>> space = pj.Space(x=pj.log_uniform(1e-4, 1))
    >>> points = space.sample(50)
    >>> loss = (np.log10(points["x"]) + 2) ** 2
    >>> narrow = pj.refine(space, pj.Results(points, {"loss": loss[:, None, None, None]}, pj.best("loss")))
    >>> 1e-3 < narrow["x"].low < 0.01 < narrow["x"].high < 0.1
    True
    """
    zoom = zoom_in(space, results.points, results.order, top, extend)
    for note in zoom.notes:
        LOG.warning(note)
    return zoom.space.possible()


def zoom_in(space: Space, points: Points, order: np.ndarray, top: float = 0.1, extend: bool = False) -> Zoom:
    """The Zoom of `refine`, from the points of all trials and the numbers of the ranked ones, best first."""
    if not 0 < top <= 1:
        raise ValueError(f"top={top}: give a share of the trials, such as 0.1")
    if len(order) == 0:
        what = "no trial was trained to the end without diverging: there is nothing to zoom in on"
        raise ValueError(f"{what}; train longer, or try smaller learning rates")
    best = best_share(order, len(next(iter(points.values()))), top)
    scales: dict[str, Scale] = {}
    notes = []
    for name, scale in space.items():
        if name not in points:
            raise ValueError(f"the results have no hyperparameter {name!r}; they have {', '.join(points)}")
        there = present(points[name])
        tried, good = points[name][there], points[name][best][there[best]]
        if len(good) == 0:  # inactive in all of the best
            continue
        if isinstance(scale, Range) and scale.low < scale.high:
            scales[name], note = narrower(scale, tried, good, extend)
            notes += [f"{name}: {note}"] if note else []
        elif isinstance(scale, Choice):
            used = set(good.tolist())
            values = [value for value in scale.values if value in used]
            scales[name] = Choice(*values, static=scale.static) if values else scale
    return Zoom(space.replace(**scales), notes)


def best_share(order: np.ndarray, trials: int, top: float = 0.1) -> np.ndarray:
    """The first of `order` (n,): a share `top` of so many trials, at least FEWEST."""
    return order[: max(math.ceil(top * trials), FEWEST)]


def narrower(scale: Range, tried: np.ndarray, best: np.ndarray, extend: bool) -> tuple[Range, str]:
    """The part of a scale that the best values span, and a note if they lie at its edge, else ""."""
    may_move = extend and not isinstance(scale, Integers) and not scale.static
    reach = stretched(scale, tried) if may_move else scale
    units = reach.to_unit(best)
    below, above = (float(np.mean(distance < EDGE)) > 0.5 for distance in (units, 1 - units))
    longer = lengthened(reach, below, above) if scale.levels >= FINE else reach
    note = ""
    if longer != reach:
        note = f"the best sit at the {'lower' if below else 'upper'} edge of {reach}"
        note += f"; {'extended, to' if may_move else 'try'} {advised(longer, best, below)}"
    if longer != reach and may_move:
        reach = longer
        units = np.append(reach.to_unit(best), 0.0 if below else 1.0)
    margin = max(np.ptp(units) / max(len(best) - 1, 1), 1 / len(set(tried.tolist())))
    low, high = reach.from_unit(np.clip([units.min() - margin, units.max() + margin], 0, 1)).tolist()
    return dataclasses.replace(reach, low=low, high=high), note


def stretched(scale: Range, tried: np.ndarray) -> Range:
    """The scale, extended to hold all tried values."""
    return dataclasses.replace(scale, low=min(scale.low, tried.min()), high=max(scale.high, tried.max()))


def lengthened(scale: Range, below: bool, above: bool) -> Range:
    """The scale, extended at an end by a quarter of its axis, within the bounds that `refine` names."""
    low, high = scale.along(-LONGER) if below else scale.low, scale.along(1 + LONGER) if above else scale.high
    if scale.low >= 0:
        low = max(low, min(scale.low, 1) if isinstance(scale, Integers) else 0)
    if scale.high <= 1 and type(scale) is Uniform:
        high = min(high, 1)
    return dataclasses.replace(scale, low=low, high=high)


def advised(longer: Range, best: np.ndarray, below: bool) -> Range:
    """The range to try, in three digits: that of the best values, and beyond the edge."""
    inside = np.clip(best, longer.low, longer.high)
    low, high = (longer.low, inside.max().item()) if below else (inside.min().item(), longer.high)
    return dataclasses.replace(longer, low=three_digits(longer, low), high=three_digits(longer, high))


def three_digits(scale: Range, value: float) -> float:
    """A value in three significant digits, those of 1-value on a log scale of 1-value; of Integers truncated."""
    if isinstance(scale, Integers):
        return int(value)
    if isinstance(scale, OneMinusLogUniform):
        return round(1 - float(f"{1 - value:.3g}"), 12)
    return float(f"{value:.3g}")
