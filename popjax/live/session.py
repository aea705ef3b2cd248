"""A session on the live page: what its models did, and what a person asks of them, at once or between two epochs."""

import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from popjax.core.text import plural
from popjax.live.board import DIVERGED, STOPPED, TRAINS, About, Board
from popjax.live.serving import Serving
from popjax.tuning.person import Change, Person, refusal

if TYPE_CHECKING:
    from popjax.tuning.session import Session

ONE = ("set", "back", "pause", "resume", "end")  # what may be asked of one model
SEVERAL = ("set", "clone", "stop", "back", "pause", "resume", "end")


class SessionPage:
    """The live page of a session.

    Args:
        session: what is shown; the page does not keep it alive.
        port, host: where it is served (see `popjax.live.Live`).
        verbs: what may be asked.
        ask: what carries it out; the page itself, if not given.
    """

    def __init__(
        self,
        session: "Session",
        port: int = 0,
        host: str = "127.0.0.1",
        verbs: tuple[str, ...] | None = None,
        ask: "Callable[[Change], Future[Any]] | None" = None,
    ) -> None:
        self.session = weakref.ref(session)
        self.person = Person()
        self.board = Board()
        self.serving = Serving(self.board, port, host)
        self.hand = ThreadPoolExecutor(1, "popjax-page")
        one = session.single
        title = "a model in training" if one else f"{plural(session.members, 'model')} in training"
        metrics = (
            session.task.metric,
            *(n for n in session.population.table.curves.metrics if n != session.task.metric),
        )
        verbs = verbs or (ONE if one else SEVERAL)
        about = About(title, metrics, session.task.mode, session.space, None, verbs, one)
        self.board.begin(about, ask or self.ask)
        self.show(session)

    def ask(self, change: Change) -> "Future[None]":
        """Carry out what a person asks: at once, or after the epoch that is in training."""
        answer = self.person.ask(change)
        self.hand.submit(self.carry_out)
        self.refresh()
        return answer

    def carry_out(self) -> None:
        """All that is asked for now."""
        session = self.session()
        if session is None:
            self.person.end()
            return
        with session.alone:
            for request in self.person.taken():
                try:
                    obey(session, request.change)
                except Exception as error:
                    request.answer.set_exception(refusal(error))
                else:
                    request.answer.set_result(None)

    def go_on(self, first: bool) -> bool:
        """Before an epoch: carry out what is asked, and wait while it is paused; False if it is to end here.

        Args:
            first: whether nobody can have asked for this training to end, since it is about to begin.
        """
        if first:
            self.person.stop.clear()
        self.carry_out()
        self.person.wait()
        self.carry_out()
        return not self.person.stop.is_set()

    def show(self, session: "Session", line: str = "", member: int | None = None) -> None:
        """How the session stands, and what was just done."""
        population = session.population
        curves = {name: values.astype(float) for name, values in population.table.curves.means().items()}
        epochs = np.full(session.members, session.epoch)
        stopped, alive = population.table.stopped, np.atleast_1d(session.alive)
        status = "".join(np.select([stopped, ~alive], [STOPPED, DIVERGED], TRAINS).tolist())
        anew = bool(session.epoch < self.board.epochs.max(initial=0))
        self.board.show(curves, epochs, status, population.points(), session.dynamic, anew)
        if line:
            self.board.tell(line, member, "user")
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


def obey(session: "Session", change: Change) -> None:
    """Carry out one change; raises ValueError where it cannot be."""
    if change.verb == "back":
        session.back(1 if change.epochs is None else change.epochs)
    elif change.verb == "set":
        session.set(*(() if session.single else (change.trial,)), **change.values)
    elif change.verb == "clone":
        session.clone(int(change.source or 0), change.trial)
    else:
        session.stop(change.trial)


def session_page(session: "Session", port: int, host: str) -> SessionPage:
    """The page of a session, served until the session is gone."""
    page = SessionPage(session, port, host)
    weakref.finalize(session, page.close).atexit = False
    page.serving.start()
    return page
