"""Layers with dynamic hyperparameters, for a member of a population."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx


class RowKeys(nnx.Variable):
    """One random key per row of a batch (rows,), or a single one (1,) from which they are derived."""


class Dropout(nnx.Module):
    """Dropout (Srivastava et al. 2014) with a dynamic or static rate and one random key per row.

    In a linen module, while it trains: `Dropout(rate, rngs=nnx.Rngs(self.make_rng("dropout")))(x)`.

    A unit's mask depends only on its row's key and the units before it, so it is the same in any
    batch and with any number of padded units. The trainer sets the keys; without it, the layer
    derives its masks from its first key, the same on every call.

    >>> import jax.numpy as jnp
    >>> import popjax as pj
    >>> from flax import nnx
    >>> layer = pj.layers.Dropout(jnp.float32(0.5), rngs=nnx.Rngs(0))
    >>> layer.eval()
    >>> layer(jnp.ones((2, 3))).sum().item()
    6.0
    """

    def __init__(self, rate: Any, *, rngs: nnx.Rngs) -> None:
        self.rate = rate
        self.deterministic = False
        self.keys = RowKeys(rngs.dropout()[None])

    def __call__(self, x: jax.Array) -> jax.Array:
        """Drop units of `x` (rows, ...); the kept ones are scaled by 1/(1 - rate)."""
        if self.deterministic or (isinstance(self.rate, float | int) and self.rate == 0):
            return x
        keys = self.keys[...]
        if len(keys) != len(x):
            keys = jax.vmap(jax.random.fold_in, (None, 0))(keys[0], jnp.arange(len(x)))
        share = 1.0 - self.rate  # a float, also of an integer rate
        keep = jax.vmap(lambda key: jax.random.bernoulli(key, share, x.shape[1:]))(keys)
        return jnp.where(keep, x / share, 0)


def max_pool(x: jax.Array) -> jax.Array:
    """2 x 2 max-pooling of images (rows, height, width, channels); an odd last row or column of pixels is dropped.

    >>> import jax.numpy as jnp
    >>> import popjax as pj
    >>> pj.layers.max_pool(jnp.arange(16.0).reshape(1, 4, 4, 1)).ravel().tolist()
    [5.0, 7.0, 13.0, 15.0]
    """
    return nnx.max_pool(x, (2, 2), (2, 2))
