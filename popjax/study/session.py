"""Trials steered by hand while they train: one ("panda"), or several.

A dynamic hyperparameter is an array element in the program, so a change between epochs compiles nothing. Every change
is a Decision, as a scheduler's is.
"""

import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import jax
import numpy as np

from popjax.core.counts import check_count, check_number, check_seed
from popjax.core.stop import Flag
from popjax.core.text import cell, plural, tell
from popjax.engine.caps import levels
from popjax.engine.checkpoint import check_arrays
from popjax.engine.identity import check_same, code
from popjax.engine.measure import rebuilt, state_of, watched
from popjax.engine.member import jax_settings, under
from popjax.engine.roster import Roster
from popjax.engine.traced_task import Config, TracedTask
from popjax.engine.trainer import Timer, Trainer
from popjax.live.board import About
from popjax.live.session import ONE, SEVERAL, SessionPage, Shown
from popjax.rule import Rule
from popjax.scheduler import Decision, Status
from popjax.space.space import Space
from popjax.space.values import python_value
from popjax.store.cohort import state_in
from popjax.store.decisions import Step
from popjax.store.journal import Journal
from popjax.store.results import Results
from popjax.study.models import columns_and_space, numbers_of
from popjax.study.session_directory import SessionDirectory, record_of
from popjax.study.timeline import Timeline, snapshot_of
from popjax.task import Task
from popjax.tuning.interrupt import interruptible
from popjax.tuning.person import Change, notes_with_change
from popjax.tuning.schedulers.bounds import broken

STOPPING = "stopping after this epoch; interrupt again to stop at once"


