"""The remote backend: trains segments on any executor, in units that are submitted again if a worker dies.

Bits do not depend on it. A unit that failed goes behind the others, and is charged a try if no other unit finished
since it was sent; after `retries` charged tries it is given up. A pool that breaks fails all its units, whichever
worker died: then one unit at a time is sent until one comes back, a unit that broke twice is sent alone, and only a
unit that breaks alone is charged.
"""

import dataclasses
import heapq
import itertools
import logging
import queue
import time
from collections.abc import Generator, Iterable
from concurrent.futures import Future
from typing import Any

import numpy as np

from popjax.core.faults import fault
from popjax.core.machine import kin
from popjax.core.storage import sha256
from popjax.core.text import first_line
from popjax.engine.backends.protocol import Context, Epoch, Message, Position, Segment
from popjax.engine.backends.renewable_executor import NoFuture, RenewableExecutor, breaks
from popjax.engine.backends.sizes import Sizes
from popjax.engine.backends.work import (
    Answer,
    Done,
    Failed,
    Missing,
    Refused,
    Unit,
    error_of,
    planned,
    shipped,
    work,
)
from popjax.engine.member import jax_settings
from popjax.engine.roster import Roster
from popjax.store.cohort import Cohort, OnHost

LOG = logging.getLogger("popjax")
WINDOW = 8  # units under way, beside two for each worker that has answered
ALONE = 2  # broken pools, after which a unit is sent alone
STRIKES = 16  # times the retries: charged tries without a unit back in between, after which all units are given up
POLL = 0.1  # seconds to wait for an answer before looking at the clock
GRACE = 10.0  # seconds in which units under way may still come back, once training stops


@dataclasses.dataclass(eq=False)
class Delivery:
    """A segment on its way through an executor, as one unit after another.

    Attributes:
        number: of the segment; lower ones are sent first.
        stands: its members at their current epoch.
        failures: number of failures of its worker or executor since it last came back.
        broken: number of these in which the whole executor broke.
        tries: number of these that are charged.
        unit: the number of the unit that was sent last.
        carries: True if the task is sent with it.
        executor: it was last submitted to this one.
        before: number of units that were finished then.
        due: when it is late, by the monotonic clock.
    """

    number: int
    segment: Segment
    stands: Cohort
    failures: int = 0
    broken: int = 0
    tries: int = 0
    unit: int = 0
    carries: bool = False
    executor: Any = None
    before: int = 0
    due: float = float("inf")

    def __lt__(self, other: "Delivery") -> bool:
        return (self.failures, self.number) < (other.failures, other.number)

    def came_back(self, stands: Cohort) -> None:
        """Take the members' new position, and reset the counts of failures."""
        self.stands = stands
        self.failures = self.broken = self.tries = 0


class RemoteBackend:
    """The backend that trains on an executor.

    Args:
        roster, context: see Backend.
        executor: an object with `submit(fn, *args) -> Future`, or a function without arguments that makes one.
        retries: number of charged tries of a unit, at least 1.
        mixed: True if workers may run on another kind of machine, or other versions, than the driver.

    Raises ValueError if `executor` is neither, or does not answer, and for a task that cannot be pickled.
    """

    def __init__(
        self, roster: Roster, context: Context, *, executor: Any, retries: int = 3, mixed: bool = False
    ) -> None:
        self.roster, self.context = roster, context
        self.executor = RenewableExecutor(executor)
        self.retries = max(retries, 1)
        self.kin = None if mixed else kin()

        self.sizes = Sizes(roster, lambda: self.executor.traits)
        self.blob = shipped(roster.task)
        self.digest = sha256(self.blob)
        self.workers: set[str] = set()
        self.finished = 0
        self._plans: dict[int, bytes] = {}
        self._numbers = itertools.count()
        self.executor.open()

    def pieces(self, cohort: Cohort) -> list[Cohort]:
        """A cohort in pieces of one unit's members: about the work that the executor asks for, by the cost model."""
        return cohort.cut(self.sizes.members(cohort))

    def train(self, segments: Iterable[Segment]) -> Generator[list[Message]]:
        """See Backend."""
        dispatch = Dispatch(self, segments)
        with self.context.training:
            try:
                while dispatch.busy and not self.context.stop.is_set():
                    yield dispatch.send()
                    yield dispatch.hear()
                dispatch.call_back()
                over = time.monotonic() + GRACE
                while dispatch.under_way and time.monotonic() < over:
                    yield dispatch.hear()
                yield dispatch.ends()
            finally:
                dispatch.call_back()
        if dispatch.failure is not None:
            raise dispatch.failure

    def close(self) -> None:
        """Shut down the executor, if it was made here."""
        self.executor.close()

    def unit(self, delivery: Delivery) -> Unit:
        """The unit to send for a delivery."""
        roster, stands = self.roster, delivery.stands
        if stands.bucket not in self._plans:
            self._plans[stands.bucket] = planned(roster.buckets[stands.bucket])
        return Unit(
            number=next(self._numbers),
            task=self.digest,
            plan=self._plans[stands.bucket],
            lanes=dataclasses.replace(roster.lanes(stands.bucket), devices=1),
            seed=roster.config.seed,
            epoch=stands.epoch,
            state=None if stands.state is None else stands.arrays(),
            members=roster.members(stands.bucket, stands.members),
            until=min(delivery.segment.until, stands.epoch + self.sizes.epochs(stands)),
            settings=jax_settings(),
            kin=self.kin,
            tuning=self.context.tuning and self.context.tuning.resolve(),
        )


