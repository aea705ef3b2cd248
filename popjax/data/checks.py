"""Features and targets: checked, as numbers, without missing cells. No JAX here."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from popjax.data.columns import DROP, MEDIAN, Levels, is_missing, place
from popjax.data.dates import PARTS, dates_of_parts, part_names
from popjax.data.inputs import Inputs, entries, taken
from popjax.data.targets import LARGEST, Targets, check_whole
from popjax.space.values import present

FEWEST = 3  # rows
MOST_NAMED = 8  # columns that an error names
KEEP = "keep"  # for `missing`: cells stay NaN, for a transform that accepts them
AUTO = "auto"  # cells stay NaN, and are filled in fold by fold (see `Filled`); missing texts are a level


def as_targets(y: Any, name: str, target: str, rows: int) -> np.ndarray:
    """Targets as an array; raises ValueError if they have different lengths, or their number is not `rows`."""
    if isinstance(y, Mapping):
        raise ValueError(f"{name}: {target} is a dict; give one array of targets, with a column each, or write a Task")
    try:
        targets = np.asarray(y)
    except ValueError:
        lengths = {len(row) if hasattr(row, "__len__") else 1 for row in y}
        what = f"{target} has rows of {min(lengths)} to {max(lengths)} values"
        raise ValueError(f"{name}: {what}; give as many in each") from None
    if targets.shape[:1] != (rows,):
        raise ValueError(f"{name}: {target} has shape {targets.shape} for {rows} rows of x; give one value a row")
    return targets


def mirrored(x: Inputs, name: str, own_loss: bool) -> Targets:
    """Targets that are the features themselves; raises ValueError if they are not for a user-defined loss."""
    if isinstance(x, Mapping):
        raise ValueError(f"{name}: a dict cannot be its own target; give an array as y")
    if not own_loss:
        raise ValueError(f"{name}: y is x, which needs a custom loss; give loss=, or another y")
    return Targets(x, "own")


def lasting(y: np.ndarray, name: str, target: str) -> np.ndarray:
    """bool (rows,): the target is known; raises ValueError if it is known in fewer than three rows."""
    left = ~targets_lost(y)
    if not left.all() and left.sum() < FEWEST:
        raise ValueError(f"{name}: {int(left.sum())} rows have a {target!r}; give at least {FEWEST}")
    check_rows(int(left.sum()), name)
    return left


def as_numbers(x: np.ndarray, whole: bool) -> np.ndarray:
    """Features as float64, or if `whole` integers as they are; raises ValueError for integers beyond 32 bits."""
    if whole:
        check_whole(x, "x")
    return x if whole and x.dtype.kind in "biu" else x.astype(float, copy=False)


def check_features(x: Inputs, name: str, columns: tuple[str, ...]) -> None:
    """Raise ValueError if x is not numbers (rows, features) up to LARGEST, or a dict of arrays of equally many rows."""
    if not isinstance(x, Mapping):
        if x.ndim > 1 and len(x) == 0:
            raise ValueError(f"{name}: x has no rows; give some")
        if x.dtype.kind not in "biuf" or x.ndim < 2 or x.size == 0:
            raise ValueError(f"{name}: x is {x.dtype}{list(x.shape)}; give numbers of shape (rows, features)")
        _check_finite(x, columns, name)
        return
    for entry, array in x.items():
        if not isinstance(entry, str) or array.dtype.kind not in "biuf" or array.ndim == 0:
            raise ValueError(
                f"{name}: entry {entry!r} of x is {array.dtype}{list(array.shape)}; give numbers (rows, ...)"
            )
        _check_finite(array, (), f"{name}: entry {entry!r} of x")
    rows = {entry: len(array) for entry, array in x.items()}
    if len(set(rows.values())) > 1:
        counts = ", ".join(f"{entry!r} {count}" for entry, count in rows.items())
        raise ValueError(f"{name}: the entries of x differ in rows: {counts}; give as many of each")


def _check_finite(x: np.ndarray, columns: tuple[str, ...], name: str) -> None:
    if x.dtype.kind in "biu":
        return
    x = x.astype(float, copy=False)
    if x.size and max(np.nanmax(x, initial=0), -np.nanmin(x, initial=0)) > LARGEST:
        bad = np.abs(x) > LARGEST
        what = "infinite values" if np.isinf(x[bad][0]) else f"the value {x[bad][0]:g}"
        raise ValueError(f"{name}: {what} in {place(bad, columns)}; replace by numbers within {LARGEST:g}")


def check_rows(count: int, name: str, given: int = 0) -> None:
    """Raise ValueError for fewer than three rows, one for each part, left of those that were `given`."""
    if count < FEWEST:
        left = f" left of {given}, the others have missing cells" if given > count else ""
        raise ValueError(f"{name}: {count} rows{left}; give at least {FEWEST}, one each to train, validate and test")


def targets_lost(y: np.ndarray) -> np.ndarray:
    """bool (rows,): a target is missing: None or NaN, or an empty text or "nan", as in a file."""
    if y.dtype.kind not in "fOU":
        return np.zeros(len(y), bool)
    there = present(y.ravel())
    if y.dtype.kind != "f":
        there &= np.array([not (isinstance(value, str) and is_missing(value)) for value in y.ravel().tolist()], bool)
    return ~there.reshape(len(y), math.prod(y.shape[1:])).all(1)


def without_missing(
    x: Inputs, columns: tuple[str, ...], missing: str, name: str, levels: Levels, numbers: np.ndarray
) -> tuple[Inputs, np.ndarray, np.ndarray | None]:
    """Result of `_fill` for an array; for a dict, rows with missing cells are left out, and nothing is filled in.

    `numbers`: int (rows,), the places of the rows among those given, from 0, for errors.
    """
    if not isinstance(x, Mapping):
        return _fill(x, columns, missing, name, levels, numbers)
    if missing == "median":
        raise ValueError(f"{name}: missing='median' is for a table; fill the entries of x, or use {DROP}")
    lost = np.zeros(len(entries(x)[0]), bool)
    if missing == KEEP:
        return x, ~lost, None
    for entry, array in x.items():
        empty = np.isnan(array).reshape(len(array), -1).any(1) if array.dtype.kind == "f" else lost
        if empty.any() and missing != "drop":
            what = f"entry {entry!r} of x has a missing cell, in row {int(numbers[empty.argmax()]) + 1}"
            raise ValueError(f"{name}: {what}; fill it in, or use {DROP}")
        lost = lost | empty
    return taken(x, ~lost), ~lost, None


def _fill(
    x: np.ndarray, columns: tuple[str, ...], missing: str, name: str, levels: Levels, numbers: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Rows without missing cells, bool (rows,) of those that were kept, and the fill values or None.

    Raises ValueError for missing cells if `missing` is "error", and for a column without any value if "median".
    """
    lost = np.isnan(x) if x.dtype.kind == "f" else np.zeros(x.shape, bool)
    everything = np.ones(len(x), bool)
    if missing == "median" and x.dtype.kind == "f":
        empty = lost.all(0)
        if empty.any():
            raise ValueError(f"{name}: no value at all in {place(empty[None], columns)}; drop that column")
        fill = np.nanmedian(x, 0)
        for index in (index for index, column in enumerate(columns) if column in levels):
            codes = x[~lost[:, index], index].astype(int)
            fill[index] = np.bincount(codes).argmax()  # of equally frequent texts, the first in sorted order
        return np.where(lost, fill, x), everything, fill
    if not lost.any() or missing == KEEP or (missing == AUTO and x.ndim == 2):
        return x, everything, None
    if missing == "drop":
        kept = ~lost.reshape(len(x), -1).any(1)
        return x[kept], kept, None
    if columns and lost.ndim == 2:
        lost, columns = by_raw_column(lost, columns)
    row = int(lost.reshape(len(lost), -1).any(1).argmax())
    where = f"{int(lost.sum())} missing cells{by_column(lost, columns)}, "
    where += f"the first in {place(lost[row:], columns, int(numbers[row]))}"
    raise ValueError(f"{name}: {where}; use {MEDIAN} or {DROP}")


def by_raw_column(lost: np.ndarray, columns: tuple[str, ...]) -> tuple[np.ndarray, tuple[str, ...]]:
    """bool (rows, columns) of the columns as they were given, and their names: a date in the place of its parts."""
    dates = {name.removesuffix(f".{PARTS[0]}") for name in columns if name.endswith(f".{PARTS[0]}")}
    source = dates_of_parts(date for date in dates if set(part_names(date)) <= set(columns))
    names = [source.get(name, name) for name in columns]
    kept = [at for at, name in enumerate(names) if name not in names[:at]]  # all parts of a date lack the same cells
    return lost[:, kept], tuple(names[at] for at in kept)


def by_column(lost: np.ndarray, columns: tuple[str, ...]) -> str:
    """In which columns how many cells are missing (rows, columns), in words; empty if it is one, or without names."""
    counts = dict(zip(columns, lost.sum(0).tolist(), strict=True)) if columns else {}
    said = [f"{name!r} {count}" for name, count in counts.items() if count]
    more = f" and {len(said) - MOST_NAMED} more" if len(said) > MOST_NAMED else ""
    return f" ({', '.join(said[:MOST_NAMED])}{more})" if len(said) > 1 else ""
