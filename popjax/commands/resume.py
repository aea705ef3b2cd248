"""`python -m popjax.resume DIR`: the sweep of a directory goes on, as its command was. Starts without JAX."""

import dataclasses
import shlex
from pathlib import Path
from typing import Annotated

import tyro

from popjax.commands import arguments as of_sweep
from popjax.commands import cli
from popjax.commands.arguments import Named
from popjax.commands.directories import open_directory
from popjax.commands.options import Text, Whole
from popjax.commands.sweep import Sweep
from popjax.core.storage import Corrupt
from popjax.store.cleaning import check_not_cleaned
from popjax.store.files import HOLDS
from popjax.store.listing import FINISHED, files_of_run, state_now

MORE = ("trials", "epochs")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments(of_sweep.Running):
    """Go on with the sweep of a directory: as its command was, to its end, or to more trials or epochs.

    Options that change no result, such as --executor, are those of this command.
    """

    directory: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR")]
    """the directory of the sweep"""
    dataset: Text = None
    """the file of the rows, if the sweep had one: files that a directory names are not opened unasked"""
    target: Text = None
    """the column to predict (default: that of the sweep)"""
    validation: Text = None
    """the file of validation rows, if the sweep had one"""
    test: Text = None
    """the file of test rows, if the sweep had one"""
    task: Text = None
    """your own Task, as module:attribute, if the sweep had one"""
    trials: Whole = None
    """more trials than the sweep's"""
    epochs: Whole = None
    """more epochs than the sweep's"""


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    arguments = cli.parse(Arguments, "resume", cli.with_port(argv))
    directory = Path(arguments.directory)
    raised = [word for name in MORE if (more := getattr(arguments, name)) for word in (f"--{name}", str(more))]
    again = f"{cli.called('resume')} {shlex.join([arguments.directory, *raised])}"
    if not directory.is_dir():
        raise ValueError(f"{arguments.directory!r} is no directory of a sweep")
    if (directory / HOLDS["session"]).exists() and not (directory / HOLDS["run"]).exists():
        raise ValueError(f"{again}: it holds a session; {cli.called('babysit')} --resume goes on with one")
    run, summary = files_of_run(directory)
    check_not_cleaned(directory)
    given = {field.name: getattr(arguments, field.name) for field in dataclasses.fields(Arguments)}
    named = {name: given[name] for name in ("dataset", "target", "validation", "test", "task", "trials", "epochs")}
    now = of_sweep.Arguments.again(run, again, named)
    longer = any(named[name] not in (None, run.get(name)) for name in MORE)
    if state_now(directory, run, summary) == FINISHED and not longer:
        raise ValueError(
            f"{str(directory)!r} is finished; give more --trials or --epochs to go on, if its scheduler has no last one"
        )
    if now.rounds and now.trials > run["trials"] and not run["trials"] % now.rounds:  # further ones of this size
        now = dataclasses.replace(now, rounds=-(-now.trials * now.rounds // run["trials"]))
    running = {field.name: given[field.name] for field in dataclasses.fields(of_sweep.Running)}
    now = dataclasses.replace(now, out=str(directory), resume=True, **running)
    if not isinstance(run.get("space"), dict):
        raise Corrupt(f"cannot resume {str(directory)!r}: its run.json has no usable 'space'")
    from popjax.space.space import Space

    about, space = of_sweep.about(now), Space.from_dict(run["space"])
    now = dataclasses.replace(now, space=None, set=(), where=(), near=(), start=None)  # as recorded
    of_sweep.check_arguments(now)
    with open_directory(now.out, now.stem, resume=True) as out:
        return Sweep(now, Named(space.entries(), space.constraints, whole=True), out, about).run()
