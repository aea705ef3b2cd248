"""One model steered in a terminal: commands in, curves out. No JAX until it begins."""

import contextlib
import dataclasses
import math
import shlex
import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from popjax.commands import cli
from popjax.commands.experiment import Experiment, describe_device
from popjax.commands.typed import HELP, change_typed
from popjax.core.text import cell, hparams_text, plural, printable
from popjax.store.decisions import Step

if TYPE_CHECKING:
    from popjax.commands.keyboard import Keyboard
    from popjax.live.session import SessionPage
    from popjax.task import Task
    from popjax.tuning.person import Change

CURVE, SHORT, VALUE = 40, 12, 9  # characters: of a curve at most, reserved for a curve, of a value such as 1.234e-05
VERBS = ("set", "back", "go", "pause", "resume", "save", "end")  # verbs of a page
BLOCKS = "▁▂▃▄▅▆▇█"


@dataclasses.dataclass(frozen=True)
class Beginning:
    """What a session begins with.

    Attributes:
        hparams: given or recorded hyperparameters, without the defaults.
        point: hyperparameters of a search's trial, of which the task may read only some.
        resume: directory of the session to resume; None for a new one.
        steps: of another session, to replay.
        curves: metric -> (epochs,) of that session.
        place: directory of that session.
    """

    experiment: Experiment
    hparams: dict[str, Any]
    epochs: int
    trial: int = 0
    point: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    resume: Path | None = None
    steps: Sequence[Step] = ()
    curves: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    place: str = ""


