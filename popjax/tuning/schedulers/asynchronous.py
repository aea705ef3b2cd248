"""Successive halving of trials that come in batches: earlier ones train on beside each new one.

The rule is that of Li et al. (2020), "A system for massively parallel hyperparameter tuning" (ASHA), in steps that all
trials share, so that decisions follow from the data alone.
"""

import itertools
import math
from typing import Any

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
        count, number = len(trials.epochs), state["added"]
        until, equal = (dict[int, int](), []) if count == 0 else promoted(problem, trials, rungs, reduction_factor)
        notes: dict[str, Any] = {"rungs": len(rungs), "on": len(until)}
        lines = warned if number == 0 else []
        if equal:
            size, rung = equal[0]
            lines = [*lines, *([] if state["told"] else [tie_text(size, rung)])]
            notes |= {"tied": sum(size for size, _ in equal)}
        state = {"added": number, "told": state["told"] or bool(equal)}
        add = {}
        if number < len(sizes):
            state["added"] += 1
            add = problem.propose(sizes[number], trials if count else None)
            until |= dict.fromkeys(range(count, count + sizes[number]), rungs[0])
            notes |= {"round": number, "rounds": len(sizes), "space": problem.space.to_dict(), "notes": lines}
        elif lines:
            notes |= {"notes": lines}
        return state, Decision(add=add, until=dict(sorted(until.items())), notes=notes) if until else Decision()

    return Scheduler(lambda: {"added": 0, "told": False}, step)


def promoted(
    problem: Problem, trials: Trials, rungs: list[int], reduction_factor: int
) -> tuple[dict[int, int], list[tuple[int, int]]]:
    """Trial -> its next rung, of those that go on; and of each cut among equal trials their number and its epoch."""
    until: dict[int, int] = {}
    equal = []
    for rung, following in itertools.pairwise(rungs):
        order = best_first(problem, trials, rung)
        order = order[~trials.stopped[order]]
        cut = math.ceil(int((trials.epochs >= rung).sum()) / reduction_factor)
        if same := tied(problem, trials, order, cut, rung):
            equal.append((same, rung))
        top = order[:cut]
        until |= dict.fromkeys(top[trials.epochs[top] == rung].tolist(), following)
    return until, equal
