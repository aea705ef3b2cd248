"""The tuning loop: look at all trials, decide, log the decision, train."""

import contextlib
import dataclasses
import itertools
import threading
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

import numpy as np

from popjax.core.stop import Flag
from popjax.engine.trainer import Trainer
from popjax.scheduler import Decision, Trials, check_decision
from popjax.space.space import Space
from popjax.store.decisions import Step, changes_of, steered_trials
from popjax.store.journal import Journal
from popjax.tuning.callbacks.callback import Callbacks
from popjax.tuning.person import Person
from popjax.tuning.schedulers.asking import CheckedScheduler, naming

NOTHING: Mapping[str, np.ndarray] = {}
MOST_ASKED = 1000  # times in a row that a scheduler is asked for other trials than stopped ones
NO_TRIALS = Trials(NOTHING, np.zeros(0, np.int64), np.zeros(0), NOTHING)


class Driver:
    """The tuning loop of one search.

    Args:
        trainer: trains the members; its journal gets every decision before it is carried out.
        scheduler: makes the decisions.
        callbacks: receive every decision.
        every: maximum number of epochs between two decisions; None: as the scheduler says.
        person: steers: requested changes are merged into the next decision; None: there is no steering.
    """

    def __init__(
        self,
        trainer: Trainer,
        scheduler: CheckedScheduler,
        *,
        callbacks: Callbacks | None = None,
        every: int | None = None,
        person: Person | None = None,
    ) -> None:
        self.trainer = trainer
        self.journal = trainer.journal
        self.scheduler = scheduler
        self.callbacks = callbacks or Callbacks(())
        self.every = every
        self.person = person

    def begin(self, first: Step) -> None:
        """Write the first step, and carry it out."""
        self.journal.write(first)
        self.tell(0, NO_TRIALS)
        reached = self.trainer.carry_out(0)
        if self.trainer.timer.stop.is_set():
            self.leave(0, reached)
        else:
            self.run(1)

    def run(self, first: int) -> None:
        """Decide and train until the scheduler names no trial, or the run is stopped.

        `first` is the number of the first decision that might not have been applied. A stopped run never shows the
        scheduler half-trained trials.

        Raises ValueError for a decision that cannot be carried out.
        """
        trainer, journal = self.trainer, self.journal
        for number in itertools.count(first):
            trials = trainer.trials()
            step = journal.read(number) or self.decide(trials)
            if number == first == len(journal.steps) - 1:
                step = self.shorter(step, trials)
            if not step.decision.until and not changes_of(step.decision):
                trainer.table.prune()
                return
            if number == len(journal.steps):
                journal.write(step)
            self.tell(number, trials)
            reached = trainer.carry_out(number)
            if step.decision.until and trainer.timer.stop.is_set():
                self.leave(number, reached)
                return  # an empty `until`: a person stopped the last trials, and may lift them

    def leave(self, number: int, reached: bool) -> None:
        """After a stop in step `number`: tell the table whether the search would go on, or prune what it left."""
        table = self.trainer.table
        following = self.journal.read(number + 1) or (self.following(self.trainer.trials()) if reached else None)
        if following is None or following.decision.until or changes_of(following.decision):
            table.unfinished = True
        else:
            table.prune()

    def tell(self, number: int, trials: Trials) -> None:
        """Tell of a step of the journal, before it is carried out."""
        step = self.journal.steps[number]
        if self.person is not None:
            self.person.accept()
        lifted = *self.journal.stopped_before(number), *step.decision.until
        stopped = held(trials.stopped, step.stopped, lifted)
        known = trials._replace(stopped=stopped, settable=self.trainer.roster.settable)
        decision = step.decision
        if number < self.trainer.applied and len(trials.epochs):  # on resume an applied decision only trains on
            decision = Decision(until=decision.until, notes=decision.notes)
        self.callbacks.decision(unchangeable(decision), known)

    def shorter(self, step: Step, trials: Trials) -> Step:
        """The last recorded step on resume, cut to `every`, in the journal too: it may have been written without."""
        cut = cut_to(step, trials, self.every)
        if cut is not step:
            self.journal.replace(cut)
        return cut

    def decide(self, trials: Trials) -> Step:
        """The next step, checked, with a person's changes."""
        step = self.following(trials)
        if self.person is not None:
            step = self.person.steer(step, trials, self.trainer.config.epochs, self.trainer.check)
        step = cut_to(step, trials, self.every)
        with naming(self.scheduler.what):
            self.trainer.check(step.decision)
        if step.decision.add:
            self.trainer.roster.planned(step.decision.add)
        self.scheduler.look(step.decision, trials.points, "a person's change" if changes_of(step.decision) else None)
        return step

    def following(self, trials: Trials) -> Step:
        """The rest of the last goal, or the scheduler's decision."""
        last = self.journal.steps[-1]
        goal = {t: epoch for t, epoch in last.goal.items() if epoch > trials.epochs[t] and not trials.stopped[t]}
        stopped = tuple(np.flatnonzero(trials.stopped).tolist())  # by a person, or out of retries since
        return Step(Decision(until=goal), last.state, stopped=stopped) if goal else self.asked(last, trials)

    def asked(self, last: Step, trials: Trials) -> Step:
        """The scheduler's step, without stopped trials and those that a person trained to its epoch or further."""
        stopped = set(np.flatnonzero(trials.stopped).tolist())
        steered = steered_trials(self.journal.steps)
        ahead = lambda trial, epoch: trial not in steered or trial >= len(trials.epochs) or epoch > trials.epochs[trial]
        state = last.state
        for _ in range(MOST_ASKED):
            before, (state, asked) = state, self.scheduler.step(state, trials)
            until = {t: epoch for t, epoch in asked.until.items() if t not in stopped and ahead(t, epoch)}
            none_left = not until and not asked.add and asked.until  # of the trials it names, so it is asked again
            if not none_left or state == before:
                return Step(asked._replace(until=until), state, stopped=tuple(sorted(stopped)))
        what = f"{self.scheduler.what}: step names nothing but stopped trials, {MOST_ASKED:,} times in a row"
        raise ValueError(f"{what}; name others, or none to end the search")


