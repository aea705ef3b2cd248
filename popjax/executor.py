"""Parts of a population onto the cores of a CPU, or onto an accelerator.

Every worker thread takes the next part, trains it to the end and takes another; the same
executable serves them all, and XLA releases the interpreter's lock while it runs. What a
worker has to say goes into a queue, so that only the caller's thread touches results.
"""

import dataclasses
import os
import queue
import threading
from collections.abc import Callable, Generator, Iterable
from typing import Any

import jax
import numpy as np

from popjax.clock import Clock
from popjax.population import Members, Programs


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """Members that are trained together.

    Attributes:
        index: their positions in the population.
        members: arrays (room,); the first `len(index)` count.
        programs: futures of the executables.
    """

    index: np.ndarray
    members: Members
    programs: Programs


@dataclasses.dataclass(frozen=True, eq=False)
class Report:
    """What a worker has to say.

    Attributes:
        part: the part.
        epoch: the epoch that it finished, from 0.
        metrics: name -> values (members,).
        states: after the last epoch the trained states, stacked (room, ...); else None.
    """

    part: Part
    epoch: int
    metrics: dict[str, np.ndarray]
    states: Any = None


def cores() -> int:
    """The CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """One thread a core on a CPU, one for an accelerator."""
    return cores() if jax.default_backend() == "cpu" else 1


def execute(parts: Iterable[Part], seed: int, data: Any, epochs: int, clock: Clock) -> Generator[Report]:
    """Train all parts; yields a Report for every part and epoch, as they come.

    Parts may be made while earlier ones train. Closing the generator stops the workers at
    the end of their epoch. An exception in a worker is raised here.
    """
    waiting: queue.SimpleQueue[Part | None] = queue.SimpleQueue()
    reports: queue.SimpleQueue[Report | Exception] = queue.SimpleQueue()
    stop = threading.Event()
    x64 = jax.config.jax_enable_x64

    def work() -> None:
        try:
            with jax.enable_x64(x64):
                while (part := waiting.get()) is not None and not stop.is_set():
                    train(part, seed, data, epochs, clock, reports.put, stop)
        except Exception as error:
            reports.put(error)

    def take() -> Report:
        report = reports.get()
        if isinstance(report, Exception):
            raise report
        return report

    workers = [threading.Thread(target=work, daemon=True) for _ in range(threads())]
    for worker in workers:
        worker.start()
    pending = 0
    try:
        for part in parts:
            waiting.put(part)
            pending += epochs
            while not reports.empty():
                yield take()
                pending -= 1
        for _ in range(pending):
            yield take()
    finally:
        stop.set()
        for _ in workers:
            waiting.put(None)
        for worker in workers:
            worker.join()


def train(
    part: Part,
    seed: int,
    data: Any,
    epochs: int,
    clock: Clock,
    report: Callable[[Report], None],
    stop: threading.Event,
) -> None:
    """Train one part, reporting after every epoch."""
    init, advance = part.programs.init.result(), part.programs.epoch.result()
    count = np.int32(len(part.index))
    with clock:
        training = init(np.uint32(seed), part.members, data, count)
    for epoch in range(epochs):
        if stop.is_set():
            return
        with clock:
            training, metrics = advance(training, part.members, data, count)
            values = {name: np.asarray(metric)[: len(part.index)] for name, metric in metrics.items()}
        last = epoch == epochs - 1
        report(Report(part, epoch, values, training.state if last else None))
