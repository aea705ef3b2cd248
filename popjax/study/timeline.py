"""The trials of a session on one clock: epochs are trained one by one, and can be taken back."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from popjax.engine.plan import member_bytes
from popjax.engine.trainer import Snapshot, Trainer
from popjax.scheduler import Decision, Status
from popjax.store.cohort import Cohort, OnHost, of_members
from popjax.store.decisions import Step
from popjax.store.journal import Journal

MEMORY = 2**31  # bytes of earlier states held on the host


class Timeline:
    """An open-ended trainer whose trials are all at one epoch, with its latest snapshots.

    A snapshot that is no longer in memory is computed again, bit for bit, by a new trainer from the journal's steps.

    Args:
        make: `make(journal) -> Trainer`, as the session began.
        journal: of its steps.

    Attributes:
        trainer: of the members.
        snapshots: the latest ones, the current one last; empty before the first step.
        base: the snapshot at which the trials were placed, if they were; see `stand_at`.
    """

    def __init__(self, make: Callable[[Journal], Trainer], journal: Journal) -> None:
        self.make = make
        self.trainer = make(journal)
        self.snapshots: deque[Snapshot] = deque()
        self.base: Snapshot | None = None

    @property
    def epoch(self) -> int:
        """Number of epochs that all members have finished."""
        return self.snapshots[-1].epoch if self.snapshots else 0

    @property
    def stopped(self) -> np.ndarray:
        """Bool (trials,): stopped by a person; a copy."""
        stopped: np.ndarray = self.trainer.table.status == Status.STOPPED
        return stopped

    def cohort(self, trials: Sequence[int]) -> Cohort:
        """The members of trials that share a bucket, as they are now, in the order of their numbers."""
        members = self.trainer.config.numbering.members(trials)
        return of_members(self.snapshots[-1].cohorts, members)

    def begin(self, first: Step) -> None:
        """Write the first step, and carry it out."""
        self.trainer.journal.write(first)
        self._carry_out(0)

    def stand_at(self, base: Snapshot) -> None:
        """Place the trials at a snapshot to which no step led, so that earlier epochs cannot be taken back."""
        self.base = base
        self._return_to(base)

    def act(self, step: Step) -> bool:
        """Apply a step; False if its epoch was interrupted, which is then taken back.

        Raises ValueError for an invalid step, and KeyboardInterrupt if the run is stopped while an earlier snapshot is
        trained again; then the step is not written.
        """
        if step.back:
            self._take_back(step.back, self._earlier(step.back, len(self.trainer.journal.steps)))
            return True
        return self._carry_out(self.trainer.write(step))

    def follow(self, steps: Iterable[Step], tell: Callable[[Step], None] = lambda step: None) -> None:
        """Apply the steps of another journal. Raises KeyboardInterrupt if the run is stopped.

        `tell` is called with each step after it is carried out.
        """
        for step in steps:
            if not self.act(step):
                raise KeyboardInterrupt
            tell(step)

    def resume(self) -> None:
        """Go on from the last commit to the end of the journal.

        Steps after the commit are carried out again, as is the last applied one, which may be trained in part. Raises
        KeyboardInterrupt if the run is stopped before the last one; another call goes on.
        """
        trainer, journal = self.trainer, self.trainer.journal
        trainer.resume()
        trainer.hold_states(range(len(trainer.roster)))
        count = len(journal.steps)
        for number in range(trainer.applied - 1, count):
            if not self._carry_out(number) and number < count - 1:
                raise KeyboardInterrupt

    def _carry_out(self, number: int) -> bool:
        """Carry out a step of the journal; False if its epoch was interrupted, which is then taken back."""
        trainer = self.trainer
        step = trainer.journal.steps[number]
        if step.back and number >= trainer.applied:
            self._return_to(self._earlier(step.back, number), number)
            return True
        decision = step.decision
        try:
            done = trainer.carry_out(number)
            if decision.add:
                done = trainer.hold_states(range(len(trainer.roster)))
        except BaseException:
            self._interrupted(number)
            raise
        if not done:
            self._interrupted(number)
            return False
        if decision.until:
            trainer.pass_by(max(decision.until.values()))
        elif self.snapshots and not decision.copy and self.snapshots[-1].stopped == step.stopped:
            return True
        elif self.snapshots:
            self.snapshots.pop()
        self._hold()
        return True

    def _hold(self) -> None:
        """Append the current snapshot, and drop the oldest beyond `MEMORY` bytes; at least two are kept."""
        trainer = self.trainer
        self.snapshots.append(trainer.snapshot())
        buckets, counts = np.unique(trainer.roster.bucket, return_counts=True)
        trials = [member_bytes(trainer.roster.buckets[at]) for at in buckets]
        size = max(int(np.dot(trials, counts)) * trainer.table.numbering.each, 1)
        while len(self.snapshots) > max(2, MEMORY // size):
            self.snapshots.popleft()

    def _interrupted(self, number: int) -> None:
        """Return to before a step, unless others follow it in the journal, as on resume: they are yet to come."""
        steps = self.trainer.journal.steps
        if self.snapshots and number == len(steps) - 1:
            self._take_back(1 if steps[number].decision.until else 0, self.snapshots[-1])

    def _take_back(self, epochs: int, snapshot: Snapshot) -> None:
        """Write that `epochs` epochs are taken back, and return to a snapshot."""
        self._return_to(snapshot, self.trainer.write(Step(Decision(), stopped=snapshot.stopped, back=epochs)))

    def _return_to(self, snapshot: Snapshot, number: int | None = None) -> None:
        """Restore a snapshot as the current one, by its step; the commit that follows contains both or neither.

        The hyperparameters keep their current values.
        """
        if number is not None:
            self.trainer.carry_out(number)
        while self.snapshots and self.snapshots[-1].epoch >= snapshot.epoch:
            self.snapshots.pop()
        self.snapshots.append(snapshot)
        self.trainer.restore(snapshot)

    def _earlier(self, epochs: int, number: int) -> Snapshot:
        """The snapshot of `epochs` epochs ago, trained again if it is no longer in memory.

        `number`: of the journal's steps that are applied. Raises ValueError if there are fewer epochs.
        """
        most = self.epoch - (0 if self.base is None else self.base.epoch)
        if epochs > most:
            what = f"only {most} of {self.epoch} epochs can be taken back; give at most {most}"
            raise ValueError(f"back {epochs}: {what}")
        epoch = self.epoch - epochs
        for snapshot in self.snapshots:
            if snapshot.epoch == epoch:
                return snapshot
        journal = self.trainer.journal
        again = Timeline(self.make, Journal(journal.space))
        again.begin(journal.steps[0])
        if self.base is not None:
            again.stand_at(self.base)
        again.follow(journal.steps[1 : end_of(journal.steps[:number], epoch, again.epoch)])
        return again.snapshots[-1]


def snapshot_of(arrays: Mapping[str, np.ndarray], curves: Mapping[str, np.ndarray]) -> Snapshot:
    """The snapshot of one trial at the end of these curves (folds, repeats, epochs), with these arrays (members, ...).

    A member with shorter curves is at the same epoch, with the state at the end of its own curves.
    """
    flat = {name: values.reshape(-1, values.shape[-1]) for name, values in curves.items()}
    alive = np.isfinite([*flat.values()]).all(0).any(-1)
    held = {f"state.{name}" if name else "state": array for name, array in arrays.items()} | {"alive": alive}
    epoch = next(iter(flat.values())).shape[-1]
    status = Status.WAITING if alive.all() else Status.DIVERGED
    return Snapshot(epoch, [Cohort(0, np.arange(len(alive)), epoch, OnHost(held))], np.array([status], np.int8), flat)


def end_of(steps: Sequence[Step], epoch: int, begin: int = 0) -> int:
    """Number of leading steps after which `epoch` is reached for good; the journal begins at epoch `begin`.

    >>> until = lambda epoch: Step(Decision(until={0: epoch}))
    >>> end_of([Step(Decision()), until(1), until(2), Step(Decision(), back=1), until(2)], 1)
    4
    """
    ends = [0]
    for number, step in enumerate(steps, 1):
        del ends[len(ends) - step.back :]
        if step.decision.until:
            ends.append(number)
        else:
            ends[-1] = number
    return ends[epoch - begin]
