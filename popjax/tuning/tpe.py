"""The sampler "tpe": hyperparameters that are active in the same trials are sampled jointly. No JAX here."""

import math
from collections.abc import Callable

import numpy as np

from popjax.rule import Rule
from popjax.scheduler import Trials
from popjax.space.beliefs import density
from popjax.space.points import category_values, coordinates, units
from popjax.space.space import Space

GOOD, OTHERS = 100, 900  # maximum number of trials, so that a point costs a millisecond in a search of any length


def tpe(
    seed: int, n: int, trials: Trials, space: Space, epochs: int, rule: Rule | None = None, budget: int = 0
) -> dict[str, np.ndarray]:
    """The next n coordinates (n,) of each searched hyperparameter: like the best tenth's, unlike the others'.

    Beliefs of the space count as a factor of the ratio, to the power of a tenth of the `budget` of trials over the
    trials so far (Hvarfner et al. 2022, "PiBO: augmenting acquisition functions with user beliefs").
    """
    from popjax.space.parzen import parzen  # SciPy takes half a second

    columns = {name: coordinates(space[name], trials.points[name]) for name in space.searched}
    import os

    if os.environ.get("V", "1") == "1" or rule is None:
        good, others = good_and_others(trials._replace(epochs=trials.reached(epochs)), seed)
    else:
        good, others = at_level(trials, rule, epochs, seed)
    found: dict[str, np.ndarray] = {}
    for group, names in enumerate(known_together(columns)):
        table = np.stack([columns[name] for name in names], 1)
        have = ~np.isnan(table[:, 0])
        sizes = [len(category_values(space[name])) for name in names]
        prior = prior_of(space, names, budget / 10 / len(trials.epochs))
        points = parzen(n, table[good[have[good]]], table[others[have[others]]], sizes, [seed, group], prior)
        found |= dict(zip(names, points.T, strict=True))
    return found


def at_level(trials, rule, epochs, seed):
    import os

    v, enough, share = os.environ["V"], int(os.environ.get("ENOUGH", "32")), float(os.environ.get("SHARE", "0.1"))
    from popjax.rules.checking import order_of

    reached = trials.reached(epochs)
    finite = np.isfinite(trials.loss)
    level = next(
        (e for e in np.unique(reached[finite])[::-1].tolist() if (finite & (reached >= e)).sum() >= enough and e > 0),
        None,
    )
    if level is None:
        return good_and_others(trials._replace(epochs=reached), seed)
    rows = np.flatnonzero(finite & (reached >= level))
    values = {name: curve[rows, level - 1] for name, curve in trials.values.items()}
    order = rows[order_of(rule, values | {name: cost[rows] for name, cost in trials.costs.items()})]
    good, rest = np.split(order, [min(math.ceil(len(order) * share), GOOD)])
    diverged, pending = np.flatnonzero(~finite & (trials.epochs > 0)), np.flatnonzero(trials.epochs == 0)
    short = np.flatnonzero(finite & (trials.epochs > 0) & (reached < level)) if v == "3" else np.zeros(0, int)
    others = np.concatenate([rest, short, diverged])
    if len(others) > OTHERS:
        others = np.random.default_rng(seed).choice(others, OTHERS, replace=False)
    return np.sort(good), np.sort(np.concatenate([others, pending]))


def prior_of(space: Space, names: list[str], power: float) -> Callable[[np.ndarray], np.ndarray] | None:
    """Logarithm (n,) of what the space's beliefs are at coordinates (n, names), times `power`; None without beliefs."""
    beliefs = {name: space.beliefs[name] for name in names if name in space.beliefs}

    def prior(points: np.ndarray) -> np.ndarray:
        places = {name: units(space[name], points[:, names.index(name)]) for name in beliefs}
        return np.asarray(power * np.log(density(beliefs, space, places)))

    return prior if beliefs else None


def good_and_others(trials: Trials, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the good trials and of the others, ascending: the best tenth of those that began, and the rest.

    Feasible trials are better, then more epochs, then a smaller loss; diverged trials are last. More than OTHERS others
    are sampled down; trials that have not begun are added to them.
    """
    begun, pending = np.flatnonzero(trials.epochs > 0), np.flatnonzero(trials.epochs == 0)
    loss = trials.loss[begun]
    infeasible = ~trials.feasible[begun] | ~np.isfinite(loss)
    far = np.where(np.isfinite(loss), trials.epochs[begun], 0)
    good, others = np.split(begun[np.lexsort((loss, -far, infeasible))], [min(math.ceil(len(begun) / 10), GOOD)])
    if len(others) > OTHERS:
        others = np.random.default_rng(seed).choice(others, OTHERS, replace=False)
    return np.sort(good), np.sort(np.concatenate([others, pending]))


def known_together(columns: dict[str, np.ndarray]) -> list[list[str]]:
    """The names of columns, grouped by the trials in which they are active (not NaN)."""
    groups: dict[bytes, list[str]] = {}
    for name, column in columns.items():
        groups.setdefault(np.isnan(column).tobytes(), []).append(name)
    return list(groups.values())
