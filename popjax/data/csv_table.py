"""Read CSV files as typed columns, a chunk of rows at a time; numbers are not kept as text. No JAX here.

A column is numeric if all its cells are plain numbers, and text if one of them is a code
such as 00501 or if at most half of them are numbers. Otherwise it is a numeric column with
mistakes, and refused: read as text, each of its numbers would become a feature.

pyarrow.csv reads six times faster, but takes all rows after an unclosed quote for one cell,
and text after a closed quote for a part of the cell; both are errors here.
"""

import codecs
import contextlib
import csv
import io
import itertools
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np

from popjax.core.text import short
from popjax.data.columns import (
    DROP,
    FEW,
    MAX_CLASSES,
    MAX_TEXTS,
    MEDIAN,
    Column,
    bad_cells,
    check_names,
    check_target,
    check_texts,
    coded_texts,
    is_code,
    is_missing,
    text_column,
    to_number,
)
from popjax.data.nameless import nameless, why_left_out
from popjax.data.table import PLAINLY, Reading, Table

CHUNK = 100_000  # cells per chunk
BLOCK = 2**20  # bytes that are looked through at once
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: both marks begin alike
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Cells that float() reads but that may be text: 1_000, 00501, -nan.
ODD = re.compile(r"_|^\s*[+-]?0\d|[+-]nan", re.MULTILINE | re.IGNORECASE)
# 1,5 and 1,234.5: numbers, but not plain ones.
DECIMAL_COMMA = re.compile(r"\s*[+-]?(\d+,(\d{1,2}|\d{4,})|0,\d+)\s*")
WITH_COMMAS = re.compile(r"\s*[+-]?(\d+,\d+|\d{1,3}(,\d{3})+(\.\d+)?)\s*")


def read_csv(
    source: str, content: bytes, target: str | None, how: Reading = PLAINLY, delimiters: str = ",;\t"
) -> Table:
    """Table of a CSV file with a header; the target's values (rows,) are None where missing.

    Raises ValueError in one line.
    """
    file = File(source, lambda: io.BytesIO(content), how.na, delimiters)
    check_names(source, file.names)
    target = check_target(source, file.names, target)
    kept = how.kept(source, file.names, target)
    places = nameless(file.header)
    notes = (why_left_out(source, places, itertools.islice(file.rows(), 1, None)),) if places else ()
    labels, groups = Texts(), Texts()
    tallies = {name: Tally() for name in kept if name not in (target, how.groups)}
    for cells in file.chunks():
        labels.add(cells.pop(target))
        if how.groups in kept:
            groups.add(cells[how.groups])
        for name, tally in tallies.items():
            tally.add(cells[name])
    if not labels.codes:
        raise ValueError(f"{source} has a header but no rows; add data")
    texts = read_texts(file, [name for name, tally in tallies.items() if tally.is_text(source, name)])
    columns = {name: texts.get(name) or tally.numbers() for name, tally in tallies.items()}
    if groups.codes:
        columns[str(how.groups)] = text_column(np.concatenate(groups.codes), list(groups.known))
    return Table(columns, None, labels.target(source, target), source, target, notes)


def read_texts(file: "File", names: Sequence[str]) -> dict[str, Column]:
    """Text columns by name, in a second pass; raises ValueError for one with too many distinct values."""
    texts = {name: Texts() for name in names}
    wanted = list(names)
    for cells in file.chunks() if names else ():
        for name in wanted:
            texts[name].add(cells[name])
        if len(wanted) > 1:  # one with too many is counted to the end, for the error; the others are dropped
            wanted = [name for name in wanted if texts[name].count > MAX_TEXTS][:1] or wanted
    for name in wanted:
        check_texts(file.source, name, texts[name].count)
    return {name: text_column(np.concatenate(each.codes), list(each.known)) for name, each in texts.items()}


