"""`python -m popjax.ls [DIR]`: the runs below a folder. No JAX here."""

import dataclasses
import datetime
import os
from pathlib import Path
from typing import Annotated

import tyro

from popjax.commands import cli
from popjax.core.text import aligned, cell, cut, printable

MOST = 80  # characters of a cell
HEAD = ["run", "written", "dataset", "trials", "winner", "test", "size", "how it ended"]


@dataclasses.dataclass(frozen=True)
class Arguments:
    """List the runs in a folder and below it, the one written last first."""

    folder: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR")] = "runs"
    """the folder"""
    json: bool = False
    """print a JSON list, an object a run, with the winner's hyperparameters"""


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    arguments = cli.parse(Arguments, "ls", argv)
    from popjax.store.listing import Entry, as_json, runs_below

    folder = Path(arguments.folder)
    if not folder.is_dir():
        raise ValueError(f"{arguments.folder!r} is no folder; name one in which there are runs")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise ValueError(f"{arguments.folder!r} cannot be read; check its permissions")
    entries = runs_below(folder)
    if arguments.json:
        print(as_json(entries))
        return 0
    if not entries:
        print(f"there are no runs in {printable(arguments.folder)!r}")
        return 0

    def row(entry: Entry) -> list[str]:
        trials = ", ".join(f"{count:,} {status}" for status, count in entry.trials.items())
        winner = "-" if entry.value is None else f"{entry.metric} {cell(entry.value)}"
        figures = [winner, cell(entry.test), f"{entry.size / 1e6:.1f} MB"]
        return [entry.path, when(entry.written), entry.dataset or "-", trials or "-", *figures, entry.state]

    rows = [[in_one_line(text) for text in row(entry)] for entry in entries]
    print(aligned([HEAD, *rows], str.ljust))
    return 0


def when(written: float) -> str:
    """A time, in seconds since 1970, as a text; "-" for one that no calendar has."""
    try:
        return f"{datetime.datetime.fromtimestamp(written):%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError, OSError):
        return "-"


def in_one_line(text: str) -> str:
    """A text of a file for a cell of the listing: no line of its own, and not as long as it likes."""
    return " ".join(cut(printable(text), MOST).split())
