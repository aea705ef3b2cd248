"""`python -m popjax.babysit`: one model, watched and steered by hand. Starts without JAX."""

import contextlib
import dataclasses
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from popjax.commands import cli
from popjax.commands.directories import open_directory
from popjax.commands.experiment import Experiment, RowsOptions
from popjax.commands.options import Rewrite, Switch, Text, Whole
from popjax.commands.steering import Beginning, Steering
from popjax.commands.typed import commands_in, read_script, value_of
from popjax.core.counts import check_count, check_seed
from popjax.core.storage import Corrupt

EPOCHS = 20


@dataclasses.dataclass(frozen=True)
class Arguments(RowsOptions):
    """Train one model, watch its curve, and steer it: for a model that is too large to train many.

    Commands, from the keyboard at any time or from --script: go 5, learning_rate=0.03,
    learning_rate*=0.5 (and any other hyperparameter that fixes no shape), back 5 (to the
    weights and the optimizer of five epochs ago), watch, save, help, quit. From the keyboard nothing is
    trained before a command: an empty line trains, or pauses.
    """

    dataset: Text = None
    """digits (the default), wine, breast_cancer, diabetes, or a CSV, TSV, Parquet or NPZ file"""
    target: Text = None
    """the column to predict, or several: a,b (an array's name for NPZ)"""
    missing: Text = None
    """what to do with missing cells: error, drop, median (of text, the most frequent) or auto"""
    model: Text = None
    """the model: mlp, tabular for tables, or cnn for images"""
    optimizer: Text = None
    """sgd, nesterov, adam, adamw or rmsprop"""
    schedule: Text = None
    """the schedule of the learning rate: inverse, exponential, cosine or flat"""
    transform: Text = None
    """the transform of the features: standardize, global, robust, quantile or none"""
    rewrite: Rewrite = None
    """none: convolutions, pools and products of cnn are computed as they are written, and slower"""
    ordered: Switch = None
    """rows are in order of time: the first ones train"""
    task: Text = None
    """your own Task, as module:attribute"""
    seed: Whole = None
    """the seed of the split and the model"""
    from_: Annotated[str | None, tyro.conf.arg(name="from", metavar="DIR", help_behavior_hint="")] = None
    """the directory of an earlier search: its dataset, model and the winner's hyperparameters"""
    trial: Whole = None
    """another trial of that search"""
    set: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """a hyperparameter to begin with: learning_rate=0.1"""
    epochs: Whole = None
    """the horizon of the schedule; an empty line trains as many (default: 20, or the search's)"""
    script: Text = None
    """a file of commands, one per line, instead of the keyboard"""
    replay: Text = None
    """the directory of an earlier model: train it again from its log, in another directory"""
    resume: Text = None
    """the directory of an earlier model: resume it"""
    live: Whole = None
    """show the model in the browser while it trains, and steer it there too; a port may follow (the extra live)"""
    live_host: Text = None
    """the address of this machine to serve the page at, for other machines too (default: 127.0.0.1)"""
    out: Text = None
    """the directory for the log, the states and the model (default: runs/babysit-<dataset>-<time>)"""


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    arguments = cli.parse(Arguments, "babysit", cli.with_port(argv))
    if arguments.epochs is not None:
        check_count("--epochs", arguments.epochs)
    if arguments.seed is not None:
        check_seed(arguments.seed, "--seed ")
    check_page(arguments)
    start = beginning(arguments)
    script = read_script(arguments.script) if arguments.script else None
    if start.resume is not None:
        return babysit(arguments, start, start.resume, script)
    with open_directory(arguments.out, f"babysit-{start.experiment.stem}") as out:
        return babysit(arguments, start, out, script)


def babysit(arguments: Arguments, start: Beginning, out: Path, script: list[tuple[int, str]] | None) -> int:
    """Steer the model from a script, the keyboard or a page, with results in `out`; the exit code."""
    asked = sys.stdin is not None and sys.stdin.isatty()
    if script is None and arguments.replay is None and not asked and arguments.live is None:
        script = commands_in("" if sys.stdin is None else sys.stdin.read())
    stop = cli.SignalledStop()
    steering = Steering.begin(start, out, stop)
    with cli.stopping(stop, "epoch"), contextlib.suppress(KeyboardInterrupt):
        try:
            steer(steering, arguments, script)
        except ValueError:  # a mistake in a script: what was trained before it is not lost
            steering.leave()
            raise
    return steering.leave()


