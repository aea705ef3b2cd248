"""Members on their way to an epoch: into batches, through the backend, and what comes of it."""

import dataclasses
from collections.abc import Callable
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np

from popjax.core.clock import Clock
from popjax.engine.backends.local import Context, execute, threads
from popjax.engine.batch import Batch, Epoch, Job, Rest
from popjax.engine.checkpoint import Checkpoint
from popjax.engine.curves import Curves
from popjax.engine.keeper import Keeper
from popjax.engine.member import Programs
from popjax.engine.memory import OutOfMemory
from popjax.engine.plan import members_a_batch
from popjax.engine.resting import Resting
from popjax.engine.roster import Roster
from popjax.engine.snapshot import Snapshot


class EpochResult(NamedTuple):
    """An epoch of some members, as columns (members,).

    Attributes:
        trial, fold, repeat: who they are.
        epoch: which epoch, from 0; a number.
        metrics: name -> values.
    """

    trial: np.ndarray
    fold: np.ndarray
    repeat: np.ndarray
    epoch: int
    metrics: dict[str, np.ndarray]


@dataclasses.dataclass(eq=False)
class Trainer:
    """What trains the members of a population.

    Attributes:
        roster: who they are.
        resting: where those stand that are not trained to the end.
        curves, keeper: what they report, and the states of the best that are.
        context: what the workers know.
        compiling: counts the time in which programs are compiled.
        saver: towards the commits, if there are any.
        tell: is told every EpochResult.
    """

    roster: Roster
    resting: Resting
    curves: Curves
    keeper: Keeper
    context: Context
    compiling: Clock
    saver: Checkpoint | None
    tell: Callable[[EpochResult], None] | None

    def train(self, going: list[tuple[Batch | Snapshot, int]]) -> None:
        """Train members to an epoch each; what is not reached rests, for another try."""
        batches = [(batch, until) for held, until in going for batch in self._batches(held)]
        waiting = {int(batch.index[0]): batch for batch, _ in batches}
        programs: dict[Any, Programs] = {}
        jobs = (self._job(batch, until, programs) for batch, until in batches)
        try:
            with closing(execute(jobs, self.context)) as heard:
                for messages in filter(None, heard):
                    self._take(messages, waiting)
        except OutOfMemory as error:
            self.roster.plan.lanes.narrow(error.needed)
        finally:
            self.resting.held += [batch.snapshot() for batch in waiting.values()]  # whom no worker took

    def _batches(self, held: Batch | Snapshot) -> list[Batch]:
        """Members in batches as memory allows now; who stands on the devices in such a one stays there."""
        lanes = self.roster.lanes(held.bucket)
        if isinstance(held, Batch) and held.lanes == lanes:
            return [held]
        pieces = held.snapshot().cut(members_a_batch(len(held.index), lanes, threads()))
        return [Batch(piece, lanes) for piece in pieces]

    def _job(self, batch: Batch, until: int, programs: dict[Any, Programs]) -> Job:
        """The batch with its members and its bucket's programs, which are looked up once."""
        key = batch.bucket, batch.lanes.count, batch.lanes.capacity
        if key not in programs:
            programs[key] = self.roster.programs(batch.bucket, batch.lanes, self.compiling)
        return Job(batch, self.roster.members(batch.bucket, batch.stacked()), programs[key], until)

    def _take(self, messages: list[Epoch | Rest], waiting: dict[int, Batch]) -> None:
        """What the workers said: into the curves, to who listens, and towards the disk."""
        for message in messages:
            rest = message.rest if isinstance(message, Epoch) else message
            if isinstance(message, Epoch):
                self.curves.add(message.batch.index, message.epoch, message.metrics)
                self._tell(message)
            if rest is not None:
                del waiting[int(message.batch.index[0])]
                self._rest(rest)
            if self.saver is not None:
                self.saver.take(message)
        if self.saver is not None:
            self.saver.save()

    def _tell(self, message: Epoch) -> None:
        if self.tell is not None and message.epoch >= message.batch.origin.epoch:
            shape = (len(self.roster), self.roster.config.folds, self.roster.config.repeats)
            row, fold, repeat = np.unravel_index(message.batch.index, shape)
            self.tell(EpochResult(row, fold, repeat, message.epoch, message.metrics))

    def _rest(self, message: Rest) -> None:
        """A batch whose training has ended."""
        batch = message.batch
        if not message.reached:
            assert message.snapshot is not None
            again = message.snapshot.epoch < batch.origin.epoch  # it was trained again, and has not caught up
            held = batch.origin if again else message.snapshot
            self.resting.held.append(held)
            self.curves.epochs.reshape(-1)[batch.index] = held.epoch
        elif batch.epoch == self.context.last:
            self.keeper.offer(batch, self.curves.members)
        else:
            self.resting.keep(batch)
