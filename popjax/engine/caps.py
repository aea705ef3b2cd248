"""Width caps: where widths differ much, a few programs, each with no more room than its members need.

A program makes room for the widest layer that its scales allow, and every member pays for all
of it. The number of caps and their values follow from the space alone, never from which trials
train or their number, so that no member's bits depend on the others.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from popjax.space.space import Points, Space, take

Caps = dict[str, int]  # width -> the most units
MEMBERS = 256  # in a run of the usual size
WORTH = 0.9  # another plan must take at most this share of one program's time
STEPS = 13  # candidates, each narrower than the last by the square root of 2: down to a 64th


def candidates(space: Space, widths: tuple[str, ...]) -> list[Caps]:
    """Caps to choose from, ascending; the last are the scales' upper ends."""
    distinct: list[Caps] = []
    for step in range(STEPS):
        limits = {name: int(space[name].high * 2 ** (-step / 2)) for name in widths}
        if any(limit < space[name].low for name, limit in limits.items()):
            break
        caps = {name: space[name].up_to(limit).high for name, limit in limits.items()}
        if caps not in distinct:
            distinct.append(caps)
    return distinct[::-1]


def levels(points: Points, caps: list[Caps]) -> np.ndarray:
    """Int (trials,): index of the first of the ascending `caps` that hold all of a point's widths; 0 without caps."""
    trials = len(next(iter(points.values())))
    fits = np.ones((len(caps), trials), bool)
    for level, cap in enumerate(caps):
        for name, units in cap.items():
            fits[level] &= points[name].astype(int) <= units
    return fits.argmax(0) if caps else np.zeros(trials, int)


def caps_fit(caps: Any, space: Space) -> bool:
    """True if `caps`, read from a file, are ascending caps of widths of the space, the last at their upper ends."""
    if not isinstance(caps, list) or not all(isinstance(cap, dict) for cap in caps):
        return False
    columns = {name: [cap.get(name) for cap in caps] for cap in caps for name in cap}
    return all(
        name in space
        and space[name].whole
        and all(type(units) is int for units in column)
        and column == sorted(column)
        and (space[name].low <= column[0] and column[-1] == space[name].high)
        for name, column in columns.items()
    )


def choose(
    space: Space, widths: tuple[str, ...], seconds: Callable[[Points, Caps], float], program: float
) -> list[Caps]:
    """The caps that take the least time in a run of the usual size, ascending; only the largest where more do not pay.

    Args:
        widths: the hyperparameters that are widths of layers; without any there are no caps.
        seconds: `(points, caps) -> seconds` to train these points in one program with that room.
        program: seconds to compile one program more.
    """
    ascending = candidates(space, widths) if widths else []
    if not ascending:
        return []
    points = space.filled(space.sample(MEMBERS))
    need = levels(points, ascending)

    def together(first: int, end: int) -> float:
        """Seconds of one program for the points with a level in first..end-1."""
        rows = np.flatnonzero((need >= first) & (need < end))
        return program + (seconds(take(points, rows), ascending[end - 1]) if len(rows) else 0.0)

    best: list[tuple[float, list[Caps]]] = [(0.0, [])]  # (seconds, caps) for the first 0, 1, ... candidates
    for end in range(1, len(ascending) + 1):
        ways = [(best[first][0] + together(first, end), first) for first in range(end)]
        least, first = min(ways)
        best.append((least, [*best[first][1], ascending[end - 1]]))
    least, chosen = best[-1]
    return chosen if least <= WORTH * together(0, len(ascending)) else ascending[-1:]
