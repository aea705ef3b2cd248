"""Population-based training: changed copies of the best replace the worst (Jaderberg et al. 2017)."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from popjax.core.counts import check_count
from popjax.scheduler import Decision, Problem, Scheduler, Trials, best_first
from popjax.space.space import Space, take
from popjax.space.values import absent, is_number

EVERYWHERE = np.ones(1, bool)
STREAM = 3  # of random numbers, apart from those of the sampler and of points to start from
TRIES = 10  # times that values are drawn until they satisfy the constraints of the space


def pbt(
    interval: int = 1,
    quantile: float = 0.2,
    resample: float = 0.25,
    factors: Sequence[float] = (0.8, 1.2),
    warmup: int = 2,
) -> Callable[[Problem], Scheduler]:
    """Train all trials side by side; at intervals the worst go on as copies of the best, changed a little.

    Every `interval` epochs, within each bucket, the worst `quantile` of the trials, and all that diverged, are
    overwritten by one of the best `quantile` each, drawn at random: weights, optimizer and hyperparameters (truncation
    selection, Jaderberg et al. 2017, "Population based training of neural networks"). A copy has its own random keys.
    Each of its hyperparameters is then drawn anew with probability `resample`, or else multiplied by one of the
    `factors` (see `Scale.scaled`), never beyond its range. Static hyperparameters are copied unchanged.

    So a trial's hyperparameters change while it trains: `Results.history` has those of each epoch, `history.parquet`
    stores them, and a trial's bits depend on the whole population. It pays where the best setting changes during
    training, as in reinforcement learning; for a short supervised search `halving` finds as good a model for less.

    Args:
        interval: epochs between two selections, at least 1.
        quantile: share of the trials that is overwritten, above 0 and at most 0.5; at least one trial.
        resample: probability that a hyperparameter is drawn anew, 0 to 1.
        factors: numbers above 0.
        warmup: minimum number of epochs before the first selection.

    Raises ValueError for other numbers and, when called with a problem, if no selection comes before the last epoch.

    >>> import popjax as pj
    >>> def epoch(x, hparams, data):
    ...     return x - hparams["rate"] * x, {"loss": x**2}
    >>> task = pj.Task(lambda key, hparams, data: 1.0, epoch, ())
    >>> results = pj.search(task, {"rate": pj.uniform(0, 1)}, trials=10, epochs=6, scheduler=pj.pbt())
    >>> results.history.of(results.best.trial)["rate"].shape
    (6,)
    """
    check_selection(interval, quantile, resample, factors, warmup)
    chosen = tuple(float(factor) for factor in factors)
    return functools.partial(
        selections,
        interval=int(interval),
        quantile=float(quantile),
        resample=float(resample),
        factors=chosen,
        warmup=int(warmup),
    )


def selections(
    problem: Problem, interval: int, quantile: float, resample: float, factors: tuple[float, ...], warmup: int
) -> Scheduler:
    """The scheduler of a problem. State: int, the epoch that all trials train to."""
    first = max(warmup, interval)
    if first >= problem.epochs:
        what = f"the first selection comes after {first} epochs, and the last epoch is {problem.epochs}"
        raise ValueError(f"pbt(interval={interval}, warmup={warmup}): {what}; train longer, or give less")

    def step(reached: int, trials: Trials) -> tuple[int, Decision]:
        if reached == 0:
            points = problem.propose(problem.trials, trials)
            count = len(next(iter(points.values())))
            return first, Decision(add=points, until=dict.fromkeys(range(count), first), notes=pbt_notes(first, 0))
        if reached == problem.epochs:
            return reached, Decision()
        copy = dict[int, int]()
        here = (trials.epochs == reached) & ~trials.stopped & ~trials.complete
        for bucket in np.unique(trials.bucket).tolist():
            order = ranked_now(problem, trials, here & (trials.bucket == bucket), reached)
            copy |= copies_of(problem.seed, reached, *order, quantile)
        explore = functools.partial(explored, problem, trials, resample, factors, reached)
        goal = min(reached + interval, problem.epochs)
        until = dict.fromkeys(np.flatnonzero(here).tolist(), goal)
        changed = {target: explore(target, source) for target, source in copy.items()}
        notes = pbt_notes(goal, len(copy), sorted(copy.values()))
        return goal, Decision(copy=copy, fresh=tuple(copy), set=changed, until=until, notes=notes)

    return Scheduler(lambda: 0, step)


def ranked_now(problem: Problem, trials: Trials, among: np.ndarray, epoch: int) -> tuple[list[int], list[int]]:
    """The trials `among` bool (trials,) with finite metrics, best first after the epoch, and the diverged ones."""
    order = best_first(problem, trials, epoch, present=True)
    order = order[among[order]]
    return order.tolist(), np.setdiff1d(np.flatnonzero(among), order).tolist()


def copies_of(seed: int, epoch: int, order: list[int], diverged: list[int], quantile: float) -> dict[int, int]:
    """Target -> source: the worst and the diverged trials, each with one of the best drawn at random."""
    count = len(order) + len(diverged)
    share = min(math.ceil(quantile * count), count // 2)
    sources = order[:share]
    if not sources:
        return {}
    first_of_worst = max(min(count - share, len(order)), len(sources))  # none of which is a source
    targets = order[first_of_worst:] + diverged
    return {target: sources[stream(seed, epoch, target, 0).integers(len(sources))] for target in sorted(targets)}


def explored(
    problem: Problem,
    trials: Trials,
    resample: float,
    factors: tuple[float, ...],
    epoch: int,
    target: int,
    source: int,
) -> dict[str, Any]:
    """Name -> new value of a copy's hyperparameters; one that becomes active with them is drawn anew.

    Values that violate a constraint of the space are drawn again, ten times; then the source's stay.
    """
    space, purposes = problem.space, 1 + len(problem.space.searched)
    for again in range(TRIES if space.constraints else 1):
        draws = {
            name: stream(problem.seed, epoch, target, 1 + number + again * purposes)
            for number, name in enumerate(space.searched)
        }
        values, point = drawn_anew(space, trials, resample, factors, source, draws)
        if not space.violated(point).any():
            return values
    return {}


def drawn_anew(
    space: Space,
    trials: Trials,
    resample: float,
    factors: tuple[float, ...],
    source: int,
    streams: Mapping[str, np.random.Generator],
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Name -> new value of a copy of `source`, drawn from the stream of its name, and the copy's point (1,)."""
    drawn = dict[str, Any]()
    now = take(trials.points, np.array([source]))
    parents_first = [n for n in space.searched if n not in space.conditions] + list(space.conditions)
    for name in parents_first:
        if name in space.searched and name in trials.settable and space.active(now).get(name, EVERYWHERE).all():
            scale, draws = space[name], streams[name]
            anew, unit, which = draws.random(), draws.random(), draws.integers(len(factors))
            value = now[name].tolist()[0]
            other = anew < resample or absent(value)
            drawn[name] = scale.from_unit(unit) if other else scale.scaled(value, factors[which])
            now[name] = np.array([drawn[name]])
    return drawn, space.masked(now)


