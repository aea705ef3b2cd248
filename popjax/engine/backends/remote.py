"""Members onto any executor: in units, which are submitted again where a worker dies.

The bits do not depend on it. A unit that failed goes behind the others, and is charged a try if no other unit was
finished since it was sent; after `retries` of them it is given up. Where a pool broke, which fails all its units,
nobody knows whose worker died: then one unit alone is sent until one comes back, who broke twice is sent alone, and
only who breaks alone is charged.
"""

import dataclasses
import heapq
import logging
import queue
import time
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import CancelledError, Future
from typing import Any

import jax
import numpy as np

from popjax.core.machine import kin
from popjax.engine.backends.base import Context, Held
from popjax.engine.backends.door import Door, breaks
from popjax.engine.backends.sizes import Sizes
from popjax.engine.backends.work import (
    Answer,
    Failed,
    Missing,
    Refused,
    Trained,
    Unit,
    digest_of,
    planned,
    settings,
    shipped,
    unpacked,
    work,
)
from popjax.engine.batch import Epoch, Rest
from popjax.engine.roster import Roster
from popjax.engine.snapshot import Snapshot

LOG = logging.getLogger("popjax")
WINDOW = 8  # units under way, beside two for each worker that has answered
ALONE = 2  # broken pools, after which a unit is sent alone
STRIKES = 16  # times the retries: charged tries after which all is given up, where no unit comes back in between
POLL = 0.1  # seconds between two looks at the clock
GRACE = 10.0  # seconds in which units under way may still come back, once training is stopped


@dataclasses.dataclass(eq=False)
class Assignment:
    """A unit as the driver knows it.

    Attributes:
        number: of the piece; those in front come first.
        origin: who the members are, and where they stood.
        until: the epoch to reach.
        stands: where they stand now.
        failures: how often its worker or its executor failed.
        broken: how often its whole executor did.
        tries: how many of these are charged.
        carries: whether the task goes with it.
        executor: the one it was last submitted to.
        before: how many units were finished then.
        due: until when it may take.
    """

    number: int
    origin: Snapshot
    until: int
    stands: Snapshot
    failures: int = 0
    broken: int = 0
    tries: int = 0
    carries: bool = False
    executor: Any = None
    before: int = 0
    due: float = float("inf")

    def __lt__(self, other: "Assignment") -> bool:
        return (self.failures, self.number) < (other.failures, other.number)


class Remote:
    """The backend that is an executor.

    Args:
        roster: who the members are.
        context: what stops it, and when commits are due.
        door: to the executor.
        retries: how many charged tries a unit has.
        mixed: whether workers may run on something else than the driver.

    Raises ValueError for a task that cannot travel.
    """

    def __init__(self, roster: Roster, context: Context, door: Door, retries: int = 3, mixed: bool = False) -> None:
        self.roster = roster
        self.context = context
        self.door = door
        self.sizes = Sizes(roster, lambda: self.door.traits)
        self.retries = max(retries, 1)
        self.kin = None if mixed else kin()
        self.blob = shipped(roster.task)
        self.digest = digest_of(self.blob)
        self.workers: set[str] = set()
        self.finished = 0
        self._plans: dict[int, bytes] = {}

    def pieces(self, held: Held) -> Sequence[Snapshot]:
        """Members as units: about as much work as the executor asks for, by the cost model."""
        snapshot = held.snapshot()
        return snapshot.cut(self.sizes.members(snapshot))

    def execute(self, going: Iterable[tuple[Snapshot, int]]) -> Generator[list[Epoch | Rest]]:
        """See Backend."""
        dispatch = Dispatch(self, going)
        with self.context.clock:
            try:
                while dispatch.busy and not self.context.stop.is_set():
                    yield dispatch.send()
                    yield dispatch.hear()
                dispatch.call_back()
                over = time.monotonic() + GRACE
                while dispatch.under_way and time.monotonic() < over:
                    yield dispatch.hear()
                yield dispatch.rests()
            finally:
                dispatch.call_back()
        if dispatch.failure is not None:
            raise dispatch.failure

    def close(self) -> None:
        """End the executor, if it was made here."""
        self.door.close()

    def unit(self, assignment: Assignment) -> Unit:
        """What travels of an assignment."""
        roster, stands = self.roster, assignment.stands
        if stands.bucket not in self._plans:
            self._plans[stands.bucket] = planned(roster.buckets[stands.bucket])
        return Unit(
            task=self.digest,
            plan=self._plans[stands.bucket],
            lanes=dataclasses.replace(roster.lanes(stands.bucket), devices=1),
            seed=self.context.seed,
            epoch=stands.epoch,
            leaves=None if stands.training is None else jax.tree.leaves(stands.training),
            members=roster.members(stands.bucket, stands.index),
            until=min(assignment.until, stands.epoch + self.sizes.epochs(stands)),
            settings=settings(),
            kin=self.kin,
        )


