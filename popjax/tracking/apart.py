"""A writer in a process of its own, for a package that is slow to import. No JAX here."""

import sys
from collections.abc import Mapping
from concurrent.futures import BrokenExecutor
from multiprocessing.reduction import ForkingPickler
from typing import Any

from popjax.core.text import failure, first_line
from popjax.executors.processes import pool
from popjax.tracking.tracker import Whole, Writer

WRITERS: list[Writer] = []  # in a writer's own process, that writer; else empty


class Apart:
    """Forward all calls to a writer in another process; raises RuntimeError with the message of its error.

    Args:
        kind: the writer's class, at the top level of a module.
        settings: its arguments, which can be pickled.
    """

    pool: Any = None

    def __init__(self, kind: type[Writer], **settings: Any) -> None:
        """Raises ValueError for a class or a setting that no other process can load."""
        try:
            ForkingPickler.dumps((kind, settings))  # as it is sent
        except Exception as error:  # whatever the objects' own methods raise
            remedy = "define the class at the top of a module, and make such settings in begin"
            raise ValueError(f"the tracker {kind.__name__} cannot be sent: {first_line(error)}; {remedy}") from None
        self.kind = kind
        self.settings = settings

    def begin(self, name: str, config: Mapping[str, Any]) -> None:
        self.pool = pool()
        self._call(make, self.kind, self.settings)
        self._call(tell_writer, "begin", name, dict(config))

    def now(self, values: Mapping[str, float], step: int) -> None:
        self._call(tell_writer, "now", dict(values), step)

    def end(self, whole: Whole) -> None:
        self._call(tell_writer, "end", whole)

    def close(self) -> None:
        if self.pool is not None:
            self._call(tell_writer, "close")
            self._end()

    def _call(self, function: Any, *arguments: Any) -> None:
        """Call a function in the process; if it fails, end the process and raise RuntimeError."""
        try:
            error = self.pool.submit(function, *arguments).result()
        except BrokenExecutor:
            error = "its process is gone"
        if error:
            self._end()
            raise RuntimeError(error)

    def _end(self) -> None:
        """Kill the process: all is written, and MLflow takes most of a second to exit."""
        ended, self.pool = self.pool, None
        ended.shutdown(wait=True, kill_workers=True)


def make(kind: type[Writer], settings: Mapping[str, Any]) -> str:
    """Make the writer of this process; returns the failure, "" if there is none."""
    sys.stdout = sys.stderr  # what a package prints is not the command's output
    return failure_of(lambda: WRITERS.append(kind(**settings)))


def tell_writer(method: str, *arguments: Any) -> str:
    """Call a method of the writer of this process; returns the failure, "" if there is none."""
    return failure_of(lambda: getattr(WRITERS[0], method)(*arguments))


def failure_of(act: Any) -> str:
    """What an act raises, in a line, "" for nothing: another process may be unable to load the error itself."""
    try:
        act()
    except Exception as raised:
        return failure(raised)
    return ""
