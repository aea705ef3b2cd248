"""Lines that are typed while the program works."""

import os
import select
import sys
from collections import deque


class Keyboard:
    """The lines of the standard input, each as soon as it is complete, without a thread that waits for them."""

    def __init__(self) -> None:
        self.open = True
        self._lines: deque[bytes] = deque()
        self._rest = b""

    def line(self, wait: bool) -> str | None:
        """The next line; None where none has been typed yet (unless `wait`) or the input has ended."""
        descriptor = sys.stdin.fileno()
        while self.open and not self._lines:
            if not wait and not select.select([descriptor], [], [], 0)[0]:
                return None
            chunk = os.read(descriptor, 4096)
            self.open = bool(chunk)
            *complete, self._rest = (self._rest + (chunk or b"\n" * bool(self._rest))).split(b"\n")
            self._lines.extend(complete)
        return self._lines.popleft().decode(errors="replace").strip() if self._lines else None
