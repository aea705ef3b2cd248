"""The door to whatever trains members: on the local devices, or elsewhere; and what is said through it."""

import dataclasses
import time
from collections.abc import Generator, Iterable
from typing import NamedTuple, Protocol

import numpy as np

from popjax.core.clock import Clock
from popjax.core.stop import Flag, Stop
from popjax.engine.roster import Roster
from popjax.store.cohort import Cohort


@dataclasses.dataclass(frozen=True, eq=False)
class Segment:
    """What a backend is asked for: members to be trained to an epoch.

    Attributes:
        cohort: where they stand; without a state they begin anew, and reach their epoch again on the way.
        until: the epoch to reach.
    """

    cohort: Cohort
    until: int


class Epoch(NamedTuple):
    """What a backend says after each epoch of a segment.

    Attributes:
        epoch: which one, from 0.
        metrics: name -> values (members,).
        long: whether it took so long that a commit is due after each.
    """

    segment: Segment
    epoch: int
    metrics: dict[str, np.ndarray]
    long: bool = False


class Position(NamedTuple):
    """Where a backend says that a segment's members stand: where a commit asked for it, and at the segment's end.

    Attributes:
        cohort: on the host, or, where the end was reached, also on the devices.
        ended: whether they are trained no further; short of `until` they were stopped.
        lost: whether the retries of those that train them are exhausted.
    """

    segment: Segment
    cohort: Cohort
    ended: bool = True
    lost: bool = False


Message = Epoch | Position


@dataclasses.dataclass(eq=False)
class CheckpointRequest:
    """Asks where all members in training stand, for the next commit.

    Each segment answers once a commit: at the end of the first epoch after it is due, or of any long one.
    So what is said and not yet written stays bounded, however slow the disk.

    Attributes:
        every: seconds between commits; infinite where there are none.
        number: of the next commit.
        due: when it is, by the monotonic clock.
    """

    every: float = float("inf")
    number: int = 1
    due: float = float("inf")

    def put_off(self, seconds: float = 0.0) -> None:
        """A commit was made: the next one is due `every` seconds from now, or so many if that is longer."""
        self.number, self.due = self.number + 1, time.monotonic() + max(self.every, seconds)


@dataclasses.dataclass(frozen=True, eq=False)
class Context:
    """What training shares with the run around it.

    Attributes:
        compiling, training: count the time in which programs are compiled, and in which training runs.
        stop: when set, training stops at the end of an epoch.
        request: when to say where members stand.
    """

    compiling: Clock = dataclasses.field(default_factory=Clock)
    training: Clock = dataclasses.field(default_factory=Clock)
    stop: Flag = dataclasses.field(default_factory=Stop)
    request: CheckpointRequest = dataclasses.field(default_factory=CheckpointRequest)


class Backend(Protocol):
    """What trains members; it serves one population after another."""

    def open(self) -> None:
        """Reach what trains, where that is not this process; raises ValueError where nothing answers."""

    def begin(self, roster: Roster, context: Context) -> None:
        """Serve a population, whose first trials are known; raises ValueError for a task that it cannot train."""

    def pieces(self, cohort: Cohort) -> list[Cohort]:
        """Members as they are trained together."""

    def train(self, segments: Iterable[Segment]) -> Generator[list[Message]]:
        """Train segments of pieces: an Epoch for each epoch, and where each ends that was begun.

        They come in lists of what was said meanwhile. Raises what the training failed with, OutOfMemory
        where it may be tried with fewer members at once.
        """

    def close(self) -> None:
        """Cancel all pending work."""
