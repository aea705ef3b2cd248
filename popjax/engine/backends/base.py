"""The door to whatever trains members, and what all of it knows: here on the local devices, or elsewhere."""

import dataclasses
import threading
import time
from collections.abc import Generator, Iterable, Sequence
from typing import Any, Protocol

from popjax.core.clock import Clock
from popjax.engine.batch import Batch, Epoch, Rest
from popjax.engine.snapshot import Snapshot

Held = Batch | Snapshot


@dataclasses.dataclass(eq=False)
class CheckpointRequest:
    """Asks where all batches in training stand, for the next commit.

    Each answers once a commit: at the end of the first epoch after it is due, or of any long one.
    So what is said and not yet written stays bounded, however slow the disk.

    Attributes:
        every: seconds between commits; without any, nobody is asked.
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
    """What all workers know.

    Attributes:
        seed: of the members' keys.
        data: the task's data on the devices.
        clock: counts the time in which training runs.
        stop: when set, the workers stop at the end of their epoch.
        request: when to say where a batch stands.
        fitting: the executables that are known to fit into memory; asked once, since Linux takes files to answer.
    """

    seed: int
    data: Any
    clock: Clock
    stop: threading.Event
    request: CheckpointRequest = dataclasses.field(default_factory=CheckpointRequest)
    fitting: set[Any] = dataclasses.field(default_factory=set)


class Backend(Protocol):
    """What trains members."""

    def pieces(self, held: Held) -> Sequence[Held]:
        """Members as those who are trained together."""

    def execute(self, going: Iterable[tuple[Any, int]]) -> Generator[list[Epoch | Rest]]:
        """Train pieces to an epoch each: an Epoch for each of them and each epoch, and how each rests that was begun.

        They come in lists of what was said meanwhile. Raises what the training failed with, OutOfMemory
        where it may be tried with fewer members at once.
        """

    def close(self) -> None:
        """Leave nobody at work."""
