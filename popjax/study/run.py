"""The run of a search, from its first decision to the winner's score."""

import contextlib
import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from popjax.core.faults import calling
from popjax.core.storage import locked
from popjax.core.text import failure, short, tell
from popjax.engine.backends.protocol import Backends
from popjax.engine.hints import the_task
from popjax.engine.measure import rebuilt, score, trees
from popjax.engine.nan_source import nan_error, unchecked
from popjax.engine.plan import members_that_fit
from popjax.engine.roster import Roster
from popjax.engine.traced_task import TracedTask
from popjax.engine.trainer import Timer, Trainer
from popjax.pages.page import Page
from popjax.rules.best import method_of
from popjax.scheduler import NONE, Status, tie_notes
from popjax.space.space import take
from popjax.store.decisions import Step, steered_trials
from popjax.store.files import check_directory
from popjax.store.history import history_of
from popjax.store.journal import Journal
from popjax.store.results import Results
from popjax.study.directory import Directory
from popjax.study.record import run_record, summary, updates_of
from popjax.study.replay import train_points
from popjax.study.request import SearchRequest
from popjax.task import Task
from popjax.tuning.callbacks.beside import Beside
from popjax.tuning.callbacks.callback import Callback, Callbacks, Run
from popjax.tuning.driver import Driver, budget, first_step
from popjax.tuning.person import Steered


@dataclasses.dataclass(frozen=True, eq=False)
class Search:
    """A search from the first decision to the winner's score.

    Attributes:
        request: the checked request, which determines the results.
        backend: makes what trains the members.
        timer: the clocks, and the flag that stops the run.
        listeners: callbacks that follow the run.
        page: the live page, if there is one; called last, since it shows what the others have written.
        directory: the directory of the run; None if nothing is written.
    """

    request: SearchRequest
    backend: Backends
    timer: Timer
    listeners: Sequence[Callback] = ()
    page: Steered | None = None
    directory: Directory | None = None

    def run(
        self, out: Path | None = None, about: Mapping[str, Any] = NONE, resume: bool = False, unasked: bool = False
    ) -> Results:
        """Train, and write the results to `out` if it is given; see `popjax.search`.

        Args:
            about: further entries of run.json.
            unasked: True if resumed by running a notebook cell again.
        """
        if self.page is not None:
            self.page.person.stop = self.timer.stop
        try:
            results = self.trained() if out is None else self.written(out, about, resume, unasked)
        finally:
            if self.page is not None:
                self.page.leave()
        if results.cut_short:
            tell(f"popjax: {results.cut_short}")
        if results.infeasible:
            tell(f"popjax: {results.infeasible}")
        return results

    def written(self, path: Path, about: Mapping[str, Any], resume: bool, unasked: bool) -> Results:
        """Results of a run that writes to a directory, or resumes the one recorded there."""
        resumed = "run" if resume else None
        check_directory(path, resumed)
        with locked(path):
            check_directory(path, resumed)
            directory = Directory(path, self.request.space, about, unasked)
            baselines = Beside(baselines_of(self.request.task), directory.summary())
            listeners = [*self.listeners, baselines, Page(path)]  # the page shows what the others have written
            request = directory.as_before(self.request)
            results = dataclasses.replace(self, request=request, listeners=listeners, directory=directory).trained()
            results.save(path)
        return results

    def trained(self) -> Results:
        """Train until the scheduler is done, choose the winner and score it."""
        request, directory = self.request, self.directory
        listeners = [*self.listeners, *([] if self.page is None else [self.page])]
        every = 1 if request.options.every is None and self.page is not None else request.options.every
        journal = Journal(request.space) if directory is None else directory.journal
        with contextlib.closing(Callbacks(listeners)) as callbacks:
            scheduler = request.scheduler()
            first = journal.read(0) or first_step(scheduler, request.space, request.options.epochs, every)
            roster = Roster(TracedTask(request.task, request.space, request.config), first.decision.add)
            tell_epoch = callbacks.epoch if callbacks.hear_epochs else None
            trainer = Trainer(roster, journal=journal, timer=self.timer, tell=tell_epoch, backend=self.backend)
            person = None if self.page is None else self.page.person
            driver = Driver(trainer, scheduler, callbacks=callbacks, every=every, person=person)
            with contextlib.closing(trainer), budget(self.timer.stop, request.options.minutes, journal):
                number = None if directory is None else directory.take_up(trainer)
                before = updates_of(trainer)
                self.begin(trainer, callbacks)
                with unchecked() as checked:
                    driver.begin(first) if number is None else driver.run(number)
                diverged = trainer.table.status == Status.DIVERGED
                if checked and diverged.any():
                    raise nan_error(trainer.roster, int(diverged.argmax()))
                if person is not None:
                    person.end()
            trainer.commit()
            results = self.finish(trainer, before)
            callbacks.end(results)
        return results

    def begin(self, trainer: Trainer, callbacks: Callbacks) -> None:
        """Write run.json and begin the callbacks, before the first decision acts."""
        roster, options = trainer.roster, self.request.options
        if self.directory is not None:
            self.directory.begin(self.directory.extended(run_record(self.request, roster, trainer.journal.steps)))
        run = Run(
            space=self.request.space,
            rule=roster.config.rule,
            metrics=roster.traced.metrics,
            trials=options.trials,
            epochs=options.epochs,
            folds=options.folds,
            repeats=options.repeats,
            programs=len(roster.buckets),
            fitting=members_that_fit(roster.traced.first),
            out=None if self.directory is None else self.directory.path,
            resting=trainer.table.resting,
        )
        callbacks.begin(run)

    def finish(self, trainer: Trainer, before: int | None) -> Results:
        """Score the winner; add history, states, recipes, trees, ensemble and the run's record to the results."""
        request, roster, steps = self.request, trainer.roster, trainer.journal.steps
        decisions, epochs = [step.decision for step in steps], request.options.epochs
        history = history_of(request.space, decisions, trainer.table.trained, epochs)
        results = trainer.results(history, steered_in(steps, len(roster)))
        results, test = self.scored(trainer, results)
        figures = summary(trainer, results, test, before, self.directory)
        if equal := tie_notes(decisions):
            figures |= {"tied": equal}
        run = run_record(request, roster, steps)
        results = dataclasses.replace(
            results,
            run=run if self.directory is None else self.directory.extended(run),
            recipes=rebuilt(roster, results.states),
            trees=trees(roster, results.states),
            task=request.task,
            summary=figures,
        )
        began = time.monotonic()
        further = {"ensemble": None, **told_afterwards(request.task, results, self.directory is not None)}
        further["afterwards_seconds"] = time.monotonic() - began
        together = further.pop("together", combined_trials(results))
        return dataclasses.replace(results, ensemble=together, summary=figures | further)

    def scored(self, trainer: Trainer, results: Results) -> tuple[Results, dict[str, float]]:
        """The results with the winner's state, trained again if not kept, and metric -> its score on the test rows."""
        best, states = results.best, results.states
        if best is None:
            return results, {}
        if best.trial not in states and not self.timer.stop.is_set():
            states = states | self.trained_again(trainer, best.trial)
        if best.trial not in states:
            return results, {}
        test = score(trainer.roster, best.trial, states[best.trial], self.timer.compiling)
        return dataclasses.replace(results, states=states), test

    def trained_again(self, trainer: Trainer, trial: int) -> dict[int, dict[str, np.ndarray]]:
        """Trial -> its arrays, trained again alone; empty if stopped, or if they depend on copies or changes."""
        if trainer.table.pinned[trial]:
            return {}
        request, number = self.request, np.array([trial])
        points = take(trainer.roster.points, number)
        alone = train_points(request.task, request.space, points, request.config, number, self.timer)
        return {trial: alone.states[0]} if alone.states and alone.contenders is None else {}


