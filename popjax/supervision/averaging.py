"""`ema`: a running mean of a model's weights takes their place where it is measured and predicts."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from popjax.task import HParams


class Weights(NamedTuple):
    """Weights beside those of a state: the mean while it trains, the trained ones while it is measured.

    Attributes:
        params, variables: trees like those of the state.
        left: the product of `ema` over all updates: the weight of the zero that the mean began with.
    """

    params: Any
    variables: Any
    left: jax.Array


def beside(hparams: HParams, params: Any, variables: Any) -> Any:
    """The Weights beside those of a new model; () without the hyperparameter `ema`.

    Raises ValueError for weights of fewer bits than float32, in which a mean soon stands still.
    """
    if "ema" not in hparams:
        return ()
    if coarse := [leaf.dtype for leaf in jax.tree.leaves(params) if leaf.dtype.itemsize < 4]:
        raise ValueError(f"ema: weights of {coarse[0]} are too coarse for a mean; use float32, or leave it out")
    return Weights(params, variables, jnp.ones(()))


def exchanged(params: Any, variables: Any, other: Any) -> tuple[Any, Any, Any]:
    """Weights in the place of those beside them, which take theirs; all unchanged if `other` is ()."""
    return (other.params, other.variables, Weights(params, variables, other.left)) if other else (params, variables, ())


def averaged(hparams: HParams, mean: Any, params: Any, variables: Any) -> Any:
    """The mean after an update that led to these weights; () if there is none.

    The mean of w_1, w_2, ... is e_t / (1 - ema^t), where e_t = ema * e_(t-1) + (1 - ema) * w_t and e_0 = 0 (Kingma and
    Ba 2015, "Adam", section 3). It is kept divided, so that `ema` may change on the way; at 0 it is w_t. Of what is no
    real number, such as a count, it is the last one.
    """
    if not mean:
        return ()
    left = mean.left * hparams["ema"]
    share = (1 - hparams["ema"]) / (1 - left)

    def moved(mean: jax.Array, now: jax.Array) -> jax.Array:
        if not jnp.issubdtype(now.dtype, jnp.floating):
            return now
        return (mean * (1 - share) + now * share).astype(now.dtype)

    params, variables = jax.tree.map(moved, (mean.params, mean.variables), (params, variables))
    return Weights(params, variables, left.astype(mean.left.dtype))
