"""Layers for models of your own, whose hyperparameters may be traced."""

from popjax.models.layers import Conv, Dropout, max_pool

__all__ = ["Conv", "Dropout", "max_pool"]
