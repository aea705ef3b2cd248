"""What one search does, from its first decision to the winner's score."""

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from popjax.engine.backends.base import Backend
from popjax.engine.measure import parameters, rebuilt, score
from popjax.engine.plan import fitting
from popjax.engine.population import Population, Timer
from popjax.engine.roster import Config, Roster
from popjax.scheduler import Problem, Scheduler
from popjax.space.space import take
from popjax.store.decisions import Log, steered_trials
from popjax.store.records import ties
from popjax.store.results import Results
from popjax.store.schedules import schedule_of
from popjax.task import Task
from popjax.tuning.again import trained
from popjax.tuning.asked import Asked
from popjax.tuning.callbacks.base import Callback, Callbacks, Run
from popjax.tuning.directory import Directory
from popjax.tuning.driver import Driver, budget
from popjax.tuning.person import Steered
from popjax.tuning.proposals import learns
from popjax.tuning.record import describe, summary, updates_of
from popjax.tuning.schedulers.plain import plain as everyone
from popjax.tuning.schedulers.rounds import Rounds


@dataclasses.dataclass(frozen=True, eq=False)
class Control:
    """How a search is watched, and what stops it."""

    listeners: Sequence[Callback]
    every: int | None
    minutes: float | None
    timer: Timer
    backend: Backend
    page: Steered | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Search:
    """A search from the first decision to the winner's score."""

    task: Task
    config: Config
    asked: Asked
    control: Control
    directory: Directory | None = None

    def run(self) -> Results:
        """Train until the scheduler is done, choose the winner and score it."""
        page = self.control.page  # comes last: it shows what the others have written
        listeners = [*self.control.listeners, *([] if page is None else [page])]
        with contextlib.closing(Callbacks(listeners)) as callbacks:
            return self.run_with(callbacks)

    def run_with(self, callbacks: Callbacks) -> Results:
        """The run, to which these listen."""
        directory, timer = self.directory, self.control.timer
        population = Population(
            self.task,
            self.asked.space,
            self.config,
            expected=self.asked.trials,
            commits=None if directory is None else directory.commits,
            timer=timer,
            tell=callbacks.epoch if callbacks.hear_epochs else None,
            backend=self.control.backend,
        )
        log = Log(self.asked.space) if directory is None else directory.log
        with contextlib.closing(population), budget(timer.stop, self.control.minutes, log):
            first = 0 if directory is None else directory.take_up(population)
            before = updates_of(population)
            person = None if self.control.page is None else self.control.page.person
            driver = Driver(self.scheduler(population.roster), population, log, callbacks, self.control.every, person)
            driver.run(first, lambda: self.begin(population, log, callbacks))
            if person is not None:
                person.end()
        population.commit()
        results = self.finish(population, log, before)
        callbacks.end(results)
        return results

    def scheduler(self, roster: Roster) -> Scheduler:
        """What decides, made for this problem."""
        asked, config = self.asked, self.config
        ranks = ((config.metric, config.mode), *ties(roster.metrics, config.metric))
        propose = asked.propose(config.seed, config.epochs)
        known = (asked.space, asked.trials, config.epochs, config.seed, ranks)
        problem = Problem(*known, propose, learns(asked.sampler))
        make = asked.scheduler or everyone
        made = make(problem) if asked.rounds == 1 else Rounds(problem, asked.ends, make).scheduler()
        if not isinstance(made, Scheduler):
            raise ValueError(f"the scheduler made a {type(made).__name__} of the problem; return a popjax.Scheduler")
        return made

    def begin(self, population: Population, log: Log, callbacks: Callbacks) -> None:
        """All is checked, and the first decision is about to act."""
        population.backend.open()
        roster, config = population.roster, self.config
        if self.directory is not None:
            self.directory.begin(describe(self.asked, self.config, roster, log))
        out = None if self.directory is None else self.directory.path
        shape = (self.asked.trials, config.epochs, config.folds, config.repeats)
        known = (self.asked.space, config.metric, config.mode, roster.metrics)
        callbacks.begin(Run(*known, *shape, roster.programs_planned, fitting(roster.first), out))

    def finish(self, population: Population, log: Log, before: int | None) -> Results:
        """Score the winner, and describe the run."""
        roster, timer = population.roster, self.control.timer
        results = dataclasses.replace(population.results(), choose=self.asked.choose)
        decisions = (step.decision for step in log.steps)
        schedule = schedule_of(self.asked.space, decisions, results.done.min((1, 2)), self.config.epochs)
        results = dataclasses.replace(results, schedule=schedule, steered=steered_in(log, len(results.rounds)))
        if self.asked.choose == "one-se":
            results = dataclasses.replace(results, parameters=parameters(roster))
        test: dict[str, float] = {}
        best = results.best
        if best is not None:
            states = results.states
            if best.trial not in states and not timer.stop.is_set():
                states = states | self.trained_again(population, best.trial)
            if best.trial in states:
                results = dataclasses.replace(results, states=states)
                test = score(roster, best.trial, states[best.trial], timer.compiling)
        run = describe(self.asked, self.config, roster, log)
        results = dataclasses.replace(
            results,
            run=run if self.directory is None else self.directory.extended(run),
            recipes=rebuilt(roster, results.states),
            task=self.task,
        )
        figures = summary(population, results, test, before, self.directory)
        return dataclasses.replace(results, summary=figures | on_test_rows(results, test, self.directory is not None))

    def trained_again(self, population: Population, trial: int) -> dict[int, dict[str, np.ndarray]]:
        """The states of a trial that were not kept; none if it is stopped, or cannot be had alone."""
        if population.table.needed[trial]:
            return {}
        points = take(population.roster.points, np.array([trial]))
        alone = trained(self.task, self.asked.space, points, self.config, np.array([trial]), self.control.timer)
        return {trial: alone.states[0]} if alone.states else {}


def on_test_rows(results: Results, test: Mapping[str, float], page: bool) -> dict[str, Any]:
    """What else the test rows say of a supervised task: of the best trials together, and what the score is worth.

    `page`: whether one is written, which shows what the winner predicts.
    """
    if results.task.hints.recipe is None:
        return {"ensemble": None}
    from popjax.supervision import baselines, ensemble  # a task of one's own needs none of it

    together = ensemble.together(results)
    scored = {"ensemble": ensemble.on_test_rows(results, together)}
    return scored | baselines.worth(results, results.metric, test, together, page)


def steered_in(log: Log, trials: int) -> np.ndarray | None:
    """Whether (trials,) a person steered each; None where nobody did."""
    touched = sorted(steered_trials(log.steps))
    return np.isin(np.arange(trials), touched) if touched else None
