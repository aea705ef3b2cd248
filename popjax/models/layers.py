"""Layers with dynamic hyperparameters, for a member of a population."""

import collections
import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

CALLS: ContextVar["collections.Counter[nnx.Module] | None"] = ContextVar("calls", default=None)  # in the pass traced


class RowKeys(nnx.Variable):
    """One random key per row of a batch (rows,), or a single one (1,) from which they are derived."""


class Dropout(nnx.Module):
    """Dropout (Srivastava et al. 2014) with a dynamic or static rate and one random key per row.

    In a linen module, while it trains: `Dropout(rate, rngs=nnx.Rngs(self.make_rng("dropout")))(x)`.

    A unit's mask depends only on its row's key and the units before it, so it is the same in any
    batch and with any number of padded units behind them. The trainer sets the keys, and a layer that
    is called again in the same pass draws other masks; without it, the layer derives its masks from
    its first key, the same on every call.

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
        if earlier := called_before(self):
            keys = jax.vmap(jax.random.fold_in, (0, None))(keys, earlier)
        share = 1.0 - self.rate  # a float, also of an integer rate
        keep = jax.vmap(lambda key: jax.random.bernoulli(key, share, x.shape[1:]))(keys)
        scaled = x / jnp.where(share > 0, share, 1).astype(x.dtype)  # of a rate of 1 the derivative is 0 too
        return jnp.where(keep, scaled, 0)


@contextlib.contextmanager
def one_pass() -> Iterator[None]:
    """Context: a pass of a model, in which the calls of each layer are counted."""
    token = CALLS.set(collections.Counter())
    try:
        yield
    finally:
        CALLS.reset(token)


def called_before(layer: nnx.Module) -> int:
    """How often a layer was called before in this pass, which counts this call; 0 outside of one."""
    calls = CALLS.get()
    if calls is None:
        return 0
    calls[layer] += 1
    return calls[layer] - 1


def max_pool(x: jax.Array) -> jax.Array:
    """2 x 2 max-pooling of images (rows, height, width, channels); an odd last row or column of pixels is dropped.

    >>> import jax.numpy as jnp
    >>> import popjax as pj
    >>> pj.layers.max_pool(jnp.arange(16.0).reshape(1, 4, 4, 1)).ravel().tolist()
    [5.0, 7.0, 13.0, 15.0]
    """
    return nnx.max_pool(x, (2, 2), (2, 2))
