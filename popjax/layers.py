"""Layers for models of your own, with hyperparameters that may be traced.

>>> import popjax as pj
>>> from flax import nnx
>>> dropout = pj.layers.Dropout(0.5, rngs=nnx.Rngs(0))  # the rate may be hparams["dropout"], too
>>> dropout.eval()
"""

from popjax.models.layers import Dropout, max_pool

__all__ = ["Dropout", "max_pool"]