class Steering:
    """A session with one model, steered by commands."""

    def __init__(
        self, start: Beginning, task: "Task", hparams: Mapping[str, Any], out: Path, stop: "cli.SignalledStop"
    ) -> None:
        from popjax.study.session import Session

        self.start = start
        self.task = task
        self.out = out
        self.stop = stop
        self.to_go = 0
        self.session = Session(
            task,
            hparams,
            epochs=start.epochs,
            seed=start.experiment.seed,
            numbers=[start.trial],
            out=out,
            resume=start.resume is not None,
            about={"arguments": dataclasses.asdict(start.experiment), "trial": start.trial},
            stop=stop,
        )
        self.describe("model: ")
        if start.resume is not None:
            print(f"resumed after epoch {self.session.epoch}", flush=True)

    @classmethod
    def begin(cls, start: Beginning, out: Path, stop: "cli.SignalledStop") -> "Steering":
        """Load the data and build the model; hyperparameters that may be set later get their defaults."""
        from popjax.supervision.spaces import untuned

        experiment = start.experiment
        if experiment.task is not None:
            task, others = experiment.users_task(), dict(start.point)
        else:
            parts = experiment.load()
            task, rows = experiment.supervised(parts), experiment.rows(parts.dataset)
            width = task.data.folds.train.shape[1]
            others = untuned(experiment.optimizer, experiment.schedule, width, experiment.model)
            others |= start.point
            print(rows)
        print(f"device: {describe_device()}", flush=True)
        recorded = start.resume is not None or start.steps
        try:
            hparams = start.hparams | ({} if recorded else read_by(task, start, others))
            return cls(start, task, hparams, out, stop)
        except Exception as error:
            if experiment.task is None or isinstance(error, ValueError):
                raise
            raise experiment.fault_of(error) from None

    @property
    def rest(self) -> int:
        """Number of epochs left to the horizon; 1 beyond it."""
        return max(1, self.start.epochs - self.session.epoch)

    def describe(self, indent: str) -> None:
        """Print the current hyperparameters."""
        said = printable(hparams_text(self.session.hparams))
        print(textwrap.fill(said, width(), initial_indent=indent), flush=True)

    def script(self, commands: Iterable[tuple[int, str]]) -> bool:
        """Carry out numbered commands one after the other, each to its end; False after "quit". Raises ValueError."""
        for number, command in commands:
            if self.stop.is_set():
                break
            try:
                if not self.obey(change_typed(command, self.session.hparams)):
                    return False
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None
            while self.to_go and not self.stop.is_set():
                self.epoch()
        return True

    def interactive(self) -> None:
        """Train, and carry out what is typed at the end of the epoch; print mistakes."""
        from popjax.commands.keyboard import Keyboard

        print(HELP)
        if self.session.epoch == 0:
            print(f"nothing is trained yet: an empty line trains {plural(self.start.epochs, 'epoch')}", flush=True)
        with Keyboard(self.stop) as keyboard:
            self.typed(keyboard)

    def live(self, commands: Iterable[tuple[int, str]], port: int, host: str) -> None:
        """As `interactive`, with a page that also gives commands, after the given ones, which may quit."""
        from popjax.commands.keyboard import Keyboard
        from popjax.live.session import SessionPage

        page = lambda keyboard: contextlib.closing(SessionPage(port, host, VERBS, keyboard.press))
        with Keyboard(self.stop) as keyboard, page(keyboard) as shown:
            self.session.watch(shown)
            shown.serve()
            print(HELP, flush=True)
            if self.script(commands):
                self.typed(keyboard, shown)

    def typed(self, keyboard: "Keyboard", page: "SessionPage | None" = None) -> None:
        """Train, and carry out commands, until "quit", or until no more can come."""
        while not self.stop.is_set() and (self.to_go or keyboard.open or page is not None):
            if page is not None:
                page.person.paused = not self.to_go
                page.refresh()
            if not self.to_go:
                print(f"epoch {self.session.epoch}> ", end="", flush=True)
            entry = keyboard.next(not self.to_go, page is not None)
            if entry is None:
                if self.to_go:
                    self.epoch()
                continue
            try:
                goes_on = self.obey(self.meant(entry))
                keyboard.answer()
                if not goes_on:
                    return
            except (ValueError, OSError) as error:
                keyboard.answer(ValueError(str(error)))
                print(printable(str(error)), flush=True)

    def meant(self, entry: "str | Change") -> "Change":
        """An entry as a change: an empty line pauses, or trains on."""
        if not isinstance(entry, str):
            return entry
        change = change_typed(entry, self.session.hparams)
        return change._replace(verb="resume") if entry == "" and not self.to_go else change

    def repeat(self) -> None:
        """Carry out the log of another session, and print whether its curves are the same."""
        try:
            self.session.repeat(self.start.steps[1:], self.repeated)
        except KeyboardInterrupt:
            return
        self.session.commit()
        place, again = self.start.place, self.session.curves
        if not self.start.curves:
            print(f"{place} has no curves to compare with: it ended before they were written")
            return
        compared = min(self.session.epoch, *(len(values) for values in self.start.curves.values()))
        if compared == 0:
            print(f"{place} has no curves to compare with: it ended at epoch 0")
            return
        now = np.array([again[name][:compared] for name in self.start.curves])
        then = np.array([values[:compared] for values in self.start.curves.values()])
        differ = np.flatnonzero(((now != then) & ~(np.isnan(now) & np.isnan(then))).any(0))
        if len(differ) == 0:
            print(f"the same curve as in {place}, bit for bit, over {plural(compared, 'epoch')}")
        else:
            where = f"first at epoch {differ[0] + 1}"
            print(f"the curve differs from that in {place}, {where}: other versions change bits")

    def repeated(self, step: Step) -> None:
        """Print a replayed step."""
        if step.back:
            print(f"> back {step.back}", flush=True)
        for values in step.decision.set.values():
            print(printable(f"> {assigned(values)}"), flush=True)
        if step.decision.until:
            self.show()

    def obey(self, change: "Change") -> bool:
        """Carry out a change; False for "end". Raises ValueError for an impossible one."""
        if change.verb == "set":
            self.session.set(**change.values)
            print(printable(f"{assigned(change.values)} from epoch {self.session.epoch + 1} on"), flush=True)
        elif change.verb == "back":
            self.session.back(change.epochs or 1)
        elif change.verb in ("go", "resume"):
            self.to_go = (change.epochs or 1) if change.verb == "go" else self.rest
        elif change.verb == "pause":
            self.pause()
        elif change.verb == "help":
            print(HELP, flush=True)
        elif change.verb in ("watch", "save"):
            self.session.remark(change.verb)
            getattr(self, change.verb)()
        return change.verb != "end"

    def pause(self) -> None:
        """Stop training for now, and commit."""
        self.to_go = 0
        self.session.commit()

    def epoch(self) -> None:
        """Train one epoch, and print it if it was not stopped before its end."""
        before = self.session.epoch
        self.session.train(1, commit=False)
        if self.session.epoch == before:
            return
        self.to_go -= 1
        self.show()
        if not self.session.alive:
            self.to_go = 0
            print("diverged: go back and lower the learning rate, such as: back 1, learning_rate*=0.3", flush=True)
        if self.to_go == 0:
            self.pause()

    def show(self) -> None:
        """Print the last epoch's metrics, and the curve of the task's metric."""
        metrics, first = self.metrics(), ("train_loss", self.task.metric, "val_loss")
        line = f"epoch {self.session.epoch:3}" + in_line(metrics, first)
        room = min(CURVE, width() - len(line) - 2)
        curve = sparkline(self.session.curves[self.task.metric].tolist()[-room:]) if room > 0 else ""
        print(printable(f"{line}  {curve}"), flush=True)

    def metrics(self) -> dict[str, float]:
        """Metric -> value after the last epoch."""
        return {name: float(values[-1]) for name, values in self.session.curves.items()}

    def watch(self) -> None:
        """Print hyperparameters, the last epoch's metrics, and what the task's `watch` measures."""
        self.describe("  ")
        values = self.metrics() if self.session.epoch else {}
        if self.task.watch is not None:
            values |= {name: float(value) for name, value in self.session.measure(self.task.watch).items()}
        longest = max(map(len, values), default=0)
        for name, value in values.items():
            print(printable(f"  {name:{longest}}  {value:.4g}"), flush=True)

    def save(self) -> None:
        """Write the current model to best/, for `popjax.load_best`."""
        from popjax.store.files import KeptTrial, jsonable, write_best

        self.session.commit()
        value = self.metrics()[self.task.metric] if self.session.epoch else None
        write_best(self.out, KeptTrial(self.start.trial, self.session.hparams, *self.session.arrays()), jsonable(value))
        print(f"saved: {self.out / 'best'}", flush=True)

    def leave(self) -> int:
        """Commit, and print where the log is and how to go on; returns the exit code."""
        self.session.commit()
        again = shlex.join([str(self.out), *self.start.experiment.untold()])
        print(f"log: {self.out / 'decisions.jsonl'}")
        print(f"go on: {cli.called('babysit')} --resume {again}")
        print(f"again: {cli.called('babysit')} --replay {again}", flush=True)
        return self.stop.code or (0 if self.session.alive else cli.ALL_DIVERGED)


