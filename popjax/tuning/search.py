"""The search: sample, train, decide, choose, score."""

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from popjax.core.storage import locked
from popjax.engine.measure import parameters, rebuilt, score
from popjax.engine.plan import fitting
from popjax.engine.population import Elsewhere, Population, Timer
from popjax.engine.roster import Config, Roster
from popjax.executors.elsewhere import elsewhere
from popjax.scheduler import Problem, Scheduler
from popjax.space.conditions import check_possible
from popjax.space.space import Space, take
from popjax.store.decisions import Log, steered_trials
from popjax.store.files import check_directory
from popjax.store.results import TOGETHER, Results, ties
from popjax.store.schedules import schedule_of
from popjax.task import Task, ranked_by, unknown_metric
from popjax.tuning.again import trained
from popjax.tuning.arguments import check_budget, check_choices, check_curves, check_numbers
from popjax.tuning.callbacks.base import Callback, Callbacks, Run
from popjax.tuning.directory import Directory
from popjax.tuning.driver import Driver, budget
from popjax.tuning.interrupt import again_in_a_notebook, interruptible
from popjax.tuning.person import Person, Steered
from popjax.tuning.proposals import check_sampler, default_rounds, learns
from popjax.tuning.record import Asked, describe, summary, updates_of
from popjax.tuning.schedulers.named import scheduler_of
from popjax.tuning.schedulers.plain import plain as everyone
from popjax.tuning.schedulers.rounds import rounds as coarse_to_fine


def search(
    task: Task,
    space: Space | Mapping[str, Any] | None = None,
    trials: int = 512,
    epochs: int = 20,
    seed: int = 0,
    sampler: Any = "random",
    repeats: int = 1,
    folds: int = 1,
    metric: str | None = None,
    mode: str | None = None,
    out: Any = None,
    resume: bool = False,
    lanes: int | None = None,
    plan: str = "auto",
    keep: int | None = None,
    progress: Any = False,
    rounds: int | None = None,
    choose: str = "best",
    stop: threading.Event | None = None,
    about: Mapping[str, Any] | None = None,
    scheduler: Callable[[Problem], Scheduler] | None = None,
    callbacks: Sequence[Callback] = (),
    every: int | None = None,
    minutes: float | None = None,
    executor: Any = None,
    retries: int = 3,
    mixed: bool = False,
    live: Any = False,
) -> Results:
    """Train `space.sample(trials, seed, sampler)`, all at once, and rank the trials.

    Args:
        task: how one trial is trained.
        space: the hyperparameters; plain values are constants. If not given, the task's own: of a supervised one with
            a built-in model and optimizer `default_space` for its rows.
        trials: how many points to sample, over all rounds.
        epochs: units of budget of every member (an objective has 1).
        seed: of the points and of every member's key.
        sampler: "random", "sobol" or "grid"; or one that learns: "tpe", "cmaes" or "gp", or a class of Optuna's,
            which is called with a seed. It proposes in rounds, of 32 trials if nothing is said, from all trials so far.
        repeats, folds: members of a trial; it ranks by their mean.
        metric, mode: what ranks, "min" or "max"; the task's own if not given. The mode of another
            metric is told by its name: less of a loss or an error is better, more of an accuracy, r2, f1, auc or mcc.
        out: a directory for the results; it must not hold a run, unless resumed. What is
            trained is committed to it every 2 seconds, or every epoch if that is longer, and so that it takes a
            twentieth of the time at most.
        resume: go on where the run in `out` stands, or begin in an empty directory; in IPython a cell that is run again
            does so by itself. With one round and no scheduler
            `trials` may be more than before (random or sobol), and `epochs` where the task does not read
            hparams["epochs"]: what was trained to the end is then trained again, to the same curves, and further.
        lanes: members that advance together under vmap; chosen by rule if not given.
        plan: "one" program, a few of capped "widths", exact depths and batch sizes in "buckets", or "auto".
        keep: of how many of the best trials to keep the trained arrays; 1 if not given, 25 with choose="ensemble".
        progress: True for a bar, or a callback such as `popjax.tuning.callbacks.progress.Lines()`.
        rounds: coarse to fine: each round after the first samples around the best so far (see `refine`);
            the scheduler is then that of each round. 1 if not given, or what a learning sampler needs.
        choose: the winner: "best"; "one-se": the trial with the fewest parameters within one standard
            error of the best, over folds and repeats; or "ensemble": the best 25 together, which `best/` keeps.
        stop: once set, training stops at the end of an epoch; the results so far come back.
        about: what else run.json says.
        scheduler: what decides who trains on: such as `popjax.halving()`, or its name, as "halving(min_epochs=1)",
            or one of your own: `scheduler(problem) -> Scheduler`. Everyone is trained to the end if not given.
        callbacks: who listens (see `popjax.Callback`).
        every: at most so many epochs between two looks at the population.
        minutes: after so many the run stops as with `stop`.
        executor: what trains instead of this process: an object with `submit(fn, *args) -> Future`, as those of
            `concurrent.futures`; a function without arguments that makes one, which is called again where one breaks;
            or a name: "processes:4", "dask:tcp://host:8786", "ray:auto", "slurm". The results have the same bits.
        retries: how often a unit of work is tried that fails alone, before its trials are given up as stopped.
        mixed: whether workers may have another version of jax, or another kind of CPU, so that bits may differ.
        live: True for a page in the browser that shows the population and steers it, at the address that is printed;
            or a `popjax.live.Live` with a port. Decisions are then an epoch apart, unless `every` says otherwise.

    Returns:
        Results. `.best` is None when all trials diverged.

    Raises:
        ValueError: for anything that cannot be trained, in one line, before compiling; for a
            run that is resumed with another configuration; Corrupt, a kind of it, for a
            directory whose files are damaged.
        InUse: another process writes to `out`.
        MemoryError: not even one model fits.

    >>> import jax.numpy as jnp
    >>> from popjax.space.scales import log_uniform
    >>> from popjax.task import objective
    >>> task = objective(lambda key, hparams: {"loss": (jnp.log10(hparams["x"]) + 2) ** 2})
    >>> results = search(task, Space(x=log_uniform(1e-4, 1)), trials=64)
    >>> 0.005 < results.best.hparams["x"] < 0.02
    True
    """
    if not isinstance(task, Task):
        raise ValueError(f"the task is a {type(task).__name__}; give a popjax.Task, such as popjax.objective(function)")
    resume = resume or again_in_a_notebook(out)
    if resume and out is None:
        raise ValueError("resume=True needs out: the directory of the run to go on with")
    keep = (TOGETHER if choose == "ensemble" else 1) if keep is None else keep
    check_numbers({"trials": trials})
    rounds = (default_rounds(int(trials)) if check_sampler(sampler) else 1) if rounds is None else rounds
    counts = {"epochs": epochs, "repeats": repeats, "folds": folds, "keep": keep, "rounds": rounds, "retries": retries}
    optional = {"lanes": lanes, "every": every}
    check_numbers(counts | {name: value for name, value in optional.items() if value is not None}, seed)
    check_budget(minutes)
    space = searched(task, space, int(folds))
    check_possible(space.conditions, space)
    epochs = min(epochs, task.hints.epochs or epochs)
    check_curves(trials, epochs * repeats * folds)
    check_choices(choose, folds * repeats, rounds, trials, scheduler, learns(sampler))
    metric, mode = what_ranks(task, space, int(epochs), metric, mode)
    config = Config(
        epochs=int(epochs),
        seed=int(seed),
        metric=metric,
        mode=mode,
        repeats=int(repeats),
        folds=int(folds),
        lanes=None if lanes is None else int(lanes),
        plan=plan,
        keep=int(keep),
    )
    scheduler = scheduler_of(scheduler) if isinstance(scheduler, str) else scheduler
    asked = Asked(space, int(trials), sampler, int(rounds), choose, scheduler)
    task = in_folds(task, int(folds))
    listeners = [*([progress_of(progress)] if progress else []), *callbacks]
    remote = elsewhere(executor, int(retries), mixed)
    page = page_of(live)
    every = 1 if page is not None and every is None else every
    control = Control(listeners, every, minutes, Timer(stop), remote, page)
    try:
        with interruptible(control.timer.stop, out):
            if out is None:
                return Search(task, config, asked, control).run()
            return search_in(Path(out), Search(task, config, asked, control), resume, about or {})
    finally:
        if page is not None:
            page.leave()


