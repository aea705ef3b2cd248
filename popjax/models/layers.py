"""Layers for a member of a population, where hyperparameters are traced values."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx


class RowKeys(nnx.Variable):
    """One random key for each row of a batch, or a single one (1,) to derive them from."""


class Dropout(nnx.Module):
    """Dropout (Srivastava et al. 2014) whose rate may be traced, with a key of its own per row.

    A row's mask depends on the row's key and the units before it alone, so it is the same
    in any batch and beside any number of padded units. The trainer sets the keys; called
    by hand, the layer uses the mask of its first key on every call.

    >>> layer = Dropout(jnp.float32(0.5), rngs=nnx.Rngs(0))
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
        share = 1.0 - self.rate  # a real number, whatever the rate is
        keep = jax.vmap(lambda key: jax.random.bernoulli(key, share, x.shape[1:]))(keys)
        return jnp.where(keep, x / share, 0)


def max_pool(x: jax.Array) -> jax.Array:
    """The largest of every 2 x 2 pixels of images (rows, height, width, channels); an odd border is cut off.

    >>> max_pool(jnp.arange(16.0).reshape(1, 4, 4, 1)).ravel().tolist()
    [5.0, 7.0, 13.0, 15.0]
    """
    rows, height, width, channels = x.shape
    x = x[:, : height // 2 * 2, : width // 2 * 2]
    return x.reshape(rows, height // 2, 2, width // 2, 2, channels).max((2, 4))
