"""Elapsed seconds across threads."""

import threading
import time


class Clock:
    """The sum of the seconds during which at least one thread is inside the `with` block, by a monotonic clock.

    >>> clock = Clock()
    >>> with clock:
    ...     pass
    >>> clock.seconds < 1
    True
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._since = 0.0
        self.seconds = 0.0

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._since = time.perf_counter()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self.seconds += time.perf_counter() - self._since
