"""Cells of a column of text, as a file has them: what kind of column they are, and its values. No JAX here.

A column is numeric if all its cells are plain numbers, a date if all are dates of ISO 8601, and
text if one of them is a code such as 00501 or if at most half of them are numbers. Otherwise it
is a numeric column, or one of dates, with mistakes, and refused: read as text, each of its values
would be a level.
"""

import contextlib
import itertools
import re
import shlex
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from popjax.data.columns import (
    DROP,
    FEW,
    MAX_CLASSES,
    MEDIAN,
    Column,
    bad_cells,
    check_texts,
    coded_texts,
    is_code,
    is_missing,
    text_column,
    to_number,
)
from popjax.data.dates import ISO, day_of
from popjax.data.notation import GROUPED, PLAIN, Notation
from popjax.data.table import Reading

# Cells that float() reads but that may be text: 1_000, 00501, -nan.
ODD = re.compile(r"_|^\s*[+-]?0\d|[+-]nan", re.MULTILINE | re.IGNORECASE)
WORD = re.compile(r"\s*[^\d\s,]{1,20}\s*")
NUMBER = re.compile(r"\s*[+-]?\d+\.?\d*([eE][+-]?\d+)?\s*")
# 1,5 and 1.234,5 and 1,234.5: numbers, but not plain ones.
DECIMAL_COMMA = re.compile(r"\s*[+-]?(\d+,(\d{1,2}|\d{4,})|0,\d+|\d{1,3}(\.\d{3})+,\d+)\s*")
WITH_COMMAS = re.compile(r"\s*[+-]?(\d+,\d+|\d{1,3}(,\d{3})+(\.\d+)?|\d{1,3}(\.\d{3})+,\d+)\s*")


class Texts:
    """Cells of a column as text: an index per row, and the distinct texts."""

    def __init__(self) -> None:
        self.codes: list[np.ndarray] = []
        self.known: dict[str, int] = {}

    def add(self, cells: Sequence[str]) -> None:
        """Add the next rows."""
        self.codes.append(coded_texts(cells, self.known))

    @property
    def count(self) -> int:
        """Number of distinct texts, without missing ones."""
        return sum(not is_missing(text) for text in self.known)

    def column(self, source: str, name: str) -> Column:
        """Column of text; raises ValueError for one with too many distinct values."""
        check_texts(source, name, self.count)
        return text_column(np.concatenate(self.codes), list(self.known))

    def target(self, source: str, name: str, notation: Notation = PLAIN, flags: str = "") -> np.ndarray:
        """Cells (rows,) as integers if all are, else as floats, else as text; None where missing.

        Raises ValueError for numbers with mistakes that would make more than 20 classes.
        """
        present = [text for text in self.known if not is_missing(text)]
        values: list[Any] = present
        for kind in (float, int):
            try:
                values = [to_number(notation.plain(text), kind) for text in present]
            except (ValueError, OverflowError):
                break
        codes = np.concatenate(self.codes)
        if values is present and len(present) > MAX_CLASSES:
            texts = list(self.known)
            tally = Tally(Reading(notation=notation, dates=()), name, target=True)
            tally.add([texts[code] for code in codes])
            tally.kind(source, flags)
        if len(present) == len(self.known):
            return np.array(values, object if values is present else None)[codes]
        rest = iter(values)
        distinct = [None if is_missing(text) else next(rest) for text in self.known]
        return np.array(distinct, object)[codes]


