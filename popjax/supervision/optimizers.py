"""Optimizers and learning-rate schedules, as functions of a member's hyperparameters.

The optimizers are those of PyTorch (torch.optim), with the same meaning of each setting:
weight decay is added to the gradient, except in adamw (Loshchilov and Hutter 2019), and
applies to all parameters; rmsprop's eps is outside the root. The schedules are closed
forms, since those of optax cannot take a traced rate.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import optax

from popjax.core.calls import name_of
from popjax.core.text import lookup, short
from popjax.space.defaults import hparam

RMSPROP_B2 = 0.99


def _decay(hparams: Mapping[str, Any]) -> optax.GradientTransformation:
    """Weight decay added to the gradient; the identity if it is no hyperparameter."""
    if "weight_decay" not in hparams:
        return optax.identity()
    return optax.add_decayed_weights(hparams["weight_decay"])


def sgd(hparams: Mapping[str, Any], nesterov: bool = False) -> optax.GradientTransformation:
    """Gradient descent with momentum: v ← βv + g, w ← w - αv."""
    momentum = hparam(hparams, "momentum")
    return optax.chain(_decay(hparams), optax.sgd(hparam(hparams, "learning_rate"), momentum, nesterov))


def nesterov(hparams: Mapping[str, Any]) -> optax.GradientTransformation:
    """Gradient descent with Nesterov's momentum: w ← w - α(g + βv)."""
    return sgd(hparams, nesterov=True)


def _adam(hparams: Mapping[str, Any]) -> dict[str, Any]:
    return {name: hparam(hparams, name) for name in ("b1", "b2", "eps")}


def adam(hparams: Mapping[str, Any]) -> optax.GradientTransformation:
    """Adam (Kingma and Ba 2015)."""
    return optax.chain(_decay(hparams), optax.adam(hparam(hparams, "learning_rate"), **_adam(hparams)))


def adamw(hparams: Mapping[str, Any]) -> optax.GradientTransformation:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""
    rate, decay = hparam(hparams, "learning_rate"), hparam(hparams, "weight_decay")
    return optax.adamw(rate, **_adam(hparams), weight_decay=decay)


def rmsprop(hparams: Mapping[str, Any]) -> optax.GradientTransformation:
    """RMSprop (Hinton 2012) without momentum: s ← β₂s + (1-β₂)g², w ← w - αg/(√s + ε)."""
    b2, eps = hparams.get("b2", RMSPROP_B2), hparam(hparams, "eps")
    scale = optax.scale_by_rms(b2, eps, eps_in_sqrt=False)
    rate = optax.scale_by_learning_rate(hparam(hparams, "learning_rate"))
    return optax.chain(_decay(hparams), scale, rate)


def inverse(hparams: Mapping[str, Any], epoch: Any) -> Any:
    """1/(1 + decay·epoch); 1 if `decay` is no hyperparameter."""
    return 1 / (1 + hparams["decay"] * epoch) if "decay" in hparams else 1.0


def exponential(hparams: Mapping[str, Any], epoch: Any) -> Any:
    """decay^epoch; 1 if `decay` is no hyperparameter."""
    return hparams["decay"] ** epoch if "decay" in hparams else 1.0


def cosine(hparams: Mapping[str, Any], epoch: Any) -> Any:
    """Half a cosine from 1 down to 0 over the run's epochs, and 0 after them (Loshchilov and Hutter 2017)."""
    return (1 + jnp.cos(jnp.pi * jnp.minimum(epoch, hparams["epochs"]) / hparams["epochs"])) / 2


def flat(hparams: Mapping[str, Any], epoch: Any) -> Any:
    """1 for the first half of the run's epochs, then half a cosine down to 0; at the middle of the epoch."""
    done = (epoch + 0.5) / hparams["epochs"]
    return (1 + jnp.cos(jnp.pi * jnp.clip(2 * done - 1, 0, 1))) / 2


OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "sgd": sgd,
    "nesterov": nesterov,
    "adam": adam,
    "adamw": adamw,
    "rmsprop": rmsprop,
}
SCHEDULES: dict[str, Callable[..., Any]] = {
    "inverse": inverse,
    "exponential": exponential,
    "cosine": cosine,
    "flat": flat,
}


def learning_rate(hparams: Mapping[str, Any], schedule: str | Callable[..., Any], epoch: Any) -> Any:
    """The learning rate of one epoch, counted from 0: α · schedule · warm-up; a schedule is a name or a function.

    Warm-up, in epochs, multiplies by min(1, (epoch + 1) / warmup).

    >>> round(learning_rate({"learning_rate": 0.1, "decay": 1.0}, "inverse", 1), 3)
    0.05
    """
    factor = lookup(SCHEDULES, "schedule", schedule) if isinstance(schedule, str) else schedule
    scale = factor(hparams, epoch)
    if scale is None or isinstance(scale, str) or jnp.shape(scale):
        raise ValueError(f"the schedule {name_of(schedule)} returned {short(scale)}; return a factor, one number")
    rate = hparam(hparams, "learning_rate") * scale
    if "warmup" in hparams:
        rate = rate * jnp.minimum(1.0, (epoch + 1) / jnp.maximum(hparams["warmup"], 1e-6))
    return rate
