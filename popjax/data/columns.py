"""Columns of numbers or text as one matrix of floats, and its one-hot form. No JAX here.

A *coded* table is float64 (rows, columns): a number is itself, a text is its index in the
column's levels (its sorted distinct texts), a missing cell is NaN and a text that is no level
is -1. A model receives it *one-hot*: each level is a feature of its own, 1 in the rows that hold
the text, else 0; or *apart*: numbers, and codes of texts. If missing cells are a level of their
own, it is the empty text.
"""

import decimal
import math
import numbers
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from popjax.core.text import short
from popjax.data.dates import days_of

MAX_CLASSES = 20  # distinct integers; with more they are a regression
MAX_LEVELS, MAX_TEXTS = 1000, 20_000  # distinct texts of a one-hot column, and of any
MAX_BYTES = 2**32  # of the features of all text columns, and of an array in an archive
FEW = 5  # bad cells that an error names
DROP, MEDIAN = 'missing="drop" (--missing drop)', 'missing="median" (--missing median)'  # as errors name them

type Levels = Mapping[str, tuple[str, ...]]


class Column(NamedTuple):
    """A coded column.

    Attributes:
        values: (rows,); of a date the days since 1970.
        levels: its texts; None if it is no text.
        truth: True if it held bools, which are 0 and 1.
        date: True if it held dates.
        guessed: True if that is a guess.
    """

    values: np.ndarray
    levels: tuple[str, ...] | None = None
    truth: bool = False
    date: bool = False
    guessed: bool = False


# One cell


def is_missing(cell: str) -> bool:
    """True for a missing cell of text: empty or "nan" in any case ("NA" and "None" are text)."""
    return cell.strip() == "" or cell.strip().lower() == "nan"


def is_code(cell: str) -> bool:
    """True for digits with a leading zero, such as 00501: a name, not a number."""
    digits = cell.strip().lstrip("+-")
    return len(digits) > 1 and digits[0] == "0" and digits.isdecimal()


def to_number(cell: str, kind: type = float) -> Any:
    """Cell as a number; raises ValueError for text, a code, and what only Python reads: 1_000 and -nan."""
    if "_" in cell or is_code(cell) or "nan" in cell.lower():
        raise ValueError(cell)
    return kind(cell)


def bad_cells(bad: Sequence[tuple[int, Any]], count: int) -> str:
    """Number of bad cells, and the first five of them, in words; `bad` holds (row from 0, cell)."""
    cells = ", ".join(f"{short(cell)} in row {row + 1}" for row, cell in bad[:FEW])
    return f"{count} cell{'s' * (count > 1)}: {cells}" + (", ..." if count > FEW else "")


def some(names: Sequence[str]) -> str:
    """The first names of a list, at most eight, in words."""
    return ", ".join(map(short, names[:8])) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def place(bad: np.ndarray, columns: Sequence[str], first: int = 0) -> str:
    """Column and row of the first True of (rows, ...), in words; rows count from `first` + 1."""
    row, *where = np.argwhere(bad)[0].tolist()
    column = repr(columns[where[0]]) if columns else str(where[0] if len(where) == 1 else tuple(where))
    return f"{f'column {column}, ' if where else ''}row {first + row + 1}"


# A column, typed


def coded_texts(cells: Iterable[str], known: dict[str, int]) -> np.ndarray:
    """int32 (rows,): index of each cell in `known`, to which new texts are added."""
    return np.fromiter((known.setdefault(cell, len(known)) for cell in cells), np.int32)


WHOLE = 2.0**53  # up to which float64 has all whole numbers


def beyond_floats(values: np.ndarray) -> bool:
    """True if different whole numbers may be one among these floats (rows,)."""
    return bool((np.abs(values) > WHOLE).any())


def text_column(codes: np.ndarray, texts: Sequence[str]) -> Column:
    """Column from each row's index in distinct `texts`, in any order; NaN for -1 and for texts that are missing."""
    levels = sorted(text for text in texts if not is_missing(text))
    places = {text: float(index) for index, text in enumerate(levels)}
    return Column(np.array([*(places.get(text, np.nan) for text in texts), np.nan])[codes], tuple(levels))


