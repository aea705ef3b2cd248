"""All that popjax takes from JAX without a public name; `tests/test_versions.py` finds no other private name.

`jax._src.lru_cache.LRUCache`, since jax 0.4.31: JAX writes an entry of its cache on a disk in place. A process that
reads it meanwhile warns that it is damaged, and that of a process that was killed stays so for ever.
"""

import functools
import os
import tempfile
from typing import Any

import jax

from popjax.core.text import tell

KNOWN = "0.12.0.1"  # the newest version that the tests have seen


def write_entries_whole() -> None:
    """Let JAX write an entry beside its place and rename it, over a damaged one, too.

    Nothing changes for a cache on a remote disk, or of a limited size, which takes a lock. If JAX's cache is not as it
    is known here, entries are written as JAX does, and a line says with which version they would be whole.
    """
    try:
        from jax._src.lru_cache import LRUCache

        in_place = LRUCache.put
    except (ImportError, AttributeError):
        tell_changed()
        return
    if hasattr(in_place, "in_place"):
        return

    def put(self: Any, key: str, value: bytes) -> None:
        if not all(hasattr(self, name) for name in ("eviction_enabled", "_is_local", "path")):
            tell_changed()
            return in_place(self, key, value)
        if not key or self.eviction_enabled or not self._is_local:
            return in_place(self, key, value)
        with tempfile.NamedTemporaryFile(dir=self.path, prefix="unfinished-", delete=False) as file:
            file.write(value)
        os.replace(file.name, os.path.join(self.path, f"{key}-cache"))
        return None

    put.in_place = in_place  # type: ignore[attr-defined]
    LRUCache.put = put  # type: ignore[method-assign]


@functools.cache  # said once
def tell_changed() -> None:
    """Say that JAX's cache is not as it is known here."""
    tell(f"jax {jax.__version__}: a killed process may leave half a compiled program; none with 'jax=={KNOWN}'")
