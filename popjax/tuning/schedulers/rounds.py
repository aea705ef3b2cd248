"""Coarse to fine: each round after the first searches a narrower space around the best trials so far."""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from popjax.core.counts import check_count
from popjax.scheduler import Decision, Problem, Scheduler, Trials, added, best_first
from popjax.space.space import Space
from popjax.tuning.schedulers.asking import CheckedScheduler, made_for, naming
from popjax.tuning.schedulers.parts import part_of, renumbered
from popjax.tuning.schedulers.plain import plain
from popjax.tuning.zoom import zoom_in


def rounds(n: int, inner: Callable[[Problem], Scheduler] | None = None) -> Callable[[Problem], Scheduler]:
    """Split the trials over `n` rounds; each after the first samples the ranges that the best tenth so far span.

    A sampler that learns proposes from the whole space in each round.

    Args:
        n: number of rounds.
        inner: the scheduler of each round, which sees the trials of that round alone; if None, all train to the end.

    Raises ValueError for an `inner` that is no scheduler or has rounds itself and, when called with a problem, for
    more rounds than trials.

    >>> import popjax as pj
    >>> task = pj.objective(lambda key, hparams: {"loss": (hparams["x"] - 0.3) ** 2})
    >>> space = pj.Space(x=pj.uniform(0, 1))
    >>> pj.search(task, space, trials=40, scheduler=pj.rounds(2)).rounds.tolist() == [0] * 20 + [1] * 20
    True
    """
    if inner is not None and not callable(inner):
        raise ValueError(f"inner is a {type(inner).__name__}; give a scheduler such as popjax.halving()")
    if in_rounds(inner):
        raise ValueError(f"rounds={n} of a scheduler that has rounds itself; give one of them")
    return functools.partial(rounds_by, n=check_count("rounds", n), inner=inner or plain)


def rounds_by(problem: Problem, n: int, inner: Callable[[Problem], Scheduler]) -> Scheduler:
    """The scheduler of a problem, in n rounds of equal size but for rounding."""
    check_rounds(n, problem.trials)
    return Rounds(problem, even(problem.trials, n), inner).scheduler()


def check_rounds(n: int, trials: int) -> None:
    """Raise ValueError for more rounds than trials."""
    if n > trials:
        raise ValueError(f"rounds={n}: there are {trials} trials; give at least one to each round")


def in_rounds(scheduler: Any) -> bool:
    """True if a scheduler was made by `rounds`.

    >>> in_rounds(rounds(2)), in_rounds(plain)
    (True, False)
    """
    return isinstance(scheduler, functools.partial) and scheduler.func is rounds_by


def rounds_and_inner(scheduler: Any) -> tuple[int | None, Any]:
    """The number of rounds, None if `rounds` did not make the scheduler, and that of each round; None for `plain`.

    >>> rounds_and_inner(rounds(2)), rounds_and_inner(None)
    ((2, None), (None, None))
    """
    n, inner = (scheduler.keywords["n"], scheduler.keywords["inner"]) if in_rounds(scheduler) else (None, scheduler)
    return n, None if inner is plain else inner


def even(trials: int, n: int) -> tuple[int, ...]:
    """Where each of n rounds ends, counted in trials.

    >>> even(10, 4)
    (2, 5, 8, 10)
    """
    return tuple(np.linspace(0, trials, n + 1).round().astype(int)[1:].tolist())


def further(ends: tuple[int, ...], trials: int) -> tuple[int, ...]:
    """The same rounds and further ones up to so many trials, none larger than the largest after the first.

    >>> further((2, 5, 8, 10), 15)
    (2, 5, 8, 10, 12, 15)
    """
    more, largest = trials - ends[-1], max(np.diff(ends), default=ends[-1])
    return (*ends, *(ends[-1] + end for end in even(more, math.ceil(more / largest)))) if more > 0 else ends


class Rounds:
    """The rounds of one problem; `ends` is where each ends, counted in trials.

    State: the round, its first trial, its space with the zoom's notes, and the inner scheduler's state.
    """

    def __init__(self, problem: Problem, ends: tuple[int, ...], inner: Callable[[Problem], Scheduler]) -> None:
        self.problem = problem
        self.n = len(ends)
        self.inner = inner
        self.ends = [0, *ends]

    def scheduler(self) -> Scheduler:
        """The rounds as a Scheduler."""
        return Scheduler(dict, self.step)

    def step(self, state: dict[str, Any], trials: Trials) -> tuple[dict[str, Any], Decision]:
        """Ask the round's scheduler; when it has ended, begin the next round."""
        notes = None
        if not state:
            state = self.begin(0, trials)
            notes = self.notes(state)
        while True:
            inner = self.of_round(state, trials)
            count = len(trials.epochs)
            asked, decision = inner.step(state["inner"], part_of(trials, np.arange(state["first"], count)))
            state = state | {"inner": asked}
            if decision.until or state["round"] == self.n - 1:
                with naming(inner.what):
                    decision = renumbered(decision, np.arange(state["first"], count + added(decision)))
                return state, decision if notes is None else decision._replace(notes=both(decision.notes, notes))
            state = self.begin(state["round"] + 1, trials)
            notes = self.notes(state)

    def begin(self, number: int, trials: Trials) -> dict[str, Any]:
        """The state before a round; its space is the user's while no loss is finite, or if the sampler learns."""
        space, noticed = self.problem.space, list[str]()
        narrow = number > 0 and not self.problem.learns
        order = best_first(self.problem, trials) if narrow else np.zeros(0, int)
        if len(order):
            space, noticed = zoom_in(self.problem.space, trials.points, order)
        state = {"round": number, "first": len(trials.epochs), "space": space.to_dict(), "noticed": noticed}
        return state | {"inner": self.of_round(state, trials).init()}

    def of_round(self, state: dict[str, Any], trials: Trials) -> CheckedScheduler:
        """The scheduler of a round; its points come after those of all trials so far."""
        begin, end = self.ends[state["round"]], self.ends[state["round"] + 1]
        space = Space.from_dict(state["space"])
        propose = lambda n, own=None, space=space: self.problem.propose(n, trials, space)
        return made_for(self.inner, self.problem._replace(space=space, trials=end - begin, propose=propose))

    def notes(self, state: dict[str, Any]) -> dict[str, Any]:
        """The log's notes on a round."""
        return {"round": state["round"], "rounds": self.n, "space": state["space"], "notes": state["noticed"]}


def both(inner: Any, own: dict[str, Any]) -> dict[str, Any]:
    """The notes of a round merged with those of its scheduler."""
    inner = inner if isinstance(inner, dict) else {}
    return inner | own | {"notes": [*own["notes"], *inner.get("notes", [])]}