def steer(steering: Steering, arguments: Arguments, script: list[tuple[int, str]] | None) -> None:
    """Train the model by the log of another one, or by commands from the page, the script or the keyboard."""
    if arguments.replay is not None:
        steering.repeat()
    elif arguments.live is not None:
        steering.live(script or (), arguments.live, arguments.live_host or cli.HERE)
    elif script is None:
        steering.interactive()
    elif script or arguments.script is not None:
        steering.script(script)
    else:  # nothing was piped in
        steering.script([(1, f"go {steering.rest}")])


def check_page(arguments: Arguments) -> None:
    """Raise ValueError for an impossible live page, before anything is loaded."""
    cli.check_live(arguments.live, arguments.live_host)
    if arguments.live is not None and arguments.replay is not None:
        raise ValueError("--replay and --live exclude each other; give one")


def beginning(arguments: Arguments) -> Beginning:
    """What the session begins with, by --from, --replay, --resume, --set and the defaults. Raises ValueError."""
    given = {field.name: getattr(arguments, field.name) for field in dataclasses.fields(Experiment)}
    if arguments.trial is not None and arguments.from_ is None:
        raise ValueError(f"--trial {arguments.trial} needs --from: the directory of the search")
    for option in ("replay", "resume"):
        if getattr(arguments, option) is not None:
            return recorded(arguments, option, given)
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
    """The dataset, the model and one trial's hyperparameters of an earlier search. Raises ValueError."""
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


def recorded(arguments: Arguments, option: str, given: Mapping[str, Any]) -> Beginning:
    """What the session in the directory of --replay or --resume began with. Raises ValueError for other options."""
    others = {"replay": ("script", "resume"), "resume": ("out",)}[option]
    for name in ("from_", "epochs", "seed", *others):
        if getattr(arguments, name) is not None:
            raise ValueError(f"--{option} and --{name.rstrip('_')} exclude each other; give one")
    if arguments.set:
        raise ValueError(f"--{option} and --set exclude each other; the directory has the hyperparameters")
    place = str(getattr(arguments, option))
    about, steps, curves = read_session(Path(place))
    experiment = Experiment.again(about, f"{cli.called('babysit')} --{option} {shlex.quote(place)}", given)
    try:
        epochs, trial = check_count("epochs", about["epochs"]), check_count("trial", about.get("trial", 0), 0)
        hparams = {name: column.tolist()[0] for name, column in steps[0].decision.add.items()}
        if not hparams:
            raise ValueError("the decision that adds the model is missing")
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        raise Corrupt(f"cannot read the session in {place!r}: {error}") from None
    start = Beginning(experiment, hparams, epochs, trial)
    if option == "resume":
        return dataclasses.replace(start, resume=Path(place))
    return dataclasses.replace(start, steps=steps, curves=curves, place=place)


def read_session(directory: Path) -> tuple[dict[str, Any], list[Any], dict[str, np.ndarray]]:
    """session.json of a recorded model, its steps, and metric -> (epochs,), its curves as of the last commit.

    Raises ValueError if there is none, Corrupt for damaged files.
    """
    from popjax.space.space import Space
    from popjax.store.decisions import NAME, Step, read_lines
    from popjax.store.files import HOLDS, check_format, read_json, read_table
    from popjax.store.run_files import CURVES

    file = directory / HOLDS["session"]
    if not file.exists():
        raise ValueError(f"{str(directory)!r} holds no session: there is no {file.name}; give the directory of one")
    about = read_json(file)
    check_format(directory, about)
    try:
        lines, _ = read_lines(directory / NAME, Space.from_dict(about["space"]))
        steps = [line for line in lines if isinstance(line, Step)]
    except Corrupt:
        raise
    except (LookupError, ValueError, TypeError, AttributeError, OSError) as error:
        raise Corrupt(f"cannot read the session in {str(directory)!r}: {error}") from None
    if not (directory / CURVES).exists():  # before the first commit
        return about, steps, {}
    table = read_table(directory / CURVES)
    first = np.all([table[name].to_numpy() == 0 for name in ("trial", "fold", "repeat")], axis=0)
    return about, steps, {name: table[name].to_numpy()[first] for name in table.column_names[4:]}
