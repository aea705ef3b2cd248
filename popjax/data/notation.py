"""How a file writes numbers: the sign between thousands, and that before decimals. No JAX here."""

import functools
import re
from typing import NamedTuple


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
