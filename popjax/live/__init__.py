"""A living population in the browser: what it shows, who may look, and how a person steers. No JAX here."""

from popjax.live.search import Live

__all__ = ["Live"]
