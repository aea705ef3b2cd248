"""An interrupt, Ctrl-C or a notebook's button, as a request to stop at the end of an epoch. No JAX here."""

import builtins
import contextlib
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from popjax.core.stop import Flag, Stop
from popjax.core.text import tell


def in_ipython() -> bool:
    """True in IPython."""
    return hasattr(builtins, "__IPYTHON__")


def again_in_a_notebook(out: Any) -> bool:
    """True in IPython if `out` holds a run: the cell was run before, and resumes it."""
    return in_ipython() and out is not None and (Path(out) / "run.json").exists()


@contextlib.contextmanager
def interruptible(stop: Flag, words: str, silent: bool = False) -> Iterator[None]:
    """Let the first interrupt set `stop` and print `words`; the second one raises KeyboardInterrupt.

    So nothing is raised within callbacks or under locks of JAX and other libraries, which may lose the exception or
    never release the lock. On exit after an interrupt, `stop` is cleared and KeyboardInterrupt is raised, except if
    `silent`. Does nothing outside the main thread, or if the handler of SIGINT is not Python's own.
    """
    mine = threading.current_thread() is threading.main_thread()
    if not mine or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    asked = Stop()

    def ask(number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        stop.set()
        with contextlib.suppress(RuntimeError):  # if this interrupts a write to the same stream
            tell(words)

    signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if asked.is_set():
            stop.clear()
    if asked.is_set() and not silent:
        raise KeyboardInterrupt