def object_column(source: str, name: str, cells: np.ndarray) -> Column:
    """Column from Python values (rows,), None where missing: all of them numbers, or all texts.

    Raises ValueError naming the column and its first bad cells.
    """
    dates = sum(hasattr(cell, "isoformat") for cell in cells)
    if dates and dates + sum(cell is None for cell in cells) == len(cells):
        return Column(days_of(name, cells, lambda cell: cell is None or cell != cell), date=True)
    texts = sum(isinstance(cell, str) for cell in cells)
    is_text = 2 * texts > sum(cell is not None for cell in cells)
    kind = str if is_text else (numbers.Real, decimal.Decimal, np.bool_)
    bad = [(row, cell) for row, cell in enumerate(cells) if not isinstance(cell, kind) and cell is not None]
    if bad:
        what = f"column {name!r} is {'text' if is_text else 'numeric'} but for {bad_cells(bad, len(bad))}"
        raise ValueError(f"{source}: {what}; make all its cells numbers or all texts, or drop it")
    if is_text:
        known: dict[str, int] = {}
        codes = coded_texts(("" if cell is None else cell for cell in cells), known)
        check_texts(source, name, len(known))
        return text_column(codes, list(known))
    try:
        truth = all(isinstance(cell, bool | np.bool_) for cell in cells)
        return Column(np.array([np.nan if cell is None else float(cell) for cell in cells], float), None, truth)
    except OverflowError:
        raise ValueError(f"{source}: column {name!r} holds an integer too large for a float; rescale it") from None


TRUTHS = {"true": True, "false": False}  # of pandas, in any capitals


def truth_texts(texts: Iterable[Any]) -> dict[bool, str]:
    """The texts that pandas reads as truth values, by these.

    >>> truth_texts(["FALSE", "TRUE", "unknown"])
    {False: 'FALSE', True: 'TRUE'}
    """
    return {TRUTHS[text.lower()]: text for text in texts if isinstance(text, str) and text.lower() in TRUTHS}


def recoded(name: str, cells: np.ndarray, levels: Sequence[str] | None, first: int = 0) -> np.ndarray:
    """Raw cells (rows,) of any type, None where missing, coded by the levels of a text column, or as numbers.

    Errors count the rows from `first`. A bool, which pandas makes of the texts True and False, is that text again; in
    a column of numbers both are 1 and 0. Raises ValueError for a number in a text column, or a text in a numeric one.
    """
    if levels is None and cells.dtype.kind == "f":
        return cells
    places = {text: float(index) for index, text in enumerate(levels or ())}
    truths = truth_texts(levels or ())

    def code(cell: Any) -> float:
        if cell is None or (isinstance(cell, str) and is_missing(cell)):
            return places.get("", np.nan)
        if levels is None:
            cell = TRUTHS.get(cell.strip().lower(), cell) if isinstance(cell, str) else cell
            return to_number(cell) if isinstance(cell, str) else float(cell)
        if isinstance(cell, bool | np.bool_):
            return places[truths[bool(cell)]]
        if not isinstance(cell, str) and cell == cell:
            raise TypeError
        return places.get(cell, -1.0) if isinstance(cell, str) else places.get("", np.nan)

    values = np.empty(len(cells))
    for row, cell in enumerate(cells):
        try:
            values[row] = code(cell)
        except (ValueError, TypeError, KeyError, OverflowError):
            kind, remedy = ("numeric", "a number") if levels is None else ("text", "a text (pandas: dtype=str)")
            what = f"column {name!r} is {kind}, but row {first + row + 1} holds {short(cell)}"
            raise ValueError(f"{what}; give {remedy}") from None
    return values


# Checks


def check_names(source: str, names: Sequence[str]) -> None:
    """Raise ValueError for column names that are empty or appear twice."""
    for name, count in Counter(names).items():
        if not name.strip() or count > 1:
            raise ValueError(f"{source}: the column name {short(name)} is empty or appears twice; rename it")


def check_target(source: str, names: Sequence[str], target: str | None) -> str:
    """The target; raises ValueError if it is None, not one of the columns, or the only one."""
    if target is None:
        raise ValueError(f"{source} needs a target: name the column to predict, one of {some(names)}")
    if target not in names:
        raise ValueError(f"{source} has no column {target!r} for the target; it has {some(names)}")
    if len(names) == 1:
        raise ValueError(f"{source} has no column but the target {target!r}; add features")
    return target


def check_texts(source: str, name: str, count: int) -> None:
    """Raise ValueError for a text column with too many distinct values for any model."""
    if count > MAX_TEXTS:
        what = f"column {name!r} is text with more than {MAX_TEXTS} distinct values"
        raise ValueError(f"{source}: {what}; drop or group them")


def check_one_hot(source: str, rows: int, levels: Levels) -> None:
    """Raise ValueError for text columns that are too large one-hot: one with MAX_LEVELS, or all with MAX_BYTES."""
    for name, texts in levels.items():
        check_levels(source, name, len(texts), rows)
    check_size(source, rows, levels)


