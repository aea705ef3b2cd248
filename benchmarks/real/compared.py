"""The comparisons of the larger tables that were named before the final ones were looked at.

Of each, the mean over tables of the logarithm of popjax's loss over the peer's, with its 95 % interval, and a
one-sided t-test that it is below a bound, adjusted for the number of comparisons by Holm's method. Of two methods on a
table neither wins if the difference of their losses is at most its standard error: over the test rows, paired, from the
sums of the blocks of rows that `fit.py` kept (rows of a group or of a day are in one block).
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from measured import OURS
from scipy.stats import t as student
from tables import TABLES

BOUNDS = {"RealMLP-TD, bagged": 0.0, "CatBoost, bagged": 0.0, "CatBoost, tuned": 0.02, "AutoGluon, good": 0.02}
Line = dict[str, Any]


class Pair(NamedTuple):
    """popjax and a peer on a table.

    Attributes:
        table: its name.
        ratio: logarithm of popjax's loss over the peer's, of means over the splits that both have fitted.
        outcome: "win", "tie" or "loss"; "win" or "loss" if a fit has no blocks.
    """

    table: str
    ratio: float
    outcome: str


def pairs(lines: Iterable[Line], peer: str) -> list[Pair]:
    """popjax and a peer on each table of the lines that has fits of both."""
    fits = {(one["table"], one["split"], one["method"]): one for one in lines}
    found = []
    for table in dict.fromkeys(name for name, _, _ in fits):
        splits = [split for name, split, method in fits if (name, method) == (table, OURS)]
        both = [(fits[table, at, OURS], fits[table, at, peer]) for at in splits if (table, at, peer) in fits]
        if both:
            ours, theirs = (np.mean([fit["loss"] for fit in side]) for side in zip(*both, strict=True))
            outcome = "tie" if within_error(both) else "win" if ours < theirs else "loss"
            found.append(Pair(table, float(np.log(ours / theirs)), outcome))
    return found


def within_error(both: list[tuple[Line, Line]]) -> bool:
    """True if the mean difference over splits is at most its standard error.

    The splits share rows, so their errors do not average out: the error is the mean of theirs.
    """
    if not all("blocks" in fit for pair in both for fit in pair):
        return False
    known = [difference(ours["blocks"], theirs["blocks"]) for ours, theirs in both]
    means, errors = zip(*known, strict=True)
    return bool(abs(np.mean(means)) <= np.mean(errors))


def difference(ours: dict[str, list[float]], theirs: dict[str, list[float]]) -> tuple[float, float]:
    """The mean difference of two methods' losses over test rows, and its standard error over the blocks."""
    rows = np.array(ours["rows"])
    sums = np.array(ours["losses"]) - np.array(theirs["losses"])
    mean, blocks = sums.sum() / rows.sum(), len(rows)
    return mean, float(np.sqrt(blocks / (blocks - 1) * ((sums - mean * rows) ** 2).sum()) / rows.sum())


def holm(chances: dict[str, float]) -> dict[str, float]:
    """P-values adjusted for the number of comparisons (Holm 1979).

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'b': 0.06, 'c': 0.06}
    """
    found, highest = dict[str, float](), 0.0
    for place, name in enumerate(sorted(chances, key=lambda name: chances[name])):
        highest = max(highest, min(1.0, (len(chances) - place) * chances[name]))
        found[name] = highest
    return {name: found[name] for name in chances}


def chance(ratios: np.ndarray, bound: float) -> float:
    """P-value of a one-sided t-test that the mean is below a bound."""
    return float(student.cdf((ratios.mean() - bound) / (ratios.std(ddof=1) / len(ratios) ** 0.5), len(ratios) - 1))


def summary(name: str, compared: list[Pair]) -> str:
    """A line on some tables: the mean log ratio, its interval, and how many are won, tied and lost."""
    ratios, outcomes = np.array([pair.ratio for pair in compared]), [pair.outcome for pair in compared]
    spread = ratios.std(ddof=1) / len(ratios) ** 0.5 if len(ratios) > 1 else np.nan
    half = student.ppf(0.975, len(ratios) - 1) * spread
    counts = ", ".join(f"{outcomes.count(one)} {many}" for one, many in ENDS.items())
    return f"{name}: log ratio of losses {ratios.mean():+.3f} ± {half:.3f} over {len(compared)} tables; {counts}"


ENDS = {"win": "won", "tie": "tied", "loss": "lost"}


def show_compared(lines: list[Line]) -> None:
    """Print the comparisons, each also on the tables in time or in groups alone."""
    measured = {peer: compared for peer in BOUNDS if len(compared := pairs(lines, peer)) > 1}
    tests = {peer: chance(np.array([pair.ratio for pair in own]), BOUNDS[peer]) for peer, own in measured.items()}
    chances = holm(dict.fromkeys(BOUNDS, 1.0) | tests)  # of all that were named, also before each is measured
    for peer, own in measured.items():
        print(f"{summary(peer, own)}; below {BOUNDS[peer]:+.2f} with p = {chances[peer]:.3f} (Holm)")
        apart = [pair for pair in own if TABLES[pair.table].time or TABLES[pair.table].group]
        if apart:
            print(f"  {summary('in time or in groups', apart)}")
