"""Encode raw rows as features, before the transform."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from popjax.core.doubt import doubt
from popjax.core.text import plural, short
from popjax.data.columns import MEDIAN, Levels, is_missing, place, recoded, some
from popjax.data.dates import Dates, dates_of_parts, days_of, days_of_times, parts, raw_columns
from popjax.data.frames import as_frame, dated, feature_cells, float_cells, numeric, series_of, times_of
from popjax.data.inputs import Inputs
from popjax.space.values import absent

FEW = 3  # texts that a warning names


class Coded(Protocol):
    """The attributes of a `Recipe` that encoding reads."""

    @property
    def columns(self) -> tuple[str, ...]: ...
    @property
    def inputs(self) -> Any: ...
    @property
    def types(self) -> Any: ...
    @property
    def levels(self) -> Levels: ...
    @property
    def dates(self) -> Dates: ...
    @property
    def fill(self) -> np.ndarray | None: ...
    def takes_missing(self, entry: str | None = None) -> bool: ...


def encoded(recipe: Coded, rows: Any) -> Inputs:
    """Raw rows as in `Dataset.x`: (rows, ...), texts as codes.

    Args:
        rows: a DataFrame with the training data's columns, in any order; an array of them (rows, columns), in order;
            rows as in `Dataset.x`, if there are no text columns; or a dict of arrays, if the training data was one.

    A text that the training data does not have is -1; a missing cell is replaced if the training data
    had missing="median", a level if it was one there, and kept if the transforms take missing cells.
    Raises ValueError for rows that do not fit, and for other missing or infinite cells.
    """
    if isinstance(recipe.inputs, Mapping):
        return entries_of(recipe, rows)
    cells = cells_in(recipe, rows)
    if cells is not None:
        return encoded_cells(recipe, cells)
    x = as_type(rows, recipe.types, "the rows")
    flat, gray = (math.prod(recipe.inputs),), tuple(recipe.inputs[:-1])
    if x.shape[1:] == flat or (x.shape[1:] == gray and recipe.inputs[-1:] == (1,)):
        x = x.reshape(len(x), *recipe.inputs)
    if recipe.levels or x.shape[1:] != tuple(recipe.inputs):
        raise ValueError(f"rows of shape {x.shape} do not fit; give {wanted(recipe)}")
    return filled(recipe, x, recipe.fill)


def encoded_cells(recipe: Coded, cells: Sequence[np.ndarray], first: int = 0) -> np.ndarray:
    """The cells (rows,) of each column of raw rows as in `Dataset.x`; errors count the rows from `first`."""
    names, levels = raw_columns(recipe.columns, recipe.dates), recipe.levels
    columns = []
    for name, each in zip(names, cells, strict=True):
        if name in recipe.dates:
            columns.append(parts(days_in(name, each, first), recipe.dates[name]))
            continue
        columns.append(recoded(name, each, levels.get(name), first))
        if name in levels and (unknown := columns[-1] == -1).any():
            doubt(unseen(name, levels[name], each[unknown]), name)
    coded = np.column_stack(columns)
    return filled(recipe, coded, recipe.fill, first).reshape(len(coded), *recipe.inputs)


def days_in(name: str, cells: np.ndarray, first: int) -> np.ndarray:
    """Days since 1970 (rows,) of the cells of a date: datetime64, texts or Python's dates.

    Raises ValueError for a cell that is no date.
    """
    if cells.dtype.kind == "M":
        return days_of_times(cells)
    if cells.dtype.kind == "f" and np.isnan(cells).all():
        return cells
    return days_of(name, cells, no_date, first)


def no_date(cell: Any) -> bool:
    """True for a missing cell, also one of pandas: NaT and NA."""
    return absent(cell) or (is_missing(cell) if isinstance(cell, str) else str(cell) in ("NaT", "<NA>"))


def unseen(name: str, levels: Sequence[str], cells: np.ndarray) -> str:
    """Line for texts of a column that the training data do not have, with the most similar one that they have.

    >>> unseen("paid", ("no", "yes"), np.array(["YES", "YES"]))
    "the column 'paid' holds 'YES', which the training data do not have: it counts as none of its texts; there is 'yes'"
    """
    texts = list(dict.fromkeys(str(cell) for cell in cells))
    said = ", ".join(map(short, texts[:FEW])) + (f" and {len(texts) - FEW} more" if len(texts) > FEW else "")
    alike = [known for known in levels if known.strip().lower() == texts[0].strip().lower()]
    there = f"; there is {short(alike[0])}" if alike else ""
    return (
        f"the column {name!r} holds {said}, which the training data do not have: it counts as none of its texts{there}"
    )


def entries_of(recipe: Coded, rows: Any) -> dict[str, np.ndarray]:
    """The checked entries of a dict: name -> array (rows, ...); raises ValueError for rows that do not fit."""
    if not isinstance(rows, Mapping):
        names = ", ".join(map(repr, recipe.inputs))
        raise ValueError(f"the rows are a {type(rows).__name__}; give a dict of the arrays {names}")
    entries = {}
    for name, shape in recipe.inputs.items():
        if name not in rows:
            raise ValueError(f"the rows lack the entry {name!r}; give all of the training data's")
        entries[name] = as_type(rows[name], recipe.types[name], f"entry {name!r} of the rows")
        if entries[name].ndim == 0 or entries[name].shape[1:] != tuple(shape):
            what = f"entry {name!r} of the rows has shape {entries[name].shape}"
            raise ValueError(f"{what}; give (rows{''.join(f', {size}' for size in shape)})")
    counts = {name: len(x) for name, x in entries.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"the entries differ in rows: {counts}; give as many of each")
    return {name: filled(recipe, x, None, entry=name) for name, x in entries.items()}


def as_type(rows: Any, kind: str, what: str) -> np.ndarray:
    """Rows as numbers of dtype `kind`; raises ValueError for others, and for fractions where integers are needed."""
    try:
        x = np.asarray(rows) if np.dtype(kind).kind in "biu" else np.asarray(rows, float)
    except (ValueError, TypeError):
        if len(getattr(rows, "shape", ())) > 1:
            raise ValueError(f"{what} hold a cell that is no number; give numbers, as the training data have") from None
        remedy = "a DataFrame (of one row, df.iloc[[0]]) or an array (rows, columns)"
        raise ValueError(f"the rows are no table of cells, but a {type(rows).__name__}; give {remedy}") from None
    if x.dtype == kind:
        return x
    with np.errstate(invalid="ignore"):
        known = x.dtype.kind in "biuf" and np.array_equal(x.astype(kind), x)
    if not known and x.dtype.kind in "iu":
        low, high = np.iinfo(kind).min, np.iinfo(kind).max
        raise ValueError(f"{what} hold {x.min()} to {x.max()}; {kind}, as in training, has {low} to {high}")
    if not known:
        raise ValueError(f"{what} are whole numbers ({kind}), and hold {x.dtype} that are none; give whole numbers")
    return x.astype(kind)


def wanted(recipe: Coded) -> str:
    """The rows that are expected, for an error message."""
    if not recipe.columns or len(recipe.inputs) > 1:  # rows that are no table
        return str(("rows", *recipe.inputs))
    names = raw_columns(recipe.columns, recipe.dates)
    texts = f", with text in {some(list(recipe.levels))}" if recipe.levels else ""
    dates = f", with dates in {some(list(recipe.dates))}" if recipe.dates else ""
    return f"a DataFrame, or an array, of the {plural(len(names), 'column')} {some(names)}{texts}{dates}"


def cells_in(recipe: Coded, rows: Any) -> list[np.ndarray] | None:
    """The raw cells (rows,) of each column of a DataFrame or a table of Python values; None for other rows.

    Raises ValueError for a missing column.
    """
    rows, columns = as_frame(rows), raw_columns(recipe.columns, recipe.dates)
    if hasattr(rows, "columns") and columns:
        names = [str(name) for name in rows.columns]
        for name in columns:
            if names.count(name) != 1:
                what = f"have {names.count(name)} columns" if name in names else "lack the column"
                remedy = "keep one" if name in names else "give all of the training data's"
                raise ValueError(f"the rows {what} {name!r}; {remedy}")
        return [cells_of_series(series_of(rows, names.index(name)), name in recipe.levels) for name in columns]
    if not columns:
        return None
    table = np.asarray(rows) if hasattr(rows, "dtype") else np.asarray(rows, object)
    is_table = table.dtype.kind in "OUS" and table.shape[1:] == (len(columns),)
    return list(table.astype(object).T) if is_table else None


def cells_of_series(series: Any, text: bool) -> np.ndarray:
    """The cells (rows,) of a frame's column: floats, unless it is `text` by training, datetime64, or Python values."""
    if dated(series):
        return times_of(series)
    return float_cells(series) if numeric(series) and not text else feature_cells(series)


