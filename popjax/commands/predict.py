"""`python -m popjax.predict DIR FILE`: what the winner of a run says of the rows of a file. Starts without JAX."""

import contextlib
import csv
import dataclasses
import io
import itertools
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
import tyro

from popjax.commands import cli
from popjax.commands.experiment import comma_list, notation_of
from popjax.commands.options import Text
from popjax.core.programs_on_disk import enable_cache
from popjax.core.storage import written_atomically
from popjax.core.text import printable, tell

if TYPE_CHECKING:
    from popjax.data.batches import Batch
    from popjax.data.table import Reading
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
    out: Text = None
    """a CSV, TSV or Parquet file for the predictions (default: CSV on standard output)"""
    proba: bool = False
    """the probability of each class or label, a column each"""
    spread: bool = False
    """after the predictions the standard deviation, over all models of the ensemble, of each value or probability (of
    the class that is predicted): where they disagree, and no interval"""
    keep: Text = None
    """columns of the file to write before the predictions: id,name, or all"""
    na: Text = None
    """texts that mean a missing cell, beside the empty one and nan: NA,n/a (default: those of the run)"""
    thousands: Text = None
    """of CSV files: the sign between thousands (default: that of the run)"""
    decimal: Text = None
    """of CSV files: the sign before decimals (default: that of the run)"""


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    arguments = cli.parse(Arguments, "predict", argv)
    from popjax.data.batches import Asked, batches_of, check_columns_file
    from popjax.data.dates import raw_columns

    file = Path(arguments.file)
    check_columns_file(file)
    out = None if arguments.out is None else checked_out(arguments)
    signal.signal(signal.SIGTERM, cli.terminated)
    enable_cache()
    predictor = predictor_in(arguments)
    recipe, kept = predictor.recipe, kept_columns(arguments)
    how = reading_of(arguments)
    asked = Asked(raw_columns(recipe.columns, recipe.dates), {*recipe.levels, *recipe.dates}, how, kept)
    if arguments.spread:
        tell("popjax: the spread tells where the models disagree; it is no interval")
    parts = predicted_parts(predictor, batches_of(file, asked), arguments)
    first = next(parts, None)
    if first is None:
        raise ValueError(f"{arguments.file!r} has columns but no rows; add data")
    said = names(predictor, arguments, len(first.columns))
    if both := [name for name in kept if name in said]:
        raise ValueError(f"--keep {both[0]}: a column of the predictions has this name; keep others, or rename it")
    with sink_to(out, [*kept, *said]) as write:
        for part in itertools.chain([first], parts):
            write([*part.kept, *part.columns])
    if out is not None:
        print(printable(str(out)))
    return 0


class Part(NamedTuple):
    """Some rows of the file: the columns (rows,) that are kept, and those of their predictions."""

    kept: list[Any]
    columns: list[np.ndarray]


def predicted_parts(predictor: "Predictor", batches: "Iterable[Batch]", arguments: Arguments) -> "Iterator[Part]":
    """The predictions of each batch of rows. Raises ValueError, also for a file that cannot be read to its end."""
    begin = 0
    try:
        for batch in batches:
            if rows := len(batch.cells[0]):
                yield Part(batch.kept, predicted(predictor, batch.cells, begin, arguments))
                begin += rows
    except OSError as error:  # not one of the output
        raise ValueError(f"cannot read {arguments.file!r}: {error.strerror or error}") from None


def kept_columns(arguments: Arguments) -> list[str]:
    """The names of the columns of --keep. Raises ValueError for a list with an empty name."""
    from popjax.data.batches import columns_of

    if arguments.keep == "all":
        return columns_of(Path(arguments.file))
    return list(dict.fromkeys(comma_list("keep", arguments.keep, spaces=True)))


def predicted(predictor: "Predictor", cells: list[np.ndarray], begin: int, arguments: Arguments) -> list[np.ndarray]:
    """The columns (rows,) of predictions for the cells of rows from `begin`. Raises ValueError."""
    from popjax.supervision.encoding import encoded_cells

    kind = predictor.recipe.kind
    try:
        rows = encoded_cells(predictor.recipe, cells, begin)
    except ValueError as error:
        raise ValueError(f"{arguments.file!r}: {error}") from None
    if not arguments.spread:
        mean = predictor.mean_of(rows)
        return columns_in(mean if arguments.proba else kind.decided(mean))
    mean, spread = predictor.mean_and_spread_of(rows)
    if arguments.proba or kind.classes is None:
        return [*columns_in(mean if arguments.proba else kind.decided(mean)), *columns_in(spread)]
    of_class = np.take_along_axis(spread, mean.argmax(-1)[:, None], -1)  # of its probability
    return [*columns_in(kind.decided(mean)), *columns_in(of_class)]


