"""Training of a population, independent of what decides: steps are applied to it, one after another."""

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from typing import NamedTuple

import jax
import numpy as np

from popjax.core.clock import Clock
from popjax.core.stop import Flag, Stop
from popjax.engine.backends.local import LocalBackend
from popjax.engine.backends.protocol import Backends, Context, Epoch, Message, Segment
from popjax.engine.checkpoint import Checkpoint, check_writable, restore
from popjax.engine.ending import results_of
from popjax.engine.fresh import refreshed
from popjax.engine.measure import costs
from popjax.engine.members import MemberTable
from popjax.engine.memory import OutOfMemory, host_total, total
from popjax.engine.roster import Roster
from popjax.engine.states import States
from popjax.scheduler import Decision, Status, Trials, check_decision
from popjax.store.cohort import Cohort
from popjax.store.decisions import Step
from popjax.store.files import TUNING
from popjax.store.history import History
from popjax.store.journal import Journal
from popjax.store.results import Results

WAITING = 0.25  # of the memory, for waiting states; beyond it a state is given up, and trained again if needed


class EpochResult(NamedTuple):
    """An epoch of some members, as columns (members,).

    Attributes:
        trial, fold, repeat: of each member.
        epoch: the epoch, from 0; a number.
        metrics: name -> values.
        resting: bool, out of patience: the member trains no further.
    """

    trial: np.ndarray
    fold: np.ndarray
    repeat: np.ndarray
    epoch: int
    metrics: dict[str, np.ndarray]
    resting: np.ndarray


class Snapshot(NamedTuple):
    """All members at one epoch.

    Attributes:
        cohorts: of all members, on the host.
        status: int8 (trials,), the Status of each trial.
        curves: metric -> (members, epochs), how they came there; None if a trainer's table has it.
    """

    epoch: int
    cohorts: list[Cohort]
    status: np.ndarray
    curves: Mapping[str, np.ndarray] | None = None

    @property
    def stopped(self) -> tuple[int, ...]:
        """The trials that are stopped."""
        return tuple(np.flatnonzero(self.status == Status.STOPPED).tolist())


class Timer:
    """A run's seconds, and the flag that stops it at the end of an epoch."""

    def __init__(self, stop: Flag | None = None) -> None:
        self.begin = time.perf_counter()
        self.compiling = Clock()
        self.training = Clock()
        self.stop: Flag = stop or Stop()

    def seconds(self) -> dict[str, float]:
        """The summary's wall_seconds, compile_seconds and train_seconds."""
        wall = time.perf_counter() - self.begin
        clocks = {"compile_seconds": self.compiling.seconds, "train_seconds": self.training.seconds}
        return {"wall_seconds": wall} | clocks