def searched(task: Task, space: Space | Mapping[str, Any] | None, folds: int) -> Space:
    """The space as it was given, or the task's own in so many folds; raises ValueError for a task that has none."""
    if space is not None:
        return space if isinstance(space, Space) else Space(**space)
    own: Space | None = in_folds(task, folds).hints.space
    if own is None:
        raise ValueError("this task has no space of its own; give one, such as {'learning_rate': log_uniform(1e-4, 1)}")
    return own


def in_folds(task: Task, folds: int) -> Task:
    """The task with its rows in so many folds, if it knows how to."""
    return task if folds == 1 or task.hints.folded is None else task.hints.folded(folds)


def what_ranks(task: Task, space: Space, epochs: int, metric: str | None, mode: str | None) -> tuple[str, str]:
    """What `ranked_by` tells; raises ValueError for a metric that the task has not, before it asks for its mode."""
    try:
        return ranked_by(task, metric, mode)
    except ValueError:
        known = Roster(task, space, Config(epochs, 0, task.metric, task.mode)).metrics
        if metric not in known:
            raise unknown_metric(task, metric, known) from None
        raise


def search_in(path: Path, new: "Search", resume: bool, about: Mapping[str, Any]) -> Results:
    """A search that writes to a directory, and goes on where it stands."""
    from popjax import Page  # by its public name: pages stand above

    check_directory(path, resume)
    with locked(path):
        check_directory(path, resume)
        directory = Directory(path, new.asked.space, about)
        config = directory.settle(new.config, new.asked.settings())
        control = dataclasses.replace(new.control, listeners=[*new.control.listeners, Page(path)])
        task = as_recorded(new.task, directory.recorded, config.folds)
        results = dataclasses.replace(new, task=task, config=config, directory=directory, control=control).run()
        results.save(path)
    return results


