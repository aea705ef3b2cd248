"""Columns of a file, a part of its rows at a time, however long it is. No JAX here."""

import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from popjax.data.columns import check_names, some
from popjax.data.csv_table import CHUNK, File, plain_numbers
from popjax.data.parquet_table import emptied, floats, kind

if TYPE_CHECKING:
    import pyarrow as pa

type Cells = list[np.ndarray]  # of each column (rows,): floats, or Python values with None where missing


def batches_of(
    path: Path, columns: Sequence[str], texts: Collection[str] = (), na: Collection[str] = ()
) -> Iterator[Cells]:
    """Iterate over parts of a CSV, TSV or Parquet file: the cells of these columns, in this order.

    Args:
        path: the file.
        columns: the names of the columns; others may hold anything.
        texts: those of the columns that are text, whatever their cells look like.
        na: texts that mean a missing cell.

    Raises ValueError in one line for a file that cannot be read or lacks a column.
    """
    check_columns_file(path)
    try:
        yield from READERS[path.suffix.lower()](path, columns, texts, na)
    except OSError as error:
        raise ValueError(f"cannot read {str(path)!r}: {error.strerror or error}") from None


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
        raise ValueError(f"{source} lacks the column {some(missing)}, which the winner reads; it has {some(names)}")


def csv_batches(
    path: Path, columns: Sequence[str], texts: Collection[str], na: Collection[str], delimiters: str = ",;\t"
) -> Iterator[Cells]:
    """Parts of a CSV file: `texts` as they are, others as numbers where all cells of a part are some."""
    file = File(repr(str(path)), lambda: path.open("rb"), na, delimiters)
    check_asked(file.source, file.names, columns)
    for cells in file.chunks():
        yield [as_texts(cells[name]) if name in texts else numbers_or_texts(cells[name]) for name in columns]


def as_texts(cells: Sequence[str]) -> np.ndarray:
    """Cells as texts (rows,)."""
    return np.array([*cells, None], object)[:-1]


def numbers_or_texts(cells: Sequence[str]) -> np.ndarray:
    """Cells as floats (rows,) if all of them are plain numbers, else as texts."""
    try:
        return plain_numbers(cells)
    except ValueError:
        return as_texts(cells)


def parquet_batches(path: Path, columns: Sequence[str], texts: Collection[str], na: Collection[str]) -> Iterator[Cells]:
    """Parts of a Parquet file: numbers and texts by their own types."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = repr(str(path))
    try:
        with pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False) as file:
            names = file.schema_arrow.names
            check_asked(source, names, columns)
            size = max(1, CHUNK // max(len(columns), 1))
            for batch in file.iter_batches(size, columns=list(columns), use_threads=False):
                table = pa.Table.from_batches([batch])
                yield [arrow_cells(source, name, emptied(table.column(name), na)) for name in columns]
    except pa.ArrowException as error:
        what = " ".join(str(error).split())[:200]
        raise ValueError(f"cannot read {source} as Parquet: {what}; write it again") from None


def arrow_cells(source: str, name: str, values: "pa.ChunkedArray") -> np.ndarray:
    """The cells (rows,) of a column of numbers or text."""
    found = kind(values.type)
    if found == "other":
        raise ValueError(f"{source}: column {name!r} holds {values.type}, neither numbers nor text; convert it")
    if found == "number":
        return floats(values)
    try:
        return np.array([*values.to_pylist(), None], object)[:-1]
    except UnicodeDecodeError as error:
        raise ValueError(f"{source}: column {name!r} holds bytes that are no UTF-8 ({error.reason})") from None


READERS: Mapping[str, Callable[[Path, Sequence[str], Collection[str], Collection[str]], Iterator[Cells]]] = {
    ".csv": csv_batches,
    ".tsv": functools.partial(csv_batches, delimiters="\t"),
    ".parquet": parquet_batches,
}