def assigned(values: Mapping[str, Any]) -> str:
    """Hyperparameters with their values, as text.

    >>> assigned({"rate": 0.1, "depth": 2})
    'rate = 0.1, depth = 2'
    """
    return ", ".join(f"{name} = {cell(value)}" for name, value in values.items())


def in_line(metrics: Mapping[str, float], first: Iterable[str]) -> str:
    """Text with the metrics that fit a line beside a curve, for any values; those in `first` come first."""
    texts: list[str] = []
    length = len("epoch 100")
    for name in dict.fromkeys([*(name for name in first if name in metrics), *metrics]):
        length += len(f"  {name} ") + VALUE
        if texts and length > width() - SHORT:
            break
        texts.append(f"  {name} {cell(metrics[name])}")
    return "".join(texts)


def width() -> int:
    """Characters per line of the terminal, at least 20, minus the last, at which some terminals wrap."""
    return max(20, shutil.get_terminal_size((80, 24)).columns - 1)


def read_by(task: "Task", start: Beginning, others: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of `others` that the task reads and that are not given."""
    from popjax.engine.traced_task import check_sizes
    from popjax.engine.tracer import Tracer
    from popjax.space.space import Space

    space = Space(**(dict(others) | start.hparams))
    check_sizes(space)
    if not others:
        return {}
    reads = Tracer(task, space, space.sample(1), start.epochs).reads()
    return {name: value for name, value in others.items() if name in reads and name not in start.hparams}


def sparkline(values: list[float]) -> str:
    """A curve in one line of text; a gap where a value is not finite."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    step = (high - low) / (len(BLOCKS) - 1) or 1.0
    return "".join(BLOCKS[round((value - low) / step)] if math.isfinite(value) else " " for value in values)
