"""A search as a tracker records it: a few series while it trains, and all at its end. No JAX here.

The tracker's own package is called in a thread of its own, so that neither its speed nor its errors affect the search.
"""

import contextlib
import queue
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from popjax.core.contracts import check_contract
from popjax.core.faults import fault
from popjax.core.text import tell
from popjax.metric import Metric
from popjax.scheduler import Decision, Trials
from popjax.space.space import Space
from popjax.store.results import Results
from popjax.tuning.callbacks.callback import Run
from popjax.tuning.callbacks.progress import Progress

EVERY = 1.0  # seconds between two points written while it trains
CONFIG = ("trials", "epochs", "folds", "repeats")
PATIENCE = 60.0  # seconds that a tracker may take to finish, once the search is over


class Trial(NamedTuple):
    """One of the best trials: its number, hyperparameters and curves, metric -> (epochs,)."""

    number: int
    hparams: dict[str, Any]
    curves: dict[str, np.ndarray]


class Whole(NamedTuple):
    """A finished search.

    Attributes:
        summary: figures and the winner's hyperparameters, by name.
        epochs: series -> (epochs,), each value over all trials that trained the epoch.
        best: the best trials, best first: 20, or as many as have curves if these are more.
        curves: number of them of which the curves are written.
        files: the table of trials, and the report if there is one.
    """

    summary: dict[str, Any]
    epochs: dict[str, np.ndarray]
    best: list[Trial]
    curves: int
    files: list[Path]

    def series(self) -> dict[str, np.ndarray]:
        """All series, name -> (epochs,)."""
        rows = {f"epoch/{name}": values for name, values in self.epochs.items()}
        for trial in self.best[: self.curves]:
            rows |= {f"trial-{trial.number}/{name}": curve for name, curve in trial.curves.items()}
        return rows


class Writer(Protocol):
    """The interface that each tracker implements; all methods are called in one thread, in this order."""

    def begin(self, name: str, config: Mapping[str, Any]) -> None:
        """Open a run."""

    def now(self, values: Mapping[str, float], step: int) -> None:
        """Write the current figures; `step` is the number of epochs trained so far, summed over all members."""

    def end(self, whole: Whole) -> None:
        """Write the finished search."""

    def close(self) -> None:
        """Close the run; called last."""


class Tracker(Progress):
    """The callback that feeds a writer.

    Args:
        writer: that of the tracker.
        top: number of the best trials to write curves of.
        name: the name in error messages; the name of the writer's class if empty.

    Raises ValueError for a writer that lacks a method, or misspells one.
    """

    def __init__(self, writer: Writer, top: int = 0, name: str = "") -> None:
        check_writer(writer)
        self.writer = writer
        self.name = name or type(writer).__name__
        self.top = top
        self._forget()

    def _forget(self) -> None:
        """Be as before the first search: a tracker may serve several, one after the other."""
        self._told: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, args=(self._told,), daemon=True)
        self._results: Results | None = None
        self._open = True
        self._due = 0.0
        self._trained = self._left = 0

    def begin(self, run: Run) -> None:
        import pyarrow  # noqa: F401  before the thread does: scikit-learn elsewhere would see half of it

        super().begin(run)
        if self._thread.ident is not None:
            self._forget()
        name = "search" if run.out is None else run.out.name
        config = asked_of_search(run.metric, run._asdict(), run.space)
        self._thread.start()
        self._told.put(lambda: self.writer.begin(name, config))

    def decision(self, decision: Decision, trials: Trials) -> None:
        self._left = len(decision.until)
        if self._trained == 0:  # a resumed search goes on from where it was
            self._trained = int(trials.epochs.sum()) * self.run.folds * self.run.repeats
        super().decision(decision, trials)

    def epoch(self, result: Any) -> None:
        self._trained += len(result.trial)
        super().epoch(result)

    def update(self) -> None:
        now = time.monotonic()
        if now >= self._due:
            self._due = now + EVERY
            values, step = self.standing(), self._trained
            self._told.put(lambda: self.writer.now(values, step))

    def standing(self) -> dict[str, float]:
        """The best value and the quartiles of all trials now, and the numbers of those begun, left and diverged."""
        means, lost = self.latest.mean((1, 2)), self.heard & ~np.isfinite(self.latest)
        counts = {"begun": float(self.heard.any((1, 2)).sum()), "left": float(self._left)}
        counts["diverged"] = float(lost.any((1, 2)).sum())
        return counts | quartiles(means[np.isfinite(means)], self.run.metric.mode)

    def end(self, results: Results) -> None:
        self._results = results

    def close(self) -> None:
        if not self._thread.is_alive():
            return
        self._told.put(lambda: self._finish(self._results, self.run.out))
        self._told.put(None)
        self._thread.join(PATIENCE)
        if self._thread.is_alive():
            tell(f"popjax: {self.name} is not done after {PATIENCE:.0f} s; it is left behind")

    def export(self, results: Results, directory: Path) -> None:
        """Write a finished run; raises whatever the tracker raises."""
        self.writer.begin(directory.resolve().name, asked_of_search(results.metric, results.run, results.space))
        self._finish(results, directory)

    def _finish(self, results: Results | None, directory: Path | None) -> None:
        """Write the results, if there are any, and close the writer."""
        try:
            if results is not None:
                report = None if directory is None else directory / "report.html"
                with tempfile.TemporaryDirectory() as place:
                    self.writer.end(whole(results, self.top, Path(place), report))
        finally:
            self._close_writer()

    def _close_writer(self) -> None:
        """Close the writer, once."""
        if self._open:
            self._open = False
            self.writer.close()

    def _serve(self, calls: "queue.SimpleQueue[Callable[[], None] | None]") -> None:
        """Make the calls in turn; after one that failed the writer is closed, and the others are left out."""
        broken = False
        while (call := calls.get()) is not None:
            try:
                if not broken:
                    call()
            except BaseException as error:  # also SystemExit: the queue is to be emptied
                broken = True
                tell(f"popjax: {fault(f'the tracker {self.name}', error)}; the run goes on")
                with contextlib.suppress(BaseException):
                    self._close_writer()


