"""Rows of a CSV file, a chunk at a time, checked. No JAX here.

pyarrow.csv reads six times faster, but takes all rows after an unclosed quote for one cell,
and text after a closed quote for a part of the cell; both are errors here.
"""

import codecs
import contextlib
import csv
import io
import itertools
from collections.abc import Callable, Collection, Iterator
from typing import Any, BinaryIO

from popjax.core.text import short
from popjax.data.columns import FEW

CHUNK = 100_000  # cells per chunk
BLOCK = 2**20  # bytes that are looked through at once
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: both marks begin alike
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class File:
    """Rows of a CSV file, checked; delimited by comma, semicolon or tab.

    Attributes:
        uneven: line -> its number of fields, of the rows that have not as many as the header.
    """

    def __init__(
        self,
        source: str,
        opened: Callable[[], BinaryIO],
        na: Collection[str],
        delimiters: str,
        lenient: bool = False,
    ) -> None:
        """Find encoding, delimiter and header; raises ValueError. Cells that equal one of `na` are read as empty.

        `opened` opens the content at its beginning; it is not read as a whole. If `lenient`, rows of another length are
        empty ones, for all errors of a file to be told at once.
        """
        self.source, self.opened, self.na, self.lenient = source, opened, frozenset(na), lenient
        self.uneven: dict[int, int] = {}
        with opened() as file:
            begin = file.read(4)
            self.encoding = next((encoding for mark, encoding in MARKS if begin.startswith(mark)), "utf-8-sig")
            if self.encoding == "utf-8-sig" and (at := place_of(b"\0", begin, file)) is not None:
                raise ValueError(f"cannot read {source}: byte {at} is NUL, not text; save it as UTF-8")
        self.delimiter = max(delimiters, key=self.fields)
        self.header = next(self.rows(), [])
        if not self.header:
            raise ValueError(f"cannot read {source} as CSV: no header in line 1; name the columns there")
        if self.header[0].lower().startswith("sep="):
            what = f"line 1 is {short(self.delimiter.join(self.header))}, which is for Excel alone"
            raise ValueError(f"cannot read {source} as CSV: {what}; leave this line out")
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
            header, blank = None, 0
            try:
                for row in reader:
                    header = header or row
                    if row and len(row) != len(header):
                        self.uneven[reader.line_num] = len(row)
                        if self.lenient:  # counted as a row without a cell, so that others keep their numbers
                            yield [""] * len(header)
                            continue
                        raise ValueError(self.uneven_rows())
                    if self.na and row is not header:
                        row = ["" if cell.strip() in self.na else cell for cell in row]
                    if not row and header and len(header) == 1:  # an empty cell, but for lines at the end
                        blank += 1
                        continue
                    if blank:
                        yield from [[""]] * blank
                        blank = 0
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

    def uneven_rows(self) -> str:
        """Error for the rows that have not as many fields as the header."""
        width, more = len(self.header), len(self.uneven) - FEW
        said = ", ".join(
            f"line {line} has {count} fields" for line, count in itertools.islice(self.uneven.items(), FEW)
        )
        and_more = f" (and {more} more lines)" if more > 0 else ""
        remedy = "mend that line" if len(self.uneven) == 1 else "mend these lines"
        return f"{self.source}: {said}, the header {width}{and_more}; {remedy}"

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
