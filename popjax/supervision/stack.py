"""The models of trials with one program, stacked: one call computes the outputs of all of them."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from popjax.core.mixing import mixing
from popjax.data.inputs import Inputs, entries, mapped, taken
from popjax.supervision.trained import Trained

FEW, LEAST, PART = 8, 32, 2**14  # rows of a call: so many for a few at once, else a power of two from LEAST to PART
OUTPUTS = 2**20  # numbers that all models put out in one call
INPUTS = 2**22  # numbers that a model reads in one call: a layer of 16 channels has as many times 64 bytes


class Stack(NamedTuple):
    """Stacked models.

    Attributes:
        program: the key of their program.
        apply: `(arrays, values, folds, models, places, count, x) -> (rows, models, ...)`, compiled: the outputs of the
            first `count` of `models`, for the features of the fold in `places`; else 0.
        arrays, values: arrays and dynamic hyperparameters, name -> (models, ...), on the device.
        folds: int (models,), the fold of each model.
        first: trial -> number of its first model; its models follow, fold by fold.
        repeats: number of models of a trial in a fold.
        width: numbers that a model puts out for a row.
    """

    program: str
    apply: Callable[..., jax.Array]
    arrays: Mapping[str, jax.Array]
    values: Mapping[str, jax.Array]
    folds: jax.Array
    first: Mapping[int, int]
    repeats: int
    width: int

    @classmethod
    def of(cls, program: str, trained: Sequence[Trained], folds: int, width: int, model: Callable[..., Any]) -> "Stack":
        """The stack of trials with one program; `model`: (arrays, values, fold, x) -> outputs (rows, ...)."""
        members = trained[0].members
        arrays = {name: np.concatenate([trial.arrays[name] for trial in trained]) for name in trained[0].arrays}
        values = {name: np.repeat([trial.values[name] for trial in trained], members) for name in trained[0].values}
        fold_of = np.tile(np.repeat(np.arange(folds), members // folds), len(trained)).astype(np.int32)

        @mixing
        def outputs(arrays: Any, values: Any, folds: Any, models: Any, places: Any, count: Any, x: Any) -> jax.Array:
            def one(at: Any) -> Any:
                own = jax.tree.map(lambda stacked: stacked[models[at]], (arrays, values, folds))
                return model(*own, jax.tree.map(lambda each: each[:, places[at]], x))

            shape = jax.eval_shape(one, 0)
            empty = jnp.zeros((len(models), *shape.shape), shape.dtype)
            filled = jax.lax.fori_loop(0, count, lambda at, array: array.at[at].set(one(at)), empty)
            return jnp.moveaxis(filled, 0, 1)

        first = {trial.trial: at * members for at, trial in enumerate(trained)}
        stacked, settings, places = jax.tree.map(jnp.asarray, (arrays, values, fold_of))
        return cls(program, jax.jit(outputs), stacked, settings, places, first, members // folds, width)

    def outputs(self, trials: Sequence[int], folds: Sequence[int], x: Inputs) -> np.ndarray:
        """The outputs (trials, folds, repeats, rows, ...) of the models of these trials and folds, in float64.

        Args:
            folds: fold numbers.
            x: features of each of them (rows, folds, ...).
        """
        repeats = self.repeats
        places = np.tile(np.repeat(np.arange(len(folds)), repeats), len(trials))
        numbers = [self.first[t] + fold * repeats + k for t in trials for fold in folds for k in range(repeats)]
        count, models = len(numbers), len(self.folds)
        padded_to = lambda values: np.concatenate([values, np.zeros(models - count)]).astype(np.int32)
        leading = (self.arrays, self.values, self.folds, padded_to(numbers), padded_to(places), np.int32(count))
        apply = functools.partial(self.apply, *leading)
        most = rows_at_once(models * self.width, sum(math.prod(one.shape[2:]) for one in entries(x)))
        each = by_parts(lambda part: apply(part)[:, :count], x, most).astype(float)
        return np.moveaxis(each, 0, 1).reshape(len(trials), len(folds), repeats, len(each), *each.shape[2:])


def rows_at_once(outputs: int, inputs: int) -> int:
    """The most rows, a power of two, that are computed in one call.

    Args:
        outputs: numbers that all models put out for a row.
        inputs: numbers in a row.

    >>> rows_at_once(10, 64), rows_at_once(10, 128 * 128 * 3)
    (16384, 64)
    """
    fit = min(OUTPUTS // max(outputs, 1), INPUTS // max(inputs, 1))
    return min(PART, max(LEAST, 1 << max(fit, 1).bit_length() - 1))


def side_by_side(features: Sequence[Inputs]) -> Inputs:
    """Features (rows, ...) of several folds as (rows, folds, ...)."""
    return mapped(lambda *each: np.stack(each, 1), *features)


def by_parts(apply: Callable[[Inputs], jax.Array], x: Inputs, most: int) -> np.ndarray:
    """The outputs for rows, in parts of at most so many, padded with zeros so that few sizes are compiled."""
    outputs, rows = [], len(entries(x)[0])
    for begin in range(0, max(rows, 1), most):
        part = taken(x, slice(begin, begin + most))
        count = min(most, rows - begin)
        size = FEW if count <= FEW else max(LEAST, 1 << (count - 1).bit_length())
        outputs.append(np.asarray(apply(mapped(functools.partial(padded, rows=size), part)))[:count])
    return np.concatenate(outputs)


def padded(x: np.ndarray, rows: int) -> np.ndarray:
    """The rows, padded with zeros to `rows`."""
    return np.concatenate([x, np.zeros((rows - len(x), *x.shape[1:]), x.dtype)])
