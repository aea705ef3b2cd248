"""Members on their way to an epoch: through the backend, and what comes of it."""

import dataclasses
from collections.abc import Callable
from contextlib import closing
from typing import NamedTuple

import numpy as np

from popjax.engine.backends.base import Backend, Held
from popjax.engine.batch import Epoch, Rest
from popjax.engine.checkpoint import Checkpoint
from popjax.engine.curves import Curves
from popjax.engine.keeper import Keeper
from popjax.engine.memory import OutOfMemory
from popjax.engine.resting import Resting
from popjax.engine.roster import Roster


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
        backend: where they are trained.
        last: the last epoch of the run; None if there is none.
        saver: towards the commits, if there are any.
        tell: is told every EpochResult.
        give_up: is told the members whose workers died too often.
    """

    roster: Roster
    resting: Resting
    curves: Curves
    keeper: Keeper
    backend: Backend
    last: int | None
    saver: Checkpoint | None
    tell: Callable[[EpochResult], None] | None
    give_up: Callable[[np.ndarray], None]

    def train(self, going: list[tuple[Held, int]]) -> None:
        """Train members to an epoch each; what is not reached rests, for another try."""
        pieces = [(piece, until) for held, until in going for piece in self.backend.pieces(held)]
        waiting = {int(piece.index[0]): piece for piece, _ in pieces}
        try:
            with closing(self.backend.execute(pieces)) as heard:
                for messages in filter(None, heard):
                    self._take(messages, waiting)
        except OutOfMemory as error:
            self.roster.plan.lanes.narrow(error.needed)
        finally:
            self.resting.held += [piece.snapshot() for piece in waiting.values()]  # whom no worker took

    def _take(self, messages: list[Epoch | Rest], waiting: dict[int, Held]) -> None:
        """What the workers said: into the curves, to who listens, and towards the disk."""
        for message in messages:
            rest = message.rest if isinstance(message, Epoch) else message
            if isinstance(message, Epoch):
                self.curves.add(message.origin.index, message.epoch, message.metrics)
                self._tell(message)
            if rest is not None:
                del waiting[int(message.origin.index[0])]
                self._rest(rest)
            if self.saver is not None:
                self.saver.take(message)
        if self.saver is not None:
            self.saver.save()

    def _tell(self, message: Epoch) -> None:
        if self.tell is not None and message.epoch >= message.origin.epoch:
            shape = (len(self.roster), self.roster.config.folds, self.roster.config.repeats)
            row, fold, repeat = np.unravel_index(message.origin.index, shape)
            self.tell(EpochResult(row, fold, repeat, message.epoch, message.metrics))

    def _rest(self, message: Rest) -> None:
        """Members whose training has ended."""
        if not message.reached:
            assert message.snapshot is not None
            again = message.snapshot.epoch < message.origin.epoch  # trained again, and not caught up yet
            held = message.origin if again else message.snapshot
            self.resting.held.append(held)
            self.curves.epochs.reshape(-1)[held.index] = held.epoch
            if message.lost:
                self.give_up(held.index)
        elif message.held.epoch == self.last:
            self.keeper.offer(message.held, self.curves.members)
        else:
            self.resting.keep(message.held)
