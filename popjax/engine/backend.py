"""Parts of a population onto the cores of a CPU, or onto accelerators.

Every worker thread takes the next part, trains it to the end and takes another; the same
executable serves them all, and XLA releases the interpreter's lock while it runs. What a
worker has to say goes into a queue, so that only the caller's thread touches results.
"""

import dataclasses
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable
from typing import Any

import jax
import numpy as np

from popjax.core.clock import Clock
from popjax.core.machine import cores
from popjax.core.trees import from_host, to_host
from popjax.engine.member import Members, Programs, Training
from popjax.engine.memory import OutOfMemory, check_fits, ran_out, refused


@dataclasses.dataclass(frozen=True, eq=False)
class Stand:
    """Where members of one bucket stand that are trained together.

    Attributes:
        bucket: the bucket's number.
        index: their positions in the population.
        epoch: the epochs that they have finished.
        training: their state on the host, stacked (members, ...); None before the first epoch.
    """

    bucket: int
    index: np.ndarray
    epoch: int = 0
    training: Training | None = None

    def cut(self, size: int) -> "list[Stand]":
        """The same in pieces of at most `size` members."""
        pieces = []
        for at in range(0, len(self.index), size):
            rows = slice(at, at + size)
            training = None if self.training is None else jax.tree.map(lambda a, r=rows: a[r], self.training)
            pieces.append(Stand(self.bucket, self.index[rows], self.epoch, training))
        return pieces


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """Members that are trained together.

    Attributes:
        stand: who they are, and where they begin.
        places: their places (members,) in the stacked arrays.
        members: arrays (room,); those at `places` count.
        counts: how many members each device has (devices,).
        programs: futures of the executables.
    """

    stand: Stand
    places: np.ndarray
    members: Members
    counts: np.ndarray
    programs: Programs

    @property
    def index(self) -> np.ndarray:
        """The members' positions in the population."""
        return self.stand.index


@dataclasses.dataclass(frozen=True, eq=False)
class Report:
    """What a worker has to say after an epoch.

    Attributes:
        part: the part.
        epoch: the epoch that it finished, from 0.
        metrics: name -> values (members,).
        stand: where the members stand, on the host, if that was asked for; else None.
        trained: after the last epoch the trained states, stacked (room, ...); else None.
        long: whether the epoch took so long that a commit is due after each of them.
    """

    part: Part
    epoch: int
    metrics: dict[str, np.ndarray]
    stand: Stand | None = None
    trained: Any = None
    long: bool = False

    @property
    def index(self) -> np.ndarray:
        """The members' positions in the population."""
        return self.part.index


