"""A person steers a running search: changes asked for from another thread act in the next decision."""

import dataclasses
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple

import numpy as np

from popjax.core.counts import check_number
from popjax.core.stop import Flag, Stop
from popjax.core.text import failure
from popjax.scheduler import NONE, Decision, Trials
from popjax.store.decisions import Step, changes_of
from popjax.tuning.callbacks.callback import Callback

VERBS = ("set", "clone", "stop", "lift")  # of one trial
OVER = "nothing can be changed any more: the search is over, or its page failed"


class Change(NamedTuple):
    """What a person asks of one trial, or of the run.

    Attributes:
        verb: of a trial "set": other hyperparameters; "clone": it becomes a copy of `source`: state, random key and
            hyperparameters; "stop": it is not trained until "lift". Of the whole run "pause", "resume" and "end"; of a
            session also "back" and, where a page trains it, "go" and "save".
        trial: its number.
        source: for "clone", the number of the trial that is copied.
        values: for "set", name -> value.
        epochs: for "back" and "go", the number of epochs.
    """

    verb: str
    trial: int = 0
    source: int | None = None
    values: Mapping[str, Any] = NONE
    epochs: int | None = None

    def described(self) -> dict[str, Any]:
        """The fields as JSON values, without empty ones."""
        fields = self._asdict() | {"values": dict(self.values)}
        return {name: value for name, value in fields.items() if value not in (None, {})}


class Steered(Callback):
    """A callback through which a person steers."""

    person: "Person"

    def leave(self) -> None:
        """Called last, after the run is written or has failed."""


class Request(NamedTuple):
    """A change and its outcome: None once it is in the log, ValueError if it is refused."""

    change: Change
    answer: "Future[None]"


class Person:
    """The changes that a person asks of a search, from any thread.

    Attributes:
        stop: once set, training stops at the end of an epoch.
        paused: bool: the search waits before its next decision.
        over: bool: the search has ended, or can no longer be steered.

    >>> person = Person()
    >>> answer = person.ask(Change("stop", 3))
    >>> [request.change.trial for request in person.taken()]
    [3]
    """

    def __init__(self) -> None:
        self.stop: Flag = Stop()
        self._changed = threading.Condition()
        self._requests: list[Request] = []
        self._accepted: list[Request] = []
        self.over = False
        self.paused = False

    def ask(self, change: Change) -> "Future[None]":
        """Ask for a change of a trial (in the next decision) or of the whole run (at once); return its outcome."""
        request = Request(change, Future())
        with self._changed:
            if self.over:
                request.answer.set_exception(ValueError(OVER))
            elif change.verb in ("pause", "resume", "end"):
                self.paused = self.paused if change.verb == "end" else change.verb == "pause"
                if change.verb == "end":
                    self.stop.set()
                self._changed.notify_all()
                request.answer.set_result(None)
            else:
                self._requests.append(request)
        return request.answer

    def wait(self, other: Flag | None = None) -> None:
        """Block while the search is paused and not stopped, by its own flag or the `other` one."""
        with self._changed:
            while self.paused and not (self.stop.is_set() or (other is not None and other.is_set())):
                self._changed.wait(0.1)

    def taken(self) -> list[Request]:
        """Take the requests made since the last call."""
        with self._changed:
            requests, self._requests = self._requests, []
        return requests

    def steer(self, step: Step, trials: Trials, last: int, possible: Callable[[Decision], None]) -> Step:
        """The step with all requested changes that can be carried out; the others' outcome is a ValueError.

        Args:
            step: the scheduler's step.
            trials: their current state.
            last: the last epoch.
            possible: raises ValueError for a decision that cannot be carried out.
        """
        self.wait()
        for request in self.taken():
            try:
                if not step.decision.until and request.change.verb != "lift":
                    raise ValueError(OVER)
                changed = steered(step, request.change, trials, last)
                possible(changed.decision)
            except Exception as error:  # the task checks new values, and may raise anything
                request.answer.set_exception(as_value_error(error))
            else:
                step = changed
                self._accepted.append(request)
        return step

    def accept(self) -> None:
        """Report success to the requests merged into the last step, which is logged now."""
        for request in self._accepted:
            request.answer.set_result(None)
        self._accepted.clear()

    def end(self) -> None:
        """The search is over, or can no longer be steered: refuse all open requests and end a pause."""
        with self._changed:
            self.over, self.paused = True, False
        accepted, self._accepted = self._accepted, []
        for request in [*accepted, *self.taken()]:
            request.answer.set_exception(ValueError(OVER))


