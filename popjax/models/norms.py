"""Normalization of images within a network of dynamic channels."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

GROUP = 8  # channels that are normalized together
RUNNING, LEAST = 0.1, 1e-5  # the share of the last batch in running moments; added to a variance


class Same(nnx.Module):
    """No normalization."""

    def __init__(self, capacity: int, active: Any) -> None:
        """See NORMS."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return x


class BatchNorm(nnx.Module):
    """Each channel of (rows, height, width, channels) to mean 0 and variance 1 over a batch, and then scaled.

    In evaluation over the running moments of the batches, of which each counts a tenth. A padded channel stays 0.
    """

    def __init__(self, capacity: int, active: Any) -> None:
        self.scale, self.bias = nnx.Param(jnp.ones(capacity)), nnx.Param(jnp.zeros(capacity))
        self.mean, self.variance = nnx.BatchStat(jnp.zeros(capacity)), nnx.BatchStat(jnp.ones(capacity))
        self.use_running_average = False

    def __call__(self, x: jax.Array) -> jax.Array:
        if self.use_running_average:
            mean, variance = self.mean[...], self.variance[...]
        else:
            mean = x.mean((0, 1, 2))
            variance = jnp.square(x - of_channels(mean)).mean((0, 1, 2))
            self.mean[...] = (1 - RUNNING) * self.mean[...] + RUNNING * mean
            self.variance[...] = (1 - RUNNING) * self.variance[...] + RUNNING * variance
        scale = self.scale[...] * lax.rsqrt(variance + LEAST)
        return x * of_channels(scale) + of_channels(self.bias[...] - mean * scale)


class GroupNorm(nnx.Module):
    """Groups of GROUP channels of an image to mean 0 and variance 1, and each channel scaled; padded ones count not."""

    def __init__(self, capacity: int, active: Any) -> None:
        self.scale, self.bias = nnx.Param(jnp.ones(capacity)), nnx.Param(jnp.zeros(capacity))
        self.used = (jnp.arange(capacity) < active).astype(float)
        self.group = np.arange(capacity) // GROUP

    def __call__(self, x: jax.Array) -> jax.Array:
        same = (self.group[:, None] == self.group[None]).astype(float) * self.used[:, None]
        count = of_images(jnp.maximum(same.sum(0), 1))
        mean = of_images(x.mean((1, 2)) @ same) / count
        variance = of_images(jnp.square(x - mean).mean((1, 2)) @ same) / count
        return (x - mean) * lax.rsqrt(variance + LEAST) * of_channels(self.scale[...]) + of_channels(self.bias[...])


def of_channels(values: jax.Array) -> jax.Array:
    """Values (channels,) beside images (rows, height, width, channels)."""
    return values[None, None, None]


def of_images(values: jax.Array) -> jax.Array:
    """Values (rows, channels) or (channels,) beside images (rows, height, width, channels)."""
    return values.reshape(-1, 1, 1, values.shape[-1])


NORMS: dict[str, Callable[[int, Any], nnx.Module]] = {"none": Same, "batch": BatchNorm, "group": GroupNorm}
