"""Successive halving: train all trials a little, the best of them on, and so on (Jamieson and Talwalkar 2016)."""

import functools
from collections.abc import Callable
from typing import Any

from popjax.core.counts import check_count
from popjax.core.text import plural
from popjax.scheduler import Decision, Problem, Scheduler, Trials, tie_text, tied
from popjax.tuning.schedulers.asynchronous import at_rung, in_batches


def halving(reduction_factor: int = 2, min_epochs: int = 2) -> Callable[[Problem], Scheduler]:
    """Train all trials to a first rung, the best of each rung to the next, and the last of them to the end.

    The rungs are `min_epochs * reduction_factor**i` below the last epoch, and the last epoch. Of n trials at a
    rung the best ceil(n / reduction_factor) go on, or all that did not diverge if these are fewer; the others are
    pruned. Algorithm 1 of Jamieson and Talwalkar (2016), "Non-stochastic best arm identification and hyperparameter
    optimization", with rungs in epochs.

    With a sampler that learns, trials are added in batches, of which each is proposed from all that is known, while
    earlier ones train on: see `popjax.tuning.schedulers.asynchronous`.

    A learning rate that falls towards the last epoch (schedule "cosine") needs no adjustment: its horizon is the last
    epoch of the search for all trials. If a warm-up may last until the first rung or longer, that rung compares
    models that have hardly begun: a note says so.

    Args:
        reduction_factor: a whole number of at least 2.
        min_epochs: epoch of the first rung, at least 1.

    Raises ValueError for other numbers and, when called with a problem, for a first rung beyond the last epoch.

    >>> import popjax as pj
    >>> def epoch(x, hparams, data):
    ...     return x - hparams["rate"] * x, {"loss": x**2}
    >>> task = pj.Task(lambda key, hparams, data: 1.0, epoch, ())
    >>> results = pj.search(task, {"rate": pj.uniform(0, 1)}, trials=8, epochs=6, scheduler=pj.halving())
    >>> sorted(results.epochs_run.tolist())
    [2, 2, 2, 2, 4, 4, 6, 6]
    """
    check_rungs("halving", reduction_factor, min_epochs)
    return functools.partial(rungs_by, reduction_factor=int(reduction_factor), min_epochs=int(min_epochs))


def rungs_by(problem: Problem, reduction_factor: int, min_epochs: int) -> Scheduler:
    """The scheduler of a problem. State: int, the number of rungs asked for."""
    rungs = rungs_of(problem.epochs, reduction_factor, min_epochs)
    if problem.batches:
        return in_batches(problem, rungs, reduction_factor, warnings(problem, rungs))

    def step(asked: int, trials: Trials) -> tuple[int, Decision]:
        if asked == 0:
            points = problem.propose(problem.trials, trials)
            count = len(next(iter(points.values())))
            notes = rung_notes(rungs, 0, count, count) | {"notes": warnings(problem, rungs)}
            return 1, Decision(add=points, until=dict.fromkeys(range(count), rungs[0]), notes=notes)
        if asked == len(rungs):
            return asked, Decision()
        last = rungs[asked - 1]
        order, cut = at_rung(problem, trials, last, reduction_factor)
        on = sorted(order[:cut].tolist())
        notes = rung_notes(rungs, asked, len(on), int((trials.epochs >= last).sum()))
        if count := ties(last, trials):
            tied = any(ties(rung, trials) for rung in rungs[: asked - 1])
            notes |= {"tied": count} | ({} if tied else {"notes": [tie_text(count, last)]})
        return asked + 1, Decision(until=dict.fromkeys(on, rungs[asked]), notes=notes)

    def ties(rung: int, trials: Trials) -> int:
        return tied(problem, trials, *at_rung(problem, trials, rung, reduction_factor), rung)

    return Scheduler(lambda: 0, step)


def takes_batches(scheduler: Any) -> bool:
    """True for a scheduler that adds trials in the batches of its problem.

    >>> takes_batches(halving()), takes_batches(None)
    (True, False)
    """
    return isinstance(scheduler, functools.partial) and scheduler.func is rungs_by


def rung_notes(rungs: list[int], rung: int, trials: int, of: int) -> dict[str, Any]:
    """The log's notes on a rung: `trials` of `of` trials train to it."""
    return {"rung": rung + 1, "rungs": len(rungs), "trials": trials, "of": of, "epoch": rungs[rung]}


def rungs_of(epochs: int, reduction_factor: int, min_epochs: int) -> list[int]:
    """The epochs of the rungs, ascending, the last epoch included; raises ValueError for a first one beyond it.

    >>> rungs_of(20, 2, 2)
    [2, 4, 8, 16, 20]
    """
    if min_epochs > epochs:
        raise ValueError(f"min_epochs={min_epochs}: the last epoch is {epochs}; give at most that")
    rungs = []
    while min_epochs < epochs:
        rungs.append(min_epochs)
        min_epochs *= reduction_factor
    return [*rungs, epochs]


def check_rungs(name: str, reduction_factor: int, min_epochs: int) -> None:
    """Raise ValueError for a reduction_factor that is no int of at least 2, or min_epochs of at least 1."""
    for argument, value, low in (("reduction_factor", reduction_factor, 2), ("min_epochs", min_epochs, 1)):
        check_count(f"{name}: {argument}", value, low)


def warnings(problem: Problem, rungs: list[int]) -> list[str]:
    """Warnings about these rungs for the user: of a warm-up that may outlast the first one."""
    scale = problem.space.get("warmup")
    if scale is None or not scale.numeric or scale.high < rungs[0] or rungs[0] == problem.epochs:
        return []
    first = plural(rungs[0], "epoch")
    return [f"warmup={scale}: the first rung, after {first}, compares models that still warm up; raise min_epochs"]