def first_step(scheduler: CheckedScheduler, space: Space, last: int, every: int | None) -> Step:
    """The scheduler's first step, checked; raises ValueError for one that cannot be carried out, or trains nothing."""
    state, decision = scheduler.step(scheduler.init(), NO_TRIALS)
    none = np.zeros(0, np.int64)
    with naming(scheduler.what):
        check_decision(decision, space, none, none, none.astype(bool), last)
    if not (decision.add and decision.until):
        raise ValueError("the scheduler's first decision trains nothing: give it `add`, and their `until`")
    scheduler.look(decision, {})
    return cut_to(Step(decision, state), NO_TRIALS, every)


def cut_to(step: Step, trials: Trials, every: int | None) -> Step:
    """The step cut to at most `every` epochs; what the scheduler asked for beyond them becomes the goal."""
    until = step.decision.until
    if every is None or not until:
        return step
    now = lambda trial: int(trials.epochs[trial]) if trial < len(trials.epochs) else 0
    near = {trial: min(epoch, now(trial) + every) for trial, epoch in until.items()}
    if near == until:
        return step
    return dataclasses.replace(step, decision=step.decision._replace(until=near), goal={**until, **step.goal})


def held(before: np.ndarray, stopped: Iterable[int], lifted: Iterable[int]) -> np.ndarray:
    """Bool (trials,): the trials that are stopped after a step; trials that it adds are not among them."""
    after = before.copy()
    after[[trial for trial in lifted if trial < len(after)]] = False
    after[list(stopped)] = True
    return after


def unchangeable(decision: Decision) -> Decision:
    """A decision as callbacks see it."""
    return decision._replace(
        add=MappingProxyType(decision.add),
        copy=MappingProxyType(decision.copy),
        set=MappingProxyType(decision.set),
        until=MappingProxyType(decision.until),
    )


@contextlib.contextmanager
def budget(stop: Flag, minutes: float | None, journal: Journal) -> Iterator[None]:
    """Set `stop` after so many minutes, and note it in the journal; None: never."""
    over = threading.Event()

    def end() -> None:
        over.set()
        stop.set()

    timer = threading.Timer(60 * (minutes or 0), end)
    timer.daemon = True
    if minutes is not None:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
    if over.is_set():
        journal.remark("stopped", "minutes")
