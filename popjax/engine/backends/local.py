"""Batches onto the cores of a CPU, or onto accelerators.

Every worker thread takes the next job, trains it to its epoch and takes another; the same
executable serves them all, and XLA releases the interpreter's lock while it runs. What a
worker has to say goes into a queue, so that only the caller's thread touches results.
"""

import dataclasses
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any

import jax

from popjax.core.clock import Clock
from popjax.core.machine import cores
from popjax.engine.backends.base import Context, Held
from popjax.engine.batch import Batch, Epoch, Job, Rest
from popjax.engine.member import Programs
from popjax.engine.memory import OutOfMemory, check_fits, ran_out, refused
from popjax.engine.plan import members_a_batch
from popjax.engine.roster import Roster


def threads() -> int:
    """One thread a core where a CPU is the one device; else one for all devices."""
    return cores() if jax.default_backend() == "cpu" and jax.local_device_count() == 1 else 1


@dataclasses.dataclass(eq=False)
class Local:
    """The backend of this machine; between two segments states stay on its devices.

    Attributes:
        roster: who the members are.
        context: what the workers know.
        compiling: counts the time in which programs are compiled.
    """

    roster: Roster
    context: Context
    compiling: Clock

    def pieces(self, held: Held) -> Sequence[Batch]:
        """Batches as memory allows now; who stands on the devices in such a one stays there."""
        lanes = self.roster.lanes(held.bucket)
        if isinstance(held, Batch) and held.lanes == lanes:
            return [held]
        pieces = held.snapshot().cut(members_a_batch(len(held.index), lanes, threads()))
        return [Batch(piece, lanes) for piece in pieces]

    def execute(self, going: Iterable[tuple[Batch, int]]) -> Generator[list[Epoch | Rest]]:
        """See Backend; jobs are made while earlier ones train."""
        programs: dict[Any, Programs] = {}
        return execute((self._job(batch, until, programs) for batch, until in going), self.context)

    def close(self) -> None:
        """Its workers end with each segment."""

    def _job(self, batch: Batch, until: int, programs: dict[Any, Programs]) -> Job:
        """The batch with its members and its bucket's programs, which are looked up once."""
        key = batch.bucket, batch.lanes.count, batch.lanes.capacity
        if key not in programs:
            programs[key] = self.roster.programs(batch.bucket, batch.lanes, self.compiling)
        return Job(batch, self.roster.members(batch.bucket, batch.stacked()), programs[key], until)


def execute(jobs: Iterable[Job], context: Context) -> Generator[list[Epoch | Rest]]:
    """Train all jobs; yields an Epoch for every batch and epoch, and how every batch rests that was begun.

    They come in lists of what was said meanwhile. Jobs may be made while earlier ones train.
    Once `context.stop` is set, or a worker failed, the workers stop at the end of their epoch.
    Then what a worker failed with is raised. Closing the generator stops too.
    """
    waiting: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
    said: queue.SimpleQueue[Epoch | Rest | Exception | None] = queue.SimpleQueue()
    failures: list[Exception] = []
    closing = threading.Event()
    x64 = jax.config.jax_enable_x64

    def work() -> None:
        with jax.enable_x64(x64):
            while (job := waiting.get()) is not None:
                try:
                    train(job, context, said.put, stopping)
                except Exception as error:
                    closing.set()
                    said.put(OutOfMemory(refused(error)) if ran_out(error) else error)
        said.put(None)

    def stopping() -> bool:
        return closing.is_set() or context.stop.is_set()

    def heard(wait: bool) -> list[Epoch | Rest | None]:
        """All that was said meanwhile; None is a worker that ended."""
        messages = [said.get()] if wait else []
        messages += [said.get() for _ in range(said.qsize())]
        failures.extend(message for message in messages if isinstance(message, Exception))
        return [message for message in messages if not isinstance(message, Exception)]

    workers = [threading.Thread(target=work, daemon=True) for _ in range(threads())]
    for worker in workers:
        worker.start()
    try:
        for job in jobs:
            if context.stop.is_set():
                break
            waiting.put(job)
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


def train(job: Job, context: Context, say: Callable[[Epoch | Rest], None], stopping: Callable[[], bool]) -> None:
    """Train one batch; says each epoch, the last with how it rests, or a Rest alone where that is not reached."""
    batch, request, long = job.batch, context.request, False
    rest: Rest | None = None
    try:
        if stopping():
            return
        advance = job.programs.epoch.result()
        if advance not in context.fitting:
            check_fits(advance, context.data)
            context.fitting.add(advance)
        if batch.training is None and not stopping():
            with context.clock:
                batch.begin(job.programs, context.seed, job.members, context.data)
        answered = 0
        while batch.epoch < job.until and not stopping():
            begun = time.monotonic()
            with context.clock:
                trained, metrics = advance(batch.training, job.members, context.data, batch.counts)
                values = {name: metric[batch.places] for name, metric in jax.device_get(metrics).items()}
            batch.training = trained  # an error of the epoch shows with its metrics: only now it is over
            batch.epoch += 1
            snapshot, long = None, time.monotonic() - begun >= request.every
            if batch.epoch == job.until:
                rest = resting(job, long)
            elif answered < request.number and (long or time.monotonic() >= request.due):
                answered, snapshot = request.number, batch.snapshot()
            say(Epoch(batch.origin, batch.epoch - 1, values, snapshot, long, rest))
    finally:
        if rest is None:
            say(resting(job, long))


def resting(job: Job, long: bool) -> Rest:
    """How a batch rests; on the devices if it is where it was to get."""
    batch = job.batch
    if batch.training is not None and batch.epoch >= job.until:
        return Rest(batch.origin, batch, True, long=long)
    try:
        return Rest(batch.origin, batch, False, batch.snapshot(), long)
    except Exception:  # a device without memory may not even give back what it holds
        return Rest(batch.origin, batch, False, batch.origin)
