"""How a file writes numbers: the sign between thousands, and that before decimals. No JAX here."""

import functools
import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

from popjax.core.text import short


class Notation(NamedTuple):
    """Signs in numbers.

    Attributes:
        thousands: the sign between thousands, such as "," of 1,234; None if there is none.
        decimal: the sign before decimals.

    >>> Notation(".", ",").plain("1.234,5"), Notation(",").plain("1,234")
    ('1234.5', '1234')
    """

    thousands: str | None = None
    decimal: str = "."

    @property
    def is_plain(self) -> bool:
        """True for numbers as Python writes them."""
        return self == PLAIN

    def plain(self, cell: str) -> str:
        """A number as Python writes it; raises ValueError for a cell that is none in this notation."""
        if self.is_plain:
            return cell
        if not pattern(self).fullmatch(cell):
            raise ValueError(cell)
        return cell.replace(self.thousands or "", "").replace(self.decimal, ".")

    def check(self) -> None:
        """Raise ValueError for signs that are no single signs, or that cannot be told apart."""
        for name, sign in (("thousands", self.thousands), ("decimal", self.decimal)):
            if sign is not None and (len(sign) != 1 or sign.isalnum() or sign in "+-\n\r"):
                raise ValueError(f"--{name} {sign!r}: give one sign, such as , or .")
        if self.thousands == self.decimal:
            what = f"--thousands {self.thousands}: it is the sign before decimals, too"
            raise ValueError(f"{what}; give another --decimal, or --thousands none")


PLAIN = Notation()


@functools.cache
def pattern(notation: Notation) -> re.Pattern[str]:
    """The numbers of a notation; thousands are whole groups of three (or two, as in 1,00,000)."""
    point, whole = re.escape(notation.decimal), r"\d+"
    if notation.thousands is not None:
        sign = re.escape(notation.thousands)
        groups = rf"[1-9]\d{{0,2}}({sign}\d{{3}})+|[1-9]\d?({sign}\d{{2}})+{sign}\d{{3}}"
        whole = rf"({groups}|\d+)"
    return re.compile(rf"\s*[+-]?({whole}({point}\d*)?|{point}\d+)([eE][+-]?\d+)?\s*")


GROUPED = re.compile(r"^\s*[-+]?[1-9]\d{0,2}\.\d{3}\s*$", re.MULTILINE)  # 2.581: two and a half, or 2581
DECIMAL = re.compile(r"^\s*[-+]?(\d*\.\d{1,2}|\d*\.\d{4,}|0?\.\d+)\s*$", re.MULTILINE)
UNGROUPED = re.compile(r"^\s*[-+]?\d{4,}\s*$", re.MULTILINE)  # no point where thousands would have one


class Points:
    """The points in the numbers of a file: which of them may stand between thousands.

    >>> points = Points()
    >>> points.add("sales", ["983", "2.581"])
    >>> points.thousands(["sales"])
    {'sales': '2.581'}
    """

    def __init__(self) -> None:
        self.cells: dict[str, str] = {}
        self.ungrouped: set[str] = set()
        self.decimals = False

    def add(self, name: str, cells: Sequence[str]) -> None:
        """Look at the next rows of a column."""
        joined = "" if self.decimals else "\n".join(cells)
        if found := GROUPED.search(joined):
            self.cells.setdefault(name, found[0].strip())
        if UNGROUPED.search(joined):
            self.ungrouped.add(name)
        self.decimals = self.decimals or DECIMAL.search(joined) is not None

    def thousands(self, names: Collection[str]) -> dict[str, str]:
        """Those of the columns that may have points between thousands -> a cell; none if the file has other points."""
        if self.decimals:
            return {}
        return {name: cell for name, cell in self.cells.items() if name in names and name not in self.ungrouped}

    def doubt(self, names: Collection[str]) -> str:
        """Line for these columns; empty without any."""
        if not (meant := self.thousands(names)):
            return ""
        what = f"the points in {', '.join(map(short, meant))} ({short(next(iter(meant.values())))})"
        remedy = "if they stand between thousands, read them with --thousands . --decimal ,"
        return f"{what} are read as those of decimals; {remedy}"