def check_writer(writer: Any) -> None:
    """Raise ValueError for what is no writer: a class itself, or an object without a method or with a misspelt one."""
    if isinstance(writer, type):
        raise ValueError(f"the tracker's writer is {writer.__name__} itself; call it")
    what = f"the tracker {type(writer).__name__}"
    for name in ("begin", "now", "end", "close"):
        if not callable(getattr(writer, name, None)):
            raise ValueError(f"{what} has no {name}; write it, as popjax.tracking.tracker.Writer says")
    check_contract(what, type(writer), Writer)


def asked_of_search(metric: Metric, known: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """The settings of a search, name -> value: the metric, the numbers of CONFIG and the scales."""
    ranks = {"metric": str(metric), "mode": metric.mode}
    asked = {name: known[name] for name in CONFIG if name in known}
    return ranks | asked | {f"space/{name}": str(scale) for name, scale in space.items()}


def by_epoch(series: Mapping[str, np.ndarray]) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield each epoch, from 1, with the finite values of series (epochs,) by name."""
    for epoch in range(max(map(len, series.values()), default=0)):
        yield epoch + 1, {name: float(values[epoch]) for name, values in series.items() if np.isfinite(values[epoch])}


def quartiles(values: np.ndarray, mode: str) -> dict[str, float]:
    """The best of values (n,) and the quartiles, by name; empty for no values."""
    if len(values) == 0:
        return {}
    quartiles = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
    best = values.max() if mode == "max" else values.min()
    return {"best": float(best)} | dict(zip(("lower_quartile", "median", "upper_quartile"), quartiles, strict=True))


def whole(results: Results, top: int, place: Path, report: Path | None) -> Whole:
    """The finished search, with its table of trials written as a file into the directory `place`."""
    from pyarrow import csv

    values = results.curves[results.metric]
    rows = [quartiles(column[np.isfinite(column)], results.metric.mode) for column in values.T]
    names = rows[0].keys() if rows else ()
    epochs = {name: np.array([row.get(name, np.nan) for row in rows]) for name in names}
    epochs |= {"trained": np.isfinite(values).sum(0), "diverged": (~np.isfinite(values))[results.diverged].sum(0)}
    best = [
        Trial(trial, results.hparams(trial), {name: curve[trial] for name, curve in results.curves.items()})
        for trial in results.best_trials(max(top, 20))
    ]
    figures = {name: value for name, value in results.summary.items() if isinstance(value, int | float | str)}
    if results.best is not None:
        figures |= {"winner": results.best.trial, results.metric: results.best.value}
        figures |= {f"winner/{name}": value for name, value in results.best.hparams.items()}
    figures |= results.summary.get("test") or {}
    table = place / "trials.csv"
    csv.write_csv(results.trials, table)
    files = [table, *([report] if report is not None and report.exists() else [])]
    return Whole(figures, epochs, best, top, files)
