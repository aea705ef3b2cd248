"""A run's progress between the trainer and the commits on the disk."""

import time
from typing import Any

import jax
import numpy as np

from popjax.core.storage import Corrupt
from popjax.core.trees import named, unnamed
from popjax.engine.backend import Report, RollCall, Stand
from popjax.engine.collect import Collector
from popjax.engine.member import Training
from popjax.store.commits import Commits, Record

EVERY = 2.0  # seconds between commits: what a crash may cost, or an epoch if that is longer


class Checkpoint:
    """One round's part of the commits: members `first`, `first + 1`, ... of the whole run are its 0, 1, ...

    When a commit is due, the parts in training are asked where they stand, and it is made once
    all have answered. A part whose epochs are long is not waited for: each of them is committed.

    Args:
        commits: of the whole run.
        first: the number of the round's first member.
        training: the abstract state of one member, bucket by bucket.
        bucket: the bucket (members,) of each of the round's members.

    Attributes:
        calls: ask the parts.
    """

    def __init__(self, commits: Commits, first: int, training: list[Training], bucket: np.ndarray) -> None:
        self.commits = commits
        self.first = first
        self.training = training
        self.bucket = bucket
        self.calls = RollCall(EVERY, due=time.monotonic() + EVERY)
        self._roll: dict[int, bool] = {}  # the first member of every part in training -> whether it has answered
        self._long = False  # whether a long epoch is to be committed

    def restore(self, collector: Collector) -> list[Stand]:
        """Give the collector what is trained; where all other members stand. Raises Corrupt for another task's."""
        fresh = np.ones(len(self.bucket), bool)
        for record in self.commits.finished:
            rows = self._own(record)
            collector.load(record.index[rows] - self.first, {n: values[rows] for n, values in record.curves.items()})
            fresh[record.index[rows] - self.first] = False
        stands = []
        for record in self.commits.standing:
            rows = self._own(record)
            if not rows.any():
                continue
            index = record.index - self.first
            collector.load(index, record.curves)
            fresh[index] = False
            number = int(self.bucket[index[0]])
            stands.append(Stand(number, index, record.epoch, self._tree(self.training[number], record.state)))
        for member, arrays in self.commits.kept.items():
            row = member - self.first
            if 0 <= row < len(self.bucket):
                collector.keeper.load(row, self._tree(self.training[self.bucket[row]].state, arrays))
        for number in range(len(self.training)):
            index = np.flatnonzero(fresh & (self.bucket == number))
            stands += [Stand(number, index)] if len(index) else []
        return stands

    def take(self, message: Report | Stand, collector: Collector) -> None:
        """What a worker said, for the next commit."""
        stand = message if isinstance(message, Stand) else message.stand
        over = isinstance(message, Stand) or message.trained is not None
        long = isinstance(message, Report) and message.long
        if isinstance(message, Report) and over:
            self.commits.finish(self._record(message.index, message.epoch + 1, collector, {}))
        elif stand is not None and stand.training is not None:
            self.commits.stand(self._record(stand.index, stand.epoch, collector, named(stand.training)))
        part = int(message.index[0])
        answered = self._roll.pop(part, False) or stand is not None
        if not over and not long:
            self._roll[part] = answered
        self._long |= long and (over or stand is not None)

    def save(self, collector: Collector) -> None:
        """Commit what was taken, if it is time."""
        now, due = time.monotonic(), self.calls.due
        if self._long or (now >= due and (all(self._roll.values()) or now >= due + EVERY)):
            self.commit(collector)

    def commit(self, collector: Collector) -> None:
        """Make what was taken durable."""
        others = {m: arrays for m, arrays in self.commits.kept.items() if not 0 <= m - self.first < len(self.bucket)}
        own = {self.first + member: named(tree) for member, tree in collector.keeper.kept()}
        self.commits.kept = others | own
        self.commits.commit()
        self.calls.put_off()
        self._roll, self._long = dict.fromkeys(self._roll, False), False

    def _own(self, record: Record) -> np.ndarray:
        """Which of a record's members are this round's."""
        index = record.index - self.first
        return (index >= 0) & (index < len(self.bucket))

    def _record(self, index: np.ndarray, epoch: int, collector: Collector, state: dict[str, Any]) -> Record:
        curves = {name: collector.flat(name)[index, :epoch] for name in collector.members}
        return Record(index + self.first, epoch, curves, state)

    def _tree(self, like: Any, arrays: Any) -> Any:
        try:
            tree = unnamed(like, arrays)
        except ValueError as error:
            raise Corrupt(f"the run's state is of another task: {error}") from None
        for one, array in zip(jax.tree.leaves(like), jax.tree.leaves(tree), strict=True):
            if array.shape[array.ndim - len(one.shape) :] != one.shape or array.dtype != one.dtype:
                what = f"{array.dtype}{list(array.shape)} is not {one.dtype}{list(one.shape)}"
                raise Corrupt(f"the run's state is of another task: {what}")
        return tree
