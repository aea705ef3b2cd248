"""`python -m popjax.clean DIR...`: drop what finished runs need only to be resumed. No JAX here."""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import tyro

from popjax.commands import cli
from popjax.core.storage import InUse, in_use
from popjax.core.text import plural, printable

FEW = 3  # runs that a question names


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Drop from finished runs what only resuming, more trials and more epochs need: most of their bytes.

    Reports, predictions, re-tests, babysitting and loading go on as before.
    """

    directories: Annotated[
        tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="DIR [DIR ...]", help_behavior_hint="(required)")
    ]
    """the directories of finished runs, such as runs/mine"""
    yes: bool = False
    """do not ask"""


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    arguments = cli.parse(Arguments, "clean", argv)
    if not arguments.directories:
        raise ValueError("clean: name the directories of finished runs, such as runs/mine")
    from popjax.store.cleaning import bytes_in, check_finished, clean, droppable

    directories = list(dict.fromkeys(Path(name) for name in arguments.directories))
    for directory in directories:
        check_finished(directory)
        if in_use(directory):
            raise InUse(f"{str(directory)!r} is in use by another process; wait until it has ended")
    size = sum(bytes_in(droppable(directory)) for directory in directories)
    named = ", ".join(map(str, directories[:FEW])) + (", ..." if len(directories) > FEW else "")
    runs = f"{plural(len(directories), 'run')} ({named})"
    if size and not arguments.yes and not agreed(f"{size / 1e6:.1f} MB of {runs}, which can then no longer be resumed"):
        print("nothing is dropped", file=sys.stderr)
        return 0
    for directory in directories:
        try:
            print(printable(f"{directory}: {clean(directory) / 1e6:.1f} MB dropped"), flush=True)
        except OSError as error:
            cli.fail_to_write(str(directory), error)
    return 0


def agreed(what: str) -> bool:
    """True if a person says yes; raises ValueError if nobody can be asked."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise ValueError(f"clean would drop {what}; say --yes, since there is no terminal to ask at")
    print(printable(f"drop {what}? [y/N] "), end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