def baselines_of(task: Task) -> Mapping[str, Any]:
    """`Task.beside`; raises ValueError in one line for a user's own that is none."""
    with calling(f"{the_task(task)}: beside", surely=False):
        baselines: Any = task.beside()
    if not (isinstance(baselines, Mapping) and all(map(callable, baselines.values()))):
        raise ValueError(f"{the_task(task)}: beside returned {short(baselines)}; return name -> function")
    return baselines


def told_afterwards(task: Task, results: Results, page: bool) -> dict[str, Any]:
    """`Task.afterwards`; one that fails is said, and costs a run none of its results."""
    try:
        entries = dict(task.afterwards(results, page))
        together = entries.get("together", ())
        if not set(together) <= set(results.states):
            raise ValueError(f"together={short(together)} names trials that were not kept")
        json.dumps({name: value for name, value in entries.items() if name != "together"}, allow_nan=False)
    except Exception as error:  # whatever a user's code raises
        tell(f"popjax: {the_task(task)}: afterwards failed ({failure(error)}); its entries are left out")
        return {}
    return entries


def combined_trials(results: Results) -> tuple[int, ...]:
    """The trials that a rule combines of any task: the best, each once; empty if it has none."""
    rule = results.rule
    mean = rule.together and results.best is not None and method_of(rule) == "mean"
    return tuple(results.best_trials(rule.keep)) if mean else ()


def steered_in(steps: Sequence[Step], trials: int) -> np.ndarray | None:
    """Bool (trials,): changed or stopped by a person; None if no trial was steered."""
    touched = sorted(steered_trials(steps))
    return np.isin(np.arange(trials), touched) if touched else None
