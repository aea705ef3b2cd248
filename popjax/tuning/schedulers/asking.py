"""Schedulers as they are called: what a user's own one returns is checked, and its state passes through JSON.

So the state is at once what it will be on resume, when it is read from `decisions.jsonl`.
"""

import contextlib
import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from popjax.core.calls import name_of
from popjax.core.faults import calling
from popjax.core.text import short
from popjax.scheduler import Decision, Problem, Scheduler, Trials, check_kinds
from popjax.space.space import Points
from popjax.tuning.schedulers.bounds import Bounds

PROVEN = tuple(
    f"{__package__}.{name}" for name in ("plain", "halving", "hyperband", "pbt", "rounds", "asynchronous")
)  # by tests
NOTES = {"round": int, "rounds": int, "space": dict, "notes": list}  # of a decision, which popjax reads


class CheckedScheduler(Scheduler):
    """A scheduler whose functions raise ValueError, beginning with `what`, for what they may not return.

    `bounds`: those of its values; None if they are not looked at.
    """

    what: str
    bounds: Bounds | None

    def look(self, decision: Decision, points: Points, by: str | None = None) -> None:
        """Say once what a decision sets beyond its range, where trials have these points; `by`: who decided."""
        if self.bounds is not None:
            self.bounds.look(by or self.what, decision, points)


def made_for(make: Callable[[Problem], Scheduler], problem: Problem, bounds: Bounds | None = None) -> CheckedScheduler:
    """The checked scheduler of a problem; raises ValueError if `make` returns anything else."""
    what = f"the scheduler {str(name_of(getattr(make, 'func', make))).rpartition('.')[2]}"

    def made() -> Scheduler:
        with calling(what, ValueError):
            scheduler: Any = make(problem)
        if not isinstance(scheduler, Scheduler):
            raise ValueError(f"{what} returned a {type(scheduler).__name__}; return a popjax.Scheduler")
        return scheduler

    return checked(made(), what, bounds, made)


def checked(
    scheduler: Scheduler, what: str, bounds: Bounds | None = None, remade: Callable[[], Scheduler] | None = None
) -> CheckedScheduler:
    """The scheduler with checks; one of a user's is asked twice, since its step is a pure function.

    `remade`: makes it again, for the second time: what the first one remembers beside the state, a resumed run lacks.
    """
    for name, function in zip(scheduler._fields, scheduler, strict=True):
        if not callable(function):
            raise ValueError(f"{what}: {name} is {short(function)}; give a function")

    own = scheduler.step.__module__ in PROVEN

    def init() -> Any:
        with calling(f"{what}: init"):
            state = scheduler.init()
        return through_json(f"{what}: init: the state is", state)

    def once(state: Any, trials: Trials, scheduler: Scheduler = scheduler) -> tuple[Any, Decision]:
        with calling(f"{what}: step"):
            answer: Any = scheduler.step(state if own else copy.deepcopy(state), trials)
        if not (isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[1], Decision)):
            raise ValueError(f"{what}: step returned {short(answer, 80)}; return (state, popjax.Decision(...))")
        state, decision = answer
        with naming(what):
            check_kinds(decision)
        notes = through_json(f"{what}: step: the notes are", decision.notes)
        check_notes(what, notes)
        decision = decision._replace(fresh=tuple(decision.fresh), notes=notes)
        return through_json(f"{what}: step: the state is", state), decision

    def step(state: Any, trials: Trials) -> tuple[Any, Decision]:
        answer = once(state, trials)
        if not own and not same_step(answer, once(state, trials, scheduler if remade is None else remade())):
            remedy = "keep what it remembers in the state, and draw by problem.seed and the state"
            raise ValueError(f"{what}: step decides otherwise when it is called again; {remedy}")
        return answer

    steady = CheckedScheduler(init, step)
    steady.what, steady.bounds = what, bounds
    return steady


def same_step(*answers: tuple[Any, Decision]) -> bool:
    """True if steps have equal states and decisions."""
    columns = [{name: np.asarray(column).tolist() for name, column in decision.add.items()} for _, decision in answers]
    words = [repr((state, decision._replace(add=add))) for (state, decision), add in zip(answers, columns, strict=True)]
    return len(set(words)) == 1


def check_notes(what: str, notes: Any) -> None:
    """Raise ValueError for notes that popjax would read as its own, such as of a round or a person."""
    for name, kind in NOTES.items() if isinstance(notes, dict) else ():
        if name in notes and (not isinstance(notes[name], kind) or isinstance(notes[name], bool)):
            said = f"{name!r}: {short(notes[name])}"
            raise ValueError(f"{what}: step: the notes have {said}, which popjax reads as a {kind.__name__}; rename it")
    if isinstance(notes, dict) and notes.get("by") == "user":
        raise ValueError(f"{what}: step: the notes have 'by': 'user', as a person's change; rename it")


@contextlib.contextmanager
def naming(what: str) -> Iterator[None]:
    """Context of checks of a decision: their ValueErrors begin with `what`, and the function that decided."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{what}: step: {error}") from error


def through_json(what: str, value: Any) -> Any:
    """A value as JSON gives it back: tuples as lists, keys as texts, NumPy's numbers as Python's."""
    try:
        return json.loads(json.dumps(value, allow_nan=False, default=python_number))
    except (TypeError, ValueError, RecursionError) as error:
        remedy = "give numbers, texts, lists and dicts of Python's"
        raise ValueError(f"{what} no JSON value ({error}); {remedy}") from None


def python_number(value: Any) -> Any:
    """A NumPy scalar as a Python value; raises TypeError for anything else."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{short(value)} is a {type(value).__name__}")
