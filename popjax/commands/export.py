"""`python -m popjax.export DIR --to onnx`: write a finished run for another tool. Starts without JAX."""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import tyro

from popjax.commands import cli
from popjax.commands.options import Text, Whole
from popjax.core.storage import written_atomically
from popjax.core.text import failure, lookup, printable

TOP = 20  # trials whose curves a tracker gets


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Write a finished run for another tool: its winner as an ONNX model, or its trials for Optuna or a tracker."""

    directory: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR")]
    """the directory of a run, such as runs/mine"""
    to: Annotated[str, tyro.conf.arg(metavar="{onnx,optuna,tensorboard,mlflow,wandb,trackio}")]
    """the tool, also a tracker with a line of your own in TRACKERS; trackers are configured by their own environment
    variables"""
    top: Whole = None
    """trackers: the number of best trials to write the curves of (default: 20)"""
    out: Text = None
    """onnx: the file of the model, with the coding of its rows in FILE.json (default: DIR/model.onnx);
    optuna: the file of the study, a journal, or SQLite if it ends with .db (default: DIR/optuna.journal)"""


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    arguments = cli.parse(Arguments, "export", argv)
    paths = WRITERS.get(arguments.to, tracked)(arguments)
    print("\n".join(printable(str(path)) for path in paths) or f"written: {arguments.to}")
    return 0


def written_onnx(arguments: Arguments) -> list[Path]:
    """Write the winner, or the ensemble, as an ONNX model, and the coding of its rows beside it; the paths of both."""
    from popjax.supervision.exported import coding
    from popjax.supervision.loading import load_best

    check_unused(arguments, "top")
    directory = Path(arguments.directory)
    path = Path(arguments.out) if arguments.out else directory / "model.onnx"
    predictor = load_best(directory)
    contents = {
        path: predictor.export("onnx"),
        path.with_name(f"{path.name}.json"): json.dumps(coding(predictor.recipe), indent=1).encode() + b"\n",
    }
    for each, content in contents.items():
        with writing(each), written_atomically(each) as file:
            file.write(content)
    return list(contents)


def written_study(arguments: Arguments) -> list[Path]:
    """Write the trials as a study of Optuna; its path."""
    from popjax.store.results import Results
    from popjax.tracking.optuna_study import write_study

    check_unused(arguments, "top")
    directory = Path(arguments.directory)
    results = Results.load(directory)
    path = Path(arguments.out) if arguments.out else directory / "optuna.journal"
    if not path.parent.is_dir():
        raise ValueError(f"--out {str(path)!r}: there is no directory {str(path.parent)!r}; make it, or name another")
    new = not path.exists()
    with writing(path):
        try:
            write_study(results, path, directory.resolve().name)
        except BaseException:
            if new:
                path.unlink(missing_ok=True)
            raise
    return [path]


def tracked(arguments: Arguments) -> list[Path]:
    """Write the run to a tracker, which has no path."""
    from popjax.store.results import Results
    from popjax.tracking.named_trackers import TRACKERS, tracker_of

    lookup(dict.fromkeys((*WRITERS, *TRACKERS)), "--to", arguments.to)
    check_unused(arguments, "out")
    top = TOP if arguments.top is None else arguments.top
    if top < 1:
        raise ValueError(f"--top {top}: give at least 1")
    results = Results.load(arguments.directory)
    try:
        tracker_of(arguments.to, top).export(results, Path(arguments.directory))
    except ValueError as error:
        raise ValueError(f"--to {arguments.to}: {error}") from None
    except Exception as error:  # any error of the tracker's package, such as a missing login
        raise ValueError(f"--to {arguments.to}: {failure(error)}") from None
    return []


WRITERS: dict[str, Callable[[Arguments], list[Path]]] = {"onnx": written_onnx, "optuna": written_study}


def check_unused(arguments: Arguments, name: str) -> None:
    """Raise ValueError for an option that the tool has no use for."""
    if (value := getattr(arguments, name)) is not None:
        raise ValueError(f"--{name} {value}: --to {arguments.to} has no use for it; leave it out")


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Context in which a file that cannot be written ends the command."""
    try:
        yield
    except OSError as error:
        cli.fail_to_write(repr(str(path)), error)
