"""Layers of images for some images at a time, so that what a layer copies of them stays in a core's cache."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

MANY = 5 * 2**19  # numbers, whose way to the memory and back takes longer than to copy them again
BLOCK = 2**17


def in_blocks(
    layer: Callable[[jax.Array], jax.Array], x: jax.Array, *copies: int, bias: jax.Array | None = None
) -> jax.Array:
    """`layer(x)` and a bias of images (rows, ...) -> (rows, ...), in blocks if it copies many numbers.

    A block's copies are made again for its gradient, not kept.

    Args:
        layer: computes each row by itself.
        copies: the numbers of a row in each array that it copies; their sum decides, the largest sets a block's images.
        bias: (1, ..., units), which is added.

    >>> in_blocks(lambda x: x + 1, jnp.zeros((5, 2)), 2**20).sum().item()
    10.0
    """
    whole = layer if bias is None else lambda x: layer(x) + bias
    rows = x.shape[0]
    if not isinstance(rows, int) or rows * sum(copies) < MANY:  # an export knows no number of rows
        return lax.optimization_barrier(whole(x))
    size = max(1, BLOCK // max(copies))
    blocks = math.ceil(rows / size)
    x = jnp.pad(x, [(0, blocks * size - rows), *[(0, 0)] * (x.ndim - 1)])
    again = jax.checkpoint(lambda x: read_whole(whole(x)), prevent_cse=False)
    blocked = lax.map(again, x.reshape(blocks, size, *x.shape[1:]))
    return blocked.reshape(-1, *blocked.shape[2:])[:rows]


@jax.custom_jvp
def read_whole(x: jax.Array) -> jax.Array:
    """The same array, whose derivative is copied out of a loop's before it is used."""
    return x


@read_whole.defjvp
def _read_whole_tangents(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    return primals[0], lax.optimization_barrier(tangents[0])