def check_levels(source: str, name: str, count: int, rows: int) -> None:
    """Raise ValueError for a text column with too many distinct values to be one-hot."""
    if count > MAX_LEVELS:
        what = f"column {name!r} is text with {count} distinct values, at most {MAX_LEVELS} become one-hot"
        raise ValueError(f"{source}: {what}; they would take {size_text(rows * count * 8)}, so drop or group them")


def check_size(source: str, rows: int, levels: Levels) -> None:
    """Raise ValueError if the features of all text columns together would take more than MAX_BYTES."""
    if levels and 8 * rows * sum(map(len, levels.values())) > MAX_BYTES:
        total = size_text(8 * rows * sum(map(len, levels.values())))
        most = max(levels, key=lambda name: len(levels[name]))
        what = f"the one-hot text columns would take {total}, most of it {most!r} with {len(levels[most])} values"
        raise ValueError(f"{source}: {what}; at most {size_text(MAX_BYTES)}, so drop or group them")


def size_text(count: int) -> str:
    """Number of bytes in words, in GiB or MiB."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


# The forms for a model


def one_hot_features(columns: Sequence[str], levels: Levels) -> list[tuple[str, str | None]]:
    """One-hot features in order: (column, level), or (column, None) for a number."""
    return [(name, level) for name in columns for level in levels.get(name, (None,))]


def one_hot(coded: np.ndarray, columns: Sequence[str], levels: Levels) -> np.ndarray:
    """One-hot form (rows, features) of coded rows; a missing cell and a text that is no level are zeros."""
    if not levels:
        return coded
    column = lambda at: coded[:, at : at + 1]
    counts = [len(levels[name]) if name in levels else None for name in columns]
    parts = [column(at) if n is None else column(at) == np.arange(n)[None] for at, n in enumerate(counts)]
    encoded: np.ndarray = coded.__array_namespace__().concat(parts, axis=1).astype(float, copy=False)
    return encoded


def occurring(
    coded: np.ndarray, columns: Sequence[str], levels: Levels, fill: np.ndarray | None
) -> tuple[np.ndarray, Levels, np.ndarray | None]:
    """Coded rows, levels and fill cells, without the levels that no row has."""
    coded, left = coded.copy(), {}
    fill = None if fill is None else fill.copy()
    for index, name in enumerate(columns):
        if name in levels:
            there = ~np.isnan(coded[:, index])
            kept, coded[there, index] = np.unique(coded[there, index], return_inverse=True)
            left[name] = tuple(levels[name][int(code)] for code in kept)
            if fill is not None:
                fill[index] = np.searchsorted(kept, fill[index])
    return coded, left, fill


def with_missing_level(coded: np.ndarray, columns: Sequence[str], levels: Levels) -> tuple[np.ndarray, Levels]:
    """Coded rows and levels, with the empty text as the first level of text columns that lack cells."""
    coded, extended = coded.copy(), dict(levels)
    for at, name in enumerate(columns):
        if name in levels and np.isnan(coded[:, at]).any():
            extended[name] = ("", *levels[name])
            coded[:, at] = np.nan_to_num(coded[:, at] + 1)
    return coded, extended


def apart(coded: np.ndarray, columns: Sequence[str], levels: Levels) -> dict[str, np.ndarray]:
    """Coded rows (rows, columns) as numbers (rows, columns) and codes (rows, columns) of texts, int32.

    A code is 1 for the first level of its column, and 0 for a missing cell or a text that is no level.

    >>> apart(np.array([[2.5, 1], [3.5, -1]]), ("size", "colour"), {"colour": ("blue", "red")})["codes"].tolist()
    [[2], [0]]
    """
    coded = coded.reshape(coded.shape[0], math.prod(coded.shape[1:]))  # -1 is not known of no rows
    texts = np.array([name in levels for name in columns] or [False] * coded.shape[1], bool)
    codes = coded.__array_namespace__().nan_to_num(coded[:, texts] + 1)
    return {"numbers": coded[:, ~texts], "codes": codes.astype(np.int32)}


def relevel(coded: np.ndarray, columns: Sequence[str], now: Levels, then: Levels) -> np.ndarray:
    """Coded rows (rows, columns) from the levels `now` to the levels `then` of the same text columns."""
    renumbered = coded.copy()
    for at, name in enumerate(columns):
        if name in now:
            places = {text: float(index) for index, text in enumerate(then[name])}
            codes = np.array([*(places.get(text, -1.0) for text in now[name]), -1.0])  # the last one for -1
            there = ~np.isnan(coded[:, at])
            renumbered[there, at] = codes[coded[there, at].astype(int)]
    return renumbered