def as_value_error(error: Exception) -> ValueError:
    """The error as the outcome of a request."""
    return error if isinstance(error, ValueError) else ValueError(failure(error))


def steered(step: Step, change: Change, trials: Trials, last: int) -> Step:
    """The step with a person's change, which overrides the scheduler's decision on the trial.

    Raises ValueError for an unknown trial, one that does not train, and what else `check_change` refuses.

    >>> import numpy as np
    >>> trials = Trials({"rate": np.array([0.1, 0.2])}, np.array([1, 1]), np.array([3.0, 2.0]), {})
    >>> step = steered(Step(Decision(until={0: 5, 1: 5})), Change("stop", 0), trials, 5)
    >>> dict(step.decision.until), step.stopped, step.decision.notes
    ({1: 5}, (0,), {'by': 'user', 'changes': [{'verb': 'stop', 'trial': 0}]})
    """
    check_change(change, step, trials, last)
    decision, trial = step.decision, change.trial
    copy, chosen, until = dict(decision.copy), dict(decision.set), dict(decision.until)
    fresh, stopped, mine = decision.fresh, set(step.stopped), changed_by(decision)
    goal = max((epoch for epoch in until.values() if epoch > trials.epochs[trial]), default=last)
    if change.verb != "lift" and trial not in mine:
        copy.pop(trial, None)
        chosen.pop(trial, None)
        fresh = tuple(number for number in fresh if number != trial)
    if change.verb == "set":
        chosen[trial] = {**chosen.get(trial, {}), **change.values}
    elif change.verb == "clone":
        source = int(change.source or 0)
        chosen.pop(trial, None)
        chosen |= {trial: chosen[source]} if source in mine and source in chosen else {}
        copy[trial] = copy.get(source, source) if source in mine else source
        stopped.discard(trial)
        until.setdefault(trial, until.get(source, goal))
    elif change.verb == "stop":
        until.pop(trial, None)
        stopped.add(trial)
    else:
        stopped.discard(trial)
        until[trial] = goal
    notes = notes_with_change(decision.notes, change)
    decision = decision._replace(copy=copy, fresh=fresh, set=chosen, until=until, notes=notes)
    return dataclasses.replace(step, decision=decision, stopped=tuple(sorted(stopped)))


def check_change(change: Change, step: Step, trials: Trials, last: int) -> None:
    """Raise ValueError for an unknown trial or verb, a trial in the wrong state, or values that cannot be set."""
    count, trial, going = len(trials.epochs), change.trial, step.decision.until
    for number in (trial, *([change.source] if change.verb == "clone" else [])):
        check_number("there is no trial", number, count)
    if change.verb not in VERBS:
        raise ValueError(f"unknown verb {change.verb!r}; there are {', '.join(VERBS)}")
    epoch = int(trials.epochs[trial])
    if epoch >= last:
        raise ValueError(f"trial {trial} is trained to the end; change one that trains")
    if change.verb == "lift":
        if trial not in step.stopped and not trials.stopped[trial]:
            raise ValueError(f"trial {trial} is not stopped; choose one that is")
    elif change.verb == "stop" and trial in step.stopped:
        raise ValueError(f"trial {trial} is stopped already")
    elif change.verb == "clone":
        if change.source == trial:
            raise ValueError(f"clone {trial} onto {trial}: choose another trial")
    elif trial not in going and trial not in step.stopped:
        raise ValueError(f"trial {trial} waits at epoch {epoch}, where its scheduler left it; change one that trains")
    if change.verb == "set" and not change.values:
        raise ValueError(f"set {trial}: name a hyperparameter and its value")
    if fixed := [name for name in change.values if name in trials.points and name not in trials.settable]:
        raise ValueError(f"{fixed[0]} fixes a shape or code; it goes with the weights: clone a trial that has another")
    rescued = trial in step.decision.copy and trial in changed_by(step.decision)
    if change.verb in ("set", "stop") and np.isinf(trials.loss[trial]) and not rescued:
        raise ValueError(f"trial {trial} has diverged; clone another one onto it first")


def changed_by(decision: Decision) -> set[int]:
    """The trials that a person sets or clones in a decision."""
    return {change["trial"] for change in changes_of(decision) if change["verb"] in ("set", "clone")}


def notes_with_change(notes: Any, change: Change) -> dict[str, Any]:
    """The notes of a decision with a person's change added; notes that are no dict become its "why"."""
    notes = notes if isinstance(notes, Mapping) else {} if notes is None else {"why": notes}
    return {**notes, "by": "user", "changes": [*notes.get("changes", []), change.described()]}