class Tally:
    """Cells of a column as numbers, and counts of their kinds.

    These are number, missing, code, date, decimal comma, commas, plain (a number, but not in the file's notation) and
    text.

    Args:
        how: how the file is read.
        name: of the column.
        target: True if it is the target, in which rows without a value are left out anyway.
    """

    def __init__(self, how: Reading, name: str, target: bool = False) -> None:
        self.how, self.name, self.target = how, name, target
        self.dated = how.dates is None or name in how.dates
        self.values: list[np.ndarray] = []
        self.kinds: Counter[str] = Counter()
        self.bad: list[tuple[int, str]] = []
        self.undated: list[tuple[int, str]] = []
        self.rows = 0

    def add(self, cells: Sequence[str]) -> None:
        """Add the next rows."""
        try:
            values = plain_numbers(cells, self.how.notation)
            missing = int(np.isnan(values).sum())
            self.kinds.update(number=len(cells) - missing, missing=missing)
            self.undated += [(self.rows + row, cells[row]) for row in range(min(FEW - len(self.undated), len(cells)))]
        except ValueError:
            values = self._judged(cells)
        self.values.append(values)
        self.rows += len(cells)

    def _judged(self, cells: Sequence[str]) -> np.ndarray:
        known = {cell: cell_kind(cell, self.how.notation, self.dated) for cell in set(cells)}
        kinds = [known[cell][0] for cell in cells]
        self.kinds.update(kinds)
        for places, good in ((self.bad, ("number", "missing")), (self.undated, ("date", "missing"))):
            bad = (row for row, kind in enumerate(kinds) if kind not in good)
            places += [(self.rows + row, cells[row]) for row in itertools.islice(bad, FEW - len(places))]
        return np.array([known[cell][1] for cell in cells])

    def kind(self, source: str, flags: str = "") -> str:
        """The column's kind, "number", "text" or "date"; raises ValueError for a numeric one or dates with mistakes.

        `flags`: those that read the file's numbers, if it has commas in them.
        """
        dates, others = self.kinds["date"], self.rows - self.kinds["date"] - self.kinds["missing"]
        named = self.dated and self.how.dates is not None
        if others and (named or dates > others):
            as_text = "" if named else ", or keep them as texts (--dates none, or --dates with the names of others)"
            what = f"column {self.name!r} holds dates but for {bad_cells(self.undated, others)}"
            empty = f"or empty them{named_as_missing(self.undated)}{as_text}"
            raise ValueError(f"{source}: {what}; write them as 2024-01-31, {empty}")
        if dates and not others:
            return "date"
        commas = self.kinds["decimal comma"] + self.kinds["commas"]
        texts, plain = self.kinds["text"] + dates, self.kinds["plain"]
        bad = self.kinds["code"] + commas + plain + texts
        if bad == 0:
            return "number"
        if self.kinds["code"] or self.kinds["number"] + commas + plain <= texts:
            return "text"
        what = f"column {self.name!r} is numeric but for {bad_cells(self.bad, bad)}"
        read = self.notation_meant(bad, flags)
        then = "" if self.target else f" and use {MEDIAN} or {DROP}"
        raise ValueError(f"{source}: {what}; {read}mend them, or empty them{named_as_missing(self.bad)}{then}")

    def notation_meant(self, bad: int, flags: str) -> str:
        """What reads the cells if most of those that are no numbers are some in another notation; else empty."""
        if flags and 2 * (self.kinds["decimal comma"] + self.kinds["commas"]) >= bad:
            point = f"write {self.with_a_point()}, with a decimal point, or " if self.kinds["decimal comma"] else ""
            return f"{point}read them with {flags}; "
        if 2 * self.kinds["plain"] >= bad:
            if self.how.notation == Notation(None, ",") and all(GROUPED.fullmatch(cell) for _, cell in self.bad):
                return "read them with --thousands . too; "
            return "these are no numbers as --thousands and --decimal have them; "
        return ""

    def with_a_point(self) -> str:
        """The first bad cell with a decimal comma, written with a point; "1.5" if there is none."""
        commas = [cell.strip() for _, cell in self.bad if DECIMAL_COMMA.fullmatch(cell)]
        return next((cell.replace(".", "").replace(",", ".") for cell in commas), "1.5")

    def column(self) -> Column:
        """Column of numbers or of dates, NaN where missing."""
        date = self.kinds["date"] > 0
        return Column(np.concatenate(self.values), date=date, guessed=date and self.how.dates is None)


def named_as_missing(bad: Sequence[tuple[int, str]]) -> str:
    """The option by which those of the cells count as missing that are short words or signs; empty without any.

    >>> named_as_missing([(3, "?"), (5, "1,5"), (9, "?")])
    " (or name them: --na '?')"
    """
    words = (cell.strip() for _, cell in bad if WORD.fullmatch(cell))
    named = ",".join(dict.fromkeys(words))
    return f" (or name them: --na {shlex.quote(named)})" if named else ""


def flags_for(tallies: Sequence[Tally], targets: Collection[str], delimiter: str, grouped: bool) -> str:
    """The options that read a file's numbers with commas: one notation for all columns; empty if there are none.

    Args:
        tallies: of its columns.
        targets: the cells of its target.
        delimiter: that of the file: where it is ";", commas are mostly those of decimals.
        grouped: the file's points may all stand between thousands.
    """
    commas = [cell for tally in tallies for _, cell in tally.bad if WITH_COMMAS.fullmatch(cell)]
    commas += [cell for cell in targets if WITH_COMMAS.fullmatch(cell)]
    if not commas:
        return ""
    decimal = delimiter == ";" or any(map(DECIMAL_COMMA.fullmatch, commas))
    if decimal and not any(re.search(r",.*[,.]", cell) for cell in commas):
        return "--decimal ," + " --thousands ." * (grouped or any("." in cell for cell in commas))
    return "--thousands ,"


def plain_numbers(cells: Sequence[str], notation: Notation = PLAIN) -> np.ndarray:
    """Cells as floats (rows,); raises ValueError unless all of them are plain numbers of the notation, or "nan"."""
    if ODD.search("\n".join(cells)):
        raise ValueError
    cells = cells if notation.is_plain else [notation.plain(cell) for cell in cells]
    return np.fromiter(map(float, cells), float, len(cells))


def cell_kind(cell: str, notation: Notation, dated: bool) -> tuple[str, float]:
    """Kind of a cell, and its number, or of a date if these are looked for the days since 1970; else NaN."""
    if is_missing(cell):
        return "missing", np.nan
    try:
        return "number", to_number(notation.plain(cell))
    except ValueError:
        pass
    if dated and ISO.fullmatch(cell):
        with contextlib.suppress(ValueError, OverflowError):
            return "date", day_of(cell)
    if not notation.is_plain and NUMBER.fullmatch(cell):
        return "plain", np.nan
    comma = "decimal comma" if DECIMAL_COMMA.fullmatch(cell) else "commas"
    return "code" if is_code(cell) else comma if WITH_COMMAS.fullmatch(cell) else "text", np.nan
