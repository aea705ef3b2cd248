"""The networks as one writes them in flax."""

import functools
import itertools

import jax
from flax import nnx
from work import IMAGES, Images


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

    def __init__(self, images: Images, hparams: object, rngs: nnx.Rngs) -> None:
        taps, pairs = (images.taps, images.taps), [*itertools.pairwise((images.channels, *images.widths))]
        self.layers = nnx.List([nnx.Conv(*pair, taps, rngs=rngs) for pair in pairs])
        self.norms = nnx.List([nnx.BatchNorm(pair[1], rngs=rngs) for pair in pairs if images.norms])
        self.out = nnx.Linear((images.side // 4) ** 2 * images.widths[1], 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        for layer, norm in itertools.zip_longest(self.layers, self.norms):
            x = layer(x) if norm is None else norm(layer(x))
            x = nnx.max_pool(nnx.relu(x), (2, 2), (2, 2))
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
    **{name: functools.partial(CNN, images) for name, images in IMAGES.items()},
    "conv1d": Conv1D,
    "gru": GRU,
    "attention": Attention,
}
