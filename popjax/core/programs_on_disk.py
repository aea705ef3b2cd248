"""JAX's cache of compiled programs on a disk, of which no process reads half an entry.

JAX writes an entry in place. A process that reads it meanwhile warns that it is damaged, and an entry of a process that
was killed stays so for ever. JAX has no public way to write it otherwise; `tests/test_programs_on_disk.py` says whether
this one works with the installed version.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

OWN = "JAX_COMPILATION_CACHE_DIR"  # the user's own, which JAX reads


def cache_directory() -> Path:
    """The directory of compiled programs; raises ValueError for one on a remote disk, where JAX's cache breaks."""
    own = os.environ.get(OWN)
    if own and "://" in own:
        raise ValueError(f"{OWN}={own}: give a directory of this machine, or unset it")
    return Path(own or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "popjax" / "programs")


def enable_cache() -> None:
    """Let JAX keep all that it compiles for the next process, in a directory that only the user can read.

    Nothing changes where it cannot be made. JAX keeps there too, in a folder of its own, what XLA's autotuner chose for
    programs of runs without a directory. Raises ValueError as `cache_directory`.
    """
    try:
        cache = cache_directory()
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # also where the user has no home
        return
    import jax

    jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def keep_programs() -> None:
    """As `enable_cache`, unless the user has chosen a directory for JAX's cache, or turned it off."""
    import jax

    if not jax.config.jax_compilation_cache_dir and jax.config.jax_enable_compilation_cache:
        enable_cache()


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
