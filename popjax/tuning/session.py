"""Models steered by hand while they train: one ("panda"), or each member of a living population.

What a sweep decides before training is decided here between epochs: a hyperparameter is an
element of an array that the program takes, so a change needs no new program. Every change is
a Decision, as a scheduler's is.
"""

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import jax
import numpy as np

from popjax.core.text import cell
from popjax.core.trees import from_host, to_words, unnamed
from popjax.engine.caps import levels
from popjax.engine.checkpoint import check_arrays
from popjax.engine.identity import check_same
from popjax.engine.measure import rebuilt
from popjax.engine.plan import member_bytes
from popjax.engine.population import Population
from popjax.engine.roster import Config
from popjax.scheduler import Decision
from popjax.space.space import Space
from popjax.store.cohort import Cohort, OnHost, of_members, state_in
from popjax.store.decisions import Log, Step
from popjax.store.results import Results
from popjax.task import Task
from popjax.tuning.arguments import check_numbers
from popjax.tuning.given import columns_of, completed, covering, numbers_of, row_of
from popjax.tuning.saved import Saved

if TYPE_CHECKING:
    from popjax.live.session import SessionPage

MEMORY = 2**31  # bytes of earlier states to keep, for `back`


class Moment(NamedTuple):
    """Where all members stood after an epoch, on the host, and which were stopped (members,)."""

    cohorts: list[Cohort]
    stopped: np.ndarray


