"""Texts as inputs of a model: one-hot while a column has few levels, else embedded."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from popjax.rewriting.target import on_cpu

FEW, NUMBERS = 8, 8  # the most levels of a one-hot column; numbers that embed a level of any other
MOST_ONE_HOT = 4096  # levels: up to there, as compiled for an H100, a product moves a third of a scatter's bytes


class EmbeddedTexts(nnx.Module):
    """Codes (rows, columns) -> arrays (rows, inputs): one-hot columns, and embedded ones with trained levels.

    Code 0, a missing cell or an unknown text, is all zeros (Holzmüller et al. 2024, arXiv 2407.04491).

    Args:
        levels: number of codes of each column, with 0.
        key: the random key of the embeddings ~ N(0, 1).
    """

    def __init__(self, levels: Sequence[int], key: jax.Array) -> None:
        self.few = tuple((at, count) for at, count in enumerate(levels) if is_few(count))
        self.many = tuple((at, count) for at, count in enumerate(levels) if not is_few(count))
        keys = [jax.random.fold_in(key, at) for at, _ in self.many]
        sizes = [count - 1 for _, count in self.many]
        self.levels = nnx.List(
            nnx.Param(jax.random.normal(key, (size, NUMBERS))) for key, size in zip(keys, sizes, strict=True)
        )

    def __call__(self, codes: jax.Array) -> list[jax.Array]:
        """The inputs of `codes` (rows, columns), column by column."""
        few = [jax.nn.one_hot(codes[:, at] - 1, count - 1) for at, count in self.few]
        return few + [embedded(codes[:, at], one[...]) for (at, _), one in zip(self.many, self.levels, strict=True)]


def embedded(codes: jax.Array, levels: jax.Array) -> jax.Array:
    """The numbers (rows, numbers) of codes (rows,); zeros for code 0."""
    gathered = looked_up if len(levels) <= MOST_ONE_HOT and not on_cpu() else lambda levels, at: levels[at]
    return jnp.where(codes[:, None] > 0, gathered(levels, jnp.maximum(codes - 1, 0)), 0)


@jax.custom_jvp
def looked_up(levels: jax.Array, at: jax.Array) -> jax.Array:
    """The rows `at` of `levels`, with a one-hot product as derivative.

    A gather's is a scatter, which under vmap is slow on accelerators, and adds up in no fixed order.
    """
    return levels[at]


@looked_up.defjvp
def tangent_of_rows(primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, Any]) -> tuple[Any, Any]:
    """The rows, and the product of their one-hot codes with the tangent of `levels`, in full precision."""
    levels, at = primals
    one_hot = jax.nn.one_hot(at, len(levels), dtype=levels.dtype)
    return levels[at], jnp.matmul(one_hot, tangents[0], precision="highest")


def is_few(count: int) -> bool:
    """True for a column with so few codes, 0 included, that it is one-hot."""
    return count - 1 <= FEW


def inputs_of_texts(levels: Sequence[int]) -> int:
    """The number of inputs of `EmbeddedTexts`."""
    return sum(count - 1 if is_few(count) else NUMBERS for count in levels)


def parameters_of_texts(levels: Sequence[int]) -> int:
    """The number of trained numbers of `EmbeddedTexts`."""
    return sum(0 if is_few(count) else (count - 1) * NUMBERS for count in levels)