class File:
    """Rows of a CSV file, checked; delimited by comma, semicolon or tab."""

    def __init__(self, source: str, opened: Callable[[], BinaryIO], na: Collection[str], delimiters: str) -> None:
        """Find encoding, delimiter and header; raises ValueError. Cells that equal one of `na` are read as empty.

        `opened` opens the content at its beginning; it is not read as a whole.
        """
        self.source, self.opened, self.na = source, opened, frozenset(na)
        with opened() as file:
            begin = file.read(4)
            self.encoding = next((encoding for mark, encoding in MARKS if begin.startswith(mark)), "utf-8-sig")
            if self.encoding == "utf-8-sig" and (at := place_of(b"\0", begin, file)) is not None:
                raise ValueError(f"cannot read {source}: byte {at} is NUL, not text; save it as UTF-8")
        self.delimiter = max(delimiters, key=self.fields)
        self.header = next(self.rows(), [])
        if not self.header:
            raise ValueError(f"cannot read {source} as CSV: no header in line 1; name the columns there")
        if len(self.header) == 1 and "|" in self.header[0]:
            what = f"line 1 is one column with '|' in it, {short(self.header[0])}"
            raise ValueError(f"cannot read {source} as CSV: {what}; write commas, semicolons or tabs between columns")

    @property
    def names(self) -> list[str]:
        """Names of the columns that have one."""
        return [name for name in self.header if name.strip()]

    @contextlib.contextmanager
    def reader(self, delimiter: str, strict: bool) -> Iterator[Any]:
        """Context: a csv.reader of the content from its start."""
        with self.opened() as file, io.TextIOWrapper(file, self.encoding, newline="") as text:
            yield csv.reader(text, delimiter=delimiter, strict=strict)

    def fields(self, delimiter: str) -> int:
        """Number of fields of the header under a delimiter; 0 if it cannot be read."""
        try:
            with self.reader(delimiter, strict=False) as reader:
                return len(next(reader, ()))
        except csv.Error:
            return 0
        except UnicodeError:
            raise self.undecodable() from None

    def rows(self) -> Iterator[list[str]]:
        """Iterate over the header and the rows; raises ValueError for a row of another length."""
        with self.reader(self.delimiter, strict=True) as reader:
            header = None
            try:
                for row in reader:
                    header = header or row
                    if row and len(row) != len(header):
                        fields = f"line {reader.line_num} has {len(row)} fields, the header {len(header)}"
                        raise ValueError(f"{self.source}: {fields}; mend that line")
                    if self.na and row is not header:
                        row = ["" if cell.strip() in self.na else cell for cell in row]
                    if row or reader.line_num == 1:
                        yield row
            except csv.Error as error:
                at = f"line {reader.line_num}: {error}"
                what = f"cannot read {self.source} as CSV: {at}; close its quotes and save it again"
                raise ValueError(what) from None
            except UnicodeError:
                raise self.undecodable() from None

    def chunks(self) -> Iterator[dict[str, tuple[str, ...]]]:
        """Iterate over chunks of rows, each as column -> cells, without unnamed columns."""
        rows = itertools.islice(self.rows(), 1, None)
        while chunk := list(itertools.islice(rows, max(1, CHUNK // len(self.header)))):
            columns = zip(self.header, zip(*chunk, strict=True), strict=True)
            yield {name: cells for name, cells in columns if name.strip()}

    def undecodable(self) -> ValueError:
        """Error for content that cannot be decoded, with the position, which a stream does not know."""
        encoding = self.encoding.removesuffix("-sig")
        with self.opened() as file:
            content = file.read()
        try:
            content.decode(encoding)
        except UnicodeDecodeError as error:
            line = content[: error.start].decode(encoding, "ignore").count("\n") + 1
            what = f"byte {error.start} ({content[error.start]:#04x}, line {line}) is not"
            return ValueError(f"cannot read {self.source} as {encoding.upper()}: {what}; save it as UTF-8")
        return ValueError(f"cannot read {self.source} as {encoding.upper()}; save it as UTF-8")


def place_of(byte: bytes, begin: bytes, file: BinaryIO) -> int | None:
    """The place of the first such byte in `begin` and the rest of a file; None if there is none."""
    passed, block = 0, begin
    while block:
        if byte in block:
            return passed + block.index(byte)
        passed += len(block)
        block = file.read(BLOCK)
    return None


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

    def target(self, source: str, name: str) -> np.ndarray:
        """Cells (rows,) as integers if all are, else as floats, else as text; None where missing.

        Raises ValueError for numbers with mistakes that would make more than 20 classes.
        """
        present = [text for text in self.known if not is_missing(text)]
        values: list[Any] = present
        for kind in (float, int):
            try:
                values = [to_number(text, kind) for text in present]
            except (ValueError, OverflowError):
                break
        codes = np.concatenate(self.codes)
        if values is present and len(present) > MAX_CLASSES:
            texts = list(self.known)
            tally = Tally()
            tally.add([texts[code] for code in codes])
            tally.is_text(source, name)
        if len(present) == len(self.known):
            return np.array(values, object if values is present else None)[codes]
        rest = iter(values)
        distinct = [None if is_missing(text) else next(rest) for text in self.known]
        return np.array(distinct, object)[codes]


class Tally:
    """Cells of a column as numbers, and counts of their kinds: number, missing, code, decimal comma, commas, text."""

    def __init__(self) -> None:
        self.values: list[np.ndarray] = []
        self.kinds: Counter[str] = Counter()
        self.bad: list[tuple[int, str]] = []
        self.rows = 0

    def add(self, cells: Sequence[str]) -> None:
        """Add the next rows."""
        try:
            values = plain_numbers(cells)
            missing = int(np.isnan(values).sum())
            self.kinds.update(number=len(cells) - missing, missing=missing)
        except ValueError:
            values = self._judged(cells)
        self.values.append(values)
        self.rows += len(cells)

    def _judged(self, cells: Sequence[str]) -> np.ndarray:
        known = {cell: cell_kind(cell) for cell in set(cells)}
        kinds = [known[cell][0] for cell in cells]
        self.kinds.update(kinds)
        bad = (row for row, kind in enumerate(kinds) if kind not in ("number", "missing"))
        for row in itertools.islice(bad, FEW - len(self.bad)):
            self.bad.append((self.rows + row, cells[row]))
        return np.array([known[cell][1] for cell in cells])

    def is_text(self, source: str, name: str) -> bool:
        """True if the column is text; raises ValueError for a numeric one with mistakes."""
        commas = self.kinds["decimal comma"] + self.kinds["commas"]
        bad = self.kinds["code"] + commas + self.kinds["text"]
        if bad == 0 or self.kinds["code"] or self.kinds["number"] + commas <= self.kinds["text"]:
            return bad > 0
        mostly = 2 * self.kinds["decimal comma"] >= bad
        points = f"write {self.with_a_point()}, with a decimal point; " if mostly else ""
        remedy = f"{points}mend them, or empty them (or name them, as --na NA) and use {MEDIAN} or {DROP}"
        raise ValueError(f"{source}: column {name!r} is numeric but for {bad_cells(self.bad, bad)}; {remedy}")

    def with_a_point(self) -> str:
        """The first bad cell with a decimal comma, written with a point; "1.5" if there is none."""
        return next((cell.strip().replace(",", ".") for _, cell in self.bad if DECIMAL_COMMA.fullmatch(cell)), "1.5")

    def numbers(self) -> Column:
        """Column of numbers, NaN where missing."""
        return Column(np.concatenate(self.values))


def plain_numbers(cells: Sequence[str]) -> np.ndarray:
    """Cells as floats (rows,); raises ValueError unless all of them are plain numbers or "nan"."""
    if ODD.search("\n".join(cells)):
        raise ValueError
    return np.fromiter(map(float, cells), float, len(cells))


def cell_kind(cell: str) -> tuple[str, float]:
    """Kind of a cell, and its number; NaN if it is not a number."""
    if is_missing(cell):
        return "missing", np.nan
    try:
        return "number", to_number(cell)
    except ValueError:
        comma = "decimal comma" if DECIMAL_COMMA.fullmatch(cell) else "commas"
        return "code" if is_code(cell) else comma if WITH_COMMAS.fullmatch(cell) else "text", np.nan
