"""`python -m popjax.report DIR`: the page of a run, drawn again from its files. No JAX here."""

import dataclasses
from typing import Annotated

import tyro

from popjax.commands import cli
from popjax.core.text import printable


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Draw the page of a run again, from the files in its directory."""

    directory: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR")]
    """the directory of a run, such as runs/mine"""


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    arguments = cli.parse(Arguments, "report", argv)
    from popjax.commands.sweep import command_line
    from popjax.pages.page import write_report
    from popjax.store.results import Results

    results = Results.load(arguments.directory)
    if "command" not in results.run:  # a run of format 1 holds the arguments alone
        results.run["command"] = command_line(results.run.get("arguments"))
    try:
        path = write_report(results, arguments.directory)
    except OSError as error:
        cli.fail(f"{arguments.directory!r}: {error.strerror}; free some space or check its permissions", cli.NO_ROOM)
    print(printable(str(path)))
    return 0
