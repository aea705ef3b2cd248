"""Read Parquet files as typed columns. No JAX here.

The file's own types decide, as for a DataFrame: a column of strings is text whatever it holds.
Page checksums are verified if the file has them; metadata of pandas or of extension types is
ignored.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from popjax.data.columns import (
    Column,
    beyond_floats,
    check_names,
    check_target,
    check_texts,
    is_missing,
    text_column,
)
from popjax.data.dates import days_of, days_of_times
from popjax.data.faults import Faults
from popjax.data.table import PLAINLY, Reading, Table
from popjax.store.files import parquet

if TYPE_CHECKING:
    import pyarrow as pa


def read_parquet(source: str, content: bytes, target: str | None, how: Reading = PLAINLY) -> Table:
    """Table of a Parquet file; the target's values (rows,) are None, or NaN of floats, where missing.

    Raises ValueError for a file that cannot be read; other errors are the table's `faults`.
    """
    table = decoded_table(source, content)
    check_names(source, table.column_names)
    target = check_target(source, table.column_names, target)
    if len(table) == 0:
        raise ValueError(f"{source} has columns but no rows; add data")
    kept = how.kept(source, table.column_names, target)
    columns = {name: emptied(table.column(name), how.na) for name in table.column_names if name in kept}
    labels, faults = columns.pop(target), Faults()
    y = faults.of(target_values, source, target, labels)
    coded = {name: faults.of(typed_column, source, name, values, how) for name, values in columns.items()}
    known = {name: column for name, column in coded.items() if column is not None}
    return Table(known, None, np.zeros(len(table)) if y is None else y, source, target, faults=tuple(faults))


def emptied(values: "pa.ChunkedArray", na: Collection[str]) -> "pa.ChunkedArray":
    """The column with null in place of the texts in `na`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not na or kind(values.type) != "text":
        return values
    texts = values.cast(pa.large_string())
    nothing = pc.is_in(pc.utf8_trim_whitespace(texts), pa.array(sorted(na), pa.large_string()))
    return pc.if_else(nothing, pa.scalar(None, pa.large_string()), texts)


def decoded_table(source: str, content: bytes) -> "pa.Table":
    """The whole table, decoded and validated; raises ValueError whatever is wrong with the bytes."""
    try:
        table = parquet(content)
        table.validate(full=True)
    except Exception as error:  # a damaged file fails in many ways
        what = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"cannot read {source} as Parquet: {what}; write it again") from None
    return table


def kind(type_: "pa.DataType") -> str:
    """Kind of a type: "number", "text", "date", "null" or "other"; of a dictionary, that of its values."""
    from pyarrow import types

    if types.is_dictionary(type_):
        return kind(type_.value_type)
    if types.is_null(type_):
        return "null"
    if any(check(type_) for check in (types.is_boolean, types.is_integer, types.is_floating, types.is_decimal)):
        return "number"
    if types.is_date(type_) or types.is_timestamp(type_):
        return "date"
    is_text = types.is_string(type_) or types.is_large_string(type_) or types.is_string_view(type_)
    return "text" if is_text else "other"


def short_type(type_: "pa.DataType") -> str:
    """Name of a type for an error, in one line of at most 40 characters."""
    text = " ".join(repr(str(type_))[1:-1].split())
    return text if len(text) <= 40 else text[:37] + "..."


def typed_column(source: str, name: str, values: "pa.ChunkedArray", how: Reading) -> Column:
    """Column of numbers, dates or text, coded.

    Raises ValueError for another type, a text with too many distinct values that is no column of groups, and for texts
    of a column of dates that are none.
    """
    type_name = kind(values.type)
    if type_name == "date" and how.dates is not None and name not in how.dates:
        values, type_name = as_iso(values), "text"
    if type_name == "other":
        what = f"column {name!r} holds {short_type(values.type)}, neither numbers nor text"
        raise ValueError(f"{source}: {what}; convert it or drop it")
    if type_name == "null":
        return Column(np.full(len(values), np.nan))
    if type_name == "number" and not (name == how.groups and beyond_floats(floats(values))):
        return Column(floats(values), None, str(values.type) == "bool")
    if type_name == "date":
        return Column(days_of_times(times(values)), date=True)
    indices, texts = dictionary(values)
    if name in (how.dates or ()):
        known = [None if text is None or is_missing(text) else text for text in texts]
        known.append(None)  # of index -1
        try:
            return Column(days_of(name, known, lambda text: text is None)[indices], date=True)
        except ValueError:  # of a distinct text: once more row by row, for the number of its row
            days_of(name, (known[at] for at in indices), lambda text: text is None)
            raise
    if name != how.groups:
        check_texts(source, name, sum(not is_missing(text) for text in texts))
    return text_column(indices, texts)


def as_iso(values: "pa.ChunkedArray") -> "pa.ChunkedArray":
    """Dates as texts of ISO 8601, UTC."""
    import pyarrow as pa

    moments = times(values)
    texts = np.datetime_as_string(
        moments.astype("datetime64[s]" if not pa.types.is_date(values.type) else "datetime64[D]")
    )
    return pa.chunked_array([pa.array(texts.tolist(), pa.string(), mask=np.isnat(moments))])


def times(values: "pa.ChunkedArray") -> np.ndarray:
    """datetime64 (rows,), UTC, NaT where null."""
    import pyarrow as pa

    zone = getattr(values.type, "tz", None)
    return np.asarray(values.cast(pa.timestamp("us", zone), safe=False).to_numpy(), "datetime64[us]")


def floats(values: "pa.ChunkedArray") -> np.ndarray:
    """Numbers as float64 (rows,), NaN where null."""
    import pyarrow as pa

    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    return np.array(values.cast(pa.float64(), safe=False).to_numpy(), float)


def dictionary(values: "pa.ChunkedArray") -> tuple[np.ndarray, list[str]]:
    """Index of each row (rows,) among the distinct texts, -1 where null, and the texts."""
    import pyarrow as pa

    if pa.types.is_dictionary(values.type):  # its dictionary may repeat a text, or hold an unused one
        values = values.cast(values.type.value_type)
    encoded = values.cast(pa.large_string()).combine_chunks().dictionary_encode()
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    return encoded.indices.fill_null(-1).to_numpy(), encoded.dictionary.to_pylist()


def target_values(source: str, name: str, values: "pa.ChunkedArray") -> np.ndarray:
    """The target as NumPy values (rows,); None where missing, NaN among floats. Raises ValueError for another type."""
    import pyarrow as pa

    if kind(values.type) in ("date", "other"):
        what = f"column {name!r} holds {short_type(values.type)}, neither numbers nor text"
        raise ValueError(f"{source}: {what}; convert it or drop it")
    if kind(values.type) == "text":
        indices, texts = dictionary(values)
        known: list[Any] = [None if is_missing(text) else text for text in texts]
        return np.array([*known, None], object)[indices]
    if kind(values.type) == "null":
        return np.full(len(values), None)
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_floating(values.type) or pa.types.is_decimal(values.type):
        return floats(values)
    return np.array(values.to_pylist(), object) if values.null_count else values.to_numpy()
