"""What the run is executed on, and by."""

import jax

from popjax.executor import cores


def device() -> str:
    """The device in words."""
    found = jax.devices()
    if found[0].platform == "cpu":
        return f"CPU, {cores()} cores"
    return found[0].device_kind + (f" x {len(found)}" if len(found) > 1 else "")


def versions() -> dict[str, str]:
    """The versions of popjax and of what computes for it."""
    from importlib.metadata import version

    return {name: version(name) for name in ("popjax", "jax", "jaxlib", "flax", "optax", "numpy")}
