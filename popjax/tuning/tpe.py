"""The sampler "tpe": hyperparameters that are active in the same trials are sampled jointly. No JAX here."""

import math
from collections.abc import Callable

import numpy as np

from popjax.rule import Rule
from popjax.rules.checking import loss_of
from popjax.scheduler import Trials
from popjax.space.beliefs import density
from popjax.space.points import category_values, coordinates, units
from popjax.space.space import Space

ENOUGH = 32  # trials, to be compared after the same epoch
GOOD, OTHERS = 100, 900  # maximum number of trials, so that a point costs a millisecond in a search of any length


def tpe(seed: int, n: int, trials: Trials, space: Space, epochs: int, rule: Rule, budget: int) -> dict[str, np.ndarray]:
    """The next n coordinates (n,) of each searched hyperparameter: like the best tenth's, unlike the others'.

    Beliefs of the space count as a factor of the ratio, to the power of a tenth of the `budget` of trials over the
    trials so far (Hvarfner et al. 2022, "PiBO: augmenting acquisition functions with user beliefs").
    """
    from popjax.space.parzen import parzen  # SciPy takes half a second

    columns = {name: coordinates(space[name], trials.points[name]) for name in space.searched}
    good, others = good_and_others(trials._replace(epochs=trials.reached(epochs)), seed, rule)
    proposed: dict[str, np.ndarray] = {}
    for group, names in enumerate(known_together(columns)):
        table = np.stack([columns[name] for name in names], 1)
        have = ~np.isnan(table[:, 0])
        sizes = [len(category_values(space[name])) for name in names]
        prior = prior_of(space, names, budget / 10 / len(trials.epochs))
        points = parzen(n, table[good[have[good]]], table[others[have[others]]], sizes, [seed, group], prior)
        proposed |= dict(zip(names, points.T, strict=True))
    return proposed


def prior_of(space: Space, names: list[str], power: float) -> Callable[[np.ndarray], np.ndarray] | None:
    """Logarithm (n,) of what the space's beliefs are at coordinates (n, names), times `power`; None without beliefs."""
    beliefs = {name: space.beliefs[name] for name in names if name in space.beliefs}

    def prior(points: np.ndarray) -> np.ndarray:
        places = {name: units(space[name], points[:, names.index(name)]) for name in beliefs}
        return np.asarray(power * np.log(density(beliefs, space, places)))

    return prior if beliefs else None


def good_and_others(trials: Trials, seed: int, rule: Rule) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the good trials and of the others, ascending: the best tenth, and the rest.

    Trials are compared after the largest epoch that ENOUGH of them have reached (Falkner et al. 2018, "BOHB"), those
    that a scheduler left before it not at all; before there is one, feasible trials are better, then more epochs, then
    a smaller loss. Diverged trials are last. More than OTHERS others are sampled down; trials that have
    not begun are added to them.
    """
    pending, lost = np.flatnonzero(trials.epochs == 0), np.isinf(trials.loss) & (trials.epochs > 0)
    level = common_epoch(trials)
    if level is None:
        begun = np.flatnonzero(trials.epochs > 0)
        infeasible = ~trials.feasible[begun] | lost[begun]
        far = np.where(lost[begun], 0, trials.epochs[begun])
        ranked = begun[np.lexsort((trials.loss[begun], -far, infeasible))]
    else:
        rows = np.flatnonzero(np.isfinite(trials.loss) & (trials.epochs >= level))
        values = {name: curve[rows, level - 1] for name, curve in trials.values.items()}
        loss = loss_of(rule, values | {name: cost[rows] for name, cost in trials.costs.items()})
        ranked = np.concatenate([rows[np.argsort(loss, kind="stable")], np.flatnonzero(lost)])
    good, others = np.split(ranked, [min(math.ceil(len(ranked) / 10), GOOD)])
    if len(others) > OTHERS:
        others = np.random.default_rng(seed).choice(others, OTHERS, replace=False)
    return np.sort(good), np.sort(np.concatenate([others, pending]))


def common_epoch(trials: Trials) -> int | None:
    """The largest epoch that ENOUGH trials have reached and did not diverge; None if there is none."""
    reached = np.sort(trials.epochs[np.isfinite(trials.loss) & (trials.epochs > 0)])[::-1]
    return int(reached[ENOUGH - 1]) if len(reached) >= ENOUGH else None


def known_together(columns: dict[str, np.ndarray]) -> list[list[str]]:
    """The names of columns, grouped by the trials in which they are active (not NaN)."""
    groups: dict[bytes, list[str]] = {}
    for name, column in columns.items():
        groups.setdefault(np.isnan(column).tobytes(), []).append(name)
    return list(groups.values())
