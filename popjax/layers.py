"""Layers for custom models, with hyperparameters that may be traced."""

from popjax.models.layers import Dropout, max_pool

__all__ = ["Dropout", "max_pool"]
