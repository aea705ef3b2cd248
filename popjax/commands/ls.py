"""`python -m popjax.ls [DIR]`: the runs below a folder. No JAX here."""

import dataclasses
import datetime
from pathlib import Path
from typing import Annotated

import tyro

from popjax.commands import cli
from popjax.core.text import aligned, cell, printable

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
    entries = runs_below(folder)
    if arguments.json:
        print(as_json(entries))
        return 0
    if not entries:
        print(f"there are no runs in {printable(arguments.folder)!r}")
        return 0

    def row(entry: Entry) -> list[str]:
        when = f"{datetime.datetime.fromtimestamp(entry.written):%Y-%m-%d %H:%M}"
        trials = ", ".join(f"{count:,} {status}" for status, count in entry.trials.items())
        winner = "-" if entry.value is None else f"{entry.metric} {cell(entry.value)}"
        figures = [winner, cell(entry.test), f"{entry.size / 1e6:.1f} MB"]
        return [entry.path, when, entry.dataset or "-", trials or "-", *figures, entry.state]

    print(printable(aligned([HEAD, *map(row, entries)], str.ljust)))
    return 0
