"""Processes of this machine, by loky: they import no script of the user's, and die with the one that began them."""

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from popjax.core.text import whole


def processes(count: str) -> Callable[[], Any]:
    """A function that makes an executor of so many processes; raises ValueError."""
    number = whole("processes", count)
    return lambda: Processes(number)


class Processes:
    """So many processes, of which each trains one unit at a time.

    >>> pool = Processes(1)
    >>> pool.submit(max, 1, 2).result()
    2
    >>> pool.shutdown()
    """

    def __init__(self, count: int) -> None:
        from loky import ProcessPoolExecutor

        self.pool = ProcessPoolExecutor(count, initializer=begin, initargs=(os.getpid(),))

    def submit(self, fn: Callable[..., Any], *args: Any) -> "Future[Any]":
        """By the pool, which breaks when a process dies."""
        future: Future[Any] = self.pool.submit(fn, *args)
        return future

    def shutdown(self, wait: bool = True) -> None:
        """End the processes, whatever they are at."""
        self.pool.shutdown(wait=wait, kill_workers=True)


def begin(parent: int) -> None:
    """In a process: leave Ctrl-C to the parent, and end with it, however it ends."""
    from loky import process_executor

    process_executor._MAX_MEMORY_LEAK_SIZE = float("inf")  # what is compiled and kept is no leak
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()


def end_with(parent: int) -> None:
    """End this process once another is its parent."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
