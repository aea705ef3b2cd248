"""The platform that programs are made for: how functions are rewritten, how members are planned and laid out."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

import jax
from jax import lax

ANY = "any"
TARGET: ContextVar[str | None] = ContextVar("target", default=None)


@contextlib.contextmanager
def made_for(platform: str) -> Iterator[None]:
    """Programs that are traced within are made for a platform: "cpu", or any accelerator as for "gpu".

    For ANY a program serves several. Used to inspect, or run on a CPU, the programs of an accelerator. A function of
    the user's own that is compiled by jax.jit may have been traced before, for another one.
    """
    token = TARGET.set(platform)
    try:
        yield
    finally:
        TARGET.reset(token)


def target() -> str:
    """The platform: that of JAX's default backend, unless `made_for` gives another."""
    return TARGET.get() or jax.default_backend()


def on_cpu() -> bool:
    """True if the program is for a CPU."""
    return target() == "cpu"


def barrier(x: jax.Array) -> jax.Array:
    """The same array, which XLA on a CPU does not fuse with what reads it; elsewhere fusing is left to XLA."""
    return lax.optimization_barrier(x) if on_cpu() else x
