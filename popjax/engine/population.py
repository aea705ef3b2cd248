"""A population in training: all that trains, whoever decides. Its one verb is `advance`."""

import dataclasses
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import jax
import numpy as np

from popjax.core.clock import Clock
from popjax.engine.backends.base import Backend, Context
from popjax.engine.backends.local import Local
from popjax.engine.checkpoint import Checkpoint, restore
from popjax.engine.curves import Curves, trials_of
from popjax.engine.keeper import Keeper
from popjax.engine.memory import total
from popjax.engine.resting import Resting
from popjax.engine.roster import Config, Roster, check_decision
from popjax.engine.snapshot import Snapshot
from popjax.engine.trainer import EpochResult, Trainer
from popjax.scheduler import Decision, Trials
from popjax.space.space import Points, Space
from popjax.store.commits import Commits
from popjax.store.results import Results
from popjax.task import Task

RESTING = 0.25  # of the memory, for the states of who rests; beyond it one is given up, and trained again if needed


class Elsewhere(Protocol):
    """What makes the backend of a population that does not train here; it is opened first, and closed in the end."""

    def __call__(self, roster: Roster, context: Context) -> Backend: ...

    def open(self) -> None: ...

    def close(self) -> None: ...


class Outcome(NamedTuple):
    """What came of a decision: whether the search is over."""

    over: bool


class Timer:
    """A run's seconds, and what stops it at the end of an epoch."""

    def __init__(self, stop: threading.Event | None = None) -> None:
        self.begin = time.perf_counter()
        self.compiling = Clock()
        self.training = Clock()
        self.stop = stop or threading.Event()

    def seconds(self) -> dict[str, float]:
        """The figures of the summary."""
        wall = time.perf_counter() - self.begin
        clocks = {"compile_seconds": self.compiling.seconds, "train_seconds": self.training.seconds}
        return {"wall_seconds": wall} | clocks


