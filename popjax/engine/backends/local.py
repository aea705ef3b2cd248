"""The local backend: trains segments on the cores of a CPU, or on accelerators.

Each worker thread takes the next job, trains it to its epoch and takes another; one executable
serves them all, and XLA releases the interpreter's lock while it runs. Workers put their messages
into a queue, so that only the caller's thread touches results.
"""

import contextlib
import dataclasses
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable
from typing import Any, Self

import jax
import numpy as np

from popjax.core.machine import cores
from popjax.engine.backends.protocol import Context, Epoch, Message, Position, Segment
from popjax.engine.best_epoch import Training
from popjax.engine.member import AHEAD, Members, Programs
from popjax.engine.memory import OutOfMemory, check_fits, ran_out, refused_bytes
from popjax.engine.on_devices import OnDevices, to_devices
from popjax.engine.plan import Lanes, members_a_batch, places_of
from popjax.engine.roster import Roster
from popjax.store.cohort import Cohort

SPAN = 0.05  # seconds that a call may train several epochs: short for whoever stops it, long beside what a call costs


def threads() -> int:
    """The number of worker threads: one per core if a CPU is the only device, else one for all devices."""
    return cores() if jax.default_backend() == "cpu" and jax.local_device_count() == 1 else 1


@dataclasses.dataclass(frozen=True, eq=False)
class Job:
    """A segment with the programs and arrays that train it here.

    Attributes:
        lanes: devices and capacity of the programs' arrays.
        places, counts: see `places_of`.
        members: the identities and hyperparameters of the cohort's members, in their places (devices * capacity,).
        programs: futures of the executables.
        seed: of the members' keys.
        data: the task's data on the devices.
        pace: of each executable that fits in memory the seconds that an epoch of a member took last, infinite before
            the first; shared by all jobs.
    """

    segment: Segment
    lanes: Lanes
    places: np.ndarray
    counts: np.ndarray
    members: Members
    programs: Programs
    seed: int
    data: Any
    pace: dict[Any, float]

    @classmethod
    def of(
        cls,
        segment: Segment,
        lanes: Lanes,
        members: Callable[[np.ndarray], Members],
        *,
        programs: Programs,
        seed: int,
        data: Any,
        pace: dict[Any, float],
    ) -> Self:
        """A job; `members`: numbers (devices * capacity,) -> arrays; free places repeat the cohort's last number."""
        numbers = segment.cohort.members
        places, counts = places_of(len(numbers), lanes)
        filled = np.full(lanes.devices * lanes.capacity, numbers[-1])
        filled[places] = numbers
        return cls(segment, lanes, places, counts, members(filled), programs=programs, seed=seed, data=data, pace=pace)


class LocalBackend:
    """The backend of this machine; between segments states stay on its devices."""

    def __init__(self, roster: Roster, context: Context) -> None:
        self.roster, self.context = roster, context
        self.pace: dict[Any, float] = {}

    def pieces(self, cohort: Cohort) -> list[Cohort]:
        """Cohorts of at most a batch, as memory allows now; one on the devices with the current lanes stays whole."""
        lanes = self.roster.lanes(cohort.bucket)
        if isinstance(cohort.state, OnDevices) and cohort.state.lanes == lanes:
            return [cohort]
        return cohort.cut(members_a_batch(len(cohort.members), lanes, threads()))

    def train(self, segments: Iterable[Segment]) -> Generator[list[Message]]:
        """See Backend; jobs are made while earlier ones train."""
        lanes, programs = dict[int, Lanes](), dict[Any, Programs]()
        return train_all((self._job(segment, lanes, programs) for segment in segments), self.context)

    def close(self) -> None:
        """Nothing to cancel: the workers end with each call of `train`."""

    def _job(self, segment: Segment, lanes: dict[int, Lanes], programs: dict[Any, Programs]) -> Job:
        """The job of a segment; `lanes` and `programs` cache what is looked up per bucket."""
        roster, bucket, state = self.roster, segment.cohort.bucket, segment.cohort.state
        if bucket not in lanes:
            lanes[bucket] = roster.lanes(bucket)
        own = state.lanes if isinstance(state, OnDevices) else lanes[bucket]
        key = bucket, own.count, own.capacity
        if key not in programs:
            programs[key] = roster.programs(bucket, own, self.context.compiling, self.context.tuning)
        return Job.of(
            segment,
            own,
            lambda numbers: roster.members(bucket, numbers),
            programs=programs[key],
            seed=roster.config.seed,
            data=roster.data,
            pace=self.pace,
        )


def train_all(jobs: Iterable[Job], context: Context) -> Generator[list[Message]]:
    """Train all jobs by threads; yields their messages, in lists of those that arrived since the last.

    Jobs may be made while earlier ones train. Once `context.stop` is set, or a job failed, all stop at
    the end of their epoch. Then the first error is raised, OutOfMemory if XLA could not allocate. Closing
    the generator stops them too.
    """
    waiting: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
    said: queue.SimpleQueue[list[Message] | Exception | None] = queue.SimpleQueue()
    failures: list[Exception] = []
    closing = threading.Event()
    x64 = jax.config.jax_enable_x64

    def work() -> None:
        try:
            with jax.enable_x64(x64):
                while (job := waiting.get()) is not None:
                    try:
                        train(job, context, said.put, stopping)
                    except Exception as error:
                        closing.set()
                        said.put(OutOfMemory(refused_bytes(error)) if ran_out(error) else error)
        finally:
            said.put(None)

    def stopping() -> bool:
        return closing.is_set() or context.stop.is_set()

    def heard(wait: bool) -> tuple[list[Message], int]:
        """The messages that arrived since the last call, and the number of workers that ended; records failures."""
        events = [said.get()] if wait else []
        events += [said.get() for _ in range(said.qsize())]
        failures.extend(event for event in events if isinstance(event, Exception))
        return [message for event in events if isinstance(event, list) for message in event], events.count(None)

    workers = [threading.Thread(target=work, daemon=True) for _ in range(threads())]
    for worker in workers:
        worker.start()
    try:
        for job in jobs:
            if context.stop.is_set():
                break
            waiting.put(job)
            yield heard(wait=False)[0]
        for _ in workers:
            waiting.put(None)
        working = len(workers)
        while working:
            messages, ended = heard(wait=True)
            working -= ended
            yield messages
        if failures:
            raise failures[0]
    finally:
        closing.set()
        for _ in workers:
            waiting.put(None)
        for worker in workers:
            worker.join()


