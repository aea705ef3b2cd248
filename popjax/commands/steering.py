"""One model in a terminal: commands in, curves and a journal out. No JAX until it begins."""

import contextlib
import dataclasses
import math
import operator
import re
import shlex
import shutil
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from popjax.commands import cli
from popjax.commands.experiment import Experiment, describe_device
from popjax.core.text import cell, plural, printable, settings
from popjax.store.files import jsonable

if TYPE_CHECKING:
    from popjax.commands.keyboard import Keyboard
    from popjax.live.session import SessionPage
    from popjax.task import Task
    from popjax.tuning.person import Change

HELP = """commands: go 5 | learning_rate=0.03 | learning_rate*=0.5 | back 5
          watch | save | help | quit; an empty line pauses, or goes on"""
CURVE, SHORT, VALUE = 40, 12, 9  # letters of a curve at most, what is kept for one, and of a value such as 1.234e-05
CHANGE = re.compile(r"(\w+)\s*([-+*/]?=)\s*(.+)")
OPERATORS = {"+=": operator.add, "-=": operator.sub, "*=": operator.mul, "/=": operator.truediv}
VERBS = ("set", "back", "go", "pause", "resume", "save", "end")  # what a page may ask for
BLOCKS = "▁▂▃▄▅▆▇█"


@dataclasses.dataclass(frozen=True)
class Beginning:
    """What a session begins with.

    Attributes:
        hparams: as they are given or recorded; the defaults are not among them.
        found: those of a search's trial, not all of which need be read.
        lines: the journal to replay, if there is one.
    """

    experiment: Experiment
    hparams: dict[str, Any]
    epochs: int
    trial: int = 0
    found: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    lines: tuple[dict[str, Any], ...] = ()


