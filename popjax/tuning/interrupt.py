"""An interrupted cell of a notebook gives what was found so far, and goes on when run again. No JAX here."""

import builtins
import contextlib
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from popjax.core.text import tell


def again_in_a_notebook(out: Any) -> bool:
    """Whether this is IPython and `out` holds a run: then the cell was run before, and goes on with it."""
    return hasattr(builtins, "__IPYTHON__") and out is not None and (Path(out) / "run.json").exists()


@contextlib.contextmanager
def interruptible(stop: threading.Event, out: Any) -> Iterator[None]:
    """In IPython, let the first interrupt set `stop`, so that the search gives its Results so far; the second is one.

    A script is left as it is: there Ctrl-C ends it, as it ends everything.
    """
    mine = hasattr(builtins, "__IPYTHON__") and threading.current_thread() is threading.main_thread()
    if not mine or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def ask(number: int, frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        on = "; to go on, run the cell again" if out is not None else "; with out=DIR the cell would go on"
        tell(f"stopping after this epoch, with the results so far{on}; interrupt again to stop at once")

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
