"""`python -m popjax.export DIR --to onnx`: write a finished run for another tool. Starts without JAX."""

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from popjax.commands import cli
from popjax.commands.options import Text
from popjax.core.storage import written_atomically
from popjax.core.text import failure, lookup, printable

if TYPE_CHECKING:
    from popjax.store.results import Results


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Write a finished run for another tool: its winner as an ONNX model, or its trials for Optuna or a tracker."""

    directory: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR")]
    """the directory of a run, such as runs/mine"""
    to: Annotated[str, tyro.conf.arg(metavar="{onnx,optuna,tensorboard,mlflow,wandb,trackio}")]
    """the tool, also a tracker with a line of your own in TRACKERS; trackers are configured by their own environment
    variables"""
    top: int = 20
    """trackers: the number of best trials to write the curves of"""
    out: Text = None
    """onnx: the file of the model, with the coding of its rows in FILE.json (default: DIR/model.onnx);
    optuna: the file of the study, a journal, or SQLite if it ends with .db (default: DIR/optuna.journal)"""


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    arguments = cli.parse(Arguments, "export", argv)
    if arguments.top < 1:
        raise ValueError(f"--top {arguments.top}: give at least 1")
    if arguments.to == "onnx":
        paths = written_onnx(Path(arguments.directory), arguments.out)
    else:
        from popjax.store.results import Results

        results = Results.load(arguments.directory)
        paths = [written_study(results, arguments)] if arguments.to == "optuna" else tracked(results, arguments)
    print("\n".join(printable(str(path)) for path in paths) or f"written: {arguments.to}")
    return 0


def written_onnx(directory: Path, out: str | None) -> list[Path]:
    """Write the winner, or the ensemble, as an ONNX model, and the coding of its rows beside it; the paths of both."""
    from popjax.supervision.exported import coding
    from popjax.supervision.loading import load_best

    path = Path(out) if out else directory / "model.onnx"
    predictor = load_best(directory)
    contents = {
        path: predictor.export("onnx"),
        path.with_name(f"{path.name}.json"): json.dumps(coding(predictor.recipe), indent=1).encode() + b"\n",
    }
    for each, content in contents.items():
        with writing(each), written_atomically(each) as file:
            file.write(content)
    return list(contents)


def written_study(results: "Results", arguments: Arguments) -> Path:
    """Write the trials as a study of Optuna; its path."""
    from popjax.tracking.optuna_study import write_study

    directory = Path(arguments.directory)
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
    return path


def tracked(results: "Results", arguments: Arguments) -> list[Path]:
    """Write the run to a tracker, which has no path."""
    from popjax.tracking.named_trackers import TRACKERS, tracker_of

    lookup(dict.fromkeys(("onnx", "optuna", *TRACKERS)), "--to", arguments.to)
    try:
        tracker_of(arguments.to, arguments.top).export(results, Path(arguments.directory))
    except Exception as error:  # any error of the tracker's package, such as a missing login
        raise ValueError(f"--to {arguments.to}: {failure(error)}") from None
    return []


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Context in which a file that cannot be written ends the command."""
    try:
        yield
    except OSError as error:
        cli.fail_to_write(repr(str(path)), error)