class Steering:
    """One model with its journal, obeying commands."""

    def __init__(self, start: Beginning, task: "Task", hparams: Mapping[str, Any], out: Path) -> None:
        from popjax.store.journal import Journal
        from popjax.tuning.session import Session

        self.task = task
        self.out = out
        self.trial = start.trial
        self.epochs = start.epochs
        self.session = Session(task, hparams, start.epochs, start.experiment.seed, trials=[start.trial])
        self.journal = Journal(out / "journal.jsonl")
        self.to_go = 0
        experiment = dataclasses.asdict(start.experiment)
        began = {"arguments": experiment, "hparams": self.session.hparams, "epochs": start.epochs, "trial": start.trial}
        self.journal.write(0, self.rate, "start", **began)
        self.describe("model: ")

    @classmethod
    def begin(cls, start: Beginning, out: Path) -> "Steering":
        """Load the data and build the model; hyperparameters that may be set later get their defaults."""
        from popjax.space.defaults import untuned

        experiment = start.experiment
        if experiment.task is not None:
            task, others = experiment.users_task(), dict(start.found)
        else:
            parts = experiment.load()
            dataset, task = parts.dataset, experiment.supervised(parts)
            others = untuned(
                experiment.optimizer, experiment.schedule, task.data.folds.train.shape[1], experiment.model
            )
            others |= start.found
            print(experiment.rows(dataset))
        print(f"device: {describe_device()}", flush=True)
        try:
            return cls(start, task, start.hparams | read_by(task, start, others), out)
        except Exception as error:
            if experiment.task is None or isinstance(error, ValueError):
                raise
            raise experiment.fault(error) from None

    @property
    def rate(self) -> float | None:
        """The base learning rate, before the schedule."""
        return self.session.hparams.get("learning_rate")

    @property
    def rest(self) -> int:
        """How many epochs are left to the horizon; 1 beyond it."""
        return max(1, self.epochs - self.session.epoch)

    def describe(self, indent: str) -> None:
        """Print the hyperparameters as they stand."""
        said = printable(settings(self.session.hparams))
        print(textwrap.fill(said, width(), initial_indent=indent), flush=True)

    def script(self, commands: Iterable[tuple[int, str]]) -> int:
        """Obey one command after the other; a mistake ends it. Returns the exit code."""
        self.obeyed(commands)
        return self.leave()

    def obeyed(self, commands: Iterable[tuple[int, str]]) -> bool:
        """Obey one command of a numbered line after the other, each to its end; False after "quit"."""
        for number, command in commands:
            try:
                if not self.obey(command):
                    return False
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None
            while self.to_go:
                self.epoch()
        return True

    def interactive(self) -> int:
        """Train, and obey what is typed, at the end of the epoch; a mistake is told. Returns the exit code."""
        from popjax.commands.keyboard import Keyboard

        print(HELP)
        if self.session.epoch == 0:
            print(f"nothing is trained yet: an empty line trains {plural(self.epochs, 'epoch')}", flush=True)
        self.typed(Keyboard())
        return self.leave()

    def live(self, commands: Iterable[tuple[int, str]], port: int, host: str) -> int:
        """The same with a page that types, too, after some first commands; it ends when that says so."""
        from popjax.commands.keyboard import Keyboard
        from popjax.live.session import SessionPage

        keyboard = Keyboard()
        press = lambda change: keyboard.type(*in_commands(change, self.rest))
        page = self.session.page = SessionPage(self.session, port, host, VERBS, press)
        with contextlib.closing(page):
            page.serving.start()
            print(HELP, flush=True)
            if self.obeyed(commands):
                self.typed(keyboard, page)
        return self.leave()

    def typed(self, keyboard: "Keyboard", page: "SessionPage | None" = None) -> None:
        """Train, and obey what is typed, until "quit", or until nobody can type any more."""
        while self.to_go or keyboard.open or page is not None:
            if page is not None:
                page.person.paused = not self.to_go
                page.refresh()
            if not self.to_go:
                print(f"epoch {self.session.epoch}> ", end="", flush=True)
            command = keyboard.line(not self.to_go, page is not None)
            if command is None:
                if self.to_go:
                    self.epoch()
                continue
            if command == "" and not self.to_go:
                command = f"go {self.rest}"
            try:
                goes_on = self.obey(command)
                keyboard.answer()
                if not goes_on:
                    break
            except (ValueError, OSError) as error:
                keyboard.answer(ValueError(str(error)))
                print(printable(str(error)), flush=True)
        keyboard.close()

    def replay(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Do again what a journal says, and compare every epoch's metrics."""
        different = None
        for line in list(lines)[1:]:
            if line["command"] is None:
                self.epoch()
                metrics = self.metrics()
                if different is None and any(jsonable(value) != line.get(name) for name, value in metrics.items()):
                    different = self.session.epoch
            elif str(line["command"]).split()[:1] not in (["go"], ["watch"], ["save"], ["quit"], []):
                print(printable(f"> {line['command']}"), flush=True)
                if line.get("decision"):
                    self.decide(line)
                else:
                    self.obey(str(line["command"]))  # also a change in a journal that holds no decisions
        if different is None:
            print(f"the same curve as in the journal, bit for bit, over {self.session.epoch} epochs")
        else:
            print(f"the curve differs from the journal's, first at epoch {different}: other versions change bits")
        self.to_go = 0

    def obey(self, command: str) -> bool:
        """Carry out a command; False for "quit". Raises ValueError for one that cannot be."""
        command = "quit" if command == "exit" else command
        word, _, rest = command.partition(" ")
        change = CHANGE.fullmatch(command)
        decided: dict[str, Any] = {}
        if change:
            decided = {"decision": self.change(*change.groups())}
        elif word in ("go", "back"):
            count = cli.whole(rest or "1", command)
            if word == "back":
                self.session.back(count)
            self.to_go = count if word == "go" else self.to_go
        elif command in ("", "pause"):
            self.to_go = 0
        elif command == "help":
            print(HELP, flush=True)
        elif command in ("watch", "save"):
            getattr(self, command)()
        elif command != "quit":
            raise ValueError(f"unknown command {command!r}; help lists them, such as go 5")
        if command not in ("", "pause", "help"):
            self.journal.write(self.session.epoch, self.rate, command, **decided)
        return command != "quit"

    def change(self, name: str, operator: str, text: str) -> dict[str, Any]:
        """Set a hyperparameter, to a value or relative to what it is; the decision, as decisions.jsonl has it."""
        _, value = value_of(f"{name}={text}", "command")
        if operator != "=":
            now = self.session.hparams.get(name)
            if not isinstance(now, int | float) or not isinstance(value, int | float):
                raise ValueError(f"{name}{operator}{text}: {name} is {now!r}; write {name}=value")
            if operator == "/=" and value == 0:
                raise ValueError(f"{name}/=0: divide by another number")
            value = OPERATORS[operator](now, value)
        self.session.set(**{name: value})
        print(printable(f"{name} = {cell(value)} from epoch {self.session.epoch + 1} on"), flush=True)
        return {"set": [[0, {name: value}]]}

    def decide(self, line: Mapping[str, Any]) -> None:
        """Change what a journal's decision changed; raises ValueError for one that is none."""
        try:
            ((_, values),) = line["decision"]["set"]
            values = dict(values)
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"the journal has a decision that changes nothing: {line['decision']!r}") from None
        self.session.set(**values)
        self.journal.write(self.session.epoch, self.rate, str(line["command"]), decision=line["decision"])

    def epoch(self) -> None:
        """Train one epoch, and show it."""
        self.session.train(1)
        self.to_go = max(0, self.to_go - 1)
        metrics = self.metrics()
        self.journal.write(self.session.epoch, self.rate, None, **metrics)
        first = ("train_loss", self.task.metric, "val_loss")
        line = f"epoch {self.session.epoch:3}" + in_line(metrics, first)
        room = min(CURVE, width() - len(line) - 2)
        curve = sparkline(self.session.curves[self.task.metric].tolist()[-room:]) if room > 0 else ""
        print(printable(f"{line}  {curve}"), flush=True)
        if not self.session.alive:
            self.to_go = 0
            print("diverged: go back and lower the learning rate, such as: back 1, learning_rate*=0.3", flush=True)

    def metrics(self) -> dict[str, float]:
        """The last epoch's metrics."""
        return {name: float(values[-1]) for name, values in self.session.curves.items()}

    def watch(self) -> None:
        """Print how training stands."""
        self.describe("  ")
        values = self.metrics() if self.session.epoch else {}
        if self.task.hints.watch is not None:
            values |= {name: float(value) for name, value in self.session.measure(self.task.hints.watch).items()}
        longest = max(map(len, values), default=0)
        for name, value in values.items():
            print(printable(f"  {name:{longest}}  {value:.4g}"), flush=True)

    def save(self) -> None:
        """Write the model as it stands, for `popjax.load_best`."""
        from popjax.store.files import Kept, write_best

        value = self.metrics()[self.task.metric] if self.session.epoch else None
        write_best(self.out, Kept(self.trial, self.session.hparams, *self.session.arrays()), jsonable(value))
        print(f"saved: {self.out / 'best'}", flush=True)

    def leave(self) -> int:
        """Tell where the journal is; returns the exit code."""
        self.journal.close()
        path = self.out / "journal.jsonl"
        print(f"journal: {path}")
        print(f"go on: {cli.called('babysit')} --resume {shlex.quote(str(path))}")
        print(f"again: {cli.called('babysit')} --replay {shlex.quote(str(path))}")
        return 0 if self.session.alive else cli.ALL_DIVERGED


