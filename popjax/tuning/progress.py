"""How far a search has come: a bar on a terminal, plain lines elsewhere, or nothing."""

import os
import sys
import time
from typing import TYPE_CHECKING, Any

from popjax.core.text import plural, printable

if TYPE_CHECKING:
    from popjax.space.scales import Scale
    from popjax.space.space import Space


class Quiet:
    """Shows nothing; the base of what shows something."""

    def compiling(self, programs: int) -> None:
        """Compiling begins."""

    def few(self, members: int) -> None:
        """Only so many members can train at the same time."""

    def round(self, number: int, rounds: int, space: "Space", notes: list[str]) -> None:
        """A round begins, over this space; the notes say what the zoom noticed."""

    def update(self, done: int, total: int, best: float | None) -> None:
        """`done` of `total` epochs over all members are trained; `best` is the best value so far."""

    def close(self) -> None:
        """Training has ended."""


class Lines(Quiet):
    """A plain line when compiling begins and at every tenth of the way."""

    def __init__(self) -> None:
        self._rounds = 0
        self._begin = 0.0
        self._tenths = 0

    def compiling(self, programs: int) -> None:
        if self._rounds <= 1:
            tell(f"compiling {plural(programs, 'program')}")
        self._begin, self._tenths = 0.0, 0

    def few(self, members: int) -> None:
        tell(few_text(members))

    def round(self, number: int, rounds: int, space: "Space", notes: list[str]) -> None:
        self._rounds = number
        tell(round_text(number, rounds, space, notes))

    def update(self, done: int, total: int, best: float | None) -> None:
        self._begin = self._begin or time.monotonic()
        if done * 10 // total > self._tenths:
            self._tenths = done * 10 // total
            seconds = time.monotonic() - self._begin
            left = seconds * (total - done) / done
            tell(f"trained {self._tenths * 10}%, best so far {text(best)}, {left:.0f} s left")


class Bar(Quiet):
    """One bar with the best value so far and the time left, on standard error."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = [TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%")]
        best = TextColumn("best so far {task.fields[best]}")
        self._bar = Progress(*columns, best, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
        self._task: Any = None

    def few(self, members: int) -> None:
        self._bar.console.print(few_text(members), markup=False, highlight=False)

    def round(self, number: int, rounds: int, space: "Space", notes: list[str]) -> None:
        self._bar.console.print(round_text(number, rounds, space, notes), markup=False, highlight=False)

    def compiling(self, programs: int) -> None:
        self._task = self._bar.add_task(f"compiling {plural(programs, 'program')}", total=None, best="-")
        self._bar.start()

    def update(self, done: int, total: int, best: float | None) -> None:
        self._bar.update(self._task, description="training", completed=done, total=total, best=text(best))

    def close(self) -> None:
        self._bar.stop()
        self._bar.remove_task(self._task)


def tell(line: str) -> None:
    """A line on standard error; training goes on if nobody reads it any more."""
    try:
        print(line, file=sys.stderr, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def few_text(members: int) -> str:
    """The advice for models that are too large for a population."""
    return f"only {members} models of this size fit here at once; to steer one by hand: python -m popjax.babysit"


def round_text(number: int, rounds: int, space: "Space", notes: list[str]) -> str:
    """What a round searches, and what the zoom noticed."""
    scales = ", ".join(f"{name} {brief(space[name])}" for name in space.searched)
    return printable("\n".join([f"round {number} of {rounds}: {scales}", *notes]))


def brief(scale: "Scale") -> str:
    """A scale's values in few digits."""
    if hasattr(scale, "values"):
        return "|".join(map(str, scale.values))
    return "..".join(str(end) if scale.whole else f"{end:.3g}" for end in (scale.low, scale.high))


def text(value: float | None) -> str:
    """A metric's value, or a dash before there is one."""
    return "-" if value is None else f"{value:.4g}"
