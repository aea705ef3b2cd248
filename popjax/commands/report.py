"""`python -m popjax.report DIR`: the page of a run, drawn again from its files. No JAX here."""

import dataclasses
import os
from pathlib import Path
from typing import Annotated

import tyro

from popjax.commands import cli
from popjax.commands.options import Text
from popjax.core.text import printable


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Draw the page of a run again, from the files in its directory; or one that compares several runs."""

    directories: Annotated[
        tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="DIR [DIR ...]", help_behavior_hint="(required)")
    ]
    """the directory of a run, such as runs/mine; several are compared"""
    out: Text = None
    """the file of the page (default: report.html in the directory, of several comparison.html here)"""


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    arguments = cli.parse(Arguments, "report", argv)
    if not arguments.directories:
        raise ValueError("report: name the directory of a run, such as runs/mine")
    from popjax.pages.page import write_comparison, write_report
    from popjax.store.results import Results

    places = [os.path.realpath(directory) for directory in arguments.directories]
    for directory, place in zip(arguments.directories, places, strict=True):
        if places.count(place) > 1:
            raise ValueError(f"report: {directory!r} is named twice; name each run once")
    runs = {directory: Results.load(directory) for directory in arguments.directories}
    alone = len(runs) == 1
    first = next(iter(runs))
    out = arguments.out or (first if alone else "comparison.html")
    check_page(out)
    try:
        path = write_report(runs[first], out) if alone else write_comparison(runs, out)
    except OSError as error:
        cli.fail_to_write(repr(out), error)
    print(printable(str(path)))
    return 0


def check_page(out: str) -> None:
    """Raise ValueError for a file that is there and is no page, which would be lost."""
    path = Path(out)
    if path.is_file():
        with path.open("rb") as file:
            if not file.read(15).lower().startswith(b"<!doctype html>"):
                raise ValueError(f"--out {out!r} is there, and is no page; name another file")
