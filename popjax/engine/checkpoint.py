"""Writing a population's progress to the commits on the disk, and restoring it."""

import dataclasses
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
import numpy as np

from popjax.core.storage import Corrupt
from popjax.core.trees import named_leaves, to_words
from popjax.engine.backends.protocol import CheckpointRequest, Epoch, Message, Position, Segment
from popjax.engine.best_epoch import Training
from popjax.engine.members import MemberTable
from popjax.engine.states import States
from popjax.store.cohort import Cohort
from popjax.store.commits import Commits, OnDisk, Record
from popjax.store.files import KINDS

EVERY = 2.0  # seconds between commits: what a crash may cost, or an epoch if that is longer
LONGEST = 300.0  # bound on these seconds, however slow the last commit was
SHARE = 0.05  # of the time that commits may take, where states are large


class Checkpoint:
    """Collects progress for the commits.

    When a commit is due, the segments in training are asked for their members' current state, and it is made
    once all have answered. Segments with long epochs are not waited for: each long epoch is committed.
    Waiting members are recorded when a commit is made or their hyperparameters change: a member's last record
    may be some epochs old, but its hyperparameters have not changed since.

    Args:
        commits: of the run.
        table, states: of the population.

    Attributes:
        request: asks the segments in training.
    """

    def __init__(self, commits: Commits, table: MemberTable, states: States) -> None:
        self.commits = commits
        self.table = table
        self.states = states
        self.request = CheckpointRequest(EVERY, due=time.monotonic() + EVERY)
        self._answered: dict[Segment, bool] = {}  # segments in training with short epochs: True if answered
        self._slow: set[Segment] = set()  # segments in training with long epochs
        self._long = False  # a long epoch is to be committed
        self._ahead: set[int] = set()  # members that may be ahead of their record

    def take(self, message: Message) -> None:
        """Take a backend's message for the next commit."""
        segment = message.segment
        if isinstance(message, Epoch):
            if message.long:
                self._slow.add(segment)
                self._answered.pop(segment, None)
            else:
                self._slow.discard(segment)
                self._answered.setdefault(segment, False)
            return
        self._long |= segment in self._slow
        if segment in self._answered:
            self._answered[segment] = True
        if message.ended:
            self._answered.pop(segment, None)
            self._slow.discard(segment)
        self._take_standing(message)

    def _take_standing(self, message: Position) -> None:
        cohort, segment = message.cohort, message.segment
        if cohort.epoch == self.table.last:
            self.finish(cohort)
        elif message.ended and cohort.epoch >= segment.until:
            self._ahead.update(cohort.members.tolist())
        elif cohort.state is not None and cohort.epoch >= segment.cohort.epoch:
            self.commits.stand(self._record(cohort.on_host()))

    def finish(self, cohort: Cohort) -> None:
        """Record finished members for the next commit, without their state, which is needed no more."""
        self.settle(dataclasses.replace(cohort, state=None))

    def settle(self, cohort: Cohort) -> None:
        """Record waiting members, with their state, for the next commit."""
        self.commits.settle(self._record(cohort.on_host()))
        self._ahead.difference_update(cohort.members.tolist())

    def settle_waiting(self, trials: Collection[int] | None = None) -> None:
        """Record the waiting members that may be ahead of their record: of all trials if None, else of these."""
        ahead = self._ahead
        if trials is not None:
            ahead = self._ahead & set(self.table.numbering.members(trials).tolist())
        for cohort in list(self.states.cohorts) if ahead else ():
            rows = np.array([member in ahead for member in cohort.members.tolist()])
            if rows.any():
                self.settle(cohort.take(rows))

    def save(self) -> None:
        """Commit if a long epoch was taken, or if it is due and all segments with short epochs have answered.

        A commit that is overdue by EVERY seconds waits for no segment.
        """
        now, due = time.monotonic(), self.request.due
        if self._long or (now >= due and (all(self._answered.values()) or now >= due + EVERY)):
            self.commit()

    def commit(self) -> None:
        """Write a commit of all that was taken, the waiting members and the kept states; set when the next is due."""
        begun = time.monotonic()
        self.settle_waiting()
        self.commits.kept = dict(self.states.best)
        self.commits.commit()
        self.request.put_off(min((time.monotonic() - begun) / SHARE, LONGEST))
        self._answered, self._long = dict.fromkeys(self._answered, False), False
        self.states.to_disk(self.commits)

    def _record(self, cohort: Cohort) -> Record:
        return Record(cohort, *self.table.of(cohort.members, cohort.epoch))


