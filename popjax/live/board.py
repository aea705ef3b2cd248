"""What the live page shows: figures, curves and a log, which the trainer writes and the server reads."""

import math
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple

import numpy as np

from popjax.space.scales import Scale
from popjax.tuning.person import Change

DRAWN = 1000  # curves that a page shows at most, spread evenly over the trials
VALUES, PIECE = 6000, 2  # of curves in one message, which keeps it below 100 kB; what a piece of a curve takes more
LINES, SOME, LINE = 200, 20, 300  # that are kept of the log, and letters of each
WAITS, TRAINS, RESTS, STOPPED, DIVERGED, DONE = "wtrsde"  # how a trial stands


class About(NamedTuple):
    """What a page is of, which never changes.

    Attributes:
        title: in words.
        metrics: their names; the one that ranks comes first.
        mode: "min" or "max".
        scales: the hyperparameters.
        epochs: the last epoch; None where there is none.
        verbs: what a person may do: "set", "clone", "stop", "lift", "back", "go", "pause", "end", "save".
        one: whether this is one model, steered by hand.
    """

    title: str
    metrics: tuple[str, ...]
    mode: str
    scales: Mapping[str, Scale]
    epochs: int | None
    verbs: tuple[str, ...]
    one: bool = False


class Cursor:
    """How much of the board one tab has been told."""

    def __init__(self, metric: str) -> None:
        self.metric = metric
        self.generation = -1
        self.epochs = np.zeros(0, np.int64)
        self.trials = 0
        self.lines = 0
        self.figures: dict[str, Any] = {}
        self.status = ""


