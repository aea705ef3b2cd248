"""Convolutions of 3 or 5 taps an axis, several outputs of an axis at a time, by fewer products than outputs times taps.

F(2, 3), F(4, 3), F(2, 5) and F(4, 5) of Winograd (1980), for networks by Lavin and Gray, Fast Algorithms for
Convolutional Neural Networks (2016, section 4). F(4, 3) takes six products for four outputs of three taps, so in two
dimensions 36 where patches take 144, of 2.25 numbers a pixel where patches copy 9. Tiles are polynomials, whose product
is known from its values at as many points (Toom and Cook). The points are those of the least rounding among 0, +-1,
+-1/2 and +-2 (Barabasz et al., Error Analysis and Improving the Accuracy of Winograd Convolution for Deep Neural
Networks, 2020).
"""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from popjax.rewriting.blocks import in_blocks
from popjax.rewriting.products import times
from popjax.rewriting.windows import COPY, LONG, SHORTEST, Windows, bordered, shifted, summed

POINTS = (0.0, 1.0, -1.0, 0.5, -2.0, -0.5, 2.0)  # and infinity
LONGEST: Mapping[tuple[int, ...], int] = {(5, 5): 128}  # sum of rows, so that rounding is less than 1e-5
OUTPUT = 40  # the time to add a product to outputs, forward and backward, in products of two numbers


class Tile(NamedTuple):
    """Some outputs of an axis, which are computed together."""

    outputs: int
    taps: int

    @property
    def products(self) -> int:
        """As many as there are inputs."""
        return self.outputs + self.taps - 1


OUTPUTS: Mapping[tuple[int, ...], Sequence[int]] = {  # taps -> of a tile: rounding grows with the products of each axis
    (3,): [4], (5,): [4], (3, 3): [4, 4], (3, 5): [4, 2], (5, 3): [2, 4], (5, 5): [4, 2], (3, 3, 3): [2, 2, 2]
}  # fmt: skip


class Tiling(NamedTuple):
    """The tiles of an image, by axis of pixels.

    Attributes:
        tiles: their kind.
        counts: how many there are.
    """

    tiles: list[Tile]
    counts: list[int]

    @property
    def outputs(self) -> list[int]:
        """Of all tiles."""
        return [tile.outputs * count for tile, count in zip(*self, strict=True)]

    @property
    def products(self) -> list[int]:
        """Of all tiles."""
        return [tile.products * count for tile, count in zip(*self, strict=True)]


