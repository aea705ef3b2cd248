"""Dates as numbers: days since 1970 (UTC), and the parts of a date that a model sees. No JAX here."""

import datetime
import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

PARTS = ("year", "month", "weekday", "day_of_year", "days")
ISO = re.compile(
    r"\s*\d{4}-\d{2}-\d{2}([T ]\d{2}(:\d{2}(:\d{2}([.,]\d{1,9})?)?)?(Z|[+-]\d{2}(:?\d{2})?)?)?\s*", re.IGNORECASE
)
EPOCH = datetime.datetime(1970, 1, 1)
DAY = datetime.timedelta(days=1)

type Dates = Mapping[str, float]  # date column -> its first day, since 1970
NO_DATES: Dates = MappingProxyType({})


def day_of(text: str) -> float:
    """Days since 1970 of a date of ISO 8601, with or without a time; UTC without a zone. Raises ValueError.

    >>> day_of("1970-01-02"), day_of("1970-01-02T12:00+12:00")
    (1.0, 1.0)
    """
    if not ISO.fullmatch(text):
        raise ValueError(text)
    date = datetime.datetime.fromisoformat(text.strip().upper())
    if date.tzinfo is not None:
        date = date.astimezone(datetime.UTC).replace(tzinfo=None)
    return (date - EPOCH) / DAY


def days_of(name: str, cells: Iterable[Any], missing: Any, first: int = 0) -> np.ndarray:
    """Days since 1970 (rows,) of texts or Python's dates, NaN where `missing(cell)`.

    Errors count the rows from `first`. Raises ValueError for a cell that is no date.
    """
    days = []
    for row, cell in enumerate(cells):
        try:
            days.append(np.nan if missing(cell) else day_of(cell if isinstance(cell, str) else cell.isoformat()))
        except (ValueError, AttributeError, OverflowError):
            what = f"column {name!r} is a date, but row {first + row + 1} holds {str(cell)!r}"
            raise ValueError(f"{what}; give one as 2024-01-31") from None
    return np.array(days, float)


def days_of_times(times: np.ndarray) -> np.ndarray:
    """Days since 1970 (rows,) of datetime64 values, NaN where NaT."""
    exact = times.astype("datetime64[us]")
    return np.where(np.isnat(exact), np.nan, exact.astype("int64") / 86_400e6)


def part_names(name: str) -> list[str]:
    """The columns that a date becomes.

    >>> part_names("day")
    ['day.year', 'day.month', 'day.weekday', 'day.day_of_year', 'day.days']
    """
    return [f"{name}.{part}" for part in PARTS]


def parts(days: np.ndarray, first: float) -> np.ndarray:
    """Year, month, weekday (0 is Monday), day of the year and days since the first one: (rows, 5), NaN where missing.

    >>> parts(np.array([19753.5]), 19723.0).tolist()  # the noon of 2024-01-31, since 2024-01-01
    [[2024.0, 1.0, 2.0, 31.0, 30.5]]
    """
    known = np.isfinite(days)
    whole = np.where(known, np.floor(np.where(known, days, 0)), 0).astype("datetime64[D]")
    years, months = whole.astype("datetime64[Y]"), whole.astype("datetime64[M]")
    numbers = [
        years.astype(int) + 1970,
        months.astype(int) % 12 + 1,
        (whole.astype(int) + 3) % 7,
        (whole - years).astype(int) + 1,
        days - first,
    ]
    return np.where(known[:, None], np.column_stack(numbers), np.nan)


def dates_of_parts(dates: Iterable[str]) -> dict[str, str]:
    """Part -> the date that it is of.

    >>> dates_of_parts(["day"])["day.month"]
    'day'
    """
    return {part: date for date in dates for part in part_names(date)}


def raw_columns(columns: Sequence[str], dates: Dates) -> tuple[str, ...]:
    """The columns of raw rows, in order: a date in the place of its parts.

    >>> raw_columns(("a", *part_names("day")), {"day": 0.0})
    ('a', 'day')
    """
    source = dates_of_parts(dates)
    return tuple(dict.fromkeys(source.get(name, name) for name in columns))


def day_text(day: float) -> str:
    """A day since 1970 as a text.

    >>> day_text(19723.0)
    '2024-01-01'
    """
    return str(np.datetime64(int(np.floor(day)), "D"))
