"""The live page of a search: a callback that shows it and receives a person's changes."""

import time
from collections.abc import Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import numpy as np

from popjax.core.text import cell, plural
from popjax.live.board import DIVERGED, DONE, NEW, STOPPED, TRAINS, WAITS, About, Board
from popjax.live.serving import Serving
from popjax.scheduler import Decision, Status, Trials, added
from popjax.store.decisions import changes_of
from popjax.store.history import alter
from popjax.store.results import Results
from popjax.tuning.callbacks.callback import Run
from popjax.tuning.callbacks.progress import Progress
from popjax.tuning.person import Change, Person, Steered

if TYPE_CHECKING:
    from popjax.engine.trainer import EpochResult

VERBS = ("set", "clone", "stop", "lift", "pause", "resume", "end")
REFRESH = 0.2  # seconds between two updates of the figures
NAMED = 12  # largest number of trials that a line of the log names


class Live(Progress, Steered):
    """The live page of a search, served while it runs at the address that is printed when training begins.

    Args:
        port: port to serve at; any free one if 0.
        host: address of this machine to listen at; any but 127.0.0.1 also admits other machines that use the printed
            address.

    Raises ValueError if the port is taken, or starlette or uvicorn is not installed.

    >>> import popjax as pj
    >>> task = pj.objective(lambda key, hparams: {"loss": hparams["x"] ** 2})
    >>> results = pj.search(task, {"x": pj.uniform(0, 1)}, trials=8, live=pj.live.Live(port=0))
    """

    def __init__(self, port: int = 0, host: str = "127.0.0.1") -> None:
        self.person = Person()
        self.board = Board()
        self.serving = Serving(self.board, port, host)

    def begin(self, run: Run) -> None:
        super().begin(run)
        metrics = (run.metric, *(name for name in run.metrics if name != run.metric))
        title = f"{'search' if run.out is None else run.out.name}: {plural(run.trials, 'trial')}"
        self.due = self.since = 0.0
        self.words = ""
        self.rungs = False  # True if a scheduler prunes, so that trials that wait are pruned
        self.members = {name: np.zeros((0, run.folds, run.repeats)) for name in metrics}
        self.told = np.zeros((0, run.folds, run.repeats), int)
        self.board.begin(About(title, metrics, run.metric.mode, run.space, run.epochs, VERBS), self.asked)
        self.serving.start()

    def asked(self, change: Change) -> "Future[None]":
        """Request a change, of the whole run now, of a trial in the next decision; the Future of its outcome."""
        outcome = self.person.ask(change)
        self.refresh()
        return outcome

    def decision(self, decision: Decision, trials: Trials) -> None:
        super().decision(decision, trials)
        self.rungs |= isinstance(decision.notes, Mapping) and "rungs" in decision.notes
        trials = trials_after(decision, trials, self.run)
        more = len(trials.epochs) - len(self.told)
        if more:
            grown = lambda old: np.concatenate([old, np.zeros((more, *old.shape[1:]), old.dtype)])
            self.members, self.told = {n: grown(old) for n, old in self.members.items()}, grown(self.told)
        self.board.infeasible = frozenset(np.flatnonzero(~trials.feasible).tolist())
        status = trial_letters(decision, trials, self.run.epochs)
        shown = np.append(self.board.epochs, np.zeros(len(trials.epochs), np.int64))[: len(trials.epochs)]
        epochs = np.where(trials.complete & (shown > 0), shown, trials.epochs)  # of one that rests, as trained
        self.board.show(trials.curves, epochs, status, trials.points, trials.settable)
        self.log(decision)
        self.refresh()

    def log(self, decision: Decision) -> None:
        """Log whose hyperparameters a decision changes, once they are shown: a tab then asks for them again."""
        changes = changes_of(decision)
        for change in changes:
            self.board.tell(in_words(change), change["trial"], "user")
        by_person = {change["trial"] for change in changes}
        if copied := sorted(decision.copy.keys() - by_person):
            named = listed([f"{trial} of {decision.copy[trial]}" for trial in copied])
            self.board.tell(f"{plural(len(copied), 'trial')} became copies of better ones: {named}")
        if changed := sorted(decision.set.keys() - decision.copy.keys() - by_person):
            named = listed([str(trial) for trial in changed])
            self.board.tell(f"{plural(len(changed), 'trial')} got other hyperparameters: {named}")

    def epoch(self, result: "EpochResult") -> None:
        place = result.trial, result.fold, result.repeat
        alive = np.all([np.isfinite(values) for values in result.metrics.values()], axis=0)
        self.told[place] = result.epoch + 1
        for name, values in result.metrics.items():
            self.members[name][place] = np.where(alive, values, np.nan)
        rows = np.unique(result.trial)
        rests = self.resting[rows]  # before this epoch
        rows = rows[((self.told[rows] == result.epoch + 1) | rests).all((1, 2))]
        self.board.add(rows, result.epoch, {name: values[rows].mean((1, 2)) for name, values in self.members.items()})
        super().epoch(result)

    def end(self, results: Results) -> None:
        self.board.status = "".join(ENDED[Status(status)] for status in results.status.tolist())
        self.board.infeasible = frozenset(np.flatnonzero(~results.feasible).tolist())
        self.refresh()
        self.board.finish(report_of(results, self.run))

    def close(self) -> None:
        self.person.end()
        self.board.fail()

    def leave(self) -> None:
        self.person.end()  # also of a search that was refused: the page cannot be opened again
        self.serving.close()

    def say(self, line: str) -> None:
        self.board.tell(line)

    def start(self, words: str) -> None:
        self.words, self.since = words, 0.0

    def update(self) -> None:
        now = time.monotonic()
        self.words, self.since = "", self.since or now
        if now >= self.due:
            self.due = now + REFRESH
            self.refresh()

    def refresh(self) -> None:
        """Update the figures: the best trial, counts by status, progress and time left."""
        best = self.leader()
        self.board.figures = {
            "best": None if best is None else {"trial": best[0], "value": float(f"{best[1]:.5g}")},
            "counts": {name: self.board.status.count(letter) for letter, name in NAMES.items()},
            "share": self.done / self.total if self.total else 0,
            "left": round(self.left(self.since)) if self.done else None,
            "paused": self.person.paused,
            "ending": self.person.stop.is_set(),
            "words": self.words,
            "pruned": self.rungs,
        }


