"""A session on the live page: what its models did, and what a person asks of them, at once or between two epochs."""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from popjax.live.board import DIVERGED, STOPPED, TRAINS, About, Board
from popjax.live.serving import Serving
from popjax.tuning.person import Change, Person, as_value_error

ONE = ("set", "back", "pause", "resume", "end")  # what may be asked of one model
SEVERAL = ("clone", "stop", *ONE)


class Shown(NamedTuple):
    """How the models of a session stand.

    Attributes:
        curves: metric -> (trials, epochs).
        epoch: the epochs that all have finished.
        stopped, alive: whether (trials,) each rests, and whether it trains on.
        points: the hyperparameters (trials,) as they are now.
        settable: those that may be set.
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
        port, host: where it is served (see `popjax.live.Live`).
        verbs: what may be asked.
        press: what takes a change that is asked for, and gives its outcome; if not given the session carries it out,
            at once or after the epoch in training.
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

    @property
    def address(self) -> str:
        """What to open in a browser."""
        return self.serving.address

    def begin(self, about: About, obey: Callable[[Change], None], alone: "threading.RLock") -> None:
        """Show a session.

        Args:
            obey: carries out a change; raises ValueError for one that cannot be.
            alone: is held meanwhile, as the session holds it while an epoch is trained.
        """
        self.obey, self.alone = obey, alone
        self.board.begin(about, self.press or self.ask)

    def serve(self) -> None:
        """Serve the page, and say where."""
        self.serving.start()

    def ask(self, change: Change) -> "Future[None]":
        """Carry out what a person asks: at once, or after the epoch that is in training."""
        answer = self.person.ask(change)
        self.hand.submit(self.catch_up)
        self.refresh()
        return answer

    def catch_up(self) -> None:
        """Carry out all that is asked for now."""
        with self.alone:  # before they are taken, else the next epoch may begin before one is carried out
            for request in self.person.taken():
                try:
                    self.obey(request.change)
                except Exception as error:
                    request.answer.set_exception(as_value_error(error))
                else:
                    request.answer.set_result(None)

    def go_on(self, first: bool) -> bool:
        """Before an epoch: carry out what is asked, and wait while it is paused; False if it is to end here.

        Args:
            first: whether nobody can have asked for this training to end, since it is about to begin.
        """
        if first:
            self.person.stop.clear()
        self.catch_up()
        self.person.wait()
        self.catch_up()
        return not self.person.stop.is_set()

    def show(self, shown: Shown, line: str = "", trial: int | None = None) -> None:
        """How the models stand, and what was just done."""
        status = "".join(np.select([shown.stopped, ~shown.alive], [STOPPED, DIVERGED], TRAINS).tolist())
        epochs = np.full(len(shown.stopped), shown.epoch)
        anew = bool(shown.epoch < self.board.epochs.max(initial=0))
        self.board.show(shown.curves, epochs, status, shown.points, shown.settable, anew)
        if line:
            self.board.tell(line, trial, "user")
        self.refresh()

    def refresh(self) -> None:
        """The figures at the top."""
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
            "ending": self.person.stop.is_set(),
        }

    def close(self) -> None:
        """Nothing comes any more."""
        self.person.end()
        self.board.finish()
        self.serving.close()
        self.hand.shutdown(wait=False)