class Dispatch:
    """Units on their way to an epoch each.

    Attributes:
        waiting: a heap of those to be sent.
        under_way: those that an executor has.
        failure: what ends the training.
    """

    def __init__(self, remote: Remote, going: Iterable[tuple[Snapshot, int]]) -> None:
        self.remote = remote
        self.waiting = [Assignment(number, piece, until, begin(piece)) for number, (piece, until) in enumerate(going)]
        self.under_way: dict[Future[Any], Assignment] = {}
        self.failure: Exception | None = None
        self._said: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        self._over = False  # whether nothing is sent any more
        self._careful = False  # whether one unit alone is sent, since a pool broke and none has come back since
        self._strikes = 0  # charged tries since a unit came back

    @property
    def busy(self) -> bool:
        """Whether there is something to wait for."""
        return self.failure is None and bool(self.waiting or self.under_way)

    def send(self) -> list[Epoch | Rest]:
        """Submit what the window allows; gives those that are given up, since nothing takes them."""
        remote = self.remote
        while self.waiting and self.may_send():
            assignment = heapq.heappop(self.waiting)
            blob = remote.blob if assignment.carries or not remote.door.traits.keeps else None
            assignment.before, assignment.executor = remote.finished, remote.door.open()
            try:
                future = remote.door.submit(work, remote.unit(assignment), blob)
            except Exception as error:
                return self.waiting_again(assignment, error, alone=not self.under_way)
            assignment.due = time.monotonic() + remote.sizes.patience(assignment.stands)
            self.under_way[future] = assignment
            future.add_done_callback(self._said.put)
        return []

    def may_send(self) -> bool:
        """Whether one more may be sent."""
        if not self.under_way:
            return True
        if self._careful or any(one.broken >= ALONE for one in [self.waiting[0], *self.under_way.values()]):
            return False
        return len(self.under_way) < 2 * len(self.remote.workers) + WINDOW

    def hear(self) -> list[Epoch | Rest]:
        """What has come back meanwhile."""
        messages: list[Epoch | Rest] = []
        for future in arrived(self._said):
            assignment = self.under_way.pop(future, None)
            if assignment is not None:  # a late answer of a unit that was given to another worker is dropped
                messages += self.heard(assignment, future)
        now = time.monotonic()
        for future, assignment in [pair for pair in self.under_way.items() if pair[1].due < now]:
            del self.under_way[future]
            future.cancel()
            self.remote.door.renew(assignment.executor)
            messages += self.waiting_again(assignment, TimeoutError("no answer in time"))
        return messages

    def heard(self, assignment: Assignment, future: "Future[Any]") -> list[Epoch | Rest]:
        """What became of a unit."""
        try:
            answer: Answer = future.result()
        except (Exception, CancelledError) as error:
            return self.waiting_again(assignment, error)
        if isinstance(answer, Trained):
            self.remote.finished += 1
            self.remote.workers.add(answer.worker)
            self._careful, self._strikes = False, 0
            return self.progress(assignment, answer)
        heapq.heappush(self.waiting, assignment)
        if isinstance(answer, Missing):
            assignment.carries = True
        elif isinstance(answer, Refused):
            what = f"worker {answer.worker} has {answer.kin}, this process {kin()}"
            self.failure = ValueError(f"{what}; give it the same, or accept that bits may differ with mixed (--mixed)")
        elif isinstance(answer, Failed):
            self.failure = unpacked(answer)
            self.failure.add_note(f"in training {of_trials(self.remote.roster, assignment.origin)}")
        else:
            what = f"the executor gave a {type(answer).__name__}"
            self.failure = TypeError(f"{what}; let submit(fn, *args) call fn(*args)")
        return []

    def progress(self, assignment: Assignment, answer: Trained) -> list[Epoch | Rest]:
        """A unit that came back: its epochs, and how its members rest if they are where they were to get."""
        context, origin = self.remote.context, assignment.origin
        structure = jax.tree.structure(self.remote.roster.abstract(origin.bucket))
        training = jax.tree.unflatten(structure, answer.leaves)
        stands = Snapshot(origin.bucket, origin.index, answer.epoch, training)
        rest = Rest(origin, stands, True) if stands.epoch >= assignment.until else None
        committed = stands if rest is None and context.request.every < float("inf") else None
        if rest is None:
            assignment.stands = stands
            assignment.failures = assignment.broken = assignment.tries = 0
            heapq.heappush(self.waiting, assignment)
        count = len(next(iter(answer.metrics.values()), np.zeros((0, 0)))[0]) if answer.metrics else 0
        messages: list[Epoch | Rest] = []
        for at in range(count):
            metrics, ends = {name: values[:, at] for name, values in answer.metrics.items()}, at == count - 1
            told = (committed, False, rest) if ends else (None, False, None)
            messages.append(Epoch(origin, stands.epoch - count + at, metrics, *told))
        return messages or [rest for rest in [rest] if rest is not None]

    def waiting_again(self, assignment: Assignment, error: BaseException, alone: bool = True) -> list[Epoch | Rest]:
        """A unit that an executor lost: it is sent again, unless it has no try left.

        Not `alone`, it is charged none: an executor that is full has room once another unit came back.
        """
        remote = self.remote
        if self._over:
            heapq.heappush(self.waiting, assignment)
            return []
        charged = alone and assignment.before == remote.finished
        if breaks(error):
            charged &= not self.under_way and assignment.executor is remote.door.executor
            assignment.broken += 1
            self._careful = True
            if not remote.door.renew(assignment.executor):
                LOG.warning(f"the executor broke: {text(error)}; give a function that makes one, and it is made anew")
                remote.context.stop.set()
        assignment.failures += 1
        assignment.tries += charged
        self._strikes += charged
        if assignment.tries < remote.retries and self._strikes < STRIKES * remote.retries:
            heapq.heappush(self.waiting, assignment)
            return []
        who = of_trials(remote.roster, assignment.origin)
        LOG.warning(f"{who}: given up after {assignment.tries} tries, none of which came back: {text(error)}")
        return [Rest(assignment.origin, assignment.stands, False, assignment.stands, lost=True)]

    def call_back(self) -> None:
        """Cancel what no worker has begun."""
        self._over = True
        for future in list(self.under_way):
            future.cancel()

    def rests(self) -> list[Epoch | Rest]:
        """Where those stand that have begun and are not where they were to get."""
        left = [*self.waiting, *self.under_way.values()]
        begun = [one for one in left if one.stands.epoch > begin(one.origin).epoch]
        return [Rest(one.origin, one.stands, False, one.stands) for one in begun]


def begin(piece: Snapshot) -> Snapshot:
    """Where members begin: as they stand, or before the first epoch where their state was given up."""
    return piece if piece.training is not None or piece.epoch == 0 else dataclasses.replace(piece, epoch=0)


def arrived(said: "queue.SimpleQueue[Future[Any]]") -> "list[Future[Any]]":
    """The futures that are done; waits a moment for the first."""
    try:
        first = said.get(timeout=POLL)
    except queue.Empty:
        return []
    return [first, *(said.get() for _ in range(said.qsize()))]


def of_trials(roster: Roster, snapshot: Snapshot) -> str:
    """The trials of members, in words."""
    numbers = [str(number) for number in sorted(set((snapshot.index // roster.config.each).tolist()))]
    return f"trial {numbers[0]}" if len(numbers) == 1 else f"trials {', '.join(numbers)}"


def text(error: BaseException) -> str:
    """An error in a line."""
    return (str(error).splitlines() or [""])[0] or type(error).__name__
