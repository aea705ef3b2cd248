"""Members at rest between two segments: who trains on, who is copied, whose state is given up."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np
from jax import lax

from popjax.core.trees import implementation, is_key
from popjax.engine.backends.base import Held
from popjax.engine.batch import Batch
from popjax.engine.roster import Roster
from popjax.engine.snapshot import Snapshot, join

KEYS = 64  # that are folded at once


class Resting:
    """Where all members stand that are not trained to the end.

    Args:
        roster: who they are.
        bound: bytes of states to hold; without one, all are held.

    Attributes:
        held: batches whose states are on the devices, and snapshots on the host.
        needed: whether (trials,) a trial's state is never given up: it follows from copies and changes too, so that
            training it again alone would not give it back; or it is about to be copied.
    """

    def __init__(self, roster: Roster, bound: int | None) -> None:
        self.roster = roster
        self.bound = bound
        self.held: list[Held] = []
        self.needed = np.zeros(0, bool)
        self._bytes = 0  # that the states take

    def grow(self, trials: int) -> None:
        """So many trials more, before their first epoch."""
        first = len(self.needed)
        self.needed = np.concatenate([self.needed, np.zeros(trials, bool)])
        buckets = self.roster.bucket[first:]
        for bucket in np.unique(buckets).tolist():
            self.held.append(Snapshot(bucket, self.members(first + np.flatnonzero(buckets == bucket))))

    def members(self, trials: Iterable[int]) -> np.ndarray:
        """The numbers of the trials' members."""
        each = self.roster.config.each
        return (np.asarray([*trials], np.int64)[:, None] * each + np.arange(each)).ravel()

    def keep(self, held: Held) -> None:
        """Members that rest; their state is given up where there is no room for it."""
        trials = held.index // self.roster.config.each
        full = self.bound is not None and self._bytes + nbytes(held) > self.bound
        if full and not self.needed[trials].any():
            self.held.append(Snapshot(held.bucket, held.index, held.epoch))
        else:
            self.held.append(held)
            self._bytes += nbytes(held)

    def going(self, targets: np.ndarray) -> list[tuple[Held, int]]:
        """Take out those who stand before their target (members,), with the epoch to reach.

        A batch of which all go to the same epoch stays as it is on the devices; others are put together anew.
        """
        going: list[tuple[Held, int]] = []
        loose: dict[tuple[int, int, int, bool], list[Snapshot]] = {}
        staying: list[Held] = []
        for held in self.held:
            goals = targets[held.index]
            ahead = goals > held.epoch
            if not ahead.any():
                staying.append(held)
                continue
            if isinstance(held, Batch) and ahead.all() and len(set(goals.tolist())) == 1:
                going.append((held, int(goals[0])))
                continue
            snapshot = held.snapshot()
            if not ahead.all():
                staying.append(snapshot.take(~ahead))
            for goal in np.unique(goals[ahead]).tolist():
                key = snapshot.bucket, snapshot.epoch, goal, snapshot.training is None
                loose.setdefault(key, []).append(snapshot.take(goals == goal))
        self.held, self._bytes = staying, sum(map(nbytes, staying))
        going += [(join(snapshots), key[2]) for key, snapshots in loose.items()]
        return sorted(going, key=lambda pair: pair[0].bucket)

    def stateless(self, index: np.ndarray) -> list[Snapshot]:
        """Take out those of `index` that have no state now: not begun, or given up."""
        return self._taken(index, lambda held: isinstance(held, Snapshot) and held.training is None)

    def copies(self, copies: Mapping[int, int]) -> list[Snapshot]:
        """The sources' states (see Decision.copy), as those of their targets."""
        sources, targets = self.members(copies.values()), self.members(copies)
        found = []
        for held in self.held if len(sources) else ():
            pairs = [(row, at) for row, m in enumerate(held.index.tolist()) for at in np.flatnonzero(sources == m)]
            if pairs:
                rows, at = map(np.array, zip(*pairs, strict=True))
                snapshot = held.snapshot().take(rows)
                found.append(Snapshot(snapshot.bucket, targets[at], snapshot.epoch, snapshot.training))
        return found

    def replace(self, snapshots: list[Snapshot]) -> list[Snapshot]:
        """Let members stand as in `snapshots`, which are returned."""
        if snapshots:
            self._taken(np.concatenate([snapshot.index for snapshot in snapshots]))
            self.held += snapshots
        return snapshots

    def refresh(self, trials: Iterable[int]) -> list[Snapshot]:
        """Fold trial and epoch into all random keys of the trials' states; the changed snapshots."""
        index = self.members(trials)
        taken = gathered(self._taken(index)) if len(index) else []
        changed = [refreshed(snapshot, self.roster) for snapshot in taken]
        self.held += changed
        return changed

    def shifted(self, trials: Iterable[int], epoch: int) -> list[Snapshot]:
        """Let trials stand at another epoch with the same state; the changed snapshots."""
        moved = [dataclasses.replace(snapshot, epoch=epoch) for snapshot in self._taken(self.members(trials))]
        self.held += moved
        return moved

    def snapshots(self) -> list[Snapshot]:
        """Where all stand, on the host."""
        return [held.snapshot() for held in self.held]

    def _taken(self, index: np.ndarray, which: Callable[[Held], bool] = lambda held: True) -> list[Snapshot]:
        """Take members out, as snapshots; the others of what holds them stay."""
        taken, staying = [], []
        for held in self.held:
            rows = np.isin(held.index, index)
            if not rows.any() or not which(held):
                staying.append(held)
                continue
            snapshot = held.snapshot()
            taken.append(snapshot.take(rows))
            if not rows.all():
                staying.append(snapshot.take(~rows))
        self.held = staying
        return taken


