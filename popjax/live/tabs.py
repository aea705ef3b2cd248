"""The open browser tabs of a live page."""

from popjax.live.board import Cursor


class Tabs:
    """The cursors of open tabs, by machine and in the order in which they were opened."""

    def __init__(self) -> None:
        self._cursors: dict[str, list[Cursor]] = {}

    @property
    def open(self) -> int:
        """Number of open tabs."""
        return sum(map(len, self._cursors.values()))

    def of(self, machine: str) -> list[Cursor]:
        """The cursors of a machine: a mutable list that holds a tab's cursor while it is open."""
        return self._cursors.setdefault(machine, [])
