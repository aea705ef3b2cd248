"""Members that are trained together, as stacked arrays on the devices."""

import dataclasses
from typing import Any

import jax
import numpy as np

from popjax.core.trees import from_host, to_host
from popjax.engine.member import Members, Programs, Training
from popjax.engine.plan import Lanes, placed
from popjax.engine.snapshot import Snapshot


@dataclasses.dataclass(eq=False)
class Batch:
    """Members of one bucket at the same epoch, in the arrays that a program takes.

    Between two segments their state stays on the devices.

    Attributes:
        origin: who they are, and where they stood on the host.
        lanes: how many members the arrays hold.
        epoch: the epochs that they have finished.
        training: their state on the devices, stacked (capacity, ...); None before they begin.
    """

    origin: Snapshot
    lanes: Lanes
    epoch: int = dataclasses.field(init=False)
    training: Training | None = None

    def __post_init__(self) -> None:
        self.epoch = self.origin.epoch
        self.places, self.counts = placed(len(self.index), self.lanes)

    @property
    def bucket(self) -> int:
        """The bucket's number."""
        return self.origin.bucket

    @property
    def index(self) -> np.ndarray:
        """The members' numbers (members,) in the population."""
        return self.origin.index

    def stacked(self) -> np.ndarray:
        """The members' numbers (capacity,), each at its place; where there is none, that of the last."""
        index = np.full(self.lanes.devices * self.lanes.capacity, self.index[-1])
        index[self.places] = self.index
        return index

    def begin(self, programs: Programs, seed: int, members: Members, data: Any) -> None:
        """Put the members on the devices: new, or as they were left."""
        if self.origin.training is None:
            self.epoch = 0
            self.training = programs.init.result()(np.uint32(seed), members, data, self.counts)
            return
        like = programs.epoch.result().args_info[0][0]
        rows = np.zeros(len(members.trial), int)
        rows[self.places] = np.arange(len(self.places))
        self.training = from_host(like, jax.tree.map(lambda array: array[rows], self.origin.training))

    def snapshot(self) -> Snapshot:
        """Where the members stand, on the host; where they began, if their arrays are gone."""
        if self.training is None or any(leaf.is_deleted() for leaf in jax.tree.leaves(self.training)):
            return self.origin
        host = jax.tree.map(lambda array: array[self.places], to_host(self.training))
        return Snapshot(self.bucket, self.index, self.epoch, host)


@dataclasses.dataclass(frozen=True, eq=False)
class Job:
    """A batch to be trained on.

    Attributes:
        members: who they are, with their hyperparameters now: arrays (capacity,).
        programs: futures of the executables.
        until: the epoch to reach.
    """

    batch: Batch
    members: Members
    programs: Programs
    until: int


@dataclasses.dataclass(frozen=True, eq=False)
class Epoch:
    """An epoch of some members.

    Attributes:
        origin: who they are, and where they stood on the host.
        epoch: which one, from 0.
        metrics: name -> values (members,).
        snapshot: where the members stand after it, if that was asked for; else None.
        long: whether it took so long that a commit is due after each.
        rest: how they rest, if they were to be trained no further; else None.
    """

    origin: Snapshot
    epoch: int
    metrics: dict[str, np.ndarray]
    snapshot: Snapshot | None = None
    long: bool = False
    rest: "Rest | None" = None


@dataclasses.dataclass(frozen=True, eq=False)
class Rest:
    """Members whose training has ended, or was stopped.

    Attributes:
        origin: who they are, and where they stood on the host.
        held: where they stand, on the devices or on the host.
        reached: whether that is where they were to get.
        snapshot: where they stand, on the host, if it is not, or if that was asked for; else None.
        long: whether their last epoch took so long that a commit is due after each.
        lost: whether they are given up, since whoever trained them died too often.
    """

    origin: Snapshot
    held: Batch | Snapshot
    reached: bool
    snapshot: Snapshot | None = None
    long: bool = False
    lost: bool = False
