"""A trained module with its preprocessing, for use outside popjax."""

import jax
import jax.numpy as jnp
from flax import nnx

from popjax.data.transforms.applying import in_programs, inner_of
from popjax.data.transforms.by_feature import Affine
from popjax.data.transforms.filled import Filled
from popjax.data.transforms.transform import Transform
from popjax.supervision.prepared import per_row
from popjax.supervision.preprocessing import Recipe


class Standardizing(nnx.Module):
    """A trained module that maps encoded rows (rows, ...) to logits, or to values in the target's own units.

    Codes of texts become one-hot. Raises ValueError for a model that takes codes, and for a transform that is not a
    built-in affine one or "none".
    """

    def __init__(self, module: nnx.Module, recipe: Recipe, fold: int) -> None:
        transform = recipe.transforms[fold]
        if recipe.apart:
            what = "module: raw=True needs a model of one-hot texts"
            raise ValueError(f"{what}; apply the module to transformed rows, recipe.features(recipe.encoded(rows))")
        if not isinstance(transform, Transform) or not in_programs(transform):
            filled = " behind filled-in missing cells" if isinstance(transform, Filled) else ""
            what = (
                f"module: raw=True needs a transform that is affine, not {type(inner_of(transform)).__name__}{filled}"
            )
            raise ValueError(f"{what}; apply the module to transformed rows, recipe.features(recipe.encoded(rows))")
        self.inner = module
        self.levels = tuple(len(recipe.levels.get(name, ())) for name in recipe.columns) if recipe.levels else ()
        self.affine = isinstance(transform, Affine)
        if isinstance(transform, Affine):
            self.mean, self.scale, self.limit = (
                nnx.Variable(jnp.asarray(each)) for each in (transform.mean, transform.scale, transform.limit)
            )
        self.y_mean, self.y_scale = (nnx.Variable(jnp.asarray(each[fold])) for each in (recipe.y_mean, recipe.y_scale))

    def __call__(self, x: jax.Array) -> jax.Array:
        x = jnp.asarray(x)
        if self.levels:
            column = lambda at: x[:, at, None]
            parts = [column(at) == jnp.arange(n)[None] if n else column(at) for at, n in enumerate(self.levels)]
            x = jnp.concatenate([part.astype(x.dtype) for part in parts], 1)
        if self.affine:
            x = (x - self.mean[...][None]) / self.scale[...][None]
            x = jnp.clip(x, -self.limit[...][None], self.limit[...][None])
        outputs: jax.Array = self.inner(x) * per_row(self.y_scale[...]) + per_row(self.y_mean[...])
        return outputs
