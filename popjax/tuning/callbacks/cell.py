"""The progress of a run below the cell of a notebook, without ipywidgets."""

import builtins
import html
import sys
import time
from typing import Any

from popjax.tuning.callbacks.progress import Progress, value_or_dash

REFRESH = 0.25  # seconds between two updates


def in_notebook() -> bool:
    """True in the kernel of a notebook."""
    return hasattr(builtins, "__IPYTHON__") and "ipykernel" in sys.modules


class Cell(Progress):
    """One line of HTML, updated in place: progress, the best value now, the time left."""

    def __init__(self) -> None:
        self._shown: Any = None
        self._said: list[str] = []
        self._due = self._begin = 0.0

    def say(self, line: str) -> None:
        self._said.append(line)
        self._show("")

    def start(self, words: str) -> None:
        self._begin = 0.0
        self._show(f"<progress></progress> {html.escape(words)}")

    def update(self) -> None:
        now = time.monotonic()
        self._begin = self._begin or now
        if now < self._due and self.done < self.total:
            return  # faster updates would not be seen
        self._due = now + REFRESH
        left = self.left(self._begin)
        words = f"{self.done / max(self.total, 1):.0%}, best now {value_or_dash(self.best())}, {left:.0f} s left"
        self._show(f'<progress value="{self.done}" max="{self.total}"></progress> {html.escape(words)}')

    def close(self) -> None:
        """Replace the bar of an unfinished run by a line that says where it stopped."""
        if self._shown is not None and self.done < self.total:
            self._show(f"stopped at {self.done / self.total:.0%}, best now {html.escape(value_or_dash(self.best()))}")

    def _show(self, line: str) -> None:
        from IPython.display import HTML, display

        page = HTML("<br>".join([*map(html.escape, self._said), *([line] if line else [])]))
        if self._shown is None:
            self._shown = display(page, display_id=True)
        else:
            self._shown.update(page)
