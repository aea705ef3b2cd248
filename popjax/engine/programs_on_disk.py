"""JAX's cache of compiled programs on a disk, of which no process reads half an entry.

JAX writes an entry in place. A process that reads it meanwhile warns that it is damaged, and an entry of a process that
was killed stays so for ever. JAX has no public way to write it otherwise; `tests/test_programs_on_disk.py` says whether
this one works with the installed version.
"""

import os
import tempfile
from typing import Any


def write_entries_whole() -> None:
    """Let JAX write an entry beside its place and rename it, over a damaged one, too.

    Nothing changes where JAX's cache is of another kind than is known here, on a remote disk, or of a limited size, in
    which case it takes a lock.
    """
    try:
        from jax._src.lru_cache import LRUCache
    except ImportError:
        return
    in_place = getattr(LRUCache, "put", None)
    if in_place is None or hasattr(in_place, "in_place"):
        return

    def put(self: Any, key: str, value: bytes) -> None:
        if not key or getattr(self, "eviction_enabled", True) or not getattr(self, "_is_local", False):
            return in_place(self, key, value)
        with tempfile.NamedTemporaryFile(dir=self.path, prefix="unfinished-", delete=False) as file:
            file.write(value)
        os.replace(file.name, os.path.join(self.path, f"{key}-cache"))
        return None

    put.in_place = in_place  # type: ignore[attr-defined]
    LRUCache.put = put  # type: ignore[method-assign]
