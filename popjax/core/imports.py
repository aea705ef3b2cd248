"""Slow imports in background threads, one thread at a time."""

import importlib
import threading

ONE_AT_A_TIME = threading.Lock()  # two threads that import parts of SciPy at once may see a half-imported module


def import_all(*names: str) -> None:
    """Import modules, after the imports of any other thread."""
    with ONE_AT_A_TIME:
        for name in names:
            importlib.import_module(name)


def wait_for_imports() -> None:
    """Wait for `import_all` in other threads; call it before an import that may share modules with them."""
    with ONE_AT_A_TIME:
        pass
