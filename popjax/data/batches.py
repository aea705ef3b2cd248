"""Columns of a file, a part of its rows at a time, however long it is. No JAX here."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from popjax.core.text import short
from popjax.data.cells import plain_numbers
from popjax.data.columns import check_names, is_missing, some
from popjax.data.csv_file import CHUNK, File
from popjax.data.notation import Notation
from popjax.data.parquet_table import emptied, floats, kind, times
from popjax.data.table import PLAINLY, Reading

if TYPE_CHECKING:
    import pyarrow as pa


class Batch(NamedTuple):
    """Some rows of a file.

    Attributes:
        cells: of each column (rows,): floats, datetime64, or Python values with None where missing.
        kept: of each column that is kept, its cells as the file has them.
    """

    cells: list[np.ndarray]
    kept: list[Any]


class Asked(NamedTuple):
    """What is read of a file.

    Attributes:
        columns: the names of the columns, in this order; others may hold anything.
        texts: those of the columns that are text or dates, whatever their cells look like.
        how: texts that mean a missing cell, and how numbers are written.
        keep: names of columns to keep as they are.
    """

    columns: Sequence[str]
    texts: Collection[str] = ()
    how: Reading = PLAINLY
    keep: Sequence[str] = ()

    def kept(self, source: str, names: Sequence[str]) -> list[str]:
        """The names of the columns that are kept; raises ValueError for one that is not there."""
        missing = [name for name in self.keep if name not in names]
        if missing:
            raise ValueError(f"{source} has no column {some(missing)} to keep; it has {some(names)}")
        return list(dict.fromkeys(self.keep))


def batches_of(path: Path, asked: Asked) -> Iterator[Batch]:
    """Iterate over parts of a CSV, TSV or Parquet file.

    Raises ValueError in one line for a file that cannot be read or lacks a column.
    """
    check_columns_file(path)
    try:
        yield from READERS[path.suffix.lower()](path, asked)
    except OSError as error:
        raise ValueError(f"cannot read {str(path)!r}: {error.strerror or error}") from None


def columns_of(path: Path) -> list[str]:
    """The names of the columns of a file; raises ValueError for one that cannot be read."""
    check_columns_file(path)
    if path.suffix.lower() != ".parquet":
        return csv_file(path).names
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return list(pq.read_schema(path).names)
    except (pa.ArrowException, OSError) as error:
        what = " ".join(str(error).split())[:200]
        raise ValueError(f"cannot read {str(path)!r} as Parquet: {what}; write it again") from None


def check_columns_file(path: Path) -> None:
    """Raise ValueError for a file of another kind, or one that is not there."""
    if path.suffix.lower() not in READERS:
        raise ValueError(f"{str(path)!r} is no file of columns; give one of {', '.join(READERS)}")
    if not path.is_file():
        what = "it is a directory" if path.is_dir() else "no such file"
        raise ValueError(f"cannot read {str(path)!r}: {what}")


def check_asked(source: str, names: Sequence[str], columns: Sequence[str]) -> None:
    """Raise ValueError unless all of `columns` are among the names of a file, which differ."""
    check_names(source, names)
    missing = [name for name in columns if name not in names]
    if missing:
        noun = "column" if len(missing) == 1 else "columns"
        raise ValueError(f"{source} lacks the {noun} {some(missing)}, which the winner reads; it has {some(names)}")


def csv_file(path: Path) -> File:
    """The CSV or TSV file at a path. Raises ValueError."""
    return File(repr(str(path)), lambda: path.open("rb"), (), "\t" if path.suffix.lower() == ".tsv" else ",;\t")


def csv_batches(path: Path, asked: Asked) -> Iterator[Batch]:
    """Parts of a CSV file: texts as they are, others as numbers where all cells of a part are some."""
    file = csv_file(path)
    check_asked(file.source, file.names, asked.columns)
    kept, begin = asked.kept(file.source, file.names), 0
    for cells in file.chunks():
        try:
            read = [
                column_cells(name, emptied_cells(cells[name], asked.how.na), asked, begin) for name in asked.columns
            ]
        except ValueError as error:
            raise ValueError(f"{file.source}: {error}") from None
        yield Batch(read, [cells[name] for name in kept])
        begin += len(read[0])


def emptied_cells(cells: Sequence[str], na: Collection[str]) -> Sequence[str]:
    """The cells with empty ones in the place of those in `na`."""
    return ["" if cell.strip() in na else cell for cell in cells] if na else cells


def column_cells(name: str, cells: Sequence[str], asked: Asked, begin: int) -> np.ndarray:
    """The cells of a column as floats if all of them are numbers and it is no text, else as texts (rows,).

    Errors count the rows from `begin`. Raises ValueError for a cell that is no number in a notation that is not plain.
    """
    if name in asked.texts:
        return as_texts(cells)
    try:
        return plain_numbers(cells, asked.how.notation)
    except ValueError:
        return as_texts([plainly(name, cell, asked.how.notation, begin + row) for row, cell in enumerate(cells)])


def plainly(name: str, cell: str, notation: Notation, row: int) -> str:
    """A number as Python writes it, or a missing cell; raises ValueError for anything else in another notation."""
    try:
        return cell if is_missing(cell) else notation.plain(cell)
    except ValueError:
        what = f"column {name!r} is numeric, but row {row + 1} holds {short(cell)}"
        raise ValueError(f"{what}, which is no number as --thousands and --decimal have them") from None


def as_texts(cells: Sequence[str]) -> np.ndarray:
    """Cells as texts (rows,)."""
    return np.array([*cells, None], object)[:-1]


def parquet_batches(path: Path, asked: Asked) -> Iterator[Batch]:
    """Parts of a Parquet file: numbers, dates and texts by their own types."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = repr(str(path))
    try:
        with pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False) as file:
            names = file.schema_arrow.names
            check_asked(source, names, asked.columns)
            kept = asked.kept(source, names)
            wanted = list(dict.fromkeys([*asked.columns, *kept]))
            for batch in file.iter_batches(max(1, CHUNK // max(len(wanted), 1)), columns=wanted, use_threads=False):
                table = pa.Table.from_batches([batch])
                columns = (emptied(table.column(name), asked.how.na) for name in asked.columns)
                read = [arrow_cells(source, *named) for named in zip(asked.columns, columns, strict=True)]
                yield Batch(read, [table.column(name) for name in kept])
    except pa.ArrowException as error:
        what = " ".join(str(error).split())[:200]
        raise ValueError(f"cannot read {source} as Parquet: {what}; write it again") from None


def arrow_cells(source: str, name: str, values: "pa.ChunkedArray") -> np.ndarray:
    """The cells (rows,) of a column of numbers, dates or text."""
    type_name = kind(values.type)
    if type_name == "other":
        raise ValueError(f"{source}: column {name!r} holds {values.type}, neither numbers nor text; convert it")
    if type_name == "number":
        return floats(values)
    if type_name == "date":
        return times(values)
    try:
        return np.array([*values.to_pylist(), None], object)[:-1]
    except UnicodeDecodeError as error:
        raise ValueError(f"{source}: column {name!r} holds bytes that are no UTF-8 ({error.reason})") from None


READERS: Mapping[str, Callable[[Path, Asked], Iterator[Batch]]] = {
    ".csv": csv_batches,
    ".tsv": csv_batches,
    ".parquet": parquet_batches,
}
