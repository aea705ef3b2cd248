"""`python -m popjax.predict DIR FILE`: what the winner of a run says of the rows of a file. Starts without JAX."""

import contextlib
import csv
import dataclasses
import io
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import numpy as np
import tyro

from popjax.commands import cli
from popjax.commands.experiment import comma_list
from popjax.core.programs_on_disk import enable_cache
from popjax.core.storage import written_atomically
from popjax.core.text import printable

if TYPE_CHECKING:
    from popjax.supervision.predictor import Predictor


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Predict the rows of a file with the winner of a run, or with its ensemble: a line a row, in the file's order.

    Columns are found by their names; others may be there, too. The file may be of any length.
    """

    directory: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR")]
    """the directory of a run, such as runs/mine"""
    file: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FILE")]
    """a CSV, TSV or Parquet file with the columns of the training rows"""
    out: str | None = None
    """a CSV, TSV or Parquet file for the predictions (default: CSV on standard output)"""
    proba: bool = False
    """the probability of each class or label, a column each"""
    na: str | None = None
    """texts that mean a missing cell, beside the empty one and nan: NA,n/a (default: those of the run)"""


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    arguments = cli.parse(Arguments, "predict", argv)
    from popjax.data.batches import batches_of, check_columns_file

    check_columns_file(Path(arguments.file))
    out = None if arguments.out is None else checked_out(arguments)
    signal.signal(signal.SIGTERM, cli.terminated)
    from popjax.supervision.encoding import encoded_cells

    enable_cache()
    predictor, na = predictor_in(arguments)
    recipe = predictor.recipe
    batches = batches_of(Path(arguments.file), recipe.columns, recipe.levels, na)
    with sink_to(out, names(predictor, arguments.proba)) as write:
        begin = 0
        for cells in batches:
            try:
                found = predictor.mean_of(encoded_cells(recipe, cells, begin))
            except ValueError as error:
                raise ValueError(f"{arguments.file!r}: {error}") from None
            write(found if arguments.proba else recipe.kind.decided(found))
            begin += len(found)
        if begin == 0:
            raise ValueError(f"{arguments.file!r} has columns but no rows; add data")
    if out is not None:
        print(printable(str(out)))
    return 0


def checked_out(arguments: Arguments) -> Path:
    """The file for the predictions. Raises ValueError for one of another kind, in no directory, or that is read."""
    from popjax.data.batches import READERS

    out = Path(str(arguments.out))
    if out.suffix.lower() not in READERS:
        raise ValueError(f"--out {arguments.out!r} is no file of columns; name one of {', '.join(READERS)}")
    if out.resolve() == Path(arguments.file).resolve():
        raise ValueError(f"--out {arguments.out!r} is the file that is read; name another one")
    if out.is_dir() or not out.parent.is_dir():
        what = "a directory" if out.is_dir() else "in no directory"
        raise ValueError(f"--out {arguments.out!r} is {what}; name a file in one that is there")
    return out


def predictor_in(arguments: Arguments) -> "tuple[Predictor, tuple[str, ...]]":
    """The predictor of a run's directory, and the texts that mean a missing cell. Raises ValueError."""
    from popjax.store.files import read_json
    from popjax.supervision.loading import load_best

    predictor = load_best(arguments.directory)
    recipe = predictor.recipe
    if not recipe.columns:
        what = f"the winner in {arguments.directory!r} was trained on arrays, not on a table"
        raise ValueError(f"{what}; use popjax.load_best({arguments.directory!r}).predict(rows)")
    if arguments.proba and not recipe.kind.chances:
        raise ValueError("--proba: the winner predicts no classes or labels; leave it out")
    run = Path(arguments.directory) / "run.json"
    recorded = read_json(run).get("arguments") if run.exists() else None
    usual = recorded.get("na") if isinstance(recorded, dict) and isinstance(recorded.get("na"), str) else None
    return predictor, comma_list("na", arguments.na if arguments.na is not None else usual)


def names(predictor: "Predictor", proba: bool) -> list[str]:
    """The names of the columns of predictions."""
    if proba and predictor.classes is not None:
        return [str(name) for name in predictor.classes]
    return list(predictor.outputs) or ["prediction"]


@contextlib.contextmanager
def sink_to(out: Path | None, columns: Sequence[str]) -> "Iterator[Sink]":
    """Context: what writes predictions to a file, which is there once all are written, or to standard output."""
    try:
        if out is None:
            if sys.stdout is None:
                raise ValueError("standard output is closed; name a file with --out")
            yield Delimited(sys.stdout.buffer, columns)
            sys.stdout.flush()
            return
        with written_atomically(out) as file:
            if out.suffix.lower() == ".parquet":
                with contextlib.closing(Parquet(file, columns)) as sink:
                    yield sink
            else:
                yield Delimited(file, columns, "\t" if out.suffix.lower() == ".tsv" else ",")
    except BrokenPipeError:
        raise
    except OSError as error:
        what = "standard output" if out is None else f"--out {str(out)!r}"
        if out is None:  # else Python tries again at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        cli.fail_to_write(what, error)


class Sink:
    """Writes predictions, the names of the columns first."""

    def __init__(self, file: IO[bytes], columns: Sequence[str]) -> None:
        self.file, self.columns, self.begun = file, list(columns), False

    def __call__(self, predicted: np.ndarray) -> None:
        """Write the next rows (rows,) or (rows, columns)."""
        self.write(list(predicted.reshape(len(predicted), -1).T))
        self.begun = True

    def write(self, values: list[np.ndarray]) -> None:
        """Write the next rows, each column (rows,)."""
        raise NotImplementedError


class Delimited(Sink):
    """CSV or TSV."""

    def __init__(self, file: IO[bytes], columns: Sequence[str], delimiter: str = ",") -> None:
        super().__init__(file, columns)
        self.delimiter = delimiter

    def write(self, values: list[np.ndarray]) -> None:
        text = io.StringIO()
        rows = csv.writer(text, delimiter=self.delimiter, lineterminator="\n")
        if not self.begun:
            rows.writerow(self.columns)
        rows.writerows(zip(*(column.tolist() for column in values), strict=True))
        self.file.write(text.getvalue().encode())


class Parquet(Sink):
    """Parquet, a group of rows each time."""

    parts: Any = None

    def write(self, values: list[np.ndarray]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.table([pa.array(column.tolist()) for column in values], self.columns)
        self.parts = self.parts or pq.ParquetWriter(self.file, table.schema)
        self.parts.write_table(table)

    def close(self) -> None:
        """Write the end of the file."""
        if self.parts is not None:
            self.parts.close()
