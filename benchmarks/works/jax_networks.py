"""The networks as one writes them in flax."""

import itertools

import jax
from flax import nnx


class MLP(nnx.Module):
    """Affine layers."""

    sizes = 64, 100, 100, 10

    def __init__(self, hparams: object, rngs: nnx.Rngs) -> None:
        self.layers = nnx.List([nnx.Linear(*pair, rngs=rngs) for pair in itertools.pairwise(self.sizes)])

    def __call__(self, x: jax.Array) -> jax.Array:
        for layer in self.layers[:-1]:
            x = nnx.relu(layer(x))
        return self.layers[-1](x)


class MLP256(MLP):
    """Wider ones."""

    sizes = 50, 256, 256, 256, 10


class CNN(nnx.Module):
    """Two convolutions, each with a pool, and an affine layer."""

    side, channels = 28, 1

    def __init__(self, hparams: object, rngs: nnx.Rngs) -> None:
        self.first = nnx.Conv(self.channels, 16, (3, 3), rngs=rngs)
        self.second = nnx.Conv(16, 32, (3, 3), rngs=rngs)
        self.out = nnx.Linear((self.side // 4) ** 2 * 32, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.max_pool(nnx.relu(self.first(x)), (2, 2), (2, 2))
        x = nnx.max_pool(nnx.relu(self.second(x)), (2, 2), (2, 2))
        return self.out(x.reshape(len(x), -1))


class CNN8(CNN):
    """The same for smaller images."""

    side = 8


class CNN32(nnx.Module):
    """Two wider convolutions with batch normalization."""

    def __init__(self, hparams: object, rngs: nnx.Rngs) -> None:
        self.first, self.first_norm = nnx.Conv(3, 32, (3, 3), rngs=rngs), nnx.BatchNorm(32, rngs=rngs)
        self.second, self.second_norm = nnx.Conv(32, 64, (3, 3), rngs=rngs), nnx.BatchNorm(64, rngs=rngs)
        self.out = nnx.Linear(8 * 8 * 64, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.max_pool(nnx.relu(self.first_norm(self.first(x))), (2, 2), (2, 2))
        x = nnx.max_pool(nnx.relu(self.second_norm(self.second(x))), (2, 2), (2, 2))
        return self.out(x.reshape(len(x), -1))


class Conv1D(nnx.Module):
    """Two convolutions over time, their mean, and an affine layer."""

    def __init__(self, hparams: object, rngs: nnx.Rngs) -> None:
        self.first, self.second = nnx.Conv(4, 32, (5,), rngs=rngs), nnx.Conv(32, 32, (5,), rngs=rngs)
        self.out = nnx.Linear(32, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.out(nnx.relu(self.second(nnx.relu(self.first(x)))).mean(1))


class GRU(nnx.Module):
    """A recurrent layer, its last state, and an affine layer."""

    def __init__(self, hparams: object, rngs: nnx.Rngs) -> None:
        self.cell = nnx.RNN(nnx.GRUCell(4, 32, rngs=rngs))
        self.out = nnx.Linear(32, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.out(self.cell(x)[:, -1])


class Attention(nnx.Module):
    """One block of a transformer, the mean over time, and an affine layer."""

    def __init__(self, hparams: object, rngs: nnx.Rngs) -> None:
        self.embed = nnx.Linear(4, 32, rngs=rngs)
        self.norm, self.after = nnx.LayerNorm(32, rngs=rngs), nnx.LayerNorm(32, rngs=rngs)
        self.attend = nnx.MultiHeadAttention(4, 32, decode=False, rngs=rngs)
        self.up, self.down = nnx.Linear(32, 64, rngs=rngs), nnx.Linear(64, 32, rngs=rngs)
        self.out = nnx.Linear(32, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.embed(x)
        x = x + self.attend(self.norm(x))
        x = x + self.down(nnx.relu(self.up(self.after(x))))
        return self.out(x.mean(1))


NETWORKS = {
    "mlp": MLP,
    "mlp256": MLP256,
    "cnn8": CNN8,
    "cnn28": CNN,
    "cnn32": CNN32,
    "conv1d": Conv1D,
    "gru": GRU,
    "attention": Attention,
}