@dataclasses.dataclass(eq=False)
class RollCall:
    """Asks where all parts in training stand, for the next commit.

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

    def put_off(self) -> None:
        """A commit was made: the next one is due `every` seconds from now."""
        self.number, self.due = self.number + 1, time.monotonic() + self.every


@dataclasses.dataclass(frozen=True, eq=False)
class Order:
    """What all workers need to know.

    Attributes:
        seed: of the members' keys.
        data: the task's data on the devices.
        epochs: the epochs of the whole run.
        clock: counts the time in which training runs.
        stop: when set, the workers stop at the end of their epoch and say where they stand.
        calls: when to say where a part stands.
        fitting: the executables that are known to fit into memory; asked once, since Linux takes files to answer.
    """

    seed: int
    data: Any
    epochs: int
    clock: Clock
    stop: threading.Event
    calls: RollCall = dataclasses.field(default_factory=RollCall)
    fitting: set[Any] = dataclasses.field(default_factory=set)


def threads() -> int:
    """One thread a core where a CPU is the one device; else one for all devices."""
    return cores() if jax.default_backend() == "cpu" and jax.local_device_count() == 1 else 1


def execute(parts: Iterable[Part], order: Order) -> Generator[list[Report | Stand]]:
    """Train all parts; yields a Report for every part and epoch, in lists of what came meanwhile.

    Parts may be made while earlier ones train. Once `order.stop` is set, or a worker failed,
    the workers stop at the end of their epoch, and a Stand is yielded for every part that is
    not finished. Then what a worker failed with is raised. Closing the generator stops too.
    """
    waiting: queue.SimpleQueue[Part | None] = queue.SimpleQueue()
    said: queue.SimpleQueue[Report | Stand | Exception | None] = queue.SimpleQueue()
    failures: list[Exception] = []
    closing = threading.Event()
    x64 = jax.config.jax_enable_x64

    def work() -> None:
        with jax.enable_x64(x64):
            while (part := waiting.get()) is not None:
                try:
                    train(part, order, said.put, stopping)
                except Exception as error:
                    closing.set()
                    said.put(OutOfMemory(refused(error)) if ran_out(error) else error)
        said.put(None)

    def stopping() -> bool:
        return closing.is_set() or order.stop.is_set()

    def heard(wait: bool) -> list[Report | Stand | None]:
        """All that was said meanwhile; None is a worker that ended."""
        messages = [said.get()] if wait else []
        messages += [said.get() for _ in range(said.qsize())]
        failures.extend(message for message in messages if isinstance(message, Exception))
        return [message for message in messages if not isinstance(message, Exception)]

    workers = [threading.Thread(target=work, daemon=True) for _ in range(threads())]
    for worker in workers:
        worker.start()
    try:
        for part in parts:
            if order.stop.is_set():
                break
            waiting.put(part)
            yield [message for message in heard(wait=False) if message is not None]
        for _ in workers:
            waiting.put(None)
        working = len(workers)
        while working:
            messages = heard(wait=True)
            working -= messages.count(None)
            yield [message for message in messages if message is not None]
        if failures:
            raise failures[0]
    finally:
        closing.set()
        for _ in workers:
            waiting.put(None)
        for worker in workers:
            worker.join()


def train(part: Part, order: Order, say: Callable[[Report | Stand], None], stopping: Callable[[], bool]) -> None:
    """Train one part, reporting after every epoch; if it does not reach the end, say where it stands."""
    epoch, training, calls = part.stand.epoch, None, order.calls
    try:
        if stopping():
            return
        advance = part.programs.epoch.result()
        if advance not in order.fitting:
            check_fits(advance, order.data)
            order.fitting.add(advance)
        if not stopping():
            with order.clock:
                training = begin(part, order)
        answered = 0
        while epoch < order.epochs and not stopping():
            begun = time.monotonic()
            with order.clock:
                trained, metrics = advance(training, part.members, order.data, part.counts)
                values = {name: metric[part.places] for name, metric in jax.device_get(metrics).items()}
            training = trained  # an error of the epoch shows with its metrics: only now it is over
            epoch += 1
            last, stand, long = epoch == order.epochs, None, time.monotonic() - begun >= calls.every
            if not last and answered < calls.number and (long or time.monotonic() >= calls.due):
                answered, stand = calls.number, where(part, epoch, training)
            say(Report(part, epoch - 1, values, stand, training.state if last else None, long))
    finally:
        if epoch < order.epochs:
            try:
                stand = where(part, epoch, training)
            except Exception:  # a device without memory may not even give back what it holds
                stand = part.stand
            say(stand)


def begin(part: Part, order: Order) -> Training:
    """The members before their next epoch: new, or as they were left."""
    if part.stand.training is None:
        return part.programs.init.result()(np.uint32(order.seed), part.members, order.data, part.counts)
    like = part.programs.epoch.result().args_info[0][0]
    rows = np.zeros(len(part.members.trial), int)
    rows[part.places] = np.arange(len(part.places))
    return from_host(like, jax.tree.map(lambda array: array[rows], part.stand.training))


def where(part: Part, epoch: int, training: Training | None) -> Stand:
    """Where a part stands, on the host; where it began, if its arrays are gone."""
    if training is None or any(leaf.is_deleted() for leaf in jax.tree.leaves(training)):
        return part.stand
    host = jax.tree.map(lambda array: array[part.places], to_host(training))
    return Stand(part.stand.bucket, part.index, epoch, host)