def restore(checkpoint: Checkpoint, buckets: np.ndarray, abstract: Callable[[int], Training]) -> None:
    """Load the commits into the table and the states: the cohorts of the members that have not ended, and the best.

    Members without a record, and resting ones to train again (see `unfinished`), are before their first epoch.

    Args:
        buckets: int (members,), the bucket of each member.
        abstract: `abstract(bucket)` is the abstract state of one member.

    Raises Corrupt for the state of another run or task.
    """
    commits, table = checkpoint.commits, checkpoint.table
    fresh = np.ones(len(buckets), bool)
    held: list[tuple[np.ndarray, np.ndarray]] = []  # members with a state, and which of them are alive
    cohorts = []
    for record in commits.records():
        cohort = record.cohort
        if len(cohort.members) and not 0 <= cohort.members.min() <= cohort.members.max() < len(buckets):
            raise Corrupt(f"the state belongs to another run: it has member {cohort.members.max()}")
        if table.last is None:
            table.reach(cohort.epoch)
        table.load(cohort.members, cohort.epoch, record.curves, record.improved)
        fresh[cohort.members] = False
        if cohort.epoch == table.last and cohort.state is None:
            continue
        for bucket in np.unique(buckets[cohort.members]).tolist():
            part = dataclasses.replace(cohort.take(buckets[cohort.members] == bucket), bucket=bucket)
            if part.state is not None:
                arrays = part.arrays()
                check_arrays(abstract(bucket), arrays)
                held.append((part.members, arrays["alive"]))
            cohorts.append(
                dataclasses.replace(part, state=OnDisk(commits, part.members)) if commits.holds(part) else part
            )
    for member, arrays in commits.kept.items():
        check_arrays(abstract(int(buckets[member])).state, arrays)
    table.recount()
    alive = table.finite().ravel()
    for members, living in held:
        alive[members] = living
    table.judge(alive)
    checkpoint.states.best = dict(commits.kept)
    cohorts = unfinished(checkpoint, cohorts, fresh)
    at_last = table.epochs.reshape(len(table), -1) == table.last  # on resume to a later one: ended by patience alone
    kept = (at_last | table.ended()[:, None]).ravel()
    checkpoint.states.best = {member: arrays for member, arrays in checkpoint.states.best.items() if kept[member]}
    for bucket in np.unique(buckets[fresh]).tolist():
        cohorts.append(Cohort(bucket, np.flatnonzero(fresh & (buckets == bucket))))
    checkpoint.states.put(cohorts)


def unfinished(checkpoint: Checkpoint, cohorts: list[Cohort], fresh: np.ndarray) -> list[Cohort]:
    """The members of these cohorts in trials that have not ended; of the others the states of the best are kept.

    Members run out of patience in training, so a commit may still have their states. A resting member without its
    state, in a trial that has not ended, is marked in `fresh`, bool (members,), and is trained again.
    """
    table, going = checkpoint.table, list[Cohort]()
    if not table.resting.any():
        return cohorts
    ended = table.ended().repeat(table.numbering.each)
    resting = table.flat(table.resting)
    for cohort in cohorts:
        over = ended[cohort.members]
        lost = ~over & resting[cohort.members] & (cohort.state is None)
        fresh[cohort.members[lost]] = True
        table.cut(cohort.members[lost], 0)
        done = cohort.take(over).on_host() if over.any() else None
        going.append(cohort.take(~over & ~lost))
        if done is not None and done.state is not None:
            checkpoint.states.offer(done)
            checkpoint.finish(done)
    table.recount()
    return [cohort for cohort in going if len(cohort.members)]


def check_arrays(like: Any, arrays: Mapping[str, np.ndarray]) -> None:
    """Raise Corrupt unless `arrays` have the names, dtypes and trailing shapes of the state `like`."""
    words = named_leaves(jax.eval_shape(to_words, like))
    for name in words:
        if name not in arrays:
            raise Corrupt(f"the state belongs to another task: the arrays lack {name!r}")
    for name, expected in words.items():
        array = arrays[name]
        if array.shape[array.ndim - len(expected.shape) :] != expected.shape or array.dtype != expected.dtype:
            what = f"{array.dtype}{list(array.shape)} is not {expected.dtype}{list(expected.shape)}"
            raise Corrupt(f"the state belongs to another task: {what}")


def check_writable(like: Any) -> None:
    """Raise ValueError for an array of the state `like` whose dtype no file of a run can hold."""
    known = {np.dtype(kind) for kind in KINDS.values()}
    for name, array in named_leaves(jax.eval_shape(to_words, like)).items():
        if array.dtype not in known:
            what = f"the array {name.removeprefix('state.')!r} of the state is {array.dtype}, which no file can hold"
            raise ValueError(f"{what}; convert it, or train without a directory")
