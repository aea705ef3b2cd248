"""Where members stand, on the host: the one currency between trainer, disk, session and executor."""

import dataclasses
from collections.abc import Sequence
from typing import Self

import jax
import numpy as np

from popjax.engine.member import Training


@dataclasses.dataclass(frozen=True, eq=False)
class Snapshot:
    """Members of one bucket at the same epoch.

    Attributes:
        bucket: the bucket's number.
        index: their numbers (members,) in the population.
        epoch: the epochs that they have finished.
        training: their state as NumPy arrays, stacked (members, ...); None before the first epoch, or where
            it was given up and is trained again from there, which gives the same bits.
    """

    bucket: int
    index: np.ndarray
    epoch: int = 0
    training: Training | None = None

    def take(self, rows: np.ndarray | slice) -> Self:
        """The same of some of the members; itself for a mask of all."""
        if isinstance(rows, np.ndarray) and rows.dtype == bool and rows.all():
            return self
        training = None if self.training is None else jax.tree.map(lambda array: array[rows], self.training)
        return dataclasses.replace(self, index=self.index[rows], training=training)

    def cut(self, size: int) -> list[Self]:
        """The same in pieces of at most `size` members."""
        return [self.take(slice(at, at + size)) for at in range(0, len(self.index), size)]

    @property
    def begun(self) -> Training:
        """The state, of members that have one."""
        assert self.training is not None
        return self.training

    def snapshot(self) -> Self:
        """Itself, as a batch gives where it stands."""
        return self


def join(snapshots: Sequence[Snapshot]) -> Snapshot:
    """Snapshots of one bucket at one epoch, all or none with a state, as one."""
    first = snapshots[0]
    if len(snapshots) == 1:
        return first
    index = np.concatenate([snapshot.index for snapshot in snapshots])
    if first.training is None:
        return dataclasses.replace(first, index=index)
    states = [snapshot.training for snapshot in snapshots]
    return dataclasses.replace(first, index=index, training=jax.tree.map(lambda *a: np.concatenate(a), *states))


def of_members(snapshots: Sequence[Snapshot], index: np.ndarray) -> Snapshot:
    """Where these members, of one bucket and at one epoch, stand, in order of their numbers."""
    masks = [np.isin(snapshot.index, index) for snapshot in snapshots]
    found = join([snapshot.take(mask) for snapshot, mask in zip(snapshots, masks, strict=True) if mask.any()])
    return found.take(np.argsort(found.index))
