"""The live page of a session: shows its models, and carries out a person's changes at once or between two epochs."""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from popjax.core.stop import Flag
from popjax.live.board import DIVERGED, STOPPED, TRAINS, About, Board
from popjax.live.serving import Serving
from popjax.tuning.person import Change, Person, as_value_error

ONE = ("set", "back", "pause", "resume", "end")  # verbs for one model
SEVERAL = ("clone", "stop", *ONE)


class Shown(NamedTuple):
    """Snapshot of a session's trials for its page.

    Attributes:
        curves: metric -> (trials, epochs).
        epoch: number of epochs that all members have finished.
        stopped, alive: bool (trials,): stopped by a person; neither stopped nor diverged.
        points: name -> current hyperparameters (trials,).
        settable: names of those that may be set.
    """

    curves: Mapping[str, np.ndarray]
    epoch: int
    stopped: np.ndarray
    alive: np.ndarray
    points: Mapping[str, np.ndarray]
    settable: tuple[str, ...]


class SessionPage:
    """The live page of a session.

    Args:
        port, host: where to serve (see `popjax.live.Live`).
        verbs: what may be requested.
        press: takes a requested change and returns the Future of its outcome; if None, the session carries it out, at
            once or after the epoch in training.
    """

    def __init__(
        self,
        port: int,
        host: str,
        verbs: tuple[str, ...],
        press: "Callable[[Change], Future[Any]] | None" = None,
    ) -> None:
        self.person = Person()
        self.board = Board()
        self.serving = Serving(self.board, port, host)
        self.verbs = verbs
        self.press = press
        self.hand = ThreadPoolExecutor(1, "popjax-page")
        self.training = False

    @property
    def address(self) -> str:
        """The URL to open in a browser."""
        return self.serving.address

    def begin(self, about: About, obey: Callable[[Change], None], alone: "threading.RLock") -> None:
        """Show a session.

        Args:
            obey: carries out a change; raises ValueError for an impossible one.
            alone: lock held meanwhile; the session holds it while an epoch is trained.
        """
        self.obey, self.alone = obey, alone
        self.board.begin(about, self.press or self.ask)

    def serve(self) -> None:
        """Start serving the page, and print its address."""
        self.serving.start()

    def ask(self, change: Change) -> "Future[None]":
        """Request a change, made at once or after the epoch in training; returns the Future of its outcome."""
        answer = self.person.ask(change)
        self.hand.submit(self.catch_up)
        self.refresh()
        return answer

    def catch_up(self) -> None:
        """Carry out all pending requests."""
        with self.alone:  # locked before requests are taken, else the next epoch may begin before one is carried out
            for request in self.person.taken():
                try:
                    self.obey(request.change)
                except Exception as error:
                    request.answer.set_exception(as_value_error(error))
                else:
                    request.answer.set_result(None)

    def go_on(self, first: bool, stop: Flag) -> bool:
        """Carry out requests and wait while paused, before an epoch; False if training is to end.

        Args:
            first: True if training is about to begin, so that an earlier request to end it does not count.
            stop: the session's own flag, which an interrupt sets; it ends a pause, too.
        """
        if first:
            self.training = True
            self.person.stop.clear()
        self.catch_up()
        self.person.wait(stop)
        self.catch_up()
        return not (self.person.stop.is_set() or stop.is_set())

    def rest(self) -> None:
        """Training has returned, so there is nothing to end."""
        self.training = False
        self.refresh()

    def show(self, shown: Shown, line: str = "", trial: int | None = None) -> None:
        """Show a snapshot, and log `line`, the last change."""
        status = "".join(np.select([shown.stopped, ~shown.alive], [STOPPED, DIVERGED], TRAINS).tolist())
        epochs = np.full(len(shown.stopped), shown.epoch)
        anew = bool(shown.epoch < self.board.epochs.max(initial=0))
        self.board.show(shown.curves, epochs, status, shown.points, shown.settable, anew)
        if line:
            self.board.tell(line, trial, "user")
        self.refresh()

    def refresh(self) -> None:
        """Update the figures at the top of the page."""
        board, about = self.board, self.board.about
        assert about is not None
        known = board.curves[about.metrics[0]][:, : int(board.epochs.max(initial=0))]
        best = None
        if np.isfinite(known).any():
            at = int(np.nanargmin(known) if about.mode == "min" else np.nanargmax(known))
            trial, epoch = divmod(at, known.shape[1])
            best = {"trial": trial, "value": float(f"{known[trial, epoch]:.5g}"), "epoch": epoch + 1}
        names = {TRAINS: "train", STOPPED: "stopped", DIVERGED: "diverged"}
        board.figures = {
            "best": best,
            "epoch": int(board.epochs.max(initial=0)),
            "counts": {name: board.status.count(letter) for letter, name in names.items()},
            "paused": self.person.paused,
            "ending": self.training and self.person.stop.is_set(),
        }

    def close(self) -> None:
        """End the page, and stop serving."""
        self.person.end()
        self.board.finish()
        self.serving.close()
        self.hand.shutdown(wait=False)
