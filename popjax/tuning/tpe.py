"""The sampler tpe: hyperparameters that the same trials have are asked for together. No JAX here."""

import math

import numpy as np

from popjax.scheduler import Trials
from popjax.space.coordinates import category_values, coordinates
from popjax.space.space import Space

GOOD, OTHERS = 100, 900  # trials at most, so that a point costs a millisecond however long the search is


def tpe(seed: int, n: int, trials: Trials, space: Space, epochs: int) -> dict[str, np.ndarray]:
    """The next n coordinates of each searched hyperparameter: like those of the best tenth, unlike the others'."""
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
    """The numbers of the good trials and of the others, ascending: the best tenth of who has begun, and the rest.

    The best are those that came furthest, of these those with the least loss; who diverged comes last. Who has not
    begun counts among the others, and of more than there may be it is a sample.
    """
    begun, pending = np.flatnonzero(trials.epochs > 0), np.flatnonzero(trials.epochs == 0)
    loss = trials.loss[begun]
    far = np.where(np.isfinite(loss), trials.epochs[begun], 0)
    good, others = np.split(begun[np.lexsort((loss, -far))], [min(math.ceil(len(begun) / 10), GOOD)])
    if len(others) > OTHERS:
        others = np.random.default_rng(seed).choice(others, OTHERS, replace=False)
    return np.sort(good), np.sort(np.concatenate([others, pending]))


def known_together(columns: dict[str, np.ndarray]) -> list[list[str]]:
    """The names, with those together that are there for the same trials."""
    groups: dict[bytes, list[str]] = {}
    for name, column in columns.items():
        groups.setdefault(np.isnan(column).tobytes(), []).append(name)
    return list(groups.values())
