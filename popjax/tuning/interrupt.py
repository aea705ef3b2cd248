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
    """Whether this is IPython."""
    return hasattr(builtins, "__IPYTHON__")


def again_in_a_notebook(out: Any) -> bool:
    """Whether this is IPython and `out` holds a run: then the cell was run before, and goes on with it."""
    return in_ipython() and out is not None and (Path(out) / "run.json").exists()


@contextlib.contextmanager
def interruptible(stop: Flag, words: str, silent: bool = False) -> Iterator[None]:
    """Meanwhile the first interrupt sets `stop`, and says `words`; the second one raises KeyboardInterrupt.

    So nothing is raised within the callbacks or under the locks of JAX and of others, which may lose it, or never
    let go of what they hold. At the end `stop` is as it was, and KeyboardInterrupt is raised for the first one, unless
    it is to be `silent`. Where another handler than Python's own is in place, or in another thread than the main one,
    nothing is changed.
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
        with contextlib.suppress(RuntimeError):  # of a stream that this interrupts as it writes
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