class Session:
    """Models in training that a person watches, changes and takes back.

    Trial t trains as trial t of `search` with the same task, values, ranges and seed.

    Args:
        task: how one model is trained.
        hparams: name -> value for one trial; name -> values (trials,) for several, where a single value applies to all.
        epochs: the horizon of schedules that have one; training may go beyond it.
        seed: seed of the trials' keys.
        space: ranges to allocate shapes for, where they are wider than the values.
        numbers: trial numbers (trials,), from which keys are derived; 0, 1, ... if None.
        folds, repeats: members of each trial; its curves are their mean.
        out: directory for the log of decisions, and for commits: every 2 seconds while training, at the end of `train`,
            and at every copy.
        resume: resume the session in `out`; `back` then carries out its log again where needed.
        about: further entries of session.json.
        stop: flag that, once set, stops training at the end of an epoch.

    Raises:
        ValueError: for anything that cannot be trained.
        InUse: another process has a session in `out`.

    >>> import popjax as pj
    >>> import jax.numpy as jnp
    >>> def epoch(x, hparams, data):
    ...     return x - hparams["learning_rate"] * 2 * x, {"loss": x**2}
    >>> session = pj.Session(pj.Task(lambda key, hparams, data: jnp.ones(()), epoch, ()), {"learning_rate": 0.25})
    >>> session.train(2)
    >>> session.set(learning_rate=0.5)
    >>> session.train(2)
    >>> session.curves["loss"].tolist()
    [1.0, 0.25, 0.0625, 0.0]
    >>> session.back(2)
    >>> session.epoch, session.state.item()
    (2, 0.25)
    """

    def __init__(
        self,
        task: Task,
        hparams: Mapping[str, Any],
        *,
        epochs: int = 20,
        seed: int = 0,
        space: Space | None = None,
        numbers: Sequence[int] | None = None,
        folds: int = 1,
        repeats: int = 1,
        out: Any = None,
        resume: bool = False,
        about: Mapping[str, Any] | None = None,
        stop: Flag | None = None,
    ) -> None:
        for name, value in (("epochs", epochs), ("folds", folds), ("repeats", repeats)):
            check_count(name, value)
        check_seed(seed)
        if resume and out is None:
            raise ValueError("resume=True needs out, the directory of the session; name it")
        columns, self.space = columns_and_space(hparams, space)
        self.single = all(np.ndim(value) == 0 for value in hparams.values())
        self.trials = len(next(iter(columns.values())))
        self.task = task.in_folds(folds)
        config = Config(epochs, seed, Rule(task.metric), repeats, folds, plan="one", open_ended=True)
        own = None if numbers is None else numbers_of(numbers, self.trials)
        known = record_of(self.task, self.space, config, own)
        self.directory = None if out is None else SessionDirectory(Path(out), self.space, resume, known, columns)
        journal = Journal(self.space) if self.directory is None else self.directory.journal
        first = journal.read(0) or Step(Decision(add=columns))
        traced, timer = TracedTask(self.task, self.space, config), Timer(stop)
        make = lambda journal: Trainer(Roster(traced, first.decision.add, own), journal=journal, timer=timer)
        self.timeline = Timeline(make, journal)
        self.trainer: Trainer = self.timeline.trainer
        self.alone = threading.RLock()  # held while the models are trained or changed
        self.page: SessionPage | None = None  # the live page
        self._measures: dict[Any, Any] = {}
        if self.directory is None:
            self.timeline.begin(first)
        elif self.directory.owned(traced):
            self.timeline.resume()
        else:
            self.directory.begin(dict(about or {}) | known | {"code": code(traced)})
            self.timeline.begin(first)

    @classmethod
    def of(cls, results: Results, trial: int, task: Task | None = None) -> Self:
        """A session that trains a trial of a search further.

        It begins at the epoch that counts, with the curves up to it, and trains on as the search did, or would have,
        bit for bit, except where something has a horizon, which training then exceeds. If the best epochs of folds and
        repeats differ, each member continues from its own, and epochs are counted from the last of them.

        Args:
            results: the results of the search, which kept the trial.
            task: the task of the search; needed for results that were loaded.

        Raises ValueError for a trial that was not kept, no task, or another task than that of the search.

        >>> import popjax as pj
        >>> def epoch(x, hparams, data):
        ...     return x - hparams["rate"] * x, {"loss": x**2}
        >>> task = pj.Task(lambda key, hparams, data: 1.0, epoch, ())
        >>> results = pj.search(task, {"rate": pj.uniform(0, 1)}, trials=4, epochs=3)
        >>> session = pj.Session.of(results, results.best.trial)
        >>> session.train(2)
        >>> session.epoch, session.curves["loss"].shape
        (5, (5,))
        """
        task = task or results.task
        if task is None:
            raise ValueError("the results were loaded, so give the task: Session.of(results, trial, task)")
        kept, run, space = results.kept(trial), results.run, space_of(results, trial, task)
        asked = {name: run[name] for name in ("epochs", "seed", "folds", "repeats")}
        session = cls(task, kept.hparams, space=space, numbers=[trial], **asked)
        check_arrays(session.trainer.roster.abstract(0).state, kept.arrays)
        session.timeline.stand_at(snapshot_of(kept.arrays, results.records(trial)))
        return session

    def __repr__(self) -> str:
        return f"Session(trials={self.trials}, epoch={self.epoch}, metric={self.task.metric!r})"

    def _repr_html_(self) -> str:
        import popjax as pj

        return str(pj.as_html(self))

    @property
    def epoch(self) -> int:
        """Number of epochs that all members have finished."""
        return self.timeline.epoch

    @property
    def curves(self) -> dict[str, np.ndarray]:
        """Metric -> (epochs,) for one model, (trials, epochs) for several; NaN where a trial was stopped."""
        if self.epoch == 0:
            return {}
        means = {name: values[:, : self.epoch] for name, values in self.trainer.table.means().items()}
        return {name: values[0].copy() if self.single else values.copy() for name, values in means.items()}

    @property
    def state(self) -> Any:
        """The task's state on the host; several trials are stacked, or in a list if their shapes differ."""
        roster = self.trainer.roster
        if len(roster.buckets) > 1:
            return [state_of(roster, self.timeline.cohort([trial])) for trial in range(self.trials)]
        stacked = state_of(roster, self.timeline.cohort(range(self.trials)))
        return jax.tree.map(lambda array: array[0], stacked) if self.single else stacked

    @property
    def alive(self) -> Any:
        """Bool (trials,): neither stopped nor diverged; a bool for one model."""
        alive = self.trainer.table.status == Status.WAITING
        return bool(alive[0]) if self.single else alive

    @property
    def hparams(self) -> dict[str, Any]:
        """Name -> current value for one model, column (trials,) for several."""
        points = self.trainer.roster.points
        return {name: column.tolist()[0] if self.single else column.copy() for name, column in points.items()}

    @property
    def dynamic(self) -> tuple[str, ...]:
        """Names of the hyperparameters that may be set."""
        functions = self.trainer.roster.buckets[0]
        return tuple(name for name in functions.dynamic if name not in functions.of_init)

    def train(self, epochs: int = 1, commit: bool = True) -> None:
        """Train `epochs` epochs more, except trials that were stopped or diverged.

        An interrupt stops it at the end of an epoch; an epoch that not all members have finished is taken back.

        Args:
            commit: True to make the last epoch durable now, False to leave that to the next commit.

        Raises ValueError for a number below 1, and KeyboardInterrupt after an interrupt.
        """
        check_count("epochs", epochs)
        with interruptible(self.trainer.timer.stop, STOPPING):
            try:
                self._train(epochs)
            finally:
                if self.page is not None:
                    self.page.rest()
            if commit:
                self.commit()

    def _train(self, epochs: int) -> None:
        stop = self.trainer.timer.stop
        for number in range(epochs):
            if stop.is_set() or (self.page is not None and not self.page.go_on(number == 0, stop)):
                break
            with self.alone:
                going = np.flatnonzero(~self.timeline.stopped).tolist()
                if not going or not self._act(Decision(until=dict.fromkeys(going, self.epoch + 1))):
                    break
                self._show()

    def commit(self) -> None:
        """Make the states and, in curves.parquet, the curves durable, if there is a directory."""
        with self.alone:
            self._check()
            self.trainer.commit()
            if self.directory is not None:
                self.directory.write_curves(self.trainer.table.metrics, self.epoch)

    def live(self, port: int = 0, host: str = "127.0.0.1") -> str:
        """Serve a page that shows and steers the models while the session exists; returns its address.

        Changes that a person requests there are made at once, or after the epoch in training; "Stop after this epoch"
        makes `train` return early. Further calls return the same address.

        Args:
            port: port to serve at; any free one if 0.
            host: address of this machine (see `popjax.live.Live`).

        Raises ValueError if the port is taken, or starlette or uvicorn is not installed.
        """
        if self.page is None:
            page = SessionPage(port, host, ONE if self.single else SEVERAL)
            self.watch(page)
            weakref.finalize(self, page.close).atexit = False
            page.serve()
        assert self.page is not None
        return self.page.address

    def watch(self, page: SessionPage) -> None:
        """Show the models on a page and carry out its requests; the page does not keep the session alive."""
        mine, settings = weakref.WeakMethod(self.obey), jax_settings()

        def obey(change: Change) -> None:
            if (method := mine()) is None:
                raise ValueError("the session is gone")
            with under(settings):  # the page's threads have settings of their own
                method(change)

        title = "a model in training" if self.single else f"{plural(self.trials, 'model')} in training"
        metrics = tuple(dict.fromkeys((self.task.metric, *self.trainer.table.metrics)))
        about = About(title, metrics, self.task.mode, self.space, None, page.verbs, self.single)
        self.page = page
        page.begin(about, obey, self.alone)
        self._show()

    def obey(self, change: Change) -> None:
        """Carry out a change that a person requests. Raises ValueError for an impossible one."""
        if change.verb == "back":
            self.back(1 if change.epochs is None else change.epochs)
        elif change.verb == "set":
            self.set(*(() if self.single else (change.trial,)), **change.values)
        elif change.verb == "clone":
            self.clone(int(change.source or 0), change.trial)
        elif change.verb == "stop":
            self.stop(change.trial)
        else:
            raise ValueError(f"{change.verb!r} is not supported by a session")

    def set(self, trial: int | None = None, /, **values: Any) -> None:
        """Change hyperparameters of one trial, or of all, from the next epoch on.

        The ranges of the space do not bind. Raises ValueError for an unknown or static hyperparameter, one that init
        alone reads, and a value that is no number of its kind; nothing is changed then.
        """
        trials = range(self.trials) if trial is None else [self._number(trial)]
        values = {name: python_value(value) for name, value in values.items()}
        with self.alone:
            decision = Decision(set=dict.fromkeys(trials, values))
            self._act(decision, change=Change("set", 0 if trial is None else trials[0], values=values))
            self._show(", ".join(f"{name} = {cell(value)}" for name, value in values.items()), trial)
            if constraint := broken(self.trainer.roster.space, decision, self.trainer.roster.points):
                tell(f"popjax: a point violates {constraint} now; it is trained so")

    def back(self, epochs: int) -> None:
        """Return to the states of `epochs` epochs ago; the hyperparameters keep their current values.

        States that are no longer in memory are trained again from the log, bit for bit. Raises ValueError for more
        epochs than there are.
        """
        epochs = check_count("back", epochs)
        with self.alone:
            self._check()
            with interruptible(self.trainer.timer.stop, STOPPING):
                self.timeline.act(Step(Decision(), back=epochs))
            self._show(f"back to epoch {self.epoch}")

    def clone(self, source: int, target: int) -> None:
        """Overwrite `target` by `source`: state, random key and hyperparameters.

        Both train alike until one of them is changed. Raises ValueError if their static hyperparameters differ,
        and for an unknown trial.
        """
        source, target = self._number(source), self._number(target)
        if source == target:
            return
        with self.alone:
            stopped = self.timeline.stopped
            stopped[target] = stopped[source]
            self._act(Decision(copy={target: source}), stopped, Change("clone", target, source=source))
            self.trainer.commit()
            self._show(f"became trial {source}", target)

    def stop(self, trial: int) -> None:
        """Stop a trial: it keeps its state, and its curves are NaN from here on.

        Raises ValueError for an unknown trial.
        """
        self._set_stopped(trial, True, "stopped")

    def lift(self, trial: int) -> None:
        """Let a stopped trial train on from its state; its curves keep the gap.

        Raises ValueError for an unknown trial.
        """
        self._set_stopped(trial, False, "goes on")

    def _set_stopped(self, trial: int, stopped: bool, words: str) -> None:
        with self.alone:
            column = self.timeline.stopped
            number = self._number(trial)
            column[number] = stopped
            self._act(Decision(), column, Change("stop" if stopped else "lift", number))
            self._show(words, number)

    def remark(self, verb: str) -> None:
        """Log that the models were watched ("watch") or saved ("save")."""
        self._check()
        self.trainer.journal.remark(verb)

    def repeat(self, steps: Iterable[Step], tell: Callable[[Step], None] = lambda step: None) -> None:
        """Carry out the steps of another session's log, given without the first, which began it.

        `tell` is called with each step after it is done. Raises KeyboardInterrupt at an interrupt.
        """
        with self.alone:
            self._check()
            with interruptible(self.trainer.timer.stop, STOPPING):
                self.timeline.follow(steps, tell)
            self._show()

    def measure(self, function: Any) -> dict[str, Any]:
        """`function(state, hparams, data) -> dict` of the first trial's current state, compiled on first use."""
        return watched(self.trainer.roster, self.timeline.cohort([0]), function, self._measures)

    def arrays(self, trial: int = 0) -> tuple[dict[str, np.ndarray], dict[str, Any] | None]:
        """Name -> array (members, ...) of a trial, and what rebuilds its predictor, or None without a recipe."""
        cohort = self.timeline.cohort([trial])
        return state_in(cohort.arrays()), rebuilt(self.trainer.roster, [trial])[trial]

    def _act(self, decision: Decision, stopped: np.ndarray | None = None, change: Change | None = None) -> bool:
        """Log a decision with the stopped trials, and carry it out; False if it was interrupted."""
        self._check()
        stopped_now = np.flatnonzero(self.timeline.stopped if stopped is None else stopped).tolist()
        notes = None if change is None else notes_with_change(None, change)
        return self.timeline.act(Step(decision._replace(notes=notes), stopped=tuple(stopped_now)))

    def _number(self, trial: Any) -> int:
        """A checked trial number. Raises ValueError for an unknown one."""
        return check_number("there is no trial", trial, self.trials)

    def _check(self) -> None:
        """Raise ValueError if another session owns the directory."""
        if self.directory is not None and not self.directory.owner.owns:
            raise ValueError(f"another session resumed {str(self.directory.path)!r}; use that one")

    def _show(self, line: str = "", trial: int | None = None) -> None:
        """Show the current state of all trials and the last change, if there is a page."""
        if self.page is not None:
            curves = {name: values.astype(float) for name, values in self.trainer.table.means().items()}
            alive, points = np.atleast_1d(self.alive), self.trainer.points()
            self.page.show(Shown(curves, self.epoch, self.timeline.stopped, alive, points, self.dynamic), line, trial)


def space_of(results: Results, trial: int, task: Task) -> Space:
    """The space with which a session trains a trial as the search did. Raises ValueError for another task."""
    run, space, level = results.run, results.space, {}
    if run.get("caps"):
        points = space.filled({name: column[[trial]] for name, column in results.points.items()})
        level = run["caps"][levels(points, run["caps"])[0]]
    space = space.replace(**{name: space[name].up_to(units) for name, units in level.items()})
    check_same(run, task.in_folds(run["folds"]), f"Session.of trial {trial}")
    return space.only([name for name in space if name not in run["static"]])
