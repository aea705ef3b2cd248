"""Max-pools whose derivative is computed for the pixels that they pick.

The maximum of a window depends on one pixel, so elementwise operations before the pool, such as a normalization and an
activation, are computed again and differentiated for that pixel alone: a quarter of the pixels for windows of 2 x 2.
The gradients of the others are zero.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from popjax.rewriting.pointwise import Pointwise, array_of, as_result
from popjax.rewriting.windows import SHORTEST, Sizes, split_windows

NARROWEST = 12  # channels of a pool that picks


def picked(pool: Callable[[jax.Array], jax.Array], x: Any, sizes: Sizes) -> jax.Array:
    """`pool(x)` of windows that do not overlap, differentiated at the pixels of their maxima only."""
    result = x if isinstance(x, Pointwise) and follows(x, sizes) else as_result(array_of(x))
    computed = lambda *leaves: result.anew(dict(zip(result.leaves, leaves, strict=True)))
    layer = jax.custom_jvp(lambda *leaves: pool(computed(*leaves)))

    @layer.defjvp
    def _layer_tangents(leaves: Any, tangents: Any) -> Any:
        places = lax.optimization_barrier(first_largest(computed(*leaves), sizes))
        pick = lambda leaf: leaf if uniform(leaf, sizes) else at_places(leaf, places, sizes)
        return jax.jvp(lambda *leaves: computed(*map(pick, leaves)), leaves, tangents)

    return lax.optimization_barrier(layer(*result.leaves.values()))


def pays(x: Any, sizes: Sizes) -> bool:
    """True where it was measured to be faster than a derivative at all pixels: of elementwise results, many channels.

    With fewer LLVM does not vectorize the loops that find the maxima, or those that compute a function twice.
    """
    if not isinstance(x, Pointwise) or sizes[-1] > 1:
        return False
    return bool(x.value.shape[-1] >= (SHORTEST if x.costly else NARROWEST))


def follows(x: Pointwise, sizes: Sizes) -> bool:
    """True if each leaf spans the axes of the windows or broadcasts over them, and at least one spans them."""
    wide = [axis for axis, size in enumerate(sizes) if size > 1]
    whole = [x.value.shape[axis] for axis in wide]
    leaves = [leaf for leaf in x.leaves.values() if not uniform(leaf, sizes)]
    return bool(leaves) and all([leaf.shape[axis] for axis in wide] == whole for leaf in leaves)


def uniform(leaf: jax.Array, sizes: Sizes) -> bool:
    """True if an array has one number for all places of a window."""
    return leaf.ndim == 0 or all(size == 1 for size, tap in zip(leaf.shape, sizes, strict=True) if tap > 1)


def slices_of(x: jax.Array, sizes: Sizes) -> list[jax.Array]:
    """For each position in a window, in row-major order, that number of every window; windows do not overlap."""
    parts = [x]
    for axis, size in enumerate(sizes):
        if size > 1:
            parts = [place for part in parts for place in split_windows(part, axis, size)]
    return parts


def first_largest(x: jax.Array, sizes: Sizes) -> jax.Array:
    """The position of each window's maximum: the first of equal ones, the last NaN if there are any; int8."""
    largest, *others = slices_of(x, sizes)
    places = jnp.zeros(largest.shape, jnp.int8)
    for place, other in enumerate(others, 1):
        later = (other > largest) | jnp.isnan(other)
        places = jnp.where(later, jnp.int8(place), places)
        largest = jnp.where(later, other, largest)
    return places


def at_places(x: jax.Array, places: jax.Array, sizes: Sizes) -> jax.Array:
    """One number of each window, that at the position `places`, numbered as in `slices_of`."""

    def numbers(x: jax.Array) -> jax.Array:
        picked, *others = slices_of(x, sizes)
        for place, other in enumerate(others, 1):
            picked = jnp.where(places == place, other, picked)
        return picked

    layer = jax.custom_jvp(numbers)

    @layer.defjvp
    def _layer_tangents(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
        (x,), (change,) = primals, tangents
        return numbers(x), summed_at(change, places, sizes)

    return layer(x) if jnp.issubdtype(x.dtype, jnp.floating) else numbers(x)


def summed_at(x: jax.Array, places: jax.Array, sizes: Sizes) -> jax.Array:
    """`at_places` as a sum: its transpose is one elementwise operation, not a sum of padded slices."""
    counts = [-(-size // tap) for size, tap in zip(x.shape, sizes, strict=True)]
    x = extended(x, [count * tap for count, tap in zip(counts, sizes, strict=True)])
    x = x.reshape([part for pair in zip(counts, sizes, strict=True) for part in pair])
    wanted = [max(pair) for pair in zip(counts, places.shape, strict=True)]
    numbers = np.arange(math.prod(sizes), dtype=places.dtype).reshape(sizes)
    among = tuple(range(1, x.ndim, 2))
    at = jnp.expand_dims(extended(places, wanted), among) == jnp.expand_dims(numbers, tuple(range(0, x.ndim, 2)))
    sums = jnp.where(at, x, 0).sum(among)
    return sums[tuple(map(slice, places.shape))]


def extended(x: jax.Array, shape: Sequence[int]) -> jax.Array:
    """An array with zeros at the end of each axis."""
    return jnp.pad(x, [(0, size - has) for size, has in zip(shape, x.shape, strict=True)])