def train(job: Job, context: Context, say: Callable[[list[Message]], None], stopping: Callable[[], bool]) -> None:
    """Train one job; `say` receives each Epoch, a Position on the host when a commit asks, and the final Position."""
    segment, request = job.segment, context.request
    progress, messages = Batch(job), list[Message]()
    try:
        if stopping():
            return
        advance = job.programs.epoch.result()
        if advance not in job.pace:
            check_fits(advance, job.data)
            job.pace[advance] = np.inf
        if stopping():
            return
        with context.training:
            progress.begin()
        answered = 0
        while progress.epoch < segment.until and not stopping():
            begun, first, members = time.monotonic(), progress.epoch, len(segment.cohort.members)
            epochs = ahead(segment.until - first, job.pace[advance] * members)
            with context.training:
                trained, *report = advance(progress.training, job.members, job.data, job.counts, np.int32(epochs))
                metrics, better = jax.device_get(report)
            values = {name: metric[:, :epochs][job.places] for name, metric in metrics.items()}
            improved = None if better is None else better[job.places]
            progress.reach(trained, first + epochs)  # only now: an error of the epochs is raised with their metrics
            seconds = (time.monotonic() - begun) / epochs
            job.pace[advance], long = seconds / members, seconds >= request.every
            messages = epochs_of(segment, first, epochs, values, improved, long)
            if progress.epoch == segment.until:
                break
            if answered < request.number and (long or time.monotonic() >= request.due):
                answered = request.number
                messages.append(Position(segment, progress.save(), ended=False))
            say(messages)
            messages = []
    finally:
        say([*messages, Position(segment, progress.stopped(segment.until))])


def ahead(left: int, seconds: float) -> int:
    """How many of the epochs that are left to train in one call, of so many seconds each: what fits into SPAN."""
    return max(1, min(left, AHEAD, int(SPAN / max(seconds, 1e-9))))


def epochs_of(
    segment: Segment, first: int, epochs: int, metrics: dict[str, np.ndarray], improved: np.ndarray | None, long: bool
) -> list[Message]:
    """A message for each epoch of a call, from arrays (members, AHEAD)."""
    return [
        Epoch(
            segment,
            first + number,
            {name: values[:, number] for name, values in metrics.items()},
            None if improved is None else improved[:, number],
            long,
        )
        for number in range(epochs)
    ]


class Batch:
    """A job's cohort in training, as arrays on the devices.

    Attributes:
        epoch: the epochs that its members have finished, from 0 if they have no state.
        training: their state, stacked (devices * capacity, ...); None before they begin.
        saved: the cohort as it was last copied to the host, at the original's epoch or later; before that the
            original, without a state if that was on the devices.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.origin = job.segment.cohort
        self.epoch = self.origin.epoch if self.origin.state is not None else 0
        self.training: Training | None = None
        lost = isinstance(self.origin.state, OnDevices)
        self.saved = dataclasses.replace(self.origin, state=None) if lost else self.origin

    def begin(self) -> None:
        """Put the members' state on the devices, or initialize it."""
        job, state = self.job, self.origin.state
        if isinstance(state, OnDevices):
            self.training = state.training
        elif state is not None:
            self.training = to_devices(
                job.programs.epoch.result().args_info[0][0], state.arrays(), job.places, job.lanes.devices
            )
        else:
            self.training = job.programs.init.result()(np.uint32(job.seed), job.members, job.data, job.counts)

    def reach(self, trained: Training, epoch: int) -> None:
        """Take the state at an epoch."""
        self.training, self.epoch = trained, epoch

    def cohort(self) -> Cohort:
        """The members at their current epoch, with their state on the devices."""
        assert self.training is not None
        state = OnDevices(self.training, self.job.lanes, self.job.places)
        return Cohort(self.origin.bucket, self.origin.members, self.epoch, state)

    def save(self) -> Cohort:
        """The members at their current epoch, with their state copied to the host."""
        cohort = self.cohort().on_host()
        if self.epoch >= self.origin.epoch:  # else they train again to where they were
            self.saved = cohort
        return cohort

    def stopped(self, until: int) -> Cohort:
        """The cohort when training ends.

        At the epoch `until` with its state on the devices; stopped before, on the host. The original cohort if training
        did not begin. As it was last saved if the arrays are lost or have not reached its epoch again.
        """
        if self.training is None:
            return self.origin
        if self.epoch >= until:
            return self.cohort()
        if self.epoch >= self.origin.epoch:
            with contextlib.suppress(Exception):  # a failed program has consumed the arrays, or no memory is left
                return self.save()
        return self.saved
