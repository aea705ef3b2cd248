"""How much memory there is, and what happens when it is not enough."""

import functools
import os
import re
from pathlib import Path
from typing import Any

import jax

KEPT_FREE = 0.2
MAPS = 0.5  # of the memory maps that Linux gives a process: a program takes hundreds, and XLA aborts where none is left
CGROUP, SELF = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
LIMITS = {2: "memory.max", 1: "memory.limit_in_bytes"}
USED = {2: "memory.current", 1: "memory.usage_in_bytes"}
UNLIMITED = 2**62  # version 1 writes the largest multiple of a page


class OutOfMemory(Exception):
    """A program does not fit; `needed` bytes, where that is known."""

    def __init__(self, needed: int | None = None) -> None:
        super().__init__(needed)
        self.needed = needed


def ran_out(error: Exception) -> bool:
    """Whether XLA failed to allocate, as it compiled or as it ran."""
    return isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)


def refused_bytes(error: Exception) -> int | None:
    """The bytes that XLA could not allocate, where its error names them."""
    found = re.search(r"allocat\w+ (\d+) bytes", str(error))
    return int(found[1]) if found else None


def total() -> int:
    """The memory in bytes that models train in: the accelerator's, or the machine's."""
    statistics = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in statistics:
        return int(statistics["bytes_limit"])
    limits = [number_in_file(group / LIMITS[version]) for group, version in control_groups()]
    return min(
        [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), *(limit for limit in limits if limit is not None)]
    )


def free() -> int:
    """What is left of it now."""
    statistics = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in statistics:
        return int(statistics["bytes_limit"] - statistics["bytes_in_use"])
    left = [left_in(group, version) for group, version in control_groups()]
    return min([available(), *(max(0, one) for one in left if one is not None)])


def available() -> int:
    """What Linux says it can give without swapping; all there is, on another system."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))


def control_groups() -> list[tuple[Path, int]]:
    """The control groups that bound this process's memory, innermost first, each with its version: 2 or 1.

    A group is bounded by those it lies in, too. In a container the paths of /proc/self/cgroup may be the host's;
    what is not there is no bound.
    """
    try:
        lines = SELF.read_text().splitlines()
    except OSError:
        return [(CGROUP, 2)]
    found: list[tuple[Path, int]] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "" or "memory" in controllers.split(","):
            root, version = (CGROUP, 2) if controllers == "" else (CGROUP / "memory", 1)
            inner = root / path.lstrip("/")
            found += [(place, version) for place in (inner, *inner.parents) if place.is_relative_to(root)]
    return found


def left_in(group: Path, version: int) -> int | None:
    """What a group may still take, its files in memory not counted, which the system gives up on demand; None: any."""
    limit, used = number_in_file(group / LIMITS[version]), number_in_file(group / USED[version])
    if limit is None or used is None:
        return None
    return limit - used + page_cache(group)


def page_cache(group: Path) -> int:
    """What the files in memory of a group take."""
    try:
        lines = (group / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    named = [line.split() for line in lines]
    found = {name: int(number) for name, number in named if name in ("inactive_file", "total_inactive_file")}
    return found.get("total_inactive_file", found.get("inactive_file", 0))


def crowded() -> bool:
    """Whether this process has used up the share MAPS of its memory maps; never, where there is no such limit."""
    most = number_in_file(Path("/proc/sys/vm/max_map_count"))
    if most is None:
        return False
    with Path("/proc/self/maps").open("rb") as maps:
        return sum(1 for _ in maps) > MAPS * most


def number_in_file(path: Path) -> int | None:
    """A number in a file; None where there is none, or no limit."""
    try:
        number = int(path.read_text())
    except (OSError, ValueError):
        return None
    return number if number < UNLIMITED else None


@functools.lru_cache(64)
def executable_bytes(executable: Any) -> int:
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
    bytes_needed = executable_bytes(executable) - sum(leaf.nbytes for leaf in jax.tree.leaves(held))
    if bytes_needed > (1 - KEPT_FREE) * free():
        raise OutOfMemory(bytes_needed)
