"""Lines that are typed while the program works, here or on a page."""

import os
import select
import sys
from collections import deque
from concurrent.futures import Future


class Keyboard:
    """Lines from the standard input, and from other threads, each as soon as it is complete.

    Attributes:
        open: whether the standard input has not ended.
    """

    def __init__(self) -> None:
        self.open = True
        self._lines: deque[tuple[str, Future[None] | None]] = deque()
        self._rest = b""
        self._woken, self._waker = os.pipe()
        self._typist: Future[None] | None = None

    def type(self, *lines: str) -> "Future[None]":
        """Type lines, from any thread; what becomes of the last one."""
        answer: Future[None] = Future()
        self._lines.extend((line, answer if line is lines[-1] else None) for line in lines)
        os.write(self._waker, b".")
        return answer

    def answer(self, error: ValueError | None = None) -> None:
        """Tell whoever typed the last line what became of it; nobody, if that was here."""
        typist, self._typist = self._typist, None
        if typist is not None and error is None:
            typist.set_result(None)
        elif typist is not None:
            typist.set_exception(error)

    def close(self) -> None:
        """Nobody reads any more: tell whoever typed what is left."""
        while self._lines:
            _, self._typist = self._lines.popleft()
            self.answer(ValueError("the model is left: nothing is done any more"))

    def line(self, wait: bool, elsewhere: bool = False) -> str | None:
        """The next line; None where none has been typed yet (unless `wait`) or no more can come.

        Args:
            elsewhere: whether lines may come from another thread, too.
        """
        while not self._lines and (self.open or elsewhere):
            sources = [self._woken, *([sys.stdin.fileno()] if self.open else [])]
            ready = select.select(sources, [], [], None if wait else 0)[0]
            if not ready:
                return None
            if self._woken in ready:
                os.read(self._woken, 4096)
            if sys.stdin.fileno() in ready:
                self._read()
        if not self._lines:
            return None
        text, self._typist = self._lines.popleft()
        return text

    def _read(self) -> None:
        """What has been typed here."""
        chunk = os.read(sys.stdin.fileno(), 4096)
        self.open = bool(chunk)
        *complete, self._rest = (self._rest + (chunk or b"\n" * bool(self._rest))).split(b"\n")
        self._lines.extend((line.decode(errors="replace").strip(), None) for line in complete)
