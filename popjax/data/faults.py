"""All errors in a user's data at once, one line each. No JAX here."""

from collections.abc import Callable, Sequence
from typing import Any


class Problems(ValueError):
    """Several errors in a user's data, `lines` of one each."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)

    def __reduce__(self) -> tuple[Any, ...]:
        """With its lines, for processes."""
        return Problems, (self.lines,)


class Faults(list[str]):
    """Errors so far, one line each.

    >>> faults = Faults()
    >>> faults.of(int, "3"), faults.of(int, "a"), len(faults)
    (3, None, 1)
    """

    def of[T](self, make: Callable[..., T], *arguments: Any) -> T | None:
        """What `make` returns; None if it raises ValueError, of which the lines are kept."""
        try:
            return make(*arguments)
        except ValueError as error:
            self += getattr(error, "lines", (str(error),))
            return None

    def refuse(self) -> None:
        """Raise ValueError for one line, Problems for several, nothing for none."""
        if self:
            raise ValueError(self[0]) if len(self) == 1 else Problems(self)
