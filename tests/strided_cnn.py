"""A CNN as users write them; `python strided_cnn.py DEVICES` prints its curves, trained on so many devices."""

import json
import sys

import jax
import numpy as np
from flax import nnx

import popjax as pj


class Block(nnx.Module):
    """A strided residual block with batch normalization, a depthwise convolution and pooling."""

    def __init__(self, hparams, rngs):
        self.first, self.norm = nnx.Conv(2, 4, (3, 3), strides=2, rngs=rngs), nnx.BatchNorm(4, rngs=rngs)
        self.apart = nnx.Conv(4, 4, (3, 3), feature_group_count=4, rngs=rngs)
        self.beside, self.out = nnx.Conv(2, 4, (1, 1), strides=2, rngs=rngs), nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, x):
        y = self.apart(nnx.relu(self.norm(self.first(x)))) + self.beside(x)
        return self.out(nnx.max_pool(nnx.relu(y), (2, 2), (2, 2)).mean((1, 2)))


SPACE = pj.Space(learning_rate=pj.log_uniform(1e-3, 1e-1), weight_decay=pj.uniform(0, 1), batch_size=16)


def task():
    """Sixty images of three classes."""
    x = np.random.default_rng(0).normal(size=(60, 7, 6, 2))
    return pj.supervised((x, np.arange(60) % 3), model=Block, optimizer="adamw")


if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", int(sys.argv[1]))
    curves = pj.search(task(), SPACE, trials=6, epochs=3).curves
    print(json.dumps([jax.local_device_count(), {name: curve.tolist() for name, curve in curves.items()}]))