class Population:
    """Members in training, or at rest between two decisions.

    Args:
        task, space: what is trained, and over which hyperparameters.
        config: how.
        numbers, expected: see Roster.
        bounded: whether the last epoch is the end, after which only the states of the best stay.
        commits: where progress is written.
        timer: the run's.
        tell: is told every EpochResult.
        remote: what trains instead of this machine's devices.

    Attributes:
        roster: who the members are.
        curves: what they have reported.
        keeper: the states of the best that are trained to the end.
        resting: where all others stand.
        applied: how many decisions have changed the population; the last of them may still be in training.
        rounds: the round (trials,) of each trial, from 0.
        stopped: whether (trials,) a person stopped it, or whoever trained it died too often.
        named: whether (trials,) the last decision named it to train on.

    >>> import jax.numpy as jnp
    >>> def epoch(x, hparams, data):
    ...     return x - hparams["rate"] * x, {"loss": x**2}
    >>> task = Task(lambda key, hparams, data: jnp.ones(()), epoch, ())
    >>> population = Population(task, Space(rate=0.5), Config(epochs=3, seed=0, metric="loss", mode="min"))
    >>> population.advance(0, Decision(add={"rate": np.array([0.5, 0.1])}, until={0: 3, 1: 1}))
    Outcome(over=False)
    >>> population.trials().epochs.tolist()
    [3, 1]
    """

    curves: Curves
    keeper: Keeper
    trainer: Trainer
    backend: Backend | None = None
    saver: Checkpoint | None = None

    def __init__(
        self,
        task: Task,
        space: Space,
        config: Config,
        *,
        numbers: np.ndarray | None = None,
        expected: int = 1,
        bounded: bool = True,
        commits: Commits | None = None,
        timer: Timer | None = None,
        tell: Callable[[EpochResult], None] | None = None,
        remote: "Elsewhere | None" = None,
    ) -> None:
        self.roster = Roster(task, space, config, numbers, expected)
        self.config = config
        self.last = config.epochs if bounded else None
        self.commits = commits
        self.timer = timer or Timer()
        self.tell = tell
        self.remote = remote
        self.resting = Resting(self.roster, int(RESTING * total()) if bounded else None)
        self.applied = 0
        self.rounds = np.zeros(0, np.int64)
        self.stopped = np.zeros(0, bool)
        self.named = np.zeros(0, bool)

    def check(self, decision: Decision) -> None:
        """Raise ValueError for a decision that cannot be carried out; nothing is changed or compiled."""
        epochs = self.curves.epochs.min((1, 2)) if len(self.roster) else np.zeros(0, int)
        check_decision(decision, self.roster, epochs, self.last)

    def advance(self, number: int, decision: Decision) -> Outcome:
        """Carry out a decision, unless it is applied already, and train until all stand where it says.

        Stops at the end of an epoch once the timer's `stop` is set; advancing again goes on.
        Where memory runs out all goes on narrower, from where it stood.
        """
        if number >= self.applied:
            if not self._with_states([*decision.copy.values(), *decision.fresh, *decision.set]):
                return Outcome(True)
            self._apply(decision)
            self.applied = number + 1
        if self.saver is not None:
            self.saver.commits.decision, self.saver.commits.carrying = self.applied, number
            if self.last is None and (decision.copy or decision.fresh):  # a person's, which nobody can decide again
                self.saver.commit()
        self.named[:] = False
        self.named[list(decision.until)] = True
        self._train_until(decision.until)
        return Outcome(self.timer.stop.is_set() or not decision.until)

    def prepare(self, decisions: Iterable[Decision]) -> None:
        """Know the trials, and their hyperparameters, as these decisions left them: the first ones of a run."""
        for decision in decisions:
            self._change(decision)
            self.applied += 1

    def take_up(self) -> None:
        """Stand where the commits say that the population stood.

        Raises Corrupt for the commits of another task.
        """
        assert self.saver is not None
        bucket = self.roster.bucket.repeat(self.config.each)
        self.resting.held[:] = restore(self.saver, self.last, bucket, self.roster.abstract)

    def trials(self) -> Trials:
        """All trials as they stand, the mean over the members of each."""
        roster, config = self.roster, self.config
        known = {"stopped": self.stopped.copy(), "bucket": roster.bucket.copy(), "settable": roster.settable}
        return trials_of(self.points(), self.curves, config.metric, config.mode, **known)

    def points(self) -> dict[str, np.ndarray]:
        """The hyperparameters as they are now, one column (trials,) each; see `Space.masked` for what is inactive."""
        return self.roster.space.masked({name: column.copy() for name, column in self.roster.points.items()})

    def results(self) -> Results:
        """What was found, without what the run knows of itself."""
        config, members = self.config, dict(self.curves.members)
        below = (self.curves.epochs < config.epochs).any((1, 2))
        return Results(
            self.points(),
            members,
            config.metric,
            config.mode,
            states=self.keeper.complete(),
            rounds=self.rounds,
            done=self.curves.epochs,
            pruned=below & ~self.named & ~self.stopped,
        )

    def begin_all(self) -> None:
        """Give all members a state that have none yet: before their first epoch, that of `init`."""
        self._with_states(range(len(self.roster)))

    def pass_by(self, trials: list[int], epoch: int) -> None:
        """Let trials rest until an epoch that others have reached: they keep their states, their curves have a gap."""
        if trials:
            self._stand(self.resting.shifted(trials, epoch))

    def load(self, snapshots: list[Snapshot], stopped: np.ndarray) -> None:
        """Let all members stand as in these snapshots, as if nothing had come after them."""
        self.resting.held = list(snapshots)
        self.stopped[:] = stopped
        for snapshot in snapshots:
            for name in self.curves.members:
                self.curves.flat(name)[snapshot.index, snapshot.epoch :] = np.nan
        self._stand(snapshots)
        self.commit()

    def open(self) -> None:
        """Reach who trains, where that is not this process; raises ValueError where nobody answers."""
        if self.remote is not None:
            self.remote.open()

    def close(self) -> None:
        """Leave nobody at work."""
        if self.remote is not None:
            self.remote.close()
        elif self.backend is not None:
            self.backend.close()

    def commit(self) -> None:
        """Make all that is known durable, where there are commits."""
        if self.saver is not None:
            self.saver.commit()

    def _change(self, decision: Decision) -> None:
        """What a decision says of who the members are: new ones, and other hyperparameters."""
        if decision.add:
            self._add(decision.add, decision.notes)
        self.roster.copy(decision.copy)
        for trial, values in decision.set.items():
            self.roster.set(trial, values)
        touched = [*decision.copy, *decision.fresh, *decision.set]
        if touched:
            self.resting.needed[touched] = True

    def _add(self, points: Points, notes: object) -> None:
        first = len(self.roster)
        self.roster.add(points)
        new = len(self.roster) - first
        if first == 0:
            self._begin()
        self.curves.grow(new)
        self.keeper.grow(new)
        self.resting.grow(new)
        number = notes.get("round", 0) if isinstance(notes, dict) else 0
        self.rounds = np.concatenate([self.rounds, np.full(new, number)])
        self.stopped, self.named = (np.concatenate([a, np.zeros(new, bool)]) for a in (self.stopped, self.named))

    def _begin(self) -> None:
        """With the first trials the metrics are known."""
        config, roster = self.config, self.roster
        epochs = config.epochs if self.last else 0
        dtype = jax.dtypes.canonicalize_dtype(float)
        self.curves = Curves(roster.metrics, config.folds, config.repeats, epochs, dtype)
        self.keeper = Keeper(config.each, config.keep, config.metric, config.mode)
        data = roster.data if self.remote is None else None
        context = Context(config.seed, data, self.timer.training, self.timer.stop)
        if self.commits is not None:
            self.saver = Checkpoint(self.commits, self.curves, self.keeper, self.resting, self.last)
            context = dataclasses.replace(context, request=self.saver.request)
        known = (roster, self.resting, self.curves, self.keeper)
        here = Local(roster, context, self.timer.compiling)
        self.backend = here if self.remote is None else self.remote(roster, context)
        self.trainer = Trainer(*known, self.backend, self.last, self.saver, self.tell, self._give_up)

    def _apply(self, decision: Decision) -> None:
        """What happens between two segments."""
        if self.saver is not None:
            self.saver.settle_resting(set(decision.set) - set(decision.copy))
        copied = self.resting.copies(decision.copy)
        self._change(decision)
        changed = self.resting.replace(copied)
        changed += self.resting.refresh(decision.fresh)
        self._stand(changed)

    def _stand(self, snapshots: list[Snapshot]) -> None:
        """Members stand elsewhere than training left them."""
        for snapshot in snapshots:
            self.curves.epochs.reshape(-1)[snapshot.index] = snapshot.epoch
            if self.saver is not None:
                self.saver.settle(snapshot)

    def _give_up(self, index: np.ndarray) -> None:
        """Whoever trained these members died too often."""
        self.stopped[index // self.config.each] = True

    def _train_until(self, until: Mapping[int, int]) -> None:
        """Train the trials that are named to their epochs, but for those that are given up meanwhile."""
        targets = np.zeros(len(self.roster), np.int64)
        targets[list(until)] = list(until.values())
        if self.last is None and until:
            self.curves.reach(int(targets.max()))
        while not self.timer.stop.is_set():
            going = self.resting.going(np.where(self.stopped, 0, targets).repeat(self.config.each))
            if not going:
                return
            self.trainer.train(going)

    def _with_states(self, trials: Sequence[int]) -> bool:
        """Train the trials that have no state now to where they stand; False if the run is stopped meanwhile."""
        self.resting.needed[list(trials)] = True
        before = self.stopped.copy()
        while again := self.resting.stateless(self.resting.members(trials)):
            self.trainer.train([(snapshot, snapshot.epoch) for snapshot in again])
            if self.timer.stop.is_set():
                return False
            if lost := np.flatnonzero(self.stopped & ~before).tolist():
                raise RuntimeError(f"trial {lost[0]} is to be copied or changed, but whoever trains it dies")
        return True
