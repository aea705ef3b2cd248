"""Hyperband: halvings with different first rungs, side by side (Li et al. 2018)."""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from popjax.scheduler import Decision, Problem, Scheduler, Trials
from popjax.space.space import Points
from popjax.tuning.schedulers.halving import check_rungs, halving, rungs_of
from popjax.tuning.schedulers.parts import part_of, renumbered


def hyperband(reduction_factor: int = 3, min_epochs: int = 1) -> Callable[[Problem], Scheduler]:
    """Divide the trials among halvings that begin at `min_epochs`, at reduction_factor times that, and so on.

    Some trials are compared early and some late, for when it is unknown how early good trials can be told; the last
    bracket trains all its trials to the end. Of B brackets, bracket s (B - 1, ..., 0), with s rungs below the last
    epoch, gets trials in proportion to `ceil(B / (s + 1) * reduction_factor**s)`, so that each bracket costs about
    the same. Algorithm 1 of Li et al. (2018), "Hyperband: a novel bandit-based approach to hyperparameter
    optimization", scaled to the trials of the search. Trials are assigned to brackets at random, by the seed.

    Args:
        reduction_factor: a whole number of at least 2.
        min_epochs: epoch of the first rung of the first bracket, at least 1.

    Raises ValueError for other numbers and, when called with a problem, for a first rung beyond the last epoch.

    >>> import popjax as pj
    >>> def epoch(x, hparams, data):
    ...     x = x - hparams["rate"] * x
    ...     return x, {"loss": x**2}
    >>> task = pj.Task(lambda key, hparams, data: 1.0, epoch, ())
    >>> results = pj.search(task, {"rate": pj.uniform(0, 1)}, trials=22, epochs=9, scheduler=pj.hyperband())
    >>> sorted(results.epochs_run.tolist())
    [1, 1, 1, 1, 1, 1, 1, 1, 3, 3, 3, 3, 3, 3, 9, 9, 9, 9, 9, 9, 9, 9]
    """
    check_rungs("hyperband", reduction_factor, min_epochs)
    return functools.partial(brackets_by, reduction_factor=int(reduction_factor), min_epochs=int(min_epochs))


def shares(trials: int, brackets: int, reduction_factor: int) -> np.ndarray:
    """Number of trials (brackets,) of each bracket, the one with the most rungs first.

    >>> shares(143, brackets=5, reduction_factor=3).tolist()  # as in table 1 of Li et al. (2018)
    [81, 34, 15, 8, 5]
    """
    rungs = np.arange(brackets - 1, -1, -1)
    weights = np.array([math.ceil(brackets / (s + 1) * reduction_factor**s) for s in rungs.tolist()])
    exact = trials * weights / weights.sum()
    counts = exact.astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: trials - counts.sum()]] += 1
    return counts


def brackets_by(problem: Problem, reduction_factor: int, min_epochs: int) -> Scheduler:
    """The scheduler of a problem. State: the bracket of each trial, and the state of each bracket's halving."""
    rungs = rungs_of(problem.epochs, reduction_factor, min_epochs)

    def inner(bracket: int, rows: np.ndarray, points: Points) -> Scheduler:
        own = {name: column[rows] for name, column in points.items()}
        part = problem._replace(trials=len(rows), propose=lambda n, trials=None, space=None: own)
        return halving(reduction_factor, rungs[bracket])(part)

    def begin(trials: Trials) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        points = problem.propose(problem.trials, trials)
        counts = shares(len(next(iter(points.values()))), len(rungs), reduction_factor)
        brackets = np.random.default_rng(problem.seed).permutation(np.repeat(np.arange(len(rungs)), counts))
        return {"brackets": brackets.tolist(), "inner": [0] * len(rungs)}, points

    def step(state: dict[str, Any], trials: Trials) -> tuple[dict[str, Any], Decision]:
        new: dict[str, np.ndarray] = {}
        if not state:
            state, new = begin(trials)
        points, states, until, notes = new or trials.points, list[int](), dict[int, int](), list[Any]()
        for bracket, asked in enumerate(state["inner"]):
            rows = np.flatnonzero(np.array(state["brackets"]) == bracket)
            if len(rows):
                scheduler = inner(bracket, rows, points)
                asked, decision = scheduler.step(asked, part_of(trials, rows if not new else rows[:0]))
                until |= renumbered(decision, rows).until
                notes.append(decision.notes)
            states.append(asked)
        known = {"brackets": notes, "rung": max(states), "rungs": len(rungs)}
        known |= {name: sum(note[name] for note in notes if note) for name in ("trials", "of")}
        known |= {"notes": next((note["notes"] for note in notes if note and "notes" in note), [])}  # of the earliest
        if equal := sum(note.get("tied", 0) for note in notes if note):
            known |= {"tied": equal}
        return state | {"inner": states}, Decision(add=new, until=dict(sorted(until.items())), notes=known)

    return Scheduler(dict, step)
