"""The browser tabs that a live page is open in."""

from popjax.live.board import Cursor


class Tabs:
    """How much each open tab has been told, by the machine that it is on; those opened last come last."""

    def __init__(self) -> None:
        self._cursors: dict[str, list[Cursor]] = {}

    @property
    def open(self) -> int:
        """How many there are."""
        return sum(map(len, self._cursors.values()))

    def of(self, machine: str) -> list[Cursor]:
        """Those of a machine, to which one is added while it is open."""
        return self._cursors.setdefault(machine, [])