def gathered(snapshots: Iterable[Snapshot]) -> list[Snapshot]:
    """The same members in as few snapshots as there are buckets and epochs."""
    alike: dict[tuple[int, int], list[Snapshot]] = {}
    for snapshot in snapshots:
        alike.setdefault((snapshot.bucket, snapshot.epoch), []).append(snapshot)
    return list(map(join, alike.values()))


def nbytes(held: Held) -> int:
    """What the state takes."""
    return sum(leaf.nbytes for leaf in jax.tree.leaves(held.training))


def refreshed(snapshot: Snapshot, roster: Roster) -> Snapshot:
    """The snapshot with trial and epoch folded into each random key of its state."""
    numbers = roster.numbers[snapshot.index // roster.config.each].astype(np.uint32)
    like, begun = roster.abstract(snapshot.bucket).state, snapshot.begun

    def fold(aval: Any, words: np.ndarray) -> np.ndarray:
        if not is_key(aval):
            return words
        flat = words.reshape(-1, words.shape[-1])
        own = numbers.repeat(len(flat) // len(numbers))
        return folded(flat, own, snapshot.epoch, implementation(aval.dtype)).reshape(words.shape)

    return dataclasses.replace(snapshot, training=begun._replace(state=jax.tree.map(fold, like, begun.state)))


def folded(words: np.ndarray, numbers: np.ndarray, epoch: int, impl: Any) -> np.ndarray:
    """Keys (keys, words), each with its number and the epoch folded in; by one program, however many there are."""
    found = []
    for at in range(0, len(words), KEYS):
        rows = np.minimum(np.arange(at, at + KEYS), len(words) - 1)
        found.append(np.asarray(fold_in(words[rows], numbers[rows], np.uint32(epoch), impl)))
    return np.concatenate(found)[: len(words)]


@functools.partial(jax.jit, static_argnames="impl")
def fold_in(words: jax.Array, numbers: jax.Array, epoch: jax.Array, impl: Any) -> jax.Array:
    """Of KEYS keys."""

    def one(pair: tuple[jax.Array, jax.Array]) -> jax.Array:
        key = jax.random.wrap_key_data(pair[0], impl=impl)
        return jax.random.key_data(jax.random.fold_in(jax.random.fold_in(key, pair[1]), epoch))

    return lax.map(one, (words, numbers))
