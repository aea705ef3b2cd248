"""Successive halving of trials that come in batches: earlier ones train on beside each new one.

The rule is that of Li et al. (2020), "A system for massively parallel hyperparameter tuning" (ASHA), in steps that all
trials share, so that decisions follow from the data alone.
"""

import itertools
import math
from typing import Any

import numpy as np

from popjax.scheduler import Decision, Problem, Scheduler, Trials, best_first, tie_text, tied


def in_batches(problem: Problem, rungs: list[int], reduction_factor: int, warned: list[str]) -> Scheduler:
    """Each step adds a batch of the problem's, and lets trials of each rung go on to the next.

    A trial goes on if it is among the best 1/`reduction_factor` of all that have reached its rung so far, also later
    than it arrived: the more good trials come, the more of them go on. After the last batch the search ends when no
    trial goes on. State: `added`, the number of batches added, and `told`, True once a cut fell among equal trials.

    Args:
        problem: the problem, with `batches`.
        rungs: epochs, ascending, the last epoch included.
        reduction_factor: a whole number of at least 2.
        warned: notes of the first decision.
    """
    sizes = problem.batches

    def step(state: dict[str, Any], trials: Trials) -> tuple[dict[str, Any], Decision]:
        number, told, add = state["added"], state["told"], {}
        until, ties = promoted(problem, trials, rungs, reduction_factor)
        lines = [*(warned if number == 0 else []), *([tie_text(*ties[0])] if ties and not told else [])]
        notes = {"rungs": len(rungs), "on": len(until), "notes": lines}
        if ties:
            notes |= {"tied": sum(equal for equal, _ in ties)}
        if number < len(sizes):
            count = len(trials.epochs)
            add = problem.propose(sizes[number], trials)
            until |= dict.fromkeys(range(count, count + sizes[number]), rungs[0])
            notes |= {"round": number, "rounds": len(sizes), "space": problem.space.to_dict()}
        after = {"added": min(number + 1, len(sizes)), "told": told or bool(ties)}
        return after, Decision(add=add, until=dict(sorted(until.items())), notes=notes) if until else Decision()

    return Scheduler(lambda: {"added": 0, "told": False}, step)


def promoted(
    problem: Problem, trials: Trials, rungs: list[int], reduction_factor: int
) -> tuple[dict[int, int], list[tuple[int, int]]]:
    """Trial -> its next rung, of those that go on; and of each cut among equal trials their number and its epoch."""
    until, ties = dict[int, int](), list[tuple[int, int]]()
    for rung, following in itertools.pairwise(rungs if len(trials.epochs) else ()):
        order, cut = at_rung(problem, trials, rung, reduction_factor)
        if equal := tied(problem, trials, order, cut, rung):
            ties.append((equal, rung))
        top = order[:cut]
        until |= dict.fromkeys(top[trials.epochs[top] == rung].tolist(), following)
    return until, ties


def at_rung(problem: Problem, trials: Trials, rung: int, reduction_factor: int) -> tuple[np.ndarray, int]:
    """The trials that reached a rung's epoch, best first, without stopped ones; and how many of them may go on."""
    order = best_first(problem, trials, rung)
    return order[~trials.stopped[order]], math.ceil(int((trials.epochs >= rung).sum()) / reduction_factor)