class Board:
    """Curves, figures and a log, written by one thread and read by others.

    Attributes:
        about: what never changes; None before the run has begun.
        ask: asks for a change; its outcome.
        over: what became of the run, once it is over.
        report: the page that stays, once there is one.

    >>> board = Board()
    >>> board.begin(About("a search", ("loss",), "min", {}, 2, ()), lambda change: Future())
    >>> board.show({"loss": np.array([[0.5, np.nan], [0.25, 0.125]])}, np.array([1, 2]), "te", {}, ("rate",))
    >>> cursor = Cursor("loss")
    >>> board.message(cursor)["curves"]
    [[0, 0, [0.5]], [1, 0, [0.25, 0.125]]]
    >>> board.message(cursor) is None
    True
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.about: About | None = None
        self.ask: Callable[[Change], Future[Any]] = lambda change: Future()
        self.generation = 0
        self.curves: Mapping[str, np.ndarray] = {}
        self.epochs = np.zeros(0, np.int64)
        self.status = ""
        self.points: Mapping[str, np.ndarray] = {}
        self.settable: tuple[str, ...] = ()
        self.figures: dict[str, Any] = {}
        self.lines: list[tuple[int, dict[str, Any]]] = []  # with their numbers
        self.told = 0  # lines so far, of which the last are kept, and of a person's the most
        self.over: str | None = None
        self.report: str | None = None

    def begin(self, about: About, ask: Callable[[Change], "Future[Any]"]) -> None:
        """The run is about to begin."""
        self.ask = ask
        self.about = about

    def show(
        self,
        curves: Mapping[str, np.ndarray],
        epochs: np.ndarray,
        status: str,
        points: Mapping[str, np.ndarray],
        settable: tuple[str, ...],
        anew: bool = False,
    ) -> None:
        """How all trials stand: metric -> (trials, epochs), how many of these (trials,) are known, a letter each.

        Args:
            points: the hyperparameters as they are now.
            settable: those that may be set.
            anew: whether epochs that were shown before may be others now.
        """
        with self._lock:
            self.curves, self.epochs, self.status = dict(curves), epochs.copy(), status
            self.points, self.settable = points, settable
            self.generation += anew

    def add(self, trial: np.ndarray, epoch: int, metrics: Mapping[str, np.ndarray]) -> None:
        """One epoch more, from 0, of these trials (members,)."""
        with self._lock:
            for name, values in metrics.items():
                self.curves[name][trial, epoch] = values
            self.epochs[trial] = epoch + 1

    def tell(self, text: str, trial: int | None = None, by: str = "") -> None:
        """Add a line to the log."""
        line = {"text": text[:LINE], "by": by} | ({} if trial is None else {"trial": trial})
        with self._lock:
            if len(self.lines) == LINES:
                del self.lines[next((at for at, (_, old) in enumerate(self.lines) if old["by"] != "user"), 0)]
            self.lines.append((self.told, line))
            self.told += 1

    def finish(self, report: str | None = None) -> None:
        """The run is over."""
        self.report = report
        self.over = "the run is over"

    def fail(self) -> None:
        """Nothing more is shown: the run failed, or what shows it, if it has not ended already."""
        self.over = self.over or "nothing more comes; the run's terminal says why"

    @property
    def drawn(self) -> np.ndarray:
        """The trials whose curves a page shows."""
        count = len(self.epochs)
        return np.arange(count) if count <= DRAWN else np.unique(np.linspace(0, count - 1, DRAWN).astype(int))

    def message(self, cursor: Cursor) -> dict[str, Any] | None:
        """What a tab lacks, or as much of it as one message holds; None if it lacks nothing."""
        found: dict[str, Any] = {}
        with self._lock:
            if cursor.generation != self.generation:
                cursor.generation, cursor.epochs = self.generation, np.zeros(0, np.int64)
                found["anew"] = True
            drawn, count = self.drawn, len(self.epochs)
            if cursor.trials != count or found:
                several = len(drawn) < count
                found |= {"trials": count, "drawn": drawn.tolist() if several else None}
                found["anew"] = several or "anew" in found
                same = np.zeros(0, np.int64) if several or count < len(cursor.epochs) else cursor.epochs
                cursor.trials, cursor.epochs = count, np.concatenate([same, np.zeros(len(drawn) - len(same), np.int64)])
            pieces = [
                (int(trial), first, self.curves[cursor.metric][trial, first:end].copy())
                for trial, first, end in lacking(cursor.epochs, self.epochs[drawn], drawn)
            ]
            news = [pair for pair in self.lines if pair[0] >= cursor.lines][:SOME]
            figures, status = self.figures, "".join(self.status[trial] for trial in drawn.tolist())
            cursor.lines = news[-1][0] + 1 if news else self.told
        if pieces:
            found["curves"] = [[trial, first, five_digits(values)] for trial, first, values in pieces]
        if news:
            found["log"] = [line for _, line in news]
        if status != cursor.status:
            found["status"] = cursor.status = status
        if figures != cursor.figures:
            found["figures"] = cursor.figures = figures
        return found or None

    def trial(self, number: int, metric: str | None = None) -> dict[str, Any]:
        """One trial: how it stands, its hyperparameters, and its curve of a metric if one is named.

        Raises ValueError for one that there is not.
        """
        with self._lock:
            if not 0 <= number < len(self.epochs):
                raise ValueError(f"there is no trial {number}; choose 0..{len(self.epochs) - 1}")
            hparams = {name: column[[number]].tolist()[0] for name, column in self.points.items()}
            known = {"trial": number, "epoch": int(self.epochs[number]), "status": self.status[number]}
            known |= {"values": hparams, "settable": list(self.settable)}
            values = self.curves.get(metric or "")
            curve = None if values is None else values[number, : self.epochs[number]].copy()
        return known if curve is None else known | {"curve": five_digits(curve)}


def lacking(sent: np.ndarray, now: np.ndarray, drawn: np.ndarray) -> list[tuple[int, int, int]]:
    """What of the curves a message takes: (trial, first, end); `sent` is then what a tab has been told."""
    found, room = [], VALUES
    for place in np.flatnonzero(sent < now).tolist():
        first, end = int(sent[place]), int(min(now[place], sent[place] + room))
        found.append((int(drawn[place]), first, end))
        sent[place] = end
        room -= end - first + PIECE
        if room <= 0:
            break
    return found


def five_digits(curve: np.ndarray) -> list[float | None]:
    """A curve in five digits; None where it is not finite."""
    return [float(f"{value:.5g}") if math.isfinite(value) else None for value in curve.tolist()]
