"""The tuning loop: look at all trials, decide, log the decision, train."""

import contextlib
import dataclasses
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType

import numpy as np

from popjax.core.stop import Flag
from popjax.engine.population import Population
from popjax.scheduler import Decision, Trials
from popjax.store.decisions import Log, Step, changes_of, steered_trials
from popjax.tuning.callbacks.callback import Callbacks
from popjax.tuning.person import Person
from popjax.tuning.schedulers.asking import CheckedScheduler, naming

NOTHING: Mapping[str, np.ndarray] = {}
MOST_ASKED = 1000  # times in a row that a scheduler is asked for other trials than stopped ones
NO_TRIALS = Trials(NOTHING, np.zeros(0, np.int64), np.zeros(0), NOTHING)


class Driver:
    """The tuning loop of one population.

    Args:
        population: the members that are trained; its log gets every decision before it is carried out.
        scheduler: decides.
        callbacks: receive every decision.
        every: maximum number of epochs between two decisions; None: as the scheduler says.
        person: steers: requested changes are merged into the next decision; None: there is no steering.
    """

    def __init__(
        self,
        population: Population,
        scheduler: CheckedScheduler,
        *,
        callbacks: Callbacks | None = None,
        every: int | None = None,
        person: Person | None = None,
    ) -> None:
        self.population = population
        self.log = population.log
        self.scheduler = scheduler
        self.callbacks = callbacks or Callbacks(())
        self.every = every
        self.person = person

    def run(self, first: int = 0, begin: Callable[[], None] = lambda: None) -> None:
        """Decide and train until the scheduler names no trial, or the run is stopped.

        `first` is the number of the first decision that may not be carried out yet; `begin` is called once, after
        that decision is checked and before it is logged. A stopped run never shows the scheduler half-trained trials.

        Raises ValueError for a decision that cannot be carried out, and for a first one that trains nothing.
        """
        for number in itertools.count(first):
            trials = self.trials()
            step = self.log.read(number) or self.decide(trials)
            if number == first == len(self.log.steps) - 1:
                step = self.shorter(step, trials)
            if number == 0 and not (step.decision.add and step.decision.until):
                raise ValueError("the scheduler's first decision trains nothing: give it `add`, and their `until`")
            if number == first:
                begin()
            if not step.decision.until and not changes_of(step.decision):
                self.population.table.prune()
                return
            if number == len(self.log.steps):
                self.log.write(step)
            goes_on = self.carry_out(number, trials)
            if not goes_on and step.decision.until:  # else a person stopped the last trials, and may lift them
                return

    def carry_out(self, number: int, trials: Trials) -> bool:
        """Carry out a logged step; True if it names trials to train and nothing stopped the training."""
        step = self.log.steps[number]
        if self.person is not None:
            self.person.accept()
        lifted = *self.log.stopped_before(number), *step.decision.until
        stopped = held(trials.stopped, step.stopped, lifted)
        known = trials._replace(stopped=stopped, settable=self.population.roster.settable)
        self.callbacks.decision(unchangeable(self.acting(number, step.decision)), known)
        return self.population.carry_out(number)

    def trials(self) -> Trials:
        """All trials in their current state; none before the first decision."""
        return self.population.trials() if len(self.population.roster) else NO_TRIALS

    def acting(self, number: int, decision: Decision) -> Decision:
        """The part of a decision that is still to act: on resume an applied decision only trains on."""
        if number >= self.population.applied:
            return decision
        return Decision(until=decision.until, notes=decision.notes)

    def shorter(self, step: Step, trials: Trials) -> Step:
        """The last recorded step on resume, cut to `every`, in the log too: it may have been logged without."""
        cut = self.cut(step, trials)
        if cut is not step:
            self.log.replace(cut)
        return cut

    def decide(self, trials: Trials) -> Step:
        """The next step, checked: the rest of the last goal or the scheduler's decision, with a person's changes."""
        last = self.log.steps[-1] if self.log.steps else Step(Decision(), self.scheduler.init())
        goal = {t: epoch for t, epoch in last.goal.items() if epoch > trials.epochs[t] and not trials.stopped[t]}
        stopped = tuple(np.flatnonzero(trials.stopped).tolist())  # by a person, or out of retries since
        step = Step(Decision(until=goal), last.state, stopped=stopped) if goal else self.asked(last, trials)
        if self.person is not None and len(trials.epochs):
            step = self.person.steer(step, trials, self.population.config.epochs, self.population.check)
        step = self.cut(step, trials)
        with naming(self.scheduler.what):
            self.population.check(step.decision, points=False)
        if step.decision.add:
            self.population.roster.check(step.decision.add)
        if self.scheduler.bounds is not None:
            self.scheduler.bounds.look(self.scheduler.what, step.decision, len(trials.epochs))
        return step

    def asked(self, last: Step, trials: Trials) -> Step:
        """The scheduler's step, without stopped trials and those that a person trained to its epoch or further."""
        stopped = set(np.flatnonzero(trials.stopped).tolist())
        steered = steered_trials(self.log.steps)
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

    def cut(self, step: Step, trials: Trials) -> Step:
        """The step cut to at most `every` epochs; what the scheduler asked for beyond them becomes the goal."""
        until = step.decision.until
        if self.every is None or not until:
            return step
        now = lambda trial: int(trials.epochs[trial]) if trial < len(trials.epochs) else 0
        near = {trial: min(epoch, now(trial) + self.every) for trial, epoch in until.items()}
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
def budget(stop: Flag, minutes: float | None, log: Log) -> Iterator[None]:
    """Set `stop` after so many minutes, and note it in the log; None: never."""
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
        log.remark("stopped", "minutes")
