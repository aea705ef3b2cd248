"""Coarse to fine: each round after the first searches a narrower space around the best trials so far."""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from popjax.core.counts import check_count
from popjax.scheduler import Decision, Problem, Scheduler, Trials, added, best_first
from popjax.space.space import Space
from popjax.tuning.schedulers.asking import made_for
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
    """The rounds of one problem.

    State: `begun`, the number of rounds begun, and `open`, those that may train on: each its number, the trials that it
    added as runs [first, end], its space with the zoom's notes (None: the user's), and the state of its scheduler.

    Args:
        problem: the problem.
        ends: where each round ends, counted in trials.
        inner: the scheduler of each round, which sees the trials of that round alone.
        overlapping: True if a round begins with each step, while earlier ones train on; else when the one before it
            has ended.
    """

    def __init__(
        self,
        problem: Problem,
        ends: tuple[int, ...],
        inner: Callable[[Problem], Scheduler],
        overlapping: bool = False,
    ) -> None:
        self.problem = problem
        self.n = len(ends)
        self.inner = inner
        self.ends = [0, *ends]
        self.overlapping = overlapping

    def scheduler(self) -> Scheduler:
        """The rounds as a Scheduler."""
        return Scheduler(dict, self.step)

    def step(self, state: dict[str, Any], trials: Trials) -> tuple[dict[str, Any], Decision]:
        """Ask the schedulers of the open rounds, and begin the next round if it is time."""
        begun, going, parts, notes = state.get("begun", 0), list[dict[str, Any]](), list[Decision](), None
        count = len(trials.epochs)
        for one in state.get("open", []):
            one, decision = self.asked(one, trials, count)
            if decision.until:
                count += added(decision)
                going, parts = [*going, one], [*parts, decision]
        while begun < self.n and (self.overlapping or not parts):
            one = self.begin(begun, trials)
            begun, notes = begun + 1, self.notes(one)
            one, decision = self.asked(one, trials, count)
            if decision.until:
                going, parts = [*going, one], [*parts, decision]
                break
        return {"begun": begun, "open": going}, joined(parts, notes)

    def asked(self, one: dict[str, Any], trials: Trials, count: int) -> tuple[dict[str, Any], Decision]:
        """A round after its scheduler's step, and the decision in the numbers of all trials, of which there are `count`
        with those that are added before it.
        """
        rows = np.array([row for first, end in one["runs"] for row in range(first, end)], np.int64)
        inner, decision = self.of_round(one, trials).step(one["inner"], part_of(trials, rows))
        new = added(decision)
        runs = [*one["runs"], *([[count, count + new]] if new else [])]
        decision = renumbered(decision, np.concatenate([rows, np.arange(count, count + new)]))
        return one | {"inner": inner, "runs": runs}, decision

    def begin(self, number: int, trials: Trials) -> dict[str, Any]:
        """A round before its first step; its space is the user's while no loss is finite, or if the sampler learns."""
        space, noticed = None, list[str]()
        narrow = number > 0 and not self.problem.learns
        order = best_first(self.problem, trials) if narrow else np.zeros(0, int)
        if len(order):
            space, noticed = zoom_in(self.problem.space, trials.points, order)
        one = {"round": number, "runs": [], "space": space and space.to_dict(), "noticed": noticed}
        return one | {"inner": self.of_round(one, trials).init()}

    def of_round(self, one: dict[str, Any], trials: Trials) -> Scheduler:
        """The scheduler of a round; its points come after those of all trials so far."""
        begin, end = self.ends[one["round"]], self.ends[one["round"] + 1]
        space = self.problem.space if one["space"] is None else Space.from_dict(one["space"])
        propose = lambda n, own=None, space=space: self.problem.propose(n, trials, space)
        return made_for(self.inner, self.problem._replace(space=space, trials=end - begin, propose=propose))

    def notes(self, one: dict[str, Any]) -> dict[str, Any]:
        """The log's notes on a round that begins."""
        space = one["space"] or self.problem.space.to_dict()
        return {"round": one["round"], "rounds": self.n, "space": space, "notes": one["noticed"]}


def joined(parts: list[Decision], notes: dict[str, Any] | None) -> Decision:
    """The decisions of several rounds as one; its notes are those of the last part, and of the round that begins.

    `notes`: those of a round that begins; None if none does.
    """
    if not parts:
        return Decision()
    if len(parts) == 1:
        return parts[0] if notes is None else parts[0]._replace(notes=both(parts[0].notes, notes))
    adding = [part.add for part in parts if part.add]
    add = {name: np.concatenate([columns[name] for columns in adding]) for name in adding[0]} if adding else {}
    merged = lambda name: {key: value for part in parts for key, value in getattr(part, name).items()}
    known = [part.notes for part in parts if isinstance(part.notes, dict)]
    lines = {"notes": [line for one in known for line in one.get("notes", [])]}
    tied = sum(one.get("tied", 0) for one in known)
    told = (known[-1] if known else {}) | lines | ({"tied": tied} if tied else {})
    return Decision(
        add=add,
        copy=merged("copy"),
        fresh=tuple(trial for part in parts for trial in part.fresh),
        set=merged("set"),
        until=merged("until"),
        notes=told if notes is None else both(told, notes),
    )


def both(inner: Any, own: dict[str, Any]) -> dict[str, Any]:
    """The notes of a round merged with those of its scheduler."""
    inner = inner if isinstance(inner, dict) else {}
    return inner | own | {"notes": [*own["notes"], *inner.get("notes", [])]}
