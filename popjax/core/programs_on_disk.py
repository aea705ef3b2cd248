"""JAX's cache of compiled programs on a disk, of which no process reads half an entry.

JAX writes an entry in place; `private_jax.py` lets it write whole ones.
"""

import os
from pathlib import Path

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