def tiling(sizes: Sequence[int], taps: Sequence[int]) -> Tiling:
    """The tiles for that many outputs; raises KeyError for taps without one."""
    tiles = [Tile(*kind) for kind in zip(OUTPUTS[*taps], taps, strict=True)]
    return Tiling(tiles, [-(-size // tile.outputs) for size, tile in zip(sizes, tiles, strict=True)])


def cost_of_tiles(x: jax.Array, kernel: jax.Array, windows: Windows) -> float:
    """Of an image, in products of two numbers.

    Infinite for other taps, strides and dilation, and for short floats.
    """
    *taps, channels, units = kernel.shape
    known = tuple(taps) in OUTPUTS and {*windows.strides, *windows.dilation} == {1}
    if not known or x.dtype not in LONG:
        return math.inf
    tiles = tiling(windows.counts(x.shape[1:-1]), taps)
    inputs = [size + tap - 1 for size, tap in zip(tiles.outputs, taps, strict=True)]
    done = [math.prod(tiles.products[:axis]) for axis in range(1, len(taps) + 1)]
    copies = sum(part * math.prod(inputs[axis:]) for axis, part in enumerate(done, 1))
    sums = sum(part * math.prod(tiles.outputs[axis:]) for axis, part in enumerate(done, 1))
    full = -(-channels // SHORTEST) * SHORTEST  # vectors of 21 channels take as long as of 32
    return done[-1] * channels * units + copies * full * COPY + sums * units * OUTPUT


def by_tiles(x: jax.Array, kernel: jax.Array, windows: Windows, bias: jax.Array | None = None, **how: Any) -> jax.Array:
    """A convolution of images: (rows, *pixels, channels) -> (rows, *windows, units).

    Args:
        kernel: (*taps, channels, units), of 3 taps or 5.
        windows: where they lie, without strides and dilation.
        bias: (1, ..., units), which is added.
        how: options of `jnp.matmul`, such as its precision.

    >>> image, kernel = jnp.arange(4.0).reshape(1, 4, 1), jnp.ones((3, 1, 1))
    >>> by_tiles(image, kernel, Windows((3,), (1,), (1,), ((1, 0),))).ravel().round(5).tolist()
    [1.0, 3.0, 6.0]
    """
    *taps, channels, units = kernel.shape
    wanted = windows.counts(x.shape[1:-1])
    tiles = tiling(wanted, taps)
    for axis, tile in enumerate(tiles.tiles):  # each puts an axis of products in front
        parts = [lax.index_in_dim(kernel, tap, axis, keepdims=False) for tap in range(tile.taps)]
        kernel = stacked_sums(parts, matrices(tile).of_kernel)
    weights = kernel.reshape(-1, channels, units)

    def layer(x: jax.Array) -> jax.Array:
        for axis, tile in enumerate(tiles.tiles):
            parts = shifted(x, 1 + 2 * axis, tile.products, tile.outputs, 1)
            x = lax.optimization_barrier(stacked_sums(parts, matrices(tile).of_inputs))
        product = times(x.reshape(len(weights), -1, channels), weights, how, LONGEST.get((*taps,), math.inf))
        product = product.reshape(*x.shape[:-1], units)
        for axis, tile in reversed([*enumerate(tiles.tiles)]):
            product = stacked_sums([*product], matrices(tile).of_products, 2 + 2 * axis)
        product = product.reshape(-1, *tiles.outputs, units)
        return product[:, *(slice(size) for size in wanted)]

    more = [whole - size for whole, size in zip(tiles.outputs, wanted, strict=True)]
    around = [(low, high + rest) for (low, high), rest in zip(windows.padding, more, strict=True)]
    products = math.prod(tiles.products)
    return in_blocks(layer, bordered(x, around), products * channels, products * units, bias=bias)


class Matrices(NamedTuple):
    """The sums of a tile.

    Attributes:
        of_inputs: what its products take of its inputs (products, inputs).
        of_kernel: what they take of the taps (products, taps).
        of_products: what its outputs take of them (outputs, products).
    """

    of_inputs: np.ndarray
    of_kernel: np.ndarray
    of_products: np.ndarray


@functools.cache
def matrices(tile: Tile) -> Matrices:
    """From Toom's and Cook's points.

    >>> [matrix.shape for matrix in matrices(Tile(4, 3))]
    [(6, 6), (6, 3), (4, 6)]
    """
    points = np.array(POINTS[: tile.products - 1])
    others = [np.delete(points, at) for at in range(len(points))]
    of_inputs = np.zeros((tile.products, tile.products))
    for row, roots in zip(of_inputs, [*others, points], strict=True):
        row[: len(roots) + 1] = np.polynomial.polynomial.polyfromroots(roots)
    scale = [np.prod(point - rest) for point, rest in zip(points, others, strict=True)]
    of_kernel = powers_of_points(points, tile.taps) / np.array([[*scale, 1.0]]).T
    return Matrices(of_inputs, of_kernel, powers_of_points(points, tile.outputs).T)


def powers_of_points(points: np.ndarray, count: int) -> np.ndarray:
    """The first powers of points (points + 1, count); of infinity, the last point, only the highest counts."""
    return np.vstack([np.vander(points, count, increasing=True), np.eye(count)[-1:]])


def stacked_sums(parts: Sequence[jax.Array], matrix: np.ndarray, axis: int = 0) -> jax.Array:
    """Sums of arrays, each times its number of a row of the matrix (sums, parts), stacked along a new axis."""
    terms = [[(float(factor), part) for factor, part in zip(row, parts, strict=True) if factor] for row in matrix]
    return jnp.stack([summed(*(factor * part for factor, part in row)) for row in terms], axis)