def stream(seed: int, epoch: int, trial: int, purpose: int) -> np.random.Generator:
    """The random generator of one trial, epoch and purpose."""
    return np.random.default_rng([seed, epoch, trial, purpose, STREAM])


def pbt_notes(epoch: int, copied: int, sources: Sequence[int] = ()) -> dict[str, Any]:
    """The log's notes on a selection: the epoch to train to, and the numbers of copies and of different sources."""
    return {"epoch": epoch, "copied": copied, "of": len(set(sources))}


def check_selection(interval: Any, quantile: Any, resample: Any, factors: Any, warmup: Any) -> None:
    """Raise ValueError for arguments that `pbt` does not allow."""
    for name, value, low in (("interval", interval, 1), ("warmup", warmup, 0)):
        check_count(f"pbt: {name}", value, low)
    if not is_number(quantile) or not 0 < quantile <= 0.5:
        raise ValueError(f"pbt: quantile={quantile!r}; give a share above 0 and at most 0.5")
    if not is_number(resample) or not 0 <= resample <= 1:
        raise ValueError(f"pbt: resample={resample!r}; give a probability, 0 to 1")
    several = isinstance(factors, Sequence) and not isinstance(factors, str) and len(factors) > 0
    if not several or not all(is_number(factor) and 0 < factor < np.inf for factor in factors):
        raise ValueError(f"pbt: factors={factors!r}; give numbers above 0, such as (0.8, 1.2)")
