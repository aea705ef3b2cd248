"""The live page: a population in training, shown in the browser and steered by a person. No JAX here."""

from popjax.live.search import Live

__all__ = ["Live"]
