"""The journal of a run: its steps, one line each, written before they are applied, and its commits. No JAX here."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from popjax.core.storage import Corrupt, flush_directory, write_atomic
from popjax.space.space import Space
from popjax.store.commits import Commits
from popjax.store.decisions import NAME, REMARKS, Remark, Step, line_content, line_of, read_lines
from popjax.store.files import STATE


class Journal:
    """The steps of a search or a session, and the commits of what they made of its members.

    Args:
        space: the space of the points that the steps add.
        directory: holds decisions.jsonl and the commits; None to keep the steps in memory only.

    Attributes:
        lines: all steps and remarks so far, in order.
        steps: the steps among them.
        commits: None without a directory.

    Raises Corrupt for damaged files.
    """

    def __init__(self, space: Space, directory: Path | None = None) -> None:
        self.space = space
        self.path = None if directory is None else directory / NAME
        self.commits = None if directory is None else Commits.load(directory / STATE)
        self.lines: list[Step | Remark] = []
        self.steps: list[Step] = []
        if self.path is not None and self.path.exists():
            self._load(self.path)

    def read(self, number: int) -> Step | None:
        """Step of this number; None if it is not decided yet."""
        return self.steps[number] if number < len(self.steps) else None

    def stopped_before(self, number: int) -> tuple[int, ...]:
        """The trials that were stopped before a step, by a person or since their work was lost."""
        return self.steps[number - 1].stopped if number else ()

    def write(self, step: Step) -> None:
        """Append a step; it is on disk before this returns."""
        self._add(step)

    def remark(self, verb: str, value: Any = True) -> None:
        """Append a line that is no decision; it is on disk before this returns."""
        assert verb in REMARKS, verb  # or it would be read as a step
        self._add(Remark(verb, value))

    def replace(self, step: Step) -> None:
        """Replace the last step, and drop remarks after it, on disk too."""
        at = max(at for at, line in enumerate(self.lines) if isinstance(line, Step))
        self.cut([*self.lines[:at], step])

    def cut(self, lines: Sequence[Step | Remark]) -> None:
        """Replace all lines, on disk too."""
        self.lines = list(lines)
        self.steps = [line for line in lines if isinstance(line, Step)]
        if self.path is not None and self.path.exists():
            write_atomic(self.path, b"".join(line_of(line_content(line)) for line in lines))

    def _add(self, line: Step | Remark) -> None:
        if self.path is not None:
            append(self.path, line_of(line_content(line)))
        self.lines.append(line)
        if isinstance(line, Step):
            self.steps.append(line)

    def _load(self, path: Path) -> None:
        """Read all lines; a torn last line is dropped, and decided again. Raises Corrupt."""
        if path.is_symlink():
            raise Corrupt(f"{str(path)!r} is a link; remove it")
        self.lines, size = read_lines(path, self.space)
        self.steps = [line for line in self.lines if isinstance(line, Step)]
        if size < path.stat().st_size:
            os.truncate(path, size)


def append(path: Path, line: bytes) -> None:
    """Append a line to a file, durably; if that fails, as on a full disk, nothing of it stays."""
    new = not path.exists()
    with path.open("ab", buffering=0) as file:
        size = file.tell()
        try:
            left = memoryview(line)
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())
        except BaseException:
            os.truncate(file.fileno(), size)
            raise
    if new:
        flush_directory(path.parent)
