"""The machine and the library versions that execute a run."""

import functools
import os
import platform
from pathlib import Path

import jax


def cores() -> int:
    """Number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def visible_cards() -> list[str]:
    """The GPUs, by number or UUID, that CUDA_VISIBLE_DEVICES leaves to this process; empty if it leaves all."""
    return [card for card in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if card]


@functools.cache
def kin() -> str:
    """JAX's version and the kind of CPU or accelerator, as a str: processes with the same one compute the same bits."""
    device = jax.devices()[0]
    kind = cpu_kind() if device.platform == "cpu" else device.device_kind
    return f"jax {jax.__version__} on {kind}"


def cpu_kind() -> str:
    """The CPU's architecture, maker, family and model, as a str."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    pairs = (line.partition(":")[::2] for line in lines)
    known = {name.strip(): value.strip() for name, value in pairs}
    words = [known.get(name, "?") for name in ("vendor_id", "cpu family", "model")]
    return f"{platform.machine()} {words[0]} family {words[1]} model {words[2]}"


def device() -> str:
    """The kind and number of JAX's devices, as a str for people."""
    devices = jax.devices()
    if devices[0].platform == "cpu":
        return f"CPU, {cores()} cores" + (f", {len(devices)} devices" if len(devices) > 1 else "")
    return devices[0].device_kind + (f" x {len(devices)}" if len(devices) > 1 else "")


UNKNOWN = "unknown"  # the version of a popjax that is not installed


def versions() -> dict[str, str]:
    """Package -> version, of popjax and the libraries it computes with; popjax is "unknown" if it is not installed."""
    from importlib.metadata import version

    import popjax

    return {"popjax": popjax.__version__} | {
        name: version(name) for name in ("jax", "jaxlib", "flax", "optax", "numpy")
    }
