"""`python -m popjax.report DIR`: the page of a run, drawn again from its files. No JAX here."""

import dataclasses
import os
from typing import TYPE_CHECKING, Annotated

import tyro

from popjax.commands import cli
from popjax.core.text import printable

if TYPE_CHECKING:
    from popjax.store.results import Results


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Draw the page of a run again, from the files in its directory; or one that compares several runs."""

    directories: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="DIR [DIR ...]")]
    """the directory of a run, such as runs/mine; of several, those to compare"""
    out: str = "comparison.html"
    """the page of a comparison"""


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    arguments = cli.parse(Arguments, "report", argv)
    if not arguments.directories:
        raise ValueError("report: name the directory of a run, such as runs/mine")
    from popjax.pages.page import write_comparison, write_report

    places = [os.path.realpath(directory) for directory in arguments.directories]
    for directory, place in zip(arguments.directories, places, strict=True):
        if places.count(place) > 1:
            raise ValueError(f"report: {directory!r} is named twice; name each run once")
    runs = {directory: loaded(directory) for directory in arguments.directories}
    alone = len(runs) == 1
    out = next(iter(runs)) if alone else arguments.out
    try:
        path = write_report(runs[out], out) if alone else write_comparison(runs, out)
    except OSError as error:
        cli.fail(f"{out!r}: {error.strerror}; free some space or check its permissions", cli.NO_ROOM)
    print(printable(str(path)))
    return 0


def loaded(directory: str) -> "Results":
    """The results of a run, with the command that made it."""
    from popjax.commands.arguments import command_line
    from popjax.store.results import Results

    results = Results.load(directory)
    if "command" not in results.run:  # a run of format 1 holds the arguments alone
        results.run["command"] = command_line(results.run.get("arguments"))
    return results
