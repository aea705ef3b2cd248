"""`python -m popjax.babysit`: one model, watched and steered by hand. Starts without JAX."""

import dataclasses
import math
import operator
import re
import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from popjax import cli
from popjax.journal import plain
from popjax.sources import Source, describe_device, new_directory

if TYPE_CHECKING:
    from popjax.task import Task

HELP = (
    "commands: go 5 | learning_rate=0.03 | learning_rate*=0.5 | back 5 | watch | save | quit; "
    "an empty line pauses at the end of the epoch"
)
CHANGE = re.compile(r"(\w+)\s*([-+*/]?=)\s*(.+)")
OPERATORS = {"+=": operator.add, "-=": operator.sub, "*=": operator.mul, "/=": operator.truediv}
BLOCKS = "▁▂▃▄▅▆▇█"


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Train one model, watch its curve, and steer it: the way when a model is too large for many.

    Commands, from the keyboard at any time or from --script: go 5, learning_rate=0.03,
    learning_rate*=0.5 (any other hyperparameter that fixes no shape likewise), back 5 (to the
    weights and the optimizer of five epochs ago), watch, save, quit.
    """

    dataset: str | None = None
    """digits (the default), wine, breast_cancer, diabetes, or a CSV or NPZ file"""
    target: str | None = None
    """the column to predict (an array's name for NPZ)"""
    missing: str | None = None
    """what to do with missing cells: error, drop or median"""
    model: str | None = None
    """the model: mlp, or cnn for images"""
    optimizer: str | None = None
    """sgd, nesterov, adam, adamw or rmsprop"""
    schedule: str | None = None
    """of the learning rate: inverse, exponential or cosine"""
    task: str | None = None
    """your own Task, as module:attribute"""
    seed: int | None = None
    """of the split and the model"""
    from_: Annotated[str | None, tyro.conf.arg(name="from")] = None
    """the directory of an earlier search: its dataset, model and the winner's hyperparameters"""
    trial: int | None = None
    """another trial of that search"""
    set: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """a hyperparameter to begin with: learning_rate=0.1"""
    epochs: int = 20
    """the horizon of the schedule; so many are trained unless a script says otherwise"""
    script: str | None = None
    """a file of commands, a line each, instead of the keyboard"""
    replay: str | None = None
    """a journal: train its model again, with the same commands"""
    out: str | None = None
    """the directory for the journal and the model (default: runs/babysit-<dataset>-<time>)"""


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    arguments = cli.parse(Arguments, "babysit", argv)
    if arguments.epochs < 1:
        raise ValueError(f"--epochs {arguments.epochs}: give at least 1")
    if arguments.seed is not None and not 0 <= arguments.seed < 2**32:
        raise ValueError(f"--seed {arguments.seed}: choose 0 <= seed < 2**32")
    start = beginning(arguments)
    script = read_script(arguments.script) if arguments.script else None
    out = open_directory(arguments, start)
    if script is None and arguments.replay is None and not sys.stdin.isatty():
        script = commands_in(sys.stdin.read()) or [f"go {arguments.epochs}"]
    sitter = Sitter.begin(start, out)
    if arguments.replay is not None:
        return sitter.replay(start.lines)
    return sitter.interactive(arguments.epochs) if script is None else sitter.script(script)


@dataclasses.dataclass(frozen=True)
class Beginning:
    """What a session begins with.

    Attributes:
        hparams: as they are given or recorded; the defaults are not among them.
        lines: the journal to replay, if there is one.
    """

    source: Source
    hparams: dict[str, Any]
    epochs: int
    trial: int = 0
    lines: tuple[dict[str, Any], ...] = ()


def beginning(arguments: Arguments) -> Beginning:
    """What --from, --replay and --set make of the defaults."""
    given = {field.name: getattr(arguments, field.name) for field in dataclasses.fields(Source)}
    if arguments.trial is not None and arguments.from_ is None:
        raise ValueError(f"--trial {arguments.trial} needs --from: the directory of the search")
    if arguments.replay is not None:
        return replayed(arguments, given)
    if arguments.from_ is not None:
        start = from_search(arguments, given)
    else:
        chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        start = Beginning(Source(**chosen), {}, arguments.epochs)
    settings = dict(value_of(text, "--set") for text in arguments.set)
    return dataclasses.replace(start, hparams=start.hparams | settings)


def from_search(arguments: Arguments, given: Mapping[str, Any]) -> Beginning:
    """The dataset, the model and one trial's hyperparameters of an earlier search."""
    from popjax.results import Results

    directory = str(arguments.from_)
    results = Results.load(directory)
    command = f"python -m popjax.babysit --from {shlex.quote(directory)}"
    source = Source.again(results.run, command, given)
    trial = arguments.trial
    if trial is None:
        if results.best is None:
            raise ValueError(f"--from {directory!r}: every trial diverged; choose one with --trial")
        trial = results.best.trial
    if not 0 <= trial < len(results.diverged):
        raise ValueError(f"--trial {trial}: {directory!r} holds trials 0..{len(results.diverged) - 1}")
    return Beginning(source, results.hparams(trial), arguments.epochs, trial)


def replayed(arguments: Arguments, given: Mapping[str, Any]) -> Beginning:
    """What a journal began with."""
    from popjax.journal import read_journal
    from popjax.space import Space

    for name in ("from_", "script"):
        if getattr(arguments, name) is not None:
            raise ValueError(f"--replay and --{name.rstrip('_')} exclude each other; give one")
    if arguments.set:
        raise ValueError("--replay and --set exclude each other; the journal has the hyperparameters")
    path = str(arguments.replay)
    lines = read_journal(Path(path))
    command = f"python -m popjax.babysit --replay {shlex.quote(path)}"
    source = Source.again(lines[0], command, given)
    epochs, trial = lines[0].get("epochs"), lines[0].get("trial")
    if not all(isinstance(number, int) and number >= 0 for number in (epochs, trial)) or not epochs:
        raise ValueError(f"the journal {path!r}: line 1 lacks epochs or trial; give the whole journal")
    Space(**lines[0]["hparams"])
    return Beginning(source, dict(lines[0]["hparams"]), epochs, int(trial or 0), tuple(lines))


def value_of(text: str, where: str) -> tuple[str, Any]:
    """Name and value of `name=value`; raises ValueError for a scale or for nonsense."""
    from popjax.scales import Constant
    from popjax.space import Space

    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not name:
        raise ValueError(f"{where} {text!r}: write name=value, such as learning_rate=0.1")
    scale = Space.from_dict({name: value})[name]
    if not isinstance(scale, Constant):
        raise ValueError(f"{where} {text!r}: one model takes one value, such as {name}={scale.low}")
    return name, scale.value


def read_script(path: str) -> list[str]:
    """The commands of a file; raises ValueError."""
    try:
        return commands_in(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read the script {path!r}: {error}") from None


def commands_in(text: str) -> list[str]:
    """A command a line, without comments and empty lines."""
    commands = [line.partition("#")[0].strip() for line in text.splitlines()]
    return [command for command in commands if command]


def open_directory(arguments: Arguments, start: Beginning) -> Path:
    """Where the journal goes: `--out`, or a new directory under runs/."""
    from popjax.results import check_directory

    stem = (start.source.task or Path(start.source.dataset).stem).replace(":", "-")
    out = Path(arguments.out) if arguments.out is not None else new_directory(f"babysit-{stem}")
    if (out / "journal.jsonl").exists():
        raise ValueError(f"--out {str(out)!r} holds a journal; choose another directory")
    try:
        check_directory(out)
    except ValueError as error:
        raise ValueError(f"--out {error}") from None
    return out


class Sitter:
    """One model with its journal, obeying commands."""

    def __init__(self, start: Beginning, task: "Task", hparams: Mapping[str, Any], out: Path) -> None:
        from popjax.journal import Journal
        from popjax.session import Session

        self.task = task
        self.out = out
        self.trial = start.trial
        self.session = Session(task, hparams, start.epochs, start.source.seed, trials=[start.trial])
        self.journal = Journal(out / "journal.jsonl")
        self.to_go = 0
        source = dataclasses.asdict(start.source)
        began = {"arguments": source, "hparams": self.session.hparams, "epochs": start.epochs, "trial": start.trial}
        self.journal.write(0, self.rate, "start", **began)
        print(cli.printable(f"model: {cli.settings(self.session.hparams)}"), flush=True)

    @classmethod
    def begin(cls, start: Beginning, out: Path) -> "Sitter":
        """Load the data and build the model; hyperparameters that may be set later get their defaults."""
        from popjax.defaults import untuned

        source = start.source
        if source.task is not None:
            task, others = source.users_task(), {}
        else:
            dataset = source.load()
            task = source.supervised(dataset)
            others = untuned(source.optimizer, source.schedule, task.data.folds.train.shape[1], source.model)
            print(f"dataset: {dataset.name}, {len(dataset.y)} rows, {dataset.kind}")
        print(f"device: {describe_device()}", flush=True)
        try:
            return cls(start, task, start.hparams | read_by(task, start, others), out)
        except Exception as error:
            if source.task is None or isinstance(error, ValueError):
                raise
            raise source.fault(error) from None

    @property
    def rate(self) -> float | None:
        """The base learning rate, before the schedule."""
        return self.session.hparams.get("learning_rate")

    def script(self, commands: Iterable[str]) -> int:
        """Obey one command after the other; a mistake ends it. Returns the exit code."""
        for command in commands:
            if not self.obey(command):
                break
            while self.to_go:
                self.epoch()
        return self.leave()

    def interactive(self, epochs: int) -> int:
        """Train, and obey what is typed, at the end of the epoch; a mistake is told. Returns the exit code."""
        from popjax.keyboard import Keyboard

        keyboard = Keyboard()
        print(HELP, flush=True)
        self.obey(f"go {epochs}")
        while self.to_go or keyboard.open:
            if not self.to_go:
                print(f"epoch {self.session.epoch}> ", end="", flush=True)
            command = keyboard.line(wait=not self.to_go)
            if command is None:
                self.epoch()
                continue
            try:
                if not self.obey(command):
                    break
            except ValueError as error:
                print(cli.printable(str(error)), flush=True)
        return self.leave()

    def replay(self, lines: Iterable[Mapping[str, Any]]) -> int:
        """Do again what a journal says, and compare every epoch's metrics. Returns the exit code."""
        different = None
        for line in list(lines)[1:]:
            if line["command"] is None:
                self.epoch()
                metrics = self.metrics()
                if different is None and any(plain(value) != line.get(name) for name, value in metrics.items()):
                    different = self.session.epoch
            elif str(line["command"]).split()[:1] not in (["go"], ["watch"], ["save"], ["quit"], []):
                self.obey(str(line["command"]))
        if different is None:
            print(f"the same curve as in the journal, bit for bit, over {self.session.epoch} epochs")
        else:
            print(f"the curve differs from the journal's, first at epoch {different}: other versions change bits")
        return self.leave()

    def obey(self, command: str) -> bool:
        """Carry out a command; False for "quit". Raises ValueError for one that cannot be."""
        word, _, rest = command.partition(" ")
        change = CHANGE.fullmatch(command)
        if change:
            self.change(*change.groups())
        elif word in ("go", "back"):
            count = cli.whole(rest or "1", command)
            if word == "back":
                self.session.back(count)
            self.to_go = count if word == "go" else self.to_go
        elif command == "":
            self.to_go = 0
        elif command in ("watch", "save"):
            getattr(self, command)()
        elif command != "quit":
            raise ValueError(f"unknown command {command!r}; {HELP}")
        if command:
            self.journal.write(self.session.epoch, self.rate, command)
        return command != "quit"

    def change(self, name: str, operator: str, text: str) -> None:
        """Set a hyperparameter, to a value or relative to what it is."""
        _, value = value_of(f"{name}={text}", "command")
        if operator != "=":
            now = self.session.hparams.get(name)
            if not isinstance(now, int | float) or not isinstance(value, int | float):
                raise ValueError(f"{name}{operator}{text}: {name} is {now!r}; write {name}=value")
            if operator == "/=" and value == 0:
                raise ValueError(f"{name}/=0: divide by another number")
            value = OPERATORS[operator](now, value)
        self.session.set(**{name: value})
        print(cli.printable(f"{name} = {cli.cell(value)} from epoch {self.session.epoch + 1} on"), flush=True)

    def epoch(self) -> None:
        """Train one epoch, and show it."""
        self.session.train(1)
        self.to_go = max(0, self.to_go - 1)
        metrics = self.metrics()
        self.journal.write(self.session.epoch, self.rate, None, **metrics)
        shown = "  ".join(f"{name} {cli.cell(value)}" for name, value in metrics.items())
        curve = sparkline(self.session.curves[self.task.metric].tolist()[-40:])
        print(cli.printable(f"epoch {self.session.epoch:3}  {shown}  {curve}"), flush=True)
        if not self.session.alive:
            self.to_go = 0
            print("diverged: go back and lower the learning rate, such as: back 1, learning_rate*=0.3", flush=True)

    def metrics(self) -> dict[str, float]:
        """The last epoch's metrics."""
        return {name: float(values[-1]) for name, values in self.session.curves.items()}

    def watch(self) -> None:
        """Print how training stands."""
        values = self.metrics() if self.session.epoch else {}
        if self.task.watch is not None:
            values |= {name: float(value) for name, value in self.session.measure(self.task.watch).items()}
        width = max(map(len, values), default=0)
        for name, value in values.items():
            print(cli.printable(f"  {name:{width}}  {value:.4g}"), flush=True)

    def save(self) -> None:
        """Write the model as it stands, for `popjax.load_best`."""
        from popjax.results import write_best

        value = self.metrics()[self.task.metric] if self.session.epoch else None
        write_best(self.out, self.trial, self.session.hparams, plain(value), *self.session.arrays())
        print(f"saved: {self.out / 'best'}", flush=True)

    def leave(self) -> int:
        """Tell where the journal is; returns the exit code."""
        self.journal.close()
        path = self.out / "journal.jsonl"
        print(f"journal: {path}")
        print(f"again: python -m popjax.babysit --replay {shlex.quote(str(path))}")
        return 0 if self.session.alive else cli.ALL_DIVERGED


def read_by(task: "Task", start: Beginning, others: Mapping[str, Any]) -> dict[str, Any]:
    """What the task reads of `others` that are not given."""
    from popjax.check import Checker
    from popjax.run import check_sizes
    from popjax.space import Space

    space = Space(**(dict(others) | start.hparams))
    check_sizes(space)
    if not others:
        return {}
    reads = Checker(task, space, space.sample(1), start.epochs).reads()
    return {name: value for name, value in others.items() if name in reads and name not in start.hparams}


def sparkline(values: list[float]) -> str:
    """A curve in one line of text; a gap where a value is not finite."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    step = (high - low) / (len(BLOCKS) - 1) or 1.0
    return "".join(BLOCKS[round((value - low) / step)] if math.isfinite(value) else " " for value in values)


if __name__ == "__main__":
    cli.run(main)
