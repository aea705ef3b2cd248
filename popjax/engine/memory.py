"""How much memory there is, and what happens when it is not enough."""

import functools
import os
import re
from pathlib import Path
from typing import Any

import jax

KEPT_FREE = 0.2
CGROUP = Path("/sys/fs/cgroup")


class OutOfMemory(Exception):
    """A program does not fit; `needed` bytes, where that is known."""

    def __init__(self, needed: int | None = None) -> None:
        super().__init__(needed)
        self.needed = needed


def ran_out(error: Exception) -> bool:
    """Whether XLA failed to allocate, as it compiled or as it ran."""
    return isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)


def refused(error: Exception) -> int | None:
    """The bytes that XLA could not allocate, where its error names them."""
    found = re.search(r"allocat\w+ (\d+) bytes", str(error))
    return int(found[1]) if found else None


def total() -> int:
    """The memory in bytes that models train in: the accelerator's, or the machine's."""
    statistics = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in statistics:
        return int(statistics["bytes_limit"])
    return min(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), cgroup("memory.max"))


def free() -> int:
    """What is left of it now."""
    statistics = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in statistics:
        return int(statistics["bytes_limit"] - statistics["bytes_in_use"])
    left = cgroup("memory.max") - cgroup("memory.current", 0) + page_cache()
    return min(available(), max(0, left))


def available() -> int:
    """What Linux says it can give without swapping; all there is, on another system."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))


def page_cache() -> int:
    """What the container's files in memory take, which the system gives up on demand."""
    try:
        lines = (CGROUP / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))


def cgroup(name: str, unlimited: int = 2**62) -> int:
    """A figure of the process's container; `unlimited` where there is none."""
    try:
        return int((CGROUP / name).read_text())
    except (OSError, ValueError):
        return unlimited


@functools.lru_cache(64)
def needed(executable: Any) -> int:
    """The bytes that an executable takes while it runs; asked once, since XLA takes 30 ms to answer."""
    analysis = executable.memory_analysis()
    if analysis is None:
        return 0
    held = analysis.argument_size_in_bytes + analysis.output_size_in_bytes - analysis.alias_size_in_bytes
    return int(held + analysis.temp_size_in_bytes)


def check_fits(executable: Any, held: Any) -> None:
    """Raise OutOfMemory unless an executable fits beside what is `held` already, a fifth of what is free left alone.

    XLA's analysis leaves out the workspaces of libraries, hence the fifth.
    """
    bytes_needed = needed(executable) - sum(leaf.nbytes for leaf in jax.tree.leaves(held))
    if bytes_needed > (1 - KEPT_FREE) * free():
        raise OutOfMemory(bytes_needed)
