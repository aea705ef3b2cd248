"""Input while the program works, typed here or on a page."""

import os
import select
import signal
import sys
from collections import deque
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

from popjax.core.stop import Stop


class Keyboard:
    """Lines of the standard input, and changes that other threads request, each as soon as it is complete.

    Args:
        stop: flag that ends waiting, once a signal's handler has set it.

    Attributes:
        open: False once the standard input has ended.
    """

    def __init__(self, stop: Stop) -> None:
        self.open = True
        self._stop = stop
        self._typed: deque[tuple[Any, Future[None] | None]] = deque()
        self._rest = b""
        self._woken, self._waker = os.pipe()
        self._typist: Future[None] | None = None

    def __enter__(self) -> Self:
        os.set_blocking(self._waker, False)
        self._before = signal.set_wakeup_fd(self._waker)  # a signal ends the waiting
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop reading; answer each remaining entry with an error."""
        signal.set_wakeup_fd(self._before)
        while self._typed:
            _, self._typist = self._typed.popleft()
            self.answer(ValueError("the session has ended: nothing more is done"))

    def press(self, change: Any) -> "Future[None]":
        """Request a change, from any thread; returns the Future of its outcome."""
        answer: Future[None] = Future()
        self._typed.append((change, answer))
        os.write(self._waker, b".")
        return answer

    def answer(self, error: ValueError | None = None) -> None:
        """Resolve the last entry's future, if it came from another thread."""
        typist, self._typist = self._typist, None
        if typist is not None and error is None:
            typist.set_result(None)
        elif typist is not None:
            typist.set_exception(error)

    def next(self, wait: bool, elsewhere: bool = False) -> Any:
        """The next line, or change; None if there is none yet and `wait` is False, or no more can come.

        Args:
            wait: True to wait for one.
            elsewhere: True if changes may also come from another thread.
        """
        while not self._typed and (self.open or elsewhere) and not self._stop.is_set():
            sources = [self._woken, *([sys.stdin.fileno()] if self.open else [])]
            ready = select.select(sources, [], [], None if wait else 0)[0]
            if not ready:
                return None
            if self._woken in ready:
                os.read(self._woken, 4096)
            if sys.stdin.fileno() in ready:
                self._read()
        if not self._typed:
            return None
        entry, self._typist = self._typed.popleft()
        return entry

    def _read(self) -> None:
        """Append the complete lines that were typed here."""
        chunk = os.read(sys.stdin.fileno(), 4096)
        self.open = bool(chunk)
        *complete, self._rest = (self._rest + (chunk or b"\n" * bool(self._rest))).split(b"\n")
        self._typed.extend((line.decode(errors="replace").strip(), None) for line in complete)
