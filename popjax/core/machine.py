"""What the run is executed on, and by."""

import os

import jax


def cores() -> int:
    """The CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def device() -> str:
    """The device in words."""
    found = jax.devices()
    if found[0].platform == "cpu":
        return f"CPU, {cores()} cores"
    return found[0].device_kind + (f" x {len(found)}" if len(found) > 1 else "")


def versions() -> dict[str, str]:
    """The versions of popjax and of what computes for it; popjax's own is unknown in a tree that is not installed."""
    from importlib.metadata import version

    import popjax

    return {"popjax": popjax.__version__} | {
        name: version(name) for name in ("jax", "jaxlib", "flax", "optax", "numpy")
    }
