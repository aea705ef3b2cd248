"""The progress of a run: a bar on a terminal, or plain lines elsewhere."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from popjax.core.text import plural, printable, tell
from popjax.scheduler import Decision, Trials, added
from popjax.space.space import Space
from popjax.store.records import values_after
from popjax.tuning.callbacks.callback import Callback, Run

if TYPE_CHECKING:
    from popjax.engine.trainer import EpochResult
    from popjax.space.scales import Scale

LINES, FEW_LINES = 10, 2  # lines for all epochs, and from rung to rung
REFRESH = 0.1  # seconds between two updates of the bar
FEW = 8  # if fewer models train at once, it is better to steer one by hand


class Progress(Callback):
    """Count the epochs done of those decided, and track the best trial now.

    Attributes:
        done, total: epochs summed over all members, up to the last one; between rungs, up to the next rung.
        latest: float (trials, folds, repeats): the metric that ranks after each member's latest epoch, or of its best
            one so far where that counts; NaN before the first epoch, and once diverged.
        heard: bool (trials, folds, repeats): has trained an epoch.
        resting: bool (trials, folds, repeats): out of patience.
        goals: int (trials,): the epoch that each trial is to reach.
    """

    run: Run

    def begin(self, run: Run) -> None:
        self.run = run
        self.begun = False
        self.done = self.total = 0
        self.horizon: int | None = run.epochs  # the next rung or the last epoch; None if brackets have different rungs
        self.latest = np.full((run.trials, run.folds, run.repeats), np.nan)
        self.limited = {limit.name: self.latest.copy() for limit in run.rule.limits if limit.name in run.metrics}
        self.heard, self.resting = np.zeros(self.latest.shape, bool), np.zeros(self.latest.shape, bool)
        self.goals = np.zeros(run.trials, np.int64)
        self.make_room(len(run.resting))  # a scheduler may have added more trials than were asked for
        self.resting[: len(run.resting)] = run.resting
        if run.fitting is not None and run.fitting < FEW:
            what = f"only {run.fitting} models of this size fit here at once"
            self.say(f"{what}; to steer one by hand: python -m popjax.babysit")

    def decision(self, decision: Decision, trials: Trials) -> None:
        notes = notes_of(decision)
        anew = bool(decision.add) or "rungs" in notes or not self.begun
        if not self.begun:
            self.take_up(trials)
        now = lambda trial: int(trials.epochs[trial]) if trial < len(trials.epochs) else 0
        if anew:
            self.horizon = notes.get("epoch") if "rungs" in notes else self.run.epochs
        goals = {trial: max(epoch, self.horizon or epoch) for trial, epoch in decision.until.items()}
        self.make_room(max(goals, default=-1) + 1)
        self.goals[list(goals)] = list(goals.values())
        targets, sources = list(decision.copy), list(decision.copy.values())
        self.latest[targets], self.resting[targets] = self.latest[sources], self.resting[sources]
        going = (~self.resting).sum((1, 2)).tolist()
        self.done = 0 if anew else self.done
        self.total = self.done + sum((goal - now(trial)) * going[trial] for trial, goal in goals.items())
        beside = "rungs" in notes and isinstance(notes.get("on"), int) and ("round" in notes or not decision.add)
        if beside:
            self.say(batch_text(notes, added(decision)))
        elif "rounds" in notes:
            self.say(round_text(notes))
        if "rungs" in notes and not beside and decision.until:
            self.say(rung_text(notes))
        self.lines = FEW_LINES if "rungs" in notes else LINES
        if decision.until and anew and self.total > self.done:  # a finished run has nothing left
            self.start(f"compiling {plural(self.run.programs, 'program')}")
            self.begun = True

    def take_up(self, trials: Trials) -> None:
        """On resume, take over the recorded values of the trials."""
        rows = np.flatnonzero(trials.epochs > 0)
        if len(rows):
            self.make_room(int(rows[-1]) + 1)
            known = values_after(trials.values, trials.epochs)
            self.latest[rows] = known[self.run.metric][rows, None, None]
            for name, latest in self.limited.items():
                latest[rows] = known[name][rows, None, None]
            self.heard[rows] = True

    def make_room(self, trials: int) -> None:
        """Grow the arrays to at least so many trials."""
        if (more := trials - len(self.latest)) > 0:
            new = np.zeros((more, *self.latest.shape[1:]), bool)
            longer = lambda latest: np.concatenate([latest, np.where(new, 0, np.nan)])
            self.latest = longer(self.latest)
            self.limited = {name: longer(latest) for name, latest in self.limited.items()}
            self.heard, self.resting = np.concatenate([self.heard, new]), np.concatenate([self.resting, new])
            self.goals = np.concatenate([self.goals, np.zeros(more, np.int64)])

    def epoch(self, result: "EpochResult") -> None:
        alive = np.all([np.isfinite(values) for values in result.metrics.values()], axis=0)
        self.make_room(int(result.trial.max()) + 1)
        place = result.trial, result.fold, result.repeat
        values = np.where(alive, result.metrics[self.run.metric], np.nan)
        if self.run.rule.improvement is not None:
            better = np.maximum if self.run.metric.mode == "max" else np.minimum
            values = np.where(self.heard[place], better(values, self.latest[place]), values)
        counts = ~self.heard[place] | (values != self.latest[place]) | (self.run.rule.improvement is None)
        for name, latest in self.limited.items():
            latest[place] = np.where(counts, result.metrics[name], latest[place])
        self.latest[place], self.heard[place] = values, True
        self.resting[place] |= result.resting
        self.done += len(alive)
        self.total -= int((self.goals[result.trial] - result.epoch - 1)[result.resting].sum())
        self.update()

    def leader(self) -> tuple[int, float] | None:
        """The best trial now and its mean over folds and repeats; None before there is one.

        Among those that violate the limits on metrics least. Limits on costs are those of the points that are drawn.
        """
        means = self.latest.mean((1, 2))
        means[~np.isfinite(means)] = np.nan
        if np.isnan(means).all():
            return None
        if self.limited:
            limits = [limit for limit in self.run.rule.limits if limit.name in self.limited]
            each = [limit.violation(self.limited[limit.name].mean((1, 2))) for limit in limits]
            violation = np.sum(each, axis=0)
            means[violation > violation[np.isfinite(means)].min()] = np.nan
        best = int(np.nanargmax(means) if self.run.metric.mode == "max" else np.nanargmin(means))
        return best, float(means[best])

    def best(self) -> float | None:
        """The value of the leader; None before there is one."""
        leader = self.leader()
        return None if leader is None else leader[1]

    def left(self, since: float) -> float:
        """Estimated seconds left, at the pace since `since` on the monotonic clock."""
        return max(0.0, (time.monotonic() - since) * (self.total - self.done) / max(self.done, 1))

    def say(self, line: str) -> None:
        """Show a line."""

    def start(self, words: str) -> None:
        """Show that training begins, after the work that the words name."""

    def update(self) -> None:
        """Show the progress."""


class Lines(Progress):
    """A plain line when compiling begins, and at each tenth of the epochs; at each half from rung to rung."""

    def say(self, line: str) -> None:
        tell(line)

    def start(self, words: str) -> None:
        if not self.begun:
            tell(words)
        self._begin, self._parts = 0.0, 0

    def update(self) -> None:
        self._begin = self._begin or time.monotonic()
        parts = self.done * self.lines // self.total if self.total else 0
        if parts > self._parts:
            self._parts = parts
            left = self.left(self._begin)
            tell(f"trained {parts * 100 // self.lines}%, best now {value_or_dash(self.best())}, {left:.0f} s left")


class Bar(Progress):
    """One bar on standard error, with the best value now and the time left."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = [TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%")]
        best = TextColumn("best now {task.fields[best]}")
        self._bar = Progress(*columns, best, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
        self._task: Any = None
        self._due = 0.0

    def say(self, line: str) -> None:
        self._bar.console.print(line, markup=False, highlight=False)

    def start(self, words: str) -> None:
        self._stop()
        self._task = self._bar.add_task(words, total=None, best="-")
        self._bar.start()

    def update(self) -> None:
        now = time.monotonic()
        if now < self._due and self.done < self.total:
            return  # faster updates would not be seen
        self._due = now + REFRESH
        self._bar.update(
            self._task, description="training", completed=self.done, total=self.total, best=value_or_dash(self.best())
        )

    def close(self) -> None:
        self._stop()

    def _stop(self) -> None:
        self._bar.stop()
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = None


class Silent(Callback):
    """Show no progress, only the notes on the rungs of the first decision, and on cuts among equal trials."""

    asked = False

    def decision(self, decision: Decision, trials: Trials) -> None:
        notes = notes_of(decision)
        if "rungs" in notes and (not self.asked or "tied" in notes):
            for note in notes.get("notes", ()):
                tell(f"popjax: {note}")
        self.asked = True


def notes_of(decision: Decision) -> Mapping[str, Any]:
    """The notes of a decision; without "rungs" or "rounds" of a scheduler that means something else by them."""
    notes = decision.notes if isinstance(decision.notes, Mapping) else {}
    rungs = "on" in notes or {"rung", "trials", "of"} <= notes.keys()
    other = [*([] if rungs else ["rungs"]), *([] if {"round", "space", "notes"} <= notes.keys() else ["rounds"])]
    return {name: value for name, value in notes.items() if name not in other}


def round_text(notes: Mapping[str, Any]) -> str:
    """The ranges that a round searches, and the notes of the zoom."""
    space = Space.from_dict(notes["space"])
    scales = ", ".join(f"{name} {brief(space[name])}" for name in space.searched)
    head = f"round {notes['round'] + 1} of {notes['rounds']}: {scales}"
    return printable("\n".join([head, *notes["notes"]]))


def rung_text(notes: Mapping[str, Any]) -> str:
    """The number of trials that train to a rung, its epoch, and the notes."""
    epoch = f" to epoch {notes['epoch']}" if "epoch" in notes else ""
    head = f"rung {notes['rung']} of {notes['rungs']}: {notes['trials']} of {plural(notes['of'], 'trial')}{epoch}"
    return printable("\n".join([head, *([] if "rounds" in notes else notes.get("notes", []))]))


def batch_text(notes: Mapping[str, Any], new: int) -> str:
    """The number of new trials, and of those before them that go on, and the notes."""
    begin = f"round {notes['round'] + 1} of {notes['rounds']}: {plural(new, 'trial')} begin" if new else ""
    on = f"{notes['on']} of those before go on" if notes["on"] or not new else ""
    return printable("\n".join([", ".join(filter(None, (begin, on))), *notes.get("notes", [])]))


def brief(scale: "Scale") -> str:
    """A scale's values in few digits."""
    if hasattr(scale, "values"):
        return "|".join(map(str, scale.values))
    return "..".join(str(end) if scale.whole else f"{end:.3g}" for end in (scale.low, scale.high))


def value_or_dash(value: float | None) -> str:
    """A metric's value, or a dash before there is one."""
    return "-" if value is None else f"{value:.4g}"
