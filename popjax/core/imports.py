"""Imports in the background, which take seconds while others compute."""

import importlib
import threading

ONE_AT_A_TIME = threading.Lock()  # where two threads import parts of SciPy at once, one of them sees half a module


def import_all(*names: str) -> None:
    """Import modules, after what another thread imports."""
    with ONE_AT_A_TIME:
        for name in names:
            importlib.import_module(name)


def wait_for_imports() -> None:
    """Wait for what other threads import: before this one imports what may share parts with it."""
    with ONE_AT_A_TIME:
        pass
