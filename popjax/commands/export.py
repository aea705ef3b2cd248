"""`python -m popjax.export DIR --to optuna`: write a finished run into another tool. No JAX here."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from popjax.commands import cli
from popjax.core.text import failure, printable


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Write a finished run into another tool: as one run of a tracker, or as a study of Optuna."""

    directory: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR")]
    """the directory of a run, such as runs/mine"""
    to: Literal["optuna", "tensorboard", "mlflow", "wandb", "trackio"]
    """the tool; each is configured by its own environment variables"""
    top: int = 20
    """trackers: the number of best trials to write the curves of"""
    out: str | None = None
    """optuna: the file of the study, a journal, or SQLite if it ends with .db (default: DIR/optuna.journal)"""


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    arguments = cli.parse(Arguments, "export", argv)
    if arguments.top < 1:
        raise ValueError(f"--top {arguments.top}: give at least 1")
    from popjax.store.results import Results
    from popjax.tracking.named_trackers import TRACKERS

    directory = Path(arguments.directory)
    if arguments.to != "optuna":
        tracker, results = TRACKERS[arguments.to](top=arguments.top), Results.load(arguments.directory)
        try:
            tracker.export(results, directory)
        except Exception as error:  # any error of the tracker's package, such as a missing login
            raise ValueError(f"--to {arguments.to}: {failure(error)}") from None
        print(f"written: {arguments.to}")
        return 0
    from popjax.tracking.optuna_study import write_study

    path = Path(arguments.out) if arguments.out else directory / "optuna.journal"
    try:
        write_study(Results.load(arguments.directory), path, directory.resolve().name)
    except OSError as error:
        cli.fail(f"{str(path)!r}: {error.strerror}; free some space or check its permissions", cli.NO_ROOM)
    print(printable(str(path)))
    return 0