class Dispatch:
    """Sends the units of segments, and receives their answers.

    Attributes:
        waiting: a heap of deliveries to be sent.
        under_way: future -> delivery, of those sent.
        failure: the error that ends training; None so far.
    """

    def __init__(self, remote: RemoteBackend, segments: Iterable[Segment]) -> None:
        self.remote = remote
        self.waiting = [Delivery(number, segment, start_of(segment.cohort)) for number, segment in enumerate(segments)]
        self.under_way: dict[Future[Any], Delivery] = {}
        self.failure: Exception | None = None
        self._said: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        self._over = False  # nothing is sent any more
        self._careful = False  # one unit at a time is sent, since a pool broke and none has come back since
        self._strikes = 0  # charged tries since a unit came back

    @property
    def busy(self) -> bool:
        """True if deliveries are waiting or under way, and nothing failed."""
        return self.failure is None and bool(self.waiting or self.under_way)

    def send(self) -> list[Message]:
        """Submit what the window allows; returns the Position of a segment given up, since it cannot be submitted."""
        remote = self.remote
        while self.waiting and self.may_send():
            delivery = heapq.heappop(self.waiting)
            blob = remote.blob if delivery.carries or not remote.executor.traits.keeps else None
            delivery.before, delivery.executor = remote.finished, remote.executor.open()
            try:
                unit = remote.unit(delivery)
                delivery.unit = unit.number
                future = remote.executor.submit(work, unit, blob)
            except NoFuture as error:
                self.failure = error
                return []
            except Exception as error:
                said = fault(f"{remote.executor.called}: submit", error)
                return self.waiting_again(delivery, error, alone=not self.under_way, said=said)
            delivery.due = time.monotonic() + remote.sizes.patience(delivery.stands)
            self.under_way[future] = delivery
            future.add_done_callback(self._said.put)
        return []

    def may_send(self) -> bool:
        """True if one more unit may be sent."""
        if not self.under_way:
            return True
        if self._careful or any(delivery.broken >= ALONE for delivery in [self.waiting[0], *self.under_way.values()]):
            return False
        return len(self.under_way) < 2 * len(self.remote.workers) + WINDOW

    def hear(self) -> list[Message]:
        """The messages of units that have come back, are late or failed; waits at most POLL seconds."""
        messages: list[Message] = []
        for future in arrived(self._said):
            delivery = self.under_way.pop(future, None)
            if delivery is not None:  # a late answer of a unit that was sent again is dropped
                messages += self.heard(delivery, future)
        now = time.monotonic()
        for future, delivery in [pair for pair in self.under_way.items() if pair[1].due < now]:
            del self.under_way[future]
            future.cancel()
            self.remote.executor.renew(delivery.executor)
            messages += self.waiting_again(delivery, TimeoutError("no answer in time"))
        return messages

    def heard(self, delivery: Delivery, future: "Future[Any]") -> list[Message]:
        """The messages of a unit that came back or failed; sets `failure` for an answer that ends training."""
        try:
            answer: Answer = future.result()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # also SystemExit, of the worker
            return self.waiting_again(delivery, error)
        try:
            self.check(delivery, answer)
        except ValueError as error:
            heapq.heappush(self.waiting, delivery)
            self.failure = error
            return []
        if isinstance(answer, Done):
            self.remote.finished += 1
            self.remote.workers.add(answer.worker)
            self._careful, self._strikes = False, 0
            return self.progress(delivery, answer)
        heapq.heappush(self.waiting, delivery)
        if isinstance(answer, Missing):
            delivery.carries = True
        elif isinstance(answer, Refused):
            what = f"worker {answer.worker} has {answer.kin}, this process {kin()}"
            self.failure = ValueError(f"{what}; give it the same, or accept that bits may differ with mixed (--mixed)")
        elif isinstance(answer, Failed):
            self.failure = error_of(answer)
            self.failure.add_note(f"in training {of_trials(self.remote.roster, delivery.segment.cohort)}")
        return []

    def check(self, delivery: Delivery, answer: Any) -> None:
        """Raise ValueError for an answer that is none for the unit that was sent."""
        what, remedy = f"{self.remote.executor.called}: a future of submit gave", "let submit(fn, *args) call fn(*args)"
        if isinstance(answer, Done):
            if answer.unit != delivery.unit:
                raise ValueError(f"{what} the answer for another unit of work; {remedy}")
            begins = delivery.segment.until == delivery.stands.epoch  # a first state is asked for, and no epoch
            if answer.epoch < delivery.stands.epoch or (answer.epoch == delivery.stands.epoch and not begins):
                raise ValueError(f"{what} epoch {answer.epoch} after epoch {delivery.stands.epoch}; {remedy}")
            if not begins:
                self.remote.roster.check_reported(delivery.stands.bucket, answer.metrics)
        elif isinstance(answer, Missing) and delivery.carries:
            raise ValueError(f"{what} no epoch: the worker lacks the last argument of submit; {remedy}")
        elif not isinstance(answer, Answer):
            raise ValueError(f"{what} a {type(answer).__name__}; {remedy}")

    def progress(self, delivery: Delivery, answer: Done) -> list[Message]:
        """The messages of a trained unit: its epochs, and its Position at the segment's end or for the next commit."""
        segment, request = delivery.segment, self.remote.context.request
        stands = dataclasses.replace(segment.cohort, epoch=answer.epoch, state=OnHost(answer.state))
        ended = stands.epoch >= segment.until
        if not ended:
            delivery.came_back(stands)
            heapq.heappush(self.waiting, delivery)
        count = len(next(iter(answer.metrics.values()), np.zeros((0, 0)))[0]) if answer.metrics else 0
        messages: list[Message] = []
        for at in range(count):
            metrics = {name: values[:, at] for name, values in answer.metrics.items()}
            improved = None if answer.improved is None else answer.improved[:, at]
            messages.append(Epoch(segment, stands.epoch - count + at, metrics, improved))
        return [*messages, *([Position(segment, stands, ended)] if ended or request.every < float("inf") else [])]

    def waiting_again(
        self, delivery: Delivery, error: BaseException, alone: bool = True, said: str = ""
    ) -> list[Message]:
        """Send a unit again that an executor lost; returns the Position of its segment if it has no try left.

        It is charged only if `alone`: an executor that is full has room once another unit came back. `said`: the error
        in words, if not by its own first line.
        """
        remote = self.remote
        if self._over:
            heapq.heappush(self.waiting, delivery)
            return []
        charged = alone and delivery.before == remote.finished
        if breaks(error):
            charged &= not self.under_way and delivery.executor is remote.executor.current
            delivery.broken += 1
            self._careful = True
            if not remote.executor.renew(delivery.executor) and not remote.context.stop.is_set():
                remedy = "give a function, which is called again, or, with out=, resume=True"
                LOG.warning(f"the executor broke: {first_line(error)}; {remedy}")
                remote.context.stop.set()
        delivery.failures += 1
        delivery.tries += charged
        self._strikes += charged
        if delivery.tries < remote.retries and self._strikes < STRIKES * remote.retries:
            heapq.heappush(self.waiting, delivery)
            return []
        trials = of_trials(remote.roster, delivery.segment.cohort)
        LOG.warning(f"{trials}: given up after {delivery.tries} failed tries: {said or first_line(error)}")
        return [Position(delivery.segment, stand_of(delivery), lost=True)]

    def call_back(self) -> None:
        """Cancel the units that no worker has begun; nothing is sent any more."""
        self._over = True
        for future in list(self.under_way):
            future.cancel()

    def ends(self) -> list[Message]:
        """The Positions of segments that have begun and have not reached their epoch."""
        left = [*self.waiting, *self.under_way.values()]
        begun = [delivery for delivery in left if delivery.stands.epoch > start_of(delivery.segment.cohort).epoch]
        return [Position(delivery.segment, stand_of(delivery)) for delivery in begun]


def start_of(cohort: Cohort) -> Cohort:
    """The cohort that training starts from: at epoch 0 if its state was given up, else unchanged."""
    return cohort if cohort.state is not None or cohort.epoch == 0 else dataclasses.replace(cohort, epoch=0)


def stand_of(delivery: Delivery) -> Cohort:
    """The cohort when training ends: the segment's own if the members are behind its epoch."""
    cohort = delivery.segment.cohort
    return delivery.stands if delivery.stands.epoch >= cohort.epoch else cohort


def arrived(said: "queue.SimpleQueue[Future[Any]]") -> "list[Future[Any]]":
    """The futures that are done; waits at most POLL seconds for the first."""
    try:
        first = said.get(timeout=POLL)
    except queue.Empty:
        return []
    return [first, *(said.get() for _ in range(said.qsize()))]


def of_trials(roster: Roster, cohort: Cohort) -> str:
    """The trials of a cohort, in words."""
    numbers = [str(number) for number in sorted(set(roster.config.numbering.trials(cohort.members).tolist()))]
    return f"trial {numbers[0]}" if len(numbers) == 1 else f"trials {', '.join(numbers)}"
