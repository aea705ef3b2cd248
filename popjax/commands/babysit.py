"""`python -m popjax.babysit`: one model, watched and steered by hand. Starts without JAX."""

import dataclasses
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import tyro

from popjax.commands import cli
from popjax.commands.experiment import Experiment, Rows, check_seed, open_directory
from popjax.commands.steering import Beginning, Steering, value_of

EPOCHS = 20


@dataclasses.dataclass(frozen=True)
class Arguments(Rows):
    """Train one model, watch its curve, and steer it: the way when a model is too large for many.

    Commands, from the keyboard at any time or from --script: go 5, learning_rate=0.03,
    learning_rate*=0.5 (any other hyperparameter that fixes no shape likewise), back 5 (to the
    weights and the optimizer of five epochs ago), watch, save, help, quit. From the keyboard nothing is
    trained before it is told to: an empty line trains, or pauses.
    """

    dataset: str | None = None
    """digits (the default), wine, breast_cancer, diabetes, or a CSV, Parquet or NPZ file"""
    target: str | None = None
    """the column to predict (an array's name for NPZ)"""
    missing: str | None = None
    """what to do with missing cells: error, drop or median (of text, the most frequent)"""
    model: str | None = None
    """the model: mlp, or cnn for images"""
    optimizer: str | None = None
    """sgd, nesterov, adam, adamw or rmsprop"""
    schedule: str | None = None
    """of the learning rate: inverse, exponential or cosine"""
    standardize: str | None = None
    """features: feature, each by its own scale; global, by one; or none (default: images global, tables feature)"""
    ordered: bool | None = None
    """rows are in time: the first ones train"""
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
    epochs: int | None = None
    """the horizon of the schedule; an empty line trains as many (default: 20, or the search's)"""
    script: str | None = None
    """a file of commands, a line each, instead of the keyboard"""
    replay: str | None = None
    """a journal, or its directory: train its model again, with the same commands"""
    resume: str | None = None
    """the same, and go on from there"""
    live: int | None = None
    """show the model in the browser while it trains, and steer it there too; a port may follow (the extra live)"""
    live_host: str | None = None
    """the address of this machine that the page is served at, for others to open it too (default: 127.0.0.1)"""
    out: str | None = None
    """the directory for the journal and the model (default: runs/babysit-<dataset>-<time>)"""


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    arguments = cli.parse(Arguments, "babysit", cli.with_port(argv))
    if arguments.epochs is not None and arguments.epochs < 1:
        raise ValueError(f"--epochs {arguments.epochs}: give at least 1")
    check_seed(arguments.seed)
    check_live(arguments)
    start = beginning(arguments)
    script = read_script(arguments.script) if arguments.script else None
    out = open_directory(arguments.out, f"babysit-{start.experiment.stem}")
    if script is None and arguments.replay is None and not sys.stdin.isatty() and arguments.live is None:
        script = commands_in(sys.stdin.read())
    steering = Steering.begin(start, out)
    try:
        return steered(steering, arguments, start, script)
    except KeyboardInterrupt:
        print()  # the terminal shows ^C
        steering.leave()
        raise


def steered(steering: Steering, arguments: Arguments, start: Beginning, script: list[tuple[int, str]] | None) -> int:
    """Train the model as the journal says, and then the page, the script or the keyboard; the exit code."""
    if start.lines:
        steering.replay(start.lines)
    if arguments.replay is not None:
        return steering.leave()
    if arguments.live is not None:
        return steering.live(script or (), arguments.live, arguments.live_host or cli.HERE)
    if script == [] and arguments.script is None:  # nothing was piped in
        script = [(1, f"go {steering.rest}")]
    return steering.interactive() if script is None else steering.script(script)


def check_live(arguments: Arguments) -> None:
    """Refuse a live page that cannot be, before anything is loaded."""
    cli.check_live(arguments.live, arguments.live_host)
    if arguments.live is not None and arguments.replay is not None:
        raise ValueError("--replay and --live exclude each other; give one")


def beginning(arguments: Arguments) -> Beginning:
    """What --from, --replay, --resume and --set make of the defaults."""
    given = {field.name: getattr(arguments, field.name) for field in dataclasses.fields(Experiment)}
    if arguments.trial is not None and arguments.from_ is None:
        raise ValueError(f"--trial {arguments.trial} needs --from: the directory of the search")
    for name in ("replay", "resume"):
        if getattr(arguments, name) is not None:
            return replayed(arguments, name, given)
    if arguments.from_ is not None:
        start = from_search(arguments, given)
    else:
        chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        experiment = Experiment(**chosen)
        experiment.check()
        start = Beginning(experiment, {}, arguments.epochs or EPOCHS)
    settings = dict(value_of(text, "--set") for text in arguments.set)
    return dataclasses.replace(start, hparams=start.hparams | settings)


def from_search(arguments: Arguments, given: Mapping[str, Any]) -> Beginning:
    """The dataset, the model and one trial's hyperparameters of an earlier search."""
    from popjax.store.results import Results

    directory = str(arguments.from_)
    results = Results.load(directory)
    command = f"{cli.called('babysit')} --from {shlex.quote(directory)}"
    experiment = Experiment.again(results.run, command, given)
    trial = arguments.trial
    if trial is None:
        if results.best is None:
            raise ValueError(f"--from {directory!r}: {results.no_winner}; choose one with --trial")
        trial = results.best.trial
    if not 0 <= trial < len(results.diverged):
        raise ValueError(f"--trial {trial}: {directory!r} holds trials 0..{len(results.diverged) - 1}")
    return Beginning(experiment, {}, arguments.epochs or int(results.run["epochs"]), trial, results.hparams(trial))


def replayed(arguments: Arguments, option: str, given: Mapping[str, Any]) -> Beginning:
    """What the journal that an option names began with."""
    from popjax.space.space import Space
    from popjax.store.journal import read_journal

    for name in ("from_", "epochs", "seed", *(("script", "resume") if option == "replay" else ())):
        if getattr(arguments, name) is not None:
            raise ValueError(f"--{option} and --{name.rstrip('_')} exclude each other; give one")
    if arguments.set:
        raise ValueError(f"--{option} and --set exclude each other; the journal has the hyperparameters")
    path = str(getattr(arguments, option))
    if (inside := Path(path, "journal.jsonl")).exists():
        path = str(inside)
    lines = read_journal(Path(path))
    command = f"{cli.called('babysit')} --{option} {shlex.quote(path)}"
    experiment = Experiment.again(lines[0], command, given)
    epochs, trial = lines[0].get("epochs"), lines[0].get("trial")
    if not all(isinstance(number, int) and number >= 0 for number in (epochs, trial)) or not epochs:
        raise ValueError(f"the journal {path!r}: line 1 lacks epochs or trial; give the whole journal")
    Space(**lines[0]["hparams"])
    return Beginning(experiment, dict(lines[0]["hparams"]), epochs, int(trial or 0), lines=tuple(lines))


def read_script(path: str) -> list[tuple[int, str]]:
    """The commands of a file; raises ValueError."""
    try:
        return commands_in(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read the script {path!r}: {error}") from None


def commands_in(text: str) -> list[tuple[int, str]]:
    """A command a line with its number, without comments and empty lines."""
    commands = [line.partition("#")[0].strip() for line in text.splitlines()]
    return [(number, command) for number, command in enumerate(commands, 1) if command]