ENDED = {Status.COMPLETE: DONE, Status.PRUNED: WAITS, Status.STOPPED: STOPPED, Status.DIVERGED: DIVERGED}
NAMES = {NEW: "not begun", TRAINS: "train", WAITS: "wait", STOPPED: "stopped", DIVERGED: "diverged", DONE: "done"}


def listed(names: list[str]) -> str:
    """Names with commas; of many, the first.

    >>> listed(["3", "5"])
    '3, 5'
    """
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")


def trials_after(decision: Decision, trials: Trials, run: Run) -> Trials:
    """All trials after a decision has acted, including new ones, with their changed hyperparameters."""
    new, curves, points = added(decision), dict(trials.curves), dict(trials.points)
    for name, column in run.space.masked(decision.add).items() if new else ():
        points[name] = np.concatenate([points.get(name, column[:0]), column])
    points = {name: column.copy() for name, column in points.items()}
    for name in run.metrics:
        values = curves.get(name, np.zeros((0, run.epochs)))
        curves[name] = np.concatenate([values, np.full((new, run.epochs), np.nan)])
    longer = lambda values, fill: np.concatenate([values, np.full(new, fill)])
    epochs, loss, stopped = longer(trials.epochs, 0), longer(trials.loss, np.nan), longer(trials.stopped, False)
    complete, feasible = longer(trials.complete, False), longer(trials.feasible, True)
    alter(decision, points)
    targets, sources = list(decision.copy), list(decision.copy.values())
    loss[targets], feasible[targets] = loss[sources], feasible[sources]
    trials = trials._replace(epochs=epochs, loss=loss, stopped=stopped, complete=complete, feasible=feasible)
    return trials._replace(points=points, curves=curves, values=curves)


def trial_letters(decision: Decision, trials: Trials, last: int) -> str:
    """The status letter of each trial while a decision is carried out.

    >>> trials = Trials({}, np.array([1, 1, 2, 0]), np.array([0.5, np.inf, 0.5, np.nan]), {})
    >>> trial_letters(Decision(until={0: 2}), trials, 2)
    'tdew'
    """
    going = np.zeros(len(trials.epochs), bool)
    going[list(decision.until)] = True
    cases = [np.isinf(trials.loss), trials.reached(last) >= last, trials.stopped, going, trials.epochs == 0]
    return "".join(np.select(cases, [DIVERGED, DONE, STOPPED, TRAINS, NEW], WAITS).tolist())


def in_words(change: Mapping[str, Any]) -> str:
    """A person's change, in words.

    >>> in_words({"verb": "set", "trial": 3, "values": {"rate": 0.1}}), in_words({"verb": "stop", "trial": 3})
    ('rate = 0.1', 'stopped')
    """
    values = ", ".join(f"{name} = {cell(value)}" for name, value in change.get("values", {}).items())
    words = {"set": values, "clone": f"became trial {change.get('source')}", "stop": "stopped", "lift": "goes on"}
    return words[change["verb"]]


def report_of(results: Results, run: Run) -> str:
    """HTML of the report: from the directory of the run, or drawn anew if there is none."""
    from popjax.pages.page import NAME, page

    written = None if run.out is None else run.out / NAME
    return written.read_text(encoding="utf-8") if written is not None and written.exists() else page(results)