def filled(
    recipe: Coded, x: np.ndarray, fill: np.ndarray | None, first: int = 0, entry: str | None = None
) -> np.ndarray:
    """Rows (rows, ...) with missing cells replaced by `fill`, or kept if the recipe `takes_missing` ones.

    Errors count the rows from `first`, and name the `entry` of a dict. Raises ValueError for infinite cells, and for
    missing ones that are neither.
    """
    if x.dtype.kind != "f":
        return x
    where, remedy = "", f"give one, or train with {MEDIAN}"
    if entry is not None:
        where, remedy = f"entry {entry!r} of the rows: ", "give one"
    source = dates_of_parts(recipe.dates)
    names = [source.get(name, name) for name in recipe.columns] if x.shape[1:] == (len(recipe.columns),) else ()
    if np.isinf(x).any():
        raise ValueError(f"{where}a cell is infinite, {place(np.isinf(x), names, first)}; give a finite number")
    lost = np.isnan(x)
    if not lost.any() or (fill is None and recipe.takes_missing(entry)):
        return x
    if fill is None:
        raise ValueError(f"{where}a cell is missing, {place(lost, names, first)}; {remedy}")
    return with_fill(x, fill)


def with_fill(x: np.ndarray, fill: np.ndarray) -> np.ndarray:
    """Rows (rows, ...), of NumPy or JAX, with missing cells replaced."""
    xp = x.__array_namespace__()
    values: np.ndarray = xp.where(xp.isnan(x), fill.reshape(x.shape[1:])[None], x)
    return values
