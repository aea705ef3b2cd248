"""The sampler "tpe": hyperparameters that are active in the same trials are sampled jointly. No JAX here."""

import math

import numpy as np

from popjax.scheduler import Trials
from popjax.space.points import category_values, coordinates
from popjax.space.space import Space

GOOD, OTHERS = 100, 900  # maximum number of trials, so that a point costs a millisecond in a search of any length


def tpe(seed: int, n: int, trials: Trials, space: Space, epochs: int) -> dict[str, np.ndarray]:
    """The next n coordinates (n,) of each searched hyperparameter: like the best tenth's, unlike the others'."""
    from popjax.space.parzen import parzen  # SciPy takes half a second

    columns = {name: coordinates(space[name], trials.points[name]) for name in space.searched}
    good, others = good_and_others(trials._replace(epochs=trials.reached(epochs)), seed)
    found: dict[str, np.ndarray] = {}
    for group, names in enumerate(known_together(columns)):
        table = np.stack([columns[name] for name in names], 1)
        have = ~np.isnan(table[:, 0])
        sizes = [len(category_values(space[name])) for name in names]
        points = parzen(n, table[good[have[good]]], table[others[have[others]]], sizes, [seed, group])
        found |= dict(zip(names, points.T, strict=True))
    return found


def good_and_others(trials: Trials, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the good trials and of the others, ascending: the best tenth of those that began, and the rest.

    More epochs are better, then a smaller loss; diverged trials are last. More than OTHERS others are sampled down;
    trials that have not begun are added to them.
    """
    begun, pending = np.flatnonzero(trials.epochs > 0), np.flatnonzero(trials.epochs == 0)
    loss = trials.loss[begun]
    far = np.where(np.isfinite(loss), trials.epochs[begun], 0)
    good, others = np.split(begun[np.lexsort((loss, -far))], [min(math.ceil(len(begun) / 10), GOOD)])
    if len(others) > OTHERS:
        others = np.random.default_rng(seed).choice(others, OTHERS, replace=False)
    return np.sort(good), np.sort(np.concatenate([others, pending]))


def known_together(columns: dict[str, np.ndarray]) -> list[list[str]]:
    """The names of columns, grouped by the trials in which they are active (not NaN)."""
    groups: dict[bytes, list[str]] = {}
    for name, column in columns.items():
        groups.setdefault(np.isnan(column).tobytes(), []).append(name)
    return list(groups.values())