def in_line(metrics: Mapping[str, float], first: Iterable[str]) -> str:
    """The metrics that fit a line with a curve whatever their values, these first."""
    texts: list[str] = []
    length = len("epoch 100")
    for name in dict.fromkeys([*(name for name in first if name in metrics), *metrics]):
        length += len(f"  {name} ") + VALUE
        if texts and length > width() - SHORT:
            break
        texts.append(f"  {name} {cell(metrics[name])}")
    return "".join(texts)


def width() -> int:
    """The letters of a line of the terminal, but for the last, at which some go on in the next line."""
    return max(20, shutil.get_terminal_size((80, 24)).columns - 1)


def in_commands(change: "Change", rest: int = 1) -> list[str]:
    """What a page asks for, as it is typed here; `rest` epochs are left to train.

    >>> from popjax.tuning.person import Change
    >>> in_commands(Change("set", 0, values={"learning_rate": 0.03})), in_commands(Change("back", 0))
    (['learning_rate=0.03'], ['back 1'])
    """
    if change.verb == "set":
        return [f"{name}={value!r}" for name, value in change.values.items()] or ["help"]
    if change.verb in ("go", "back"):
        return [f"{change.verb} {change.epochs or 1}"]
    return [{"resume": f"go {rest}", "end": "quit"}.get(change.verb, change.verb)]


def read_by(task: "Task", start: Beginning, others: Mapping[str, Any]) -> dict[str, Any]:
    """What the task reads of `others` that are not given."""
    from popjax.engine.roster import check_sizes
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


def value_of(text: str, where: str) -> tuple[str, Any]:
    """Name and value of `name=value`; raises ValueError for a scale or for nonsense."""
    from popjax.space.scales import Constant
    from popjax.space.space import setting

    name, scale = setting(text, where)
    if not isinstance(scale, Constant):
        raise ValueError(f"{where} {text!r}: one model takes one value, such as {name}={getattr(scale, 'low', 1)}")
    return name, scale.value