def as_recorded(task: Task, recorded: Mapping[str, Any], folds: int) -> Task:
    """The task as the run had it that is gone on with, where the user leaves that open."""
    settings = recorded.get("task")
    if task.hints.recipe is None or not isinstance(settings, dict):
        return task
    from popjax.supervision.supervised import as_before  # a task of one's own needs none of it

    return as_before(task, settings, folds)


@dataclasses.dataclass(frozen=True, eq=False)
class Control:
    """How a search is watched, and what stops it."""

    listeners: Sequence[Callback]
    every: int | None
    minutes: float | None
    timer: Timer
    remote: Elsewhere | None
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
            remote=self.control.remote,
        )
        log = Log(self.asked.space) if directory is None else directory.log
        with contextlib.closing(population), budget(timer.stop, self.control.minutes, log):
            first = 0 if directory is None else directory.take_up(population)
            before = updates_of(population) if first or len(population.roster) else 0
            person = self.person(timer)
            driver = Driver(self.scheduler(population.roster), population, log, callbacks, self.control.every, person)
            driver.run(first, lambda: self.begin(population, log, callbacks))
            if person is not None:
                person.end()
        population.commit()
        results = self.finish(population, log, before)
        callbacks.end(results)
        return results

    def person(self, timer: Timer) -> Person | None:
        """Who steers, if anybody does, and stops this run."""
        if self.control.page is None:
            return None
        person = self.control.page.person
        person.stop = timer.stop
        return person

    def scheduler(self, roster: Roster) -> Scheduler:
        """What decides, made for this problem."""
        asked, config = self.asked, self.config
        ranks = ((config.metric, config.mode), *ties(roster.metrics, config.metric))
        propose = asked.propose(config.seed, config.epochs)
        known = (asked.space, asked.trials, config.epochs, config.seed, ranks)
        problem = Problem(*known, propose, learns(asked.sampler))
        make = asked.scheduler or everyone
        return (make if asked.rounds == 1 else coarse_to_fine(asked.rounds, make))(problem)

    def begin(self, population: Population, log: Log, callbacks: Callbacks) -> None:
        """All is checked, and the first decision is about to act."""
        population.open()
        roster, config = population.roster, self.config
        if self.directory is not None:
            self.directory.begin(describe(self.asked, self.config, roster, log))
        member = roster.tracer.member(0, roster.tracer.settle(set()))
        out = None if self.directory is None else self.directory.path
        shape = (self.asked.trials, config.epochs, config.folds, config.repeats)
        known = (self.asked.space, config.metric, config.mode, roster.metrics)
        callbacks.begin(Run(*known, *shape, roster.programs_planned, fitting(member), out))

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
        return dataclasses.replace(results, summary=figures | on_test_rows(results, test))

    def trained_again(self, population: Population, trial: int) -> dict[int, dict[str, np.ndarray]]:
        """The states of a trial that were not kept; none if it is stopped, or cannot be had alone."""
        if population.resting.needed[trial]:
            return {}
        points = take(population.roster.points, np.array([trial]))
        alone = trained(self.task, self.asked.space, points, self.config, np.array([trial]), self.control.timer)
        return {trial: alone.states[0]} if alone.states else {}


def on_test_rows(results: Results, test: Mapping[str, float]) -> dict[str, Any]:
    """What else the test rows say of a supervised task: of the best trials together, and what the score is worth."""
    if results.task.hints.recipe is None:
        return {"ensemble": None}
    from popjax.supervision import baselines, ensemble  # a task of one's own needs none of it

    together = ensemble.together(results)
    scored = {"ensemble": ensemble.on_test_rows(results, together)}
    return scored | baselines.worth(results, results.metric, test, together)


def steered_in(log: Log, trials: int) -> np.ndarray | None:
    """Whether (trials,) a person steered each; None where nobody did."""
    touched = sorted(steered_trials(log.steps))
    return np.isin(np.arange(trials), touched) if touched else None


def page_of(live: Any) -> "Steered | None":
    """The live page, if one is asked for; raises ValueError where it cannot be."""
    if live is False:
        return None
    if live is True:
        from popjax import Live  # by its public name: pages stand above

        return Live()
    if not isinstance(live, Steered):
        raise ValueError(f"live is a {type(live).__name__}; give True, or a popjax.live.Live")
    if live.person.over:
        raise ValueError("this live page has shown a search already; make another")
    return live


def progress_of(progress: Any) -> Callback:
    """What shows the progress."""
    if progress is True:
        from popjax.tuning.callbacks.cell import Cell, in_notebook
        from popjax.tuning.callbacks.progress import Bar

        return Cell() if in_notebook() else Bar()
    if not isinstance(progress, Callback):
        raise ValueError(f"progress is a {type(progress).__name__}; give True, or a popjax.Callback")
    return progress