class Trainer:
    """The members of a population, in training or waiting between two steps.

    Args:
        roster: of the trials that the first step adds.
        journal: of the steps, begun by `begin` unless it has some; a new one, in memory, if None.
        timer: the run's.
        tell: called with the EpochResult of each epoch, except epochs that are trained again.
        backend: makes what trains the members.

    Attributes:
        roster: the trials, and the programs that train them.
        table: what is known of the trials and their members.
        states: where the members' states are.
        applied: number of steps that have changed the members; the last of them may still be in training.

    Raises ValueError for a task that the backend cannot train, or whose state cannot be committed.

    >>> import jax.numpy as jnp
    >>> import popjax as pj
    >>> from popjax.engine.traced_task import Config, TracedTask
    >>> def epoch(x, hparams, data):
    ...     return x - hparams["rate"] * x, {"loss": x**2}
    >>> task = pj.Task(lambda key, hparams, data: jnp.ones(()), epoch, ())
    >>> traced = TracedTask(task, pj.Space(rate=0.5), Config(epochs=3, seed=0, rule=pj.Rule("loss")))
    >>> points = {"rate": np.array([0.5, 0.1])}
    >>> trainer = Trainer(Roster(traced, points))
    >>> trainer.begin(Step(pj.Decision(add=points, until={0: 2, 1: 1})))
    True
    >>> trainer.apply(Step(pj.Decision(set={1: {"rate": 0.2}}, until={1: 3})))
    True
    >>> trainer.trials().epochs.tolist()
    [2, 3]
    """

    def __init__(
        self,
        roster: Roster,
        *,
        journal: Journal | None = None,
        timer: Timer | None = None,
        tell: Callable[[EpochResult], None] | None = None,
        backend: Backends = LocalBackend,
    ) -> None:
        self.roster, self.config = roster, roster.config
        self.journal = Journal(roster.space) if journal is None else journal
        self.timer = timer or Timer()
        self.tell = tell
        config, last, dtype = self.config, self.config.last, jax.dtypes.canonicalize_dtype(float)
        metrics = roster.traced.metrics
        self.table = MemberTable(metrics, config.numbering, config.rule, dtype=dtype, epochs=last or 1, last=last)
        known = total()  # of the devices; on those whose memory is not known no state waits
        host = host_total()  # where they wait
        bound = None if last is None else int(WAITING * min(known or host, host))
        self.states = States(self.table, bound, host_only=known is None)
        commits = self.journal.commits
        self.checkpoint = None if commits is None else Checkpoint(commits, self.table, self.states)
        context = Context(self.timer.compiling, self.timer.training, self.timer.stop)
        if self.checkpoint is not None:
            check_writable(roster.abstract(0))
            tuning = self.checkpoint.commits.directory.parent / TUNING
            context = dataclasses.replace(context, request=self.checkpoint.request, tuning=tuning)
        known_costs = costs(roster, config.rule.costs)  # before the backend is made, which would be left open
        self.backend = backend(roster, context)
        self._enter(0)
        self.table.costs = known_costs
        self.applied = 1

    def begin(self, first: Step) -> bool:
        """Write the step that adds the first trials to the journal, and carry it out; see `carry_out`."""
        self.journal.write(first)
        return self.carry_out(0)

    def check(self, decision: Decision) -> None:
        """Raise ValueError for a decision that cannot be carried out; nothing is changed or compiled.

        Whether the task can be trained on new points is not looked at; see `Roster.planned`.
        """
        table, roster = self.table, self.roster
        check_decision(decision, roster.space, roster.bucket, table.done, table.ended(), table.last)
        for trial, values in decision.set.items():
            for name, value in values.items():
                roster.check_set(trial, name, value)

    def apply(self, step: Step) -> bool:
        """Check a step, write it to the journal and carry it out: see `write` and `carry_out`."""
        return self.carry_out(self.write(step))

    def write(self, step: Step) -> int:
        """Check a step and write it to the journal; its number. Raises ValueError, before, for an impossible one."""
        self.check(step.decision)
        if step.decision.add:
            self.roster.planned(step.decision.add)
        self.journal.write(step)
        return len(self.journal.steps) - 1

    def carry_out(self, number: int) -> bool:
        """Apply a step of the journal, if it is not applied yet, and train its trials until they reach their epochs.

        Stops at the end of an epoch once the timer's `stop` is set; another call goes on. When memory runs out,
        training goes on with fewer members at once, from where it was.

        Returns False if it was stopped before the end. Raises MemoryError if not even one member fits, or if a state is
        lost that cannot be trained again.
        """
        step = self.journal.steps[number]
        decision = step.decision
        if number >= self.applied:
            if not self.hold_states([*decision.copy.values(), *decision.fresh, *decision.set]):
                return False
            self._apply(decision)
            self.applied = number + 1
        if self.checkpoint is not None:
            self.checkpoint.commits.decision, self.checkpoint.commits.carrying = self.applied, number
        self.table.hold(step.stopped, (*self.journal.stopped_before(number), *decision.until))
        self.table.aim(decision.until)  # on resume it may be cut shorter than it was when it was applied
        self.table.reach(max(decision.until.values(), default=0))
        while not self.timer.stop.is_set() and (due := self.states.due()):
            self._train(due)
        reached = bool((self.table.flat(self.table.epochs) >= self.table.goals()).all())
        self.states.pass_by(self.table.fulfil())
        return reached

    def resume(self) -> None:
        """Restore the members from the last commit; the steps of the journal up to it are applied.

        Raises Corrupt for the commits of another run or task.
        """
        assert self.checkpoint is not None
        self.applied = max(self.checkpoint.commits.decision, 1)
        first, *others = self.journal.steps[: self.applied]
        self.table.aim(first.decision.until)
        for step in others:
            self._change(step.decision)
        buckets = self.roster.bucket.repeat(self.config.numbering.each)
        restore(self.checkpoint, buckets, self.roster.abstract)
        self.states.pass_by(self.table.fulfil())

    def trials(self) -> Trials:
        """All trials in their current state, with means over the members of each."""
        trials = self.table.trials(self.points())
        return trials._replace(bucket=self.roster.bucket.copy(), settable=self.roster.settable)

    def points(self) -> dict[str, np.ndarray]:
        """Name -> (trials,), the current hyperparameters, copied; see `Space.masked` for inactive ones."""
        return self.roster.space.masked({name: column.copy() for name, column in self.roster.points.items()})

    def results(self, history: History | None = None, steered: np.ndarray | None = None) -> Results:
        """The current Results, without the figures of the run; `history`, `steered`: see Results."""
        return results_of(self.points(), self.table, self.states, history, steered)

    def snapshot(self) -> Snapshot:
        """All members as they are, at one epoch."""
        return Snapshot(int(self.table.epochs.max()), self.states.on_host(), self.table.status.copy())

    def restore(self, snapshot: Snapshot) -> None:
        """Return all members and trials to a snapshot, drop the curves after it, and commit."""
        self.states.put(snapshot.cohorts)
        self.table.status[:] = snapshot.status
        for cohort in snapshot.cohorts:
            self.table.reach(cohort.epoch)
            known = {name: values[cohort.members] for name, values in (snapshot.curves or {}).items()}
            self.table.load(cohort.members, cohort.epoch, known)
        self._settle(snapshot.cohorts)
        self.commit()

    def pass_by(self, epoch: int) -> None:
        """Raise all members to an epoch that others have reached, with their states; their curves have a gap."""
        taken = self.states.take(np.arange(self.table.epochs.size), lambda cohort: cohort.epoch < epoch)
        self._replace([dataclasses.replace(cohort, epoch=epoch) for cohort in taken])

    def hold_states(self, trials: Sequence[int]) -> bool:
        """Train the members of these trials that have no state up to their epoch; False if the run is stopped.

        Their states are not given up afterwards. Raises RuntimeError for a trial that is out of retries.
        """
        if not trials:
            return True
        self.table.pinned[list(trials)] = True
        while behind := self.states.behind(trials):
            lost = self._train([(cohort, cohort.epoch) for cohort in behind])
            if self.timer.stop.is_set():
                return False
            if lost:
                raise RuntimeError(f"trial {min(lost)} is to be copied or changed, but its workers died: no retries")
        return True

    def close(self) -> None:
        """Cancel all pending work."""
        self.backend.close()

    def commit(self) -> None:
        """Write a commit of all that is known, if there are commits."""
        if self.checkpoint is not None:
            self.checkpoint.commit()

    def _change(self, decision: Decision) -> None:
        """Add the trials of a decision and change hyperparameters, without any state."""
        table = self.table
        if decision.add:
            first = len(self.roster)
            self.roster.add(decision.add)
            notes = decision.notes
            self._enter(first, notes.get("round", 0) if isinstance(notes, dict) else 0)
        table.descend(list(decision.copy), list(decision.copy.values()))
        table.aim(decision.until)
        self.roster.alter(decision)
        table.costs = costs(self.roster, self.config.rule.costs)
        if touched := [*decision.copy, *decision.fresh, *decision.set]:
            table.pinned[touched] = True

    def _enter(self, first: int, number: int = 0) -> None:
        """Add the members of the roster's trials from `first` on to the table and the states, in a round."""
        new = self.roster.bucket[first:]
        self.table.grow(len(new), number)
        for bucket in np.unique(new).tolist():
            self.states.keep(Cohort(bucket, self.config.numbering.members(first + np.flatnonzero(new == bucket))))

    def _apply(self, decision: Decision) -> None:
        """Carry out a decision between two segments: record, copy, change and refresh members."""
        if self.checkpoint is not None:
            self.checkpoint.settle_waiting(set(decision.set) - set(decision.copy))
        copied = self.states.copies(decision.copy, decision.copy.values()) if decision.copy else []
        self._change(decision)
        self._replace(copied)
        if decision.fresh:
            numbering, roster = self.config.numbering, self.roster
            taken = self.states.take(numbering.members(decision.fresh))
            numbers = lambda cohort: roster.numbers[numbering.trials(cohort.members)]
            self._replace([refreshed(one, numbers(one), roster.abstract(one.bucket)) for one in taken])

    def _replace(self, cohorts: list[Cohort]) -> None:
        """Replace the waiting cohorts of these members by the given ones."""
        self.states.replace(cohorts)
        self._settle(cohorts)

    def _settle(self, cohorts: Iterable[Cohort]) -> None:
        """Set the members' epochs in the table, and record them for the next commit."""
        for cohort in cohorts:
            self.table.stand(cohort.members, cohort.epoch)
            if self.checkpoint is not None:
                self.checkpoint.settle(cohort)

    def _train(self, due: list[tuple[Cohort, int]]) -> set[int]:
        """Train cohorts to an epoch each, on the backend; those that do not reach it wait for another try.

        When memory runs out the lanes are narrowed. Returns the trials that are out of retries now.
        """
        patience = self.config.rule.patience
        looks = [(cohort, next_look(cohort, until, patience)) for cohort, until in due]
        segments = [Segment(piece, until) for cohort, until in looks for piece in self.backend.pieces(cohort)]
        waiting, lost = set(segments), set[int]()
        try:
            with closing(self.backend.train(segments)) as told:
                for messages in filter(None, told):
                    for message in messages:
                        self._hear(message, waiting, lost)
                    if self.checkpoint is not None:
                        self.checkpoint.save()
        except OutOfMemory as error:
            self.roster.plan.lanes.narrow(error.needed)
        except Exception:
            self.commit()  # of what came back before
            raise
        finally:
            for segment in segments:
                if segment in waiting:  # its end was not reported: no worker took it
                    self.states.take_back(segment.cohort)
        return lost

    def _hear(self, message: Message, waiting: set[Segment], lost: set[int]) -> None:
        """Pass a backend's message to the table, the listener and the checkpoint."""
        members, ended = message.segment.cohort.members, list[Cohort]()
        if isinstance(message, Epoch):
            new = self.tell is not None and message.epoch >= message.segment.cohort.epoch
            going = ~self.table.rests(members) if new else np.zeros(0, bool)
            self.table.report(members, message.epoch, message.metrics, message.improved)
            if self.tell is not None and going.any():
                self.tell(heard(message, going, self.table))
        elif message.ended:
            waiting.discard(message.segment)
            ended = self.states.take_back(message.cohort)
            if message.lost:
                self.table.give_up(members)
                lost.update(self.config.numbering.trials(members).tolist())
        if self.checkpoint is not None:
            self.checkpoint.take(message)
            for cohort in ended:
                self.checkpoint.finish(cohort)


def next_look(cohort: Cohort, until: int, patience: int | None) -> int:
    """The epoch to train to, at most `until`, and at most `patience` ahead: then members that rest are left out."""
    return until if patience is None else min(until, cohort.epoch + patience)


def heard(message: Epoch, going: np.ndarray, table: MemberTable) -> EpochResult:
    """The EpochResult of a message, without members that rested before it; `going`: bool (members,), the others."""
    members, metrics = message.segment.cohort.members, message.metrics
    if not going.all():
        members, metrics = members[going], {name: values[going] for name, values in metrics.items()}
    return EpochResult(*table.numbering.places(members), message.epoch, metrics, table.rests(members))