def columns_in(values: np.ndarray) -> list[np.ndarray]:
    """The columns (rows,) of values (rows,) or (rows, columns)."""
    return list(values.reshape(len(values), -1).T)


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


def predictor_in(arguments: Arguments) -> "Predictor":
    """The predictor of a run's directory. Raises ValueError."""
    from popjax.supervision.loading import load_best

    predictor = load_best(arguments.directory)
    recipe = predictor.recipe
    if not recipe.columns:
        what = f"the winner in {arguments.directory!r} was trained on arrays, not on a table"
        raise ValueError(f"{what}; use popjax.load_best({arguments.directory!r}).predict(rows)")
    if arguments.proba and not recipe.kind.chances:
        raise ValueError("--proba: the winner predicts no classes or labels; leave it out")
    if arguments.spread and sum(trial.members for trial in predictor.trained) == 1:
        how = "--choose ensemble, --folds or --repeats"
        raise ValueError(f"--spread: the winner is one model, and has none; search with {how}, or leave it out")
    return predictor


def reading_of(arguments: Arguments) -> "Reading":
    """How the file is read: as the command line says, else as the run's own was."""
    from popjax.data.table import Reading
    from popjax.store.files import HOLDS, read_json

    marks = [Path(arguments.directory) / file for file in HOLDS.values()]
    recorded = next((read_json(mark).get("arguments") for mark in marks if mark.exists()), None)
    usual = recorded if isinstance(recorded, dict) else {}
    na, thousands, decimal = (
        getattr(arguments, name)
        if getattr(arguments, name) is not None or not isinstance(usual.get(name), str)
        else usual[name]
        for name in ("na", "thousands", "decimal")
    )
    return Reading(na=comma_list("na", na), notation=notation_of(thousands, decimal))


def names(predictor: "Predictor", arguments: Arguments, columns: int) -> list[str]:
    """The names of so many columns of predictions and of their spread; outputs of a custom loss are numbered."""
    width = columns // 2 if arguments.spread else columns
    if arguments.proba and predictor.classes is not None:
        outputs = list(map(str, predictor.classes))
    else:
        numbered = ["prediction"] if width == 1 else [f"prediction_{output}" for output in range(width)]
        outputs = list(predictor.outputs) or numbered
    return [*outputs, *(f"{name}_spread" for name in outputs)] if arguments.spread else outputs


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
    """Writes rows, the names of the columns first."""

    def __init__(self, file: IO[bytes], columns: Sequence[str]) -> None:
        self.file, self.columns, self.begun = file, list(columns), False

    def __call__(self, columns: list[Any]) -> None:
        """Write the next rows: each column (rows,) an array, a list of texts, or a column of Arrow."""
        self.write(columns)
        self.begun = True

    def write(self, columns: list[Any]) -> None:
        """Write the next rows."""
        raise NotImplementedError


class Delimited(Sink):
    """CSV or TSV."""

    def __init__(self, file: IO[bytes], columns: Sequence[str], delimiter: str = ",") -> None:
        super().__init__(file, columns)
        self.delimiter = delimiter

    def write(self, columns: list[Any]) -> None:
        text = io.StringIO()
        rows = csv.writer(text, delimiter=self.delimiter, lineterminator="\n")
        if not self.begun:
            rows.writerow(self.columns)
        rows.writerows(zip(*map(as_list, columns), strict=True))
        self.file.write(text.getvalue().encode())


class Parquet(Sink):
    """Parquet, a group of rows each time."""

    parts: Any = None

    def write(self, columns: list[Any]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        arrays = [each if isinstance(each, pa.ChunkedArray) else pa.array(as_list(each)) for each in columns]
        table = pa.table(arrays, self.columns)
        self.parts = self.parts or pq.ParquetWriter(self.file, table.schema)
        self.parts.write_table(table)

    def close(self) -> None:
        """Write the end of the file."""
        if self.parts is not None:
            self.parts.close()


def as_list(column: Any) -> list[Any]:
    """The Python values of a column."""
    for name in ("tolist", "to_pylist"):
        if hasattr(column, name):
            return list(getattr(column, name)())
    return list(column)
