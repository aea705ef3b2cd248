"""`python -m popjax.report DIR`: the page of a run, drawn again from its files. No JAX here."""

import dataclasses
import os
from typing import Annotated

import tyro

from popjax.commands import cli
from popjax.core.text import printable


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Draw the page of a run again, from the files in its directory; or one that compares several runs."""

    directories: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="DIR [DIR ...]")]
    """the directory of a run, such as runs/mine; several are compared"""
    out: str = "comparison.html"
    """the file of a comparison"""


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
    out = next(iter(runs)) if alone else arguments.out
    try:
        path = write_report(runs[out], out) if alone else write_comparison(runs, out)
    except OSError as error:
        cli.fail(f"{out!r}: {error.strerror}; free some space or check its permissions", code=cli.NO_ROOM)
    print(printable(str(path)))
    return 0
