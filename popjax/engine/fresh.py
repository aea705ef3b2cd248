"""Fresh random keys, so that a copied member trains differently from its source."""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np
from jax import lax

from popjax.core.trees import implementation, is_key, named_leaves
from popjax.engine.best_epoch import Training
from popjax.store.cohort import Cohort, OnHost

KEYS = 64  # folded per call of the program


def refreshed(cohort: Cohort, numbers: np.ndarray, like: Training) -> Cohort:
    """The cohort, on the host, with each random key of its state replaced by `fold_in(fold_in(key, number), epoch)`.

    Args:
        cohort: members with a state; the keys of their best epoch stay.
        numbers: int (members,), the numbers of the members' trials.
        like: the abstract state of one member.
    """
    folded = dict(cohort.arrays())
    for name, aval in named_leaves(like).items():
        if is_key(aval) and not name.startswith("best."):
            words = folded[name]
            flat = words.reshape(-1, words.shape[-1])
            own = numbers.astype(np.uint32).repeat(len(flat) // len(numbers))
            folded[name] = fold(flat, own, cohort.epoch, implementation(aval.dtype)).reshape(words.shape)
    return dataclasses.replace(cohort, state=OnHost(folded))


def fold(words: np.ndarray, numbers: np.ndarray, epoch: int, impl: Any) -> np.ndarray:
    """Key words (keys, words) with `numbers` (keys,) and the epoch folded in, by one program for any number of keys."""
    folded = []
    for at in range(0, len(words), KEYS):
        rows = np.minimum(np.arange(at, at + KEYS), len(words) - 1)
        folded.append(np.asarray(fold_in(words[rows], numbers[rows], np.uint32(epoch), impl)))
    return np.concatenate(folded)[: len(words)]


@functools.partial(jax.jit, static_argnames="impl")
def fold_in(words: jax.Array, numbers: jax.Array, epoch: jax.Array, impl: Any) -> jax.Array:
    """Key words (KEYS, words) with numbers (KEYS,) and the epoch folded in."""

    def one(pair: tuple[jax.Array, jax.Array]) -> jax.Array:
        key = jax.random.wrap_key_data(pair[0], impl=impl)
        return jax.random.key_data(jax.random.fold_in(jax.random.fold_in(key, pair[1]), epoch))

    return lax.map(one, (words, numbers))
