"""The interface of backends, which train members on the local devices or elsewhere, and their messages."""

import dataclasses
import time
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from popjax.core.clock import Clock
from popjax.core.stop import Flag, Stop
from popjax.engine.roster import Roster
from popjax.store.cohort import Cohort


@dataclasses.dataclass(frozen=True, eq=False)
class Segment:
    """A request to a backend: members to train to an epoch.

    Attributes:
        cohort: the members at their current epoch; without a state they start from epoch 0, and reach it on the way.
        until: the epoch to reach.
    """

    cohort: Cohort
    until: int


class Epoch(NamedTuple):
    """A backend's message after each epoch of a segment.

    Attributes:
        epoch: the epoch, from 0.
        metrics: name -> values (members,).
        improved: bool (members,), whether it became the best epoch; None if no best epoch is kept.
        long: True if it took so long that a commit is due after each.
    """

    segment: Segment
    epoch: int
    metrics: dict[str, np.ndarray]
    improved: np.ndarray | None = None
    long: bool = False


class Position(NamedTuple):
    """A backend's message with the current cohort of a segment: when a commit asks for it, and at the segment's end.

    Attributes:
        cohort: on the host when a commit asks; at the end also on the devices, or the segment's own cohort.
        ended: True if the segment is over; before its epoch `until` it was stopped.
        lost: True if it is out of retries.
    """

    segment: Segment
    cohort: Cohort
    ended: bool = True
    lost: bool = False


Message = Epoch | Position


@dataclasses.dataclass(eq=False)
class CheckpointRequest:
    """Asks the segments in training for their members' state, for the next commit.

    Each segment answers once per commit: at the end of the first epoch after it is due, or of any long one.
    So the messages that are not yet written stay bounded, however slow the disk.

    Attributes:
        every: seconds between commits; infinite if there are none.
        number: of the next commit.
        due: its time, by the monotonic clock.
    """

    every: float = float("inf")
    number: int = 1
    due: float = float("inf")

    def put_off(self, seconds: float = 0.0) -> None:
        """After a commit: the next one is due in `every` seconds, or in `seconds` if that is longer."""
        self.number, self.due = self.number + 1, time.monotonic() + max(self.every, seconds)


@dataclasses.dataclass(frozen=True, eq=False)
class Context:
    """The clocks and flags that training shares with its run.

    Attributes:
        compiling, training: count the seconds of compiling, and of training.
        stop: when set, training stops at the end of an epoch.
        request: when to report members' states for a commit.
        tuning: the directory of what a GPU's autotuner chose; None for a run without a record.
    """

    compiling: Clock = dataclasses.field(default_factory=Clock)
    training: Clock = dataclasses.field(default_factory=Clock)
    stop: Flag = dataclasses.field(default_factory=Stop)
    request: CheckpointRequest = dataclasses.field(default_factory=CheckpointRequest)
    tuning: Path | None = None


class Backend(Protocol):
    """Trains the members of one population."""

    def pieces(self, cohort: Cohort) -> list[Cohort]:
        """A cohort in the pieces that are trained as one segment each."""

    def train(self, segments: Iterable[Segment]) -> Generator[list[Message]]:
        """Train segments of pieces; yields an Epoch for each epoch, and a final Position of each segment begun.

        They come in lists of those that arrived since the last. Raises the error that training failed with,
        OutOfMemory if it may be tried with fewer members at once.
        """

    def close(self) -> None:
        """Cancel all pending work."""


# makes one; raises ValueError for a task that it cannot train, or where no worker answers
Backends = Callable[[Roster, Context], Backend]