class Session:
    """Models in training that one can watch, change, and take back.

    Member m trains as trial m of `search` with the same task, values, ranges and seed does.

    Args:
        task: how one model is trained.
        hparams: name -> value, for one model; or name -> values (members,), for several
            (a single value is everyone's).
        epochs: the horizon of schedules that have one; training may go on beyond it.
        seed: of the members' keys.
        space: ranges to make room for where they are wider than the values.
        trials: the members' numbers, from which their keys are made; 0, 1, ... if not given.
        folds, repeats: models of each member, whose curves are their mean.
        out: a directory for commits, every 2 seconds while it trains, where `train` ends, and at every copy.
        resume: go on where the session in `out` stands.

    Raises:
        ValueError: for anything that cannot be trained.
        InUse: another process has a session in `out`.

    >>> import jax.numpy as jnp
    >>> def epoch(x, hparams, data):
    ...     return x - hparams["learning_rate"] * 2 * x, {"loss": x**2}
    >>> session = Session(Task(lambda key, hparams, data: jnp.ones(()), epoch, ()), {"learning_rate": 0.25})
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
        epochs: int = 20,
        seed: int = 0,
        space: Space | None = None,
        trials: Sequence[int] | None = None,
        folds: int = 1,
        repeats: int = 1,
        out: Any = None,
        resume: bool = False,
    ) -> None:
        check_numbers({"epochs": epochs, "folds": folds, "repeats": repeats}, seed)
        self.single = all(np.ndim(value) == 0 for value in hparams.values())
        columns = columns_of(hparams)
        self.members = len(next(iter(columns.values())))
        columns = columns if space is None else completed(space, columns)
        self.space = Space(**{name: covering(column) for name, column in columns.items()})
        if space is not None:
            self.space = self.space.replace(**space.only(self.space))
        self.task = task.in_folds(folds)
        config = Config(epochs, seed, task.metric, task.mode, repeats, folds, plan="one")
        self._saved = saved = None if out is None else Saved(Path(out), self.space, resume)
        numbers = None if trials is None else numbers_of(trials, self.members)
        commits = None if saved is None else saved.commits
        self.population = Population(self.task, self.space, config, numbers=numbers, paced=True, commits=commits)
        self._log = Log(self.space) if saved is None else saved.log
        self.epoch = 0
        if saved is not None and saved.log.steps:
            self.epoch = saved.take_up(self.population)
        else:
            begin = Decision(add=columns)
            self.population.check(begin)
            if saved is not None:
                saved.begin(self.population)
            self._decide(begin)
        bytes_each = self.members * config.numbering.each * member_bytes(self.population.roster.buckets[0])
        self.alone = threading.RLock()  # held by whoever trains or changes the models
        self.page: SessionPage | None = None  # that shows them
        self._measures: dict[Any, Any] = {}
        self._moments: deque[Moment] = deque([self._now()], maxlen=max(2, MEMORY // max(bytes_each, 1)))

    @classmethod
    def of(cls, results: Results, trial: int, task: Task | None = None) -> Self:
        """A trained trial of a search as a living model, to go on with.

        It stands where the search left it, with its curves, and trains on as it would have there, to the last bit,
        unless something has a horizon; then it goes on beyond it.

        Args:
            results: of the search, which kept the trial.
            task: what was trained; needed for results that were loaded.

        Raises ValueError for a trial that was not kept, no task, or another one than that of the search.

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
        kept, known = results.kept(trial), trained_as(results, trial, task)
        session = cls(task, kept.hparams, trials=[trial], **known)
        session._stand(kept.arrays, {name: values[trial] for name, values in results.members.items()})
        return session

    def _stand(self, arrays: Mapping[str, np.ndarray], curves: Mapping[str, np.ndarray]) -> None:
        """Let the one model stand where these arrays (models, ...) and curves (folds, repeats, epochs) end."""
        population = self.population
        check_arrays(population.roster.abstract(0).state, arrays)
        self.epoch = next(iter(curves.values())).shape[-1]
        models, known = population.config.numbering.members([0]), population.table.curves
        known.reach(self.epoch)
        known.load(models, self.epoch, {n: v.reshape(len(models), -1) for n, v in curves.items()})
        alive = np.isfinite([values[..., -1].ravel() for values in curves.values()]).all(0)
        held = {f"state.{name}" if name else "state": array for name, array in arrays.items()} | {"alive": alive}
        population.go_back([Cohort(0, models, self.epoch, OnHost(held))], population.table.stopped.copy())
        self._moments.clear()
        self._moments.append(self._now())

    def __repr__(self) -> str:
        return f"Session(members={self.members}, epoch={self.epoch}, metric={self.task.metric!r})"

    def _repr_html_(self) -> str:
        import popjax as pj

        return str(pj.as_html(self))

    @property
    def curves(self) -> dict[str, np.ndarray]:
        """Metric -> (epochs,) for one model, (members, epochs) for several; NaN where a member rested."""
        if self.epoch == 0:
            return {}
        means = {name: values[:, : self.epoch] for name, values in self.population.table.curves.means().items()}
        return {name: values[0].copy() if self.single else values.copy() for name, values in means.items()}

    @property
    def state(self) -> Any:
        """The task's state on the host; several members are stacked, or in a list where their shapes differ."""
        return self._states[0] if len(self._states) == 1 else self._states

    @property
    def _states(self) -> list[Any]:
        """The state of one model, of all members stacked, or of each where there are several programs."""
        if len(self.population.roster.buckets) > 1:
            return [self._state(self._member(member)) for member in range(self.members)]
        whole = self._state(self._member(None))
        return [jax.tree.map(lambda array: array[0], whole) if self.single else whole]

    @property
    def alive(self) -> Any:
        """Whether (members,) they train on: neither stopped nor diverged."""
        alive = ~self.population.table.stopped
        for cohort in self._moments[-1].cohorts:
            np.logical_and.at(alive, self.population.config.numbering.trials(cohort.members), cohort.arrays()["alive"])
        return bool(alive[0]) if self.single else alive

    @property
    def hparams(self) -> dict[str, Any]:
        """The hyperparameters now: values for one model, columns for several."""
        points = self.population.roster.points
        return {name: column.tolist()[0] if self.single else column.copy() for name, column in points.items()}

    @property
    def dynamic(self) -> tuple[str, ...]:
        """The hyperparameters that may be set."""
        return tuple(self.population.roster.buckets[0].dynamic)

    def train(self, epochs: int = 1) -> None:
        """Train so many epochs more; a member that was stopped or diverged rests.

        Interrupted, all stand where the last epoch left them.
        """
        check_numbers({"epochs": epochs})
        for number in range(epochs):
            if self.page is not None and not self.page.go_on(number == 0):
                break
            with self.alone:
                self._train()
                self._show()
        with self.alone:
            self.population.commit()

    def _train(self) -> None:
        """One epoch of all, or none: who interrupts it finds some further than others."""
        try:
            going = np.flatnonzero(~self.population.table.stopped).tolist()
            self._decide(Decision(until=dict.fromkeys(going, self.epoch + 1)))
            moment = self._now()
        except BaseException:
            self._return()
            raise
        self._moments.append(moment)
        self.epoch += 1

    def live(self, port: int = 0, host: str = "127.0.0.1") -> str:
        """Serve a page that shows the models and steers them, until the session is gone; the address to open.

        What a person asks for there is done at once, or after the epoch in training; "Stop after this epoch" lets
        `train` return early. Called again it gives the same address.

        Args:
            port: where it is served; any free one if 0.
            host: the address of this machine (see `popjax.live.Live`).

        Raises ValueError where the port is taken, or starlette or uvicorn is not installed.
        """
        if self.page is None:
            from popjax import session_page  # by its public name: pages stand above

            self.page = session_page(self, port, host)
        return self.page.serving.address

    def set(self, member: int | None = None, /, **values: Any) -> None:
        """Change hyperparameters from the next epoch on: of one member, or of all.

        Raises ValueError for one that does not exist, fixes a shape, or is out of range;
        nothing is changed then.
        """
        members = list(range(self.members)) if member is None else [row_of(member, self.members)]
        roster = self.population.roster
        first = {int(roster.bucket[m]): m for m in reversed(members)}  # all of a bucket are checked alike
        for name, value in values.items():
            for one in first.values():
                roster.check_set(one, name, value)
        with self.alone:
            self._decide(Decision(set=dict.fromkeys(members, values)))
            self._show(", ".join(f"{name} = {cell(value)}" for name, value in values.items()), member)

    def back(self, epochs: int) -> None:
        """Return to the states of so many epochs ago; the hyperparameters stay as they are now."""
        check_numbers({"back": epochs})
        with self.alone:
            kept = len(self._moments) - 1
            if epochs > kept:
                what = f"only {kept} of {self.epoch} epochs can be taken back; give at most {kept}"
                raise ValueError(f"back {epochs}: {what}")
            for _ in range(epochs):
                self._moments.pop()
            self.epoch -= epochs
            self._return()
            self._show(f"back to epoch {self.epoch}")

    def clone(self, source: int, target: int) -> None:
        """Overwrite a member by another one: state, random key and hyperparameters.

        Until one of them is set otherwise, both train alike. Raises ValueError where they differ in what
        fixes a shape.
        """
        source, target = row_of(source, self.members), row_of(target, self.members)
        if source == target:
            return
        decision = Decision(copy={target: source})
        with self.alone:
            self.population.check(decision)
            self.population.table.stopped[target] = self.population.table.stopped[source]
            self._decide(decision)
            self._moments[-1] = self._now()
            self._show(f"became trial {source}", target)

    def stop(self, member: int) -> None:
        """Let a member rest: it keeps its state, and its curves are NaN from here on."""
        with self.alone:
            self._stop(self.population.table.stopped | (np.arange(self.members) == row_of(member, self.members)))
            self._moments[-1] = self._now()
            self._show("stopped", member)

    def lift(self, member: int) -> None:
        """Let a member that was stopped train on, from the state that it has; its curves keep the gap."""
        with self.alone:
            self._stop(self.population.table.stopped & (np.arange(self.members) != row_of(member, self.members)))
            self._moments[-1] = self._now()
            self._show("goes on", member)

    def measure(self, function: Any) -> dict[str, Any]:
        """`function(state, hparams, data) -> dict` of the first member as it stands, compiled on first use."""
        roster = self.population.roster
        bucket, who = int(roster.bucket[0]), roster.member(int(roster.bucket[0]), 0)
        first = jax.tree.map(lambda leaf: leaf[0], self._state(self._member(0)))
        state = from_host(roster.abstract(bucket).state, first)
        if function not in self._measures:
            member = roster.buckets[bucket]
            self._measures[function] = jax.jit(lambda state, who, data: function(state, member.hparams(who), data))
        data = jax.tree.map(lambda array: array.addressable_data(0), roster.data)
        return jax.tree.map(np.asarray, self._measures[function](state, who, data))

    def arrays(self, member: int = 0) -> tuple[dict[str, np.ndarray], dict[str, Any] | None]:
        """A member's arrays by name (models, ...), and what makes a predictor of them, if the task knows it."""
        return state_in(self._member(member).arrays()), rebuilt(self.population.roster, [member])[member]

    def _return(self) -> None:
        """Stand where the last moment was."""
        cohorts, stopped = self._moments[-1]
        self._stop(stopped)  # the last decision names nobody: who goes on from here trains nobody either
        self.population.go_back(cohorts, stopped)

    def _stop(self, stopped: np.ndarray) -> None:
        """Let these (members,) rest, and no other."""
        self.population.table.stopped[:] = stopped
        self._decide(Decision())

    def _decide(self, decision: Decision) -> None:
        """Write a decision down, and who rests, and carry it out."""
        if self._saved is not None:
            self._saved.check()
        self._log.write(Step(decision, stopped=tuple(np.flatnonzero(self.population.table.stopped).tolist())))
        self.population.advance(len(self._log.steps) - 1, decision)

    def _show(self, line: str = "", member: int | None = None) -> None:
        """Show how all stand, and what was just done, where there is a page."""
        if self.page is not None:
            self.page.show(self, line, member)

    def _now(self) -> Moment:
        return Moment(self.population.table.waiting.on_host(), self.population.table.stopped.copy())

    def _member(self, member: int | None) -> Cohort:
        """Where a member stands, or all where they share a program, in order of its models."""
        trials = range(self.members) if member is None else [member]
        return of_members(self._moments[-1].cohorts, self.population.config.numbering.members(trials))

    def _state(self, cohort: Cohort) -> Any:
        """The task's state of members, stacked, as the task has it."""
        like = jax.eval_shape(to_words, self.population.roster.abstract(cohort.bucket).state)
        return unnamed(like, state_in(cohort.arrays()))


def trained_as(results: Results, trial: int, task: Task) -> dict[str, Any]:
    """What a session takes to train a trial on as the search did; raises ValueError for another task than its."""
    run, space, level = results.run, results.space, {}
    if run.get("caps"):
        points = space.filled({name: column[[trial]] for name, column in results.points.items()})
        level = run["caps"][levels(points, run["caps"])[0]]
    space = space.replace(**{name: space[name].up_to(units) for name, units in level.items()})
    check_same(run, task.in_folds(run["folds"]), f"Session.of trial {trial}")
    known = {name: run[name] for name in ("epochs", "seed", "folds", "repeats")}
    return known | {"space": space.only([name for name in space if name not in run["static"]])}
