"""A trained module that standardizes its rows by itself, for use outside of popjax."""

import jax
import jax.numpy as jnp
from flax import nnx

from popjax.supervision.preprocessing import Recipe


class Standardizing(nnx.Module):
    """A trained module that takes encoded rows, and gives logits or values in the target's own units."""

    def __init__(self, module: nnx.Module, recipe: Recipe, fold: int) -> None:
        limit = None if recipe.limit is None else recipe.limit[fold]
        self.inner = module
        self.mean, self.scale = (
            nnx.Variable(jnp.asarray(recipe.mean[fold])),
            nnx.Variable(jnp.asarray(recipe.scale[fold])),
        )
        self.limit = None if limit is None else nnx.Variable(jnp.asarray(limit))
        self.unit = (recipe.y_scale[fold], recipe.y_mean[fold])

    def __call__(self, x: jax.Array) -> jax.Array:
        x = (jnp.asarray(x) - self.mean[...][None]) / self.scale[...][None]
        x = x if self.limit is None else jnp.clip(x, -self.limit[...][None], self.limit[...][None])
        scale, mean = self.unit
        outputs: jax.Array = self.inner(x) * float(scale) + float(mean)
        return outputs
