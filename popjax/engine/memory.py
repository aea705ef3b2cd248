"""The memory of the device or machine, and errors of running out of it."""

import os
import re
import weakref
from pathlib import Path
from typing import Any

import jax

from popjax.core.machine import visible_cards

KEPT_FREE = 0.2  # of the memory, left free
MAPS = 0.5  # of the memory maps that Linux gives a process: a program takes hundreds, and XLA aborts where none is left
NEEDED: "weakref.WeakKeyDictionary[Any, int]" = weakref.WeakKeyDictionary()  # see `executable_bytes`
CGROUP, SELF = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
LIMITS = {2: "memory.max", 1: "memory.limit_in_bytes"}
USED = {2: "memory.current", 1: "memory.usage_in_bytes"}
SIZE = re.compile(r"allocat\w+ (?:request for |a buffer of )?(\d+(?:\.\d+)?) ?(bytes|[KMGT]iB|B)\b(?: \((\d+)B\))?")
UNITS = {"bytes": 1, "B": 1} | {f"{prefix}iB": 2 ** (10 * power) for power, prefix in enumerate("KMGT", 1)}
UNLIMITED = 2**62  # version 1 writes the largest multiple of a page


class OutOfMemory(Exception):
    """A program does not fit in memory; `needed`: its bytes, None if not known."""

    def __init__(self, needed: int | None = None) -> None:
        super().__init__(needed)
        self.needed = needed


def ran_out(error: Exception) -> bool:
    """True if XLA failed to allocate memory, while compiling or running."""
    return isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)


def refused_bytes(error: Exception) -> int | None:
    """The bytes that XLA could not allocate; None if its error does not name them.

    >>> refused_bytes(RuntimeError("Failed to allocate request for 1.50GiB (1610612736B) on device ordinal 0"))
    1610612736
    >>> refused_bytes(RuntimeError("Out of memory while trying to allocate 176.00MiB."))
    184549376
    """
    size = SIZE.search(str(error))
    if size is None:
        return None
    rounded, unit, exact = size.groups()
    return int(exact) if exact else int(float(rounded) * UNITS[unit])


def total() -> int | None:
    """Bytes of memory for training: the accelerator's, else the machine's; None for an accelerator's if not known."""
    return host_total() if on_host() else of_accelerator()


def free() -> int | None:
    """Bytes of `total` that are free now; None if not known."""
    if on_host():
        limits = [left_in(group, version) for group, version in control_groups()]
        return min([available(), *(max(0, limit) for limit in limits if limit is not None)])
    statistics = first_device().memory_stats() or {}
    if statistics.get("bytes_limit"):
        return int(statistics["bytes_limit"] - statistics["bytes_in_use"])
    return None  # what an allocator keeps for itself is not free to others


def first_device() -> Any:
    """The device whose memory counts for all: the first one of this process."""
    return jax.local_devices()[0]


def on_host() -> bool:
    """True if the devices' memory is the machine's."""
    return first_device().platform == "cpu"


def host_total() -> int:
    """Bytes of the machine's memory, bounded by its control groups."""
    limits = [number_in_file(group / LIMITS[version]) for group, version in control_groups()]
    return min(
        [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), *(limit for limit in limits if limit is not None)]
    )


def of_accelerator() -> int | None:
    """The bytes of the first accelerator: of JAX's allocator, else all by NVML, if it is installed; None if neither
    knows. An allocator that takes memory as it needs it has a limit of 0.
    """
    if known := (first_device().memory_stats() or {}).get("bytes_limit"):
        return int(known)
    try:
        import pynvml

        pynvml.nvmlInit()
        number = first_device().local_hardware_id
        cards = visible_cards()
        card = cards[number] if cards else str(number)
        by_index = card.isdigit()  # else an UUID
        handle = pynvml.nvmlDeviceGetHandleByIndex(int(card)) if by_index else pynvml.nvmlDeviceGetHandleByUUID(card)
        return int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
    except Exception:  # it is not installed, or knows no such device
        return None


def available() -> int:
    """Bytes that Linux can give without swapping; on other systems all memory."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))


def control_groups() -> list[tuple[Path, int]]:
    """The control groups that bound this process's memory, innermost first, each with its version, 2 or 1.

    A group is also bounded by its parents. In a container the paths of /proc/self/cgroup may be the host's: a group
    without a directory here is no bound.
    """
    try:
        lines = SELF.read_text().splitlines()
    except OSError:
        return [(CGROUP, 2)]
    groups: list[tuple[Path, int]] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "" or "memory" in controllers.split(","):
            root, version = (CGROUP, 2) if controllers == "" else (CGROUP / "memory", 1)
            inner = root / path.lstrip("/")
            groups += [(place, version) for place in (inner, *inner.parents) if place.is_relative_to(root)]
    return groups


def left_in(group: Path, version: int) -> int | None:
    """Bytes that a group may still take, its inactive page cache included, which is reclaimable; None: no limit."""
    limit, used = number_in_file(group / LIMITS[version]), number_in_file(group / USED[version])
    if limit is None or used is None:
        return None
    return limit - used + page_cache(group)


def page_cache(group: Path) -> int:
    """Bytes of a group's inactive page cache."""
    try:
        lines = (group / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    named = [line.split() for line in lines]
    sizes = {name: int(number) for name, number in named if name in ("inactive_file", "total_inactive_file")}
    return sizes.get("total_inactive_file", sizes.get("inactive_file", 0))


def crowded() -> bool:
    """True if this process has used the share MAPS of its memory maps; False where they have no limit."""
    most = number_in_file(Path("/proc/sys/vm/max_map_count"))
    if most is None:
        return False
    with Path("/proc/self/maps").open("rb") as maps:
        return sum(1 for _ in maps) > MAPS * most


def number_in_file(path: Path) -> int | None:
    """The number in a file; None if there is none, or if it is at least UNLIMITED."""
    try:
        number = int(path.read_text())
    except (OSError, ValueError):
        return None
    return number if number < UNLIMITED else None


def executable_bytes(executable: Any) -> int:
    """Bytes that an executable takes while it runs; 0 if not known. Kept as long as it, since XLA takes 30 ms."""
    if executable not in NEEDED:
        NEEDED[executable] = needed(executable.memory_analysis())
    return NEEDED[executable]


def needed(analysis: Any) -> int:
    """Bytes by XLA's analysis, which may be None."""
    if analysis is None:
        return 0
    held = analysis.argument_size_in_bytes + analysis.output_size_in_bytes - analysis.alias_size_in_bytes
    return int(held + analysis.temp_size_in_bytes)


def check_fits(executable: Any, held: Any) -> None:
    """Raise OutOfMemory unless an executable, less its arguments `held` in memory, fits in four fifths of what is free.

    The fifth is for the workspaces of libraries, which XLA's analysis leaves out. Where it is not known what is free,
    the allocator decides.
    """
    bytes_needed = executable_bytes(executable) - sum(leaf.nbytes for leaf in jax.tree.leaves(held))
    left = free()
    if left is not None and bytes_needed > (1 - KEPT_FREE) * left:
        raise OutOfMemory(bytes_needed)
