"""Layers for models of your own, whose hyperparameters may be traced."""

from popjax.models.layers import Dropout, max_pool

__all__ = ["Dropout", "max_pool"]
