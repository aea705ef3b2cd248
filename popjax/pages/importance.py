"""The importance of hyperparameters in results, and where the best trials are in two of them. No JAX here."""

import math
from typing import NamedTuple

import numpy as np

from popjax.pages.axes import Axis, axes
from popjax.pages.ped_anova import CELLS, Kernels, density, divergence, grid_cells, of_choice, of_range
from popjax.space.points import category_values
from popjax.space.scales import LogIntegers
from popjax.store.results import Results

MOST = 10  # squares along an axis
FEW = 5  # trials of the best tenth, from which two hyperparameters are looked at together
DRAWS = 20


class Pair(NamedTuple):
    """Two hyperparameters together.

    Attributes:
        axes: the two, across and upwards.
        best: how many of a square's trials are among the best tenth (squares across, squares upwards).
        every: how many trials are in a square.
        combined: the share of what the two decide, 0 to 1, that is in how they are combined: what is lost where one of
            them is exchanged among the best trials.
    """

    axes: tuple[Axis, Axis]
    best: np.ndarray
    every: np.ndarray
    combined: float


def importance(results: Results) -> dict[str, float]:
    """Name -> importance of each varied hyperparameter, in the order of the space; they sum to 1.

    PED-ANOVA (Watanabe et al. 2023, arXiv 2304.10255) compares the distribution of the best tenth of the trials with
    that of all. It uses ranks, so a loss of 1e30 weighs no more than any other bad one. Coordinates are those of the
    scales; a diverged trial counts as the worst, a pruned one as worse than those trained further. A hyperparameter
    that not all trials have is compared within those that have it, weighted by how many of the best do (arXiv
    2601.20800). Empty if there is nothing to compare.

    >>> import popjax as pj
    >>> from popjax.space.scales import log_uniform, uniform
    >>> from popjax.space.space import Space
    >>> space = Space(x=log_uniform(1e-4, 1), y=uniform(0, 1))
    >>> points = space.sample(200)
    >>> loss = (np.log10(points["x"]) + 2)[:, None, None, None] ** 2
    >>> shares = importance(Results(points, {"loss": loss}, pj.best("loss"), run={"space": space.to_dict()}))
    >>> shares["x"] > 0.8
    True
    """
    best = among_the_best(results)
    shares = {axis.name: decided(axis, best) for axis in axes(results) if axis.varied} if not best.all() else {}
    total = sum(shares.values())
    return {name: share / total for name, share in shares.items()} if total > 0 else {}


def decided(axis: Axis, best: np.ndarray) -> float:
    """The divergence of the best trials, `best` (trials,), from all in a hyperparameter, among those that have it."""
    there = np.array([value is not None for value in axis.values])
    if there.sum() < 2 or not (best & there).any():
        return 0.0
    counts = [counts_of(axis, best & there), counts_of(axis, there)]
    weight = (best & there).sum() ** 2 / there.sum()
    return float(weight * divergence(*(density(count, kernels(axis, count)) for count in counts)))


def interaction(results: Results) -> Pair | None:
    """The two hyperparameters that matter most, among the trials that have both; None if few of the best do."""
    shares, known = importance(results), {axis.name: axis for axis in axes(results)}
    matter = sorted((name for name in shares if shares[name] > 0), key=lambda name: -shares[name])
    if len(matter) < 2:
        return None
    pair = across, upwards = known[matter[0]], known[matter[1]]
    there = np.array([None not in values for values in zip(across.values, upwards.values, strict=True)])
    best = among_the_best(results) & there
    if best.sum() < FEW or best.sum() == there.sum():
        return None
    rows, rng = np.flatnonzero(best), np.random.default_rng(0)
    every = joint(pair, np.flatnonzero(there), np.flatnonzero(there))
    whole = divergence(joint(pair, rows, rows), every)
    apart = np.mean([divergence(joint(pair, rows, rng.permutation(rows)), every) for _ in range(DRAWS)])
    return Pair(pair, squares(pair, best), squares(pair, there), max(0.0, 1 - float(apart) / whole))


def joint(pair: tuple[Axis, Axis], across: np.ndarray, upwards: np.ndarray) -> np.ndarray:
    """The density (*cells) of the first axis' values in trials `across` and the second's in trials `upwards`."""
    counts = np.zeros([cells_along(axis) for axis in pair], int)
    np.add.at(counts, (places(pair[0])[across], places(pair[1])[upwards]), 1)
    return density(counts, kernels(pair[0], counts.sum(1)), kernels(pair[1], counts.sum(0)))


def squares(pair: tuple[Axis, Axis], chosen: np.ndarray) -> np.ndarray:
    """How many of the chosen trials (trials,) are in each square (across, upwards)."""
    sides = [side(axis, len(chosen)) for axis in pair]
    cells = [np.minimum(axis.units[chosen] * n, n - 1).astype(int) for axis, n in zip(pair, sides, strict=True)]
    counts = np.zeros(sides, int)
    np.add.at(counts, tuple(cells), 1)
    return counts


def side(axis: Axis, trials: int) -> int:
    """The number of squares along an axis: its values if they are few and equally wide, else about ten trials each."""
    wanted = round(np.clip(math.sqrt(trials / 10), 3, MOST))
    few = axis.scale.levels <= MOST and not isinstance(axis.scale, LogIntegers)
    return int(axis.scale.levels) if few else wanted


def counts_of(axis: Axis, chosen: np.ndarray) -> np.ndarray:
    """How many of the chosen trials (trials,) are in each cell of an axis (cells,)."""
    return np.bincount(places(axis)[chosen], minlength=cells_along(axis))


def places(axis: Axis) -> np.ndarray:
    """The cell of each trial (trials,); that of a trial without a value means nothing."""
    units, choices = np.nan_to_num(axis.units), len(category_values(axis.scale))
    return (units * choices).astype(int) if choices else grid_cells(units)


def cells_along(axis: Axis) -> int:
    """The number of cells of an axis."""
    return len(category_values(axis.scale)) or CELLS


def kernels(axis: Axis, counts: np.ndarray) -> Kernels:
    """The kernels of points that are counted in the cells of an axis (cells,)."""
    return of_choice(counts) if category_values(axis.scale) else of_range(counts)


def among_the_best(results: Results) -> np.ndarray:
    """True (trials,) for the best tenth of the trials, and those that are as good as its last one."""
    return results.places <= np.sort(results.places)[math.ceil(len(results.places) / 10) - 1]
