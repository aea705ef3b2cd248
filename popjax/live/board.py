"""The contents of the live page: figures, curves and a log, written by the trainer and read by the server."""

import math
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple

import numpy as np

from popjax.space.scales import Scale
from popjax.tuning.person import Change

DRAWN = 1000  # largest number of curves on a page, spread evenly over the trials
VALUES, PIECE = 6000, 2  # curve values per message, so that it stays below 100 kB; overhead of a piece of a curve
LINES, SOME, LINE = 200, 20, 300  # log lines that are kept, log lines per message, characters per line
NEW, TRAINS, WAITS, STOPPED, DIVERGED, DONE = "wtrsde"  # status letters of a trial


class About(NamedTuple):
    """The constant description of a page.

    Attributes:
        title: the heading.
        metrics: metric names, the ranking one first.
        mode: "min" or "max", of the ranking metric.
        scales: name -> scale of each hyperparameter.
        epochs: the last epoch; None if there is none.
        verbs: what a person may do: "set", "clone", "stop", "lift", "back", "go", "pause", "resume", "end", "save".
        one: True for a single model, steered by hand.
    """

    title: str
    metrics: tuple[str, ...]
    mode: str
    scales: Mapping[str, Scale]
    epochs: int | None
    verbs: tuple[str, ...]
    one: bool = False


class Cursor:
    """What one tab has received of the board."""

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
        about: the constant description; None before the run begins.
        ask: requests a change; returns the Future of its outcome.
        over: a message in words, once the run is over; None before.
        report: HTML of the report; None before there is one.

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
        self.infeasible: frozenset[int] = frozenset()  # the trials beyond a limit of the rule, as last ranked
        self.figures: dict[str, Any] = {}
        self.lines: list[tuple[int, dict[str, Any]]] = []  # (number, line)
        self.told = 0  # number of lines so far; of old ones, those of a person are dropped last
        self.over: str | None = None
        self.report: str | None = None

    def begin(self, about: About, ask: Callable[[Change], "Future[Any]"]) -> None:
        """Set the description and the function that requests changes, before the run begins."""
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
        """Replace what is shown of all trials.

        Args:
            curves: metric -> (trials, epochs).
            epochs: number of known epochs (trials,).
            status: a status letter per trial.
            points: name -> current hyperparameters (trials,).
            settable: names of those that may be set.
            anew: True if epochs that were shown before may have changed.
        """
        with self._lock:
            self.curves, self.epochs, self.status = dict(curves), epochs.copy(), status
            self.points, self.settable = points, settable
            self.generation += anew

    def add(self, trial: np.ndarray, epoch: int, metrics: Mapping[str, np.ndarray]) -> None:
        """Add an epoch, from 0, of these trials (n,), with metric -> (n,)."""
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
        """End the page, with the report if there is one."""
        self.report = report
        self.over = "the run is over"

    def fail(self) -> None:
        """End the page because the run or its display failed; no effect if the run is over."""
        self.over = self.over or "no more updates; the run's terminal says why"

    @property
    def drawn(self) -> np.ndarray:
        """Numbers of the trials that a page shows curves of."""
        count = len(self.epochs)
        return np.arange(count) if count <= DRAWN else np.unique(np.linspace(0, count - 1, DRAWN).astype(int))

    def message(self, cursor: Cursor) -> dict[str, Any] | None:
        """The next message to a tab: what it has not received, as far as one message holds; None if up to date."""
        message: dict[str, Any] = {}
        with self._lock:
            if cursor.generation != self.generation:
                cursor.generation, cursor.epochs = self.generation, np.zeros(0, np.int64)
                message["anew"] = True
            drawn, count = self.drawn, len(self.epochs)
            if cursor.trials != count or message:
                several = len(drawn) < count
                message |= {"trials": count, "drawn": drawn.tolist() if several else None}
                message["anew"] = several or "anew" in message
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
            message["curves"] = [[trial, first, five_digits(values)] for trial, first, values in pieces]
        if news:
            message["log"] = [line | {"number": number} for number, line in news]
        if status != cursor.status:
            message["status"] = cursor.status = status
        if figures != cursor.figures:
            message["figures"] = cursor.figures = figures
        return message or None

    def trial(self, number: int, metric: str | None = None) -> dict[str, Any]:
        """One trial: status, epoch, hyperparameters and, if `metric` is known, its curve.

        Raises ValueError for an unknown trial.
        """
        with self._lock:
            if not 0 <= number < len(self.epochs):
                raise ValueError(f"there is no trial {number}; choose 0..{len(self.epochs) - 1}")
            hparams = {name: column[[number]].tolist()[0] for name, column in self.points.items()}
            known = {"trial": number, "epoch": int(self.epochs[number]), "status": self.status[number]}
            known |= {"values": hparams, "settable": list(self.settable), "feasible": number not in self.infeasible}
            values = self.curves.get(metric or "")
            curve = None if values is None else values[number, : self.epochs[number]].copy()
        return known if curve is None else known | {"curve": five_digits(curve)}


def lacking(sent: np.ndarray, now: np.ndarray, drawn: np.ndarray) -> list[tuple[int, int, int]]:
    """Pieces of curves (trial, first, end) for one message; advances `sent` (drawn,) in place."""
    pieces, room = [], VALUES
    for place in np.flatnonzero(sent < now).tolist():
        first, end = int(sent[place]), int(min(now[place], sent[place] + room))
        pieces.append((int(drawn[place]), first, end))
        sent[place] = end
        room -= end - first + PIECE
        if room <= 0:
            break
    return pieces


def five_digits(curve: np.ndarray) -> list[float | None]:
    """A curve rounded to five significant digits; None where it is not finite."""
    return [float(f"{value:.5g}") if math.isfinite(value) else None for value in curve.tolist()]
