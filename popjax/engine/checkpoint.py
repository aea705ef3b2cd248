"""A population's progress on its way to the commits on the disk, and back."""

import time
from collections.abc import Callable, Collection
from typing import Any

import jax
import numpy as np

from popjax.core.storage import Corrupt
from popjax.core.trees import named, to_words, unnamed
from popjax.engine.backends.base import CheckpointRequest
from popjax.engine.batch import Epoch, Rest
from popjax.engine.curves import Curves
from popjax.engine.keeper import Keeper
from popjax.engine.member import Training
from popjax.engine.resting import Resting
from popjax.engine.snapshot import Snapshot
from popjax.store.commits import Commits, Record

EVERY = 2.0  # seconds between commits: what a crash may cost, or an epoch if that is longer
LONGEST = 300.0  # seconds between them, however slow the disk was once
SHARE = 0.05  # of the time that commits may take, where states are so large that they would take more


class Checkpoint:
    """What is trained, towards the commits.

    When a commit is due, the batches in training are asked where they stand, and it is made once
    all have answered. A batch whose epochs are long is not waited for: each of them is committed.
    Who rests is recorded where a commit is made, or where the hyperparameters change: the last record
    of a member may be some epochs old, and what it was trained with since then has not changed.

    Args:
        commits: of the run.
        curves, keeper, resting: of the population.
        last: the last epoch of the run, after which no state is needed; None if there is none.

    Attributes:
        request: asks the batches.
    """

    def __init__(
        self, commits: Commits, curves: Curves, keeper: Keeper, resting: Resting, last: int | None = None
    ) -> None:
        self.commits = commits
        self.curves = curves
        self.keeper = keeper
        self.resting = resting
        self.last = last
        self.request = CheckpointRequest(EVERY, due=time.monotonic() + EVERY)
        self._answered: dict[int, bool] = {}  # the first member of every batch in training -> whether it has answered
        self._long = False  # whether a long epoch is to be committed
        self._ahead: set[int] = set()  # the members that may stand further than their record says

    def take(self, message: Epoch | Rest) -> None:
        """What a worker said, for the next commit."""
        if isinstance(message, Epoch) and message.rest is not None:
            message = message.rest
        snapshot, over = message.snapshot, isinstance(message, Rest)
        if isinstance(message, Rest) and message.reached:
            if message.held.epoch == self.last:
                self.commits.settle(self._record(message.held.index, self.last, {}))
            else:
                self._ahead.update(message.held.index.tolist())
        elif snapshot is not None and snapshot.training is not None and snapshot.epoch >= message.origin.epoch:
            self.commits.stand(self._record(snapshot.index, snapshot.epoch, named(snapshot.training)))
        batch = int(message.origin.index[0])
        answered = self._answered.pop(batch, False) or snapshot is not None
        if not over and not message.long:
            self._answered[batch] = answered
        self._long |= message.long and (over or snapshot is not None)

    def settle(self, snapshot: Snapshot) -> None:
        """Members at rest, for the next commit."""
        state = {} if snapshot.training is None else named(snapshot.training)
        self.commits.settle(self._record(snapshot.index, snapshot.epoch, state))
        self._ahead.difference_update(snapshot.index.tolist())

    def settle_resting(self, trials: Collection[int] | None = None) -> None:
        """Those at rest who stand further than their record says: all, or some trials'."""
        ahead = self._ahead if trials is None else self._ahead & set(self.resting.members(trials).tolist())
        for held in list(self.resting.held) if ahead else ():
            rows = np.array([member in ahead for member in held.index.tolist()])
            if rows.any():
                self.settle(held.snapshot().take(rows))

    def save(self) -> None:
        """Commit what was taken, if it is time."""
        now, due = time.monotonic(), self.request.due
        if self._long or (now >= due and (all(self._answered.values()) or now >= due + EVERY)):
            self.commit()

    def commit(self) -> None:
        """Make what was taken durable."""
        begun = time.monotonic()
        self.settle_resting()
        self.commits.kept = {member: named(tree) for member, tree in self.keeper.kept()}
        self.commits.commit()
        self.request.put_off(min((time.monotonic() - begun) / SHARE, LONGEST))
        self._answered, self._long = dict.fromkeys(self._answered, False), False

    def _record(self, index: np.ndarray, epoch: int, state: dict[str, Any]) -> Record:
        curves = {name: self.curves.flat(name)[index, :epoch] for name in self.curves.members}
        return Record(index, epoch, curves, state)


def restore(
    checkpoint: Checkpoint, last: int | None, bucket: np.ndarray, abstract: Callable[[int], Training]
) -> list[Snapshot]:
    """Give the curves and the keeper what is committed; where the members stand that are not at the last epoch.

    `bucket` (members,) is each member's, `abstract(bucket)` the abstract state of one member.
    Raises Corrupt for the state of another task.
    """
    commits, curves, keeper = checkpoint.commits, checkpoint.curves, checkpoint.keeper
    words = lambda number: jax.eval_shape(to_words, abstract(number))
    fresh = np.ones(len(bucket), bool)
    snapshots = []
    for record in [*commits.settled, *commits.standing]:
        if len(record.index) and not 0 <= record.index.min() <= record.index.max() < len(bucket):
            raise Corrupt(f"the run's state is of another run: it has a member {record.index.max()}")
        if last is None:
            curves.reach(record.epoch)
        curves.load(record.index, record.epoch, record.curves)
        fresh[record.index] = False
        if record.epoch == last:
            keeper.trained.reshape(-1)[record.index] = True
            continue
        for number in np.unique(bucket[record.index]).tolist():
            rows = bucket[record.index] == number
            state = {name: array[rows] for name, array in record.state.items()}
            training = tree_of(words(number), state) if state else None
            snapshots.append(Snapshot(number, record.index[rows], record.epoch, training))
    for member, arrays in commits.kept.items():
        keeper.load(member, tree_of(words(int(bucket[member])).state, arrays))
    for number in np.unique(bucket[fresh]).tolist():
        snapshots.append(Snapshot(number, np.flatnonzero(fresh & (bucket == number))))
    return snapshots


def tree_of(like: Any, arrays: Any) -> Any:
    """The state with the structure of `like` from its arrays by name; raises Corrupt for another task's."""
    try:
        tree = unnamed(like, arrays)
    except ValueError as error:
        raise Corrupt(f"the run's state is of another task: {error}") from None
    for one, array in zip(jax.tree.leaves(like), jax.tree.leaves(tree), strict=True):
        if array.shape[array.ndim - len(one.shape) :] != one.shape or array.dtype != one.dtype:
            what = f"{array.dtype}{list(array.shape)} is not {one.dtype}{list(one.shape)}"
            raise Corrupt(f"the run's state is of another task: {what}")
    return tree
