"""The best epoch of a member: its whole state, chosen inside the program where a rule asks for it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from popjax.rule import Improvement


class BestEpoch(NamedTuple):
    """A member's best epoch so far.

    Attributes:
        state: the task's state after it; the initial one before the first epoch.
        keys: scalars, less is better: see `Improvement`; infinite before the first epoch.
        since: how many epochs the member has trained since then, int32.
    """

    state: Any
    keys: tuple[jax.Array, ...]
    since: jax.Array


class Overwrite(NamedTuple):
    """What a stacked state becomes of a member: `by`, where that is to be, or else what it is.

    So that a state which stays is not read and written again.
    """

    where: jax.Array
    by: Any


class Training(NamedTuple):
    """A member in training.

    Attributes:
        state: the task's.
        alive: whether it trains on: all its metrics were finite, and it is not out of patience.
        best: its best epoch, where a rule asks for it.
    """

    state: Any
    alive: Any
    best: BestEpoch | None = None


Epoch = Callable[[Training, Any, Any], tuple[Training, dict[str, jax.Array]]]


def begun(training: Training, improvement: Improvement) -> Training:
    """A new member before its first epoch."""
    infinite = jnp.full((), jnp.inf, float)
    return training._replace(
        best=BestEpoch(training.state, tuple(infinite for _ in improvement.keys), jnp.zeros((), jnp.int32))
    )


def keeping_best(epoch: Epoch, improvement: Improvement) -> Epoch:
    """`epoch` of a member that keeps its best epoch, and rests once it is out of patience.

    A resting member's state stays as it is, and its metrics are NaN. The state of the best epoch comes as an Overwrite.
    """

    def keeping(training: Training, member: Any, data: Any) -> tuple[Training, dict[str, jax.Array]]:
        best = training.best
        assert best is not None
        new, metrics = epoch(training._replace(best=None), member, data)
        keys = tuple(compared(metrics, *key) for key in improvement.keys)
        better = new.alive & less(keys, best.keys)
        least = tuple(jnp.where(better, key, before) for key, before in zip(keys, best.keys, strict=True))
        since = jnp.where(better, 0, best.since + new.alive)
        kept = BestEpoch(Overwrite(better, new.state), least, since)
        alive = new.alive if improvement.patience is None else new.alive & (since < improvement.patience)
        return Training(new.state, alive, kept), metrics

    return keeping


def compared(metrics: Mapping[str, jax.Array], name: str, sign: int) -> jax.Array:
    """A metric with its sign; 0 where the task does not report it."""
    return sign * metrics[name] if name in metrics else jnp.zeros((), float)


def less(one: tuple[jax.Array, ...], other: tuple[jax.Array, ...]) -> jax.Array:
    """Whether `one` comes before `other`: in the first scalar in which they differ."""
    (a, *more), (b, *others) = one, other
    return (a < b) | ((a == b) & less(tuple(more), tuple(others))) if more else a < b
