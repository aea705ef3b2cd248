"""The state of a member's best epoch, chosen inside the program where a rule asks for it."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from popjax.rule import Improvement, less

KEYS = 2  # metrics compared: the ranking one, then the one for ties
FOREVER = np.iinfo(np.int32).max


class Wanted(NamedTuple):
    """When an epoch is better than the best so far, as arrays, so that one program serves every metric and patience.

    Attributes:
        metrics: int32 (KEYS,), indices into the sorted metric names; their number for a metric that is not reported.
        signs: float (KEYS,), -1 where more is better, else 1.
        patience: int32 (), a member rests after so many epochs without a better one.
    """

    metrics: Any
    signs: Any
    patience: Any

    @classmethod
    def of(cls, improvement: Improvement, names: Iterable[str]) -> "Wanted":
        """The arrays of an Improvement, for a task that reports the metrics `names`."""
        known = sorted(names)
        indices = [known.index(name) if name in known else len(known) for name, _ in improvement.keys]
        signs = [sign for _, sign in improvement.keys]
        patience = FOREVER if improvement.patience is None else improvement.patience
        dtype = jax.dtypes.canonicalize_dtype(float)
        return cls(np.array(indices, np.int32), np.array(signs, dtype), np.array(patience, np.int32))

    def keys(self, metrics: Any) -> jax.Array:
        """An epoch's metrics -> float (KEYS,), less is better; 0 for a metric that is not reported."""
        values = jnp.stack([metrics[name] for name in sorted(metrics)] + [jnp.zeros((), self.signs.dtype)])
        return self.signs * values[self.metrics]


class BestEpoch(NamedTuple):
    """A member's best epoch so far.

    Attributes:
        state: the task's state after it; the initial one before the first epoch.
        keys: float (KEYS,), less is better; infinite before the first epoch.
        since: int32 (), epochs trained since then.
    """

    state: Any
    keys: jax.Array
    since: jax.Array


class Overwrite(NamedTuple):
    """A conditional write of a member's state into a stacked one; with one lane, free where it is not made.

    Attributes:
        where: bool (), True to write.
        by: the state to write.
    """

    where: jax.Array
    by: Any


class Training(NamedTuple):
    """A member in training.

    Attributes:
        state: the task's state.
        alive: bool (), it trains on: all its metrics were finite, and it is not out of patience.
        best: its best epoch; None if the rule does not ask for it.
    """

    state: Any
    alive: Any
    best: BestEpoch | None = None


Epoch = Callable[[Training, Any, Any], tuple[Training, dict[str, jax.Array]]]
Improving = Callable[[Training, Any, Any], tuple[Training, dict[str, jax.Array], Any]]


def begun(training: Training) -> Training:
    """A new member before its first epoch, with its initial state as the best one."""
    return training._replace(best=BestEpoch(training.state, jnp.full(KEYS, jnp.inf, float), jnp.zeros((), jnp.int32)))


def keeping_best(epoch: Epoch) -> Improving:
    """`epoch` for a member that keeps its best epoch, and rests once it is out of patience.

    It also returns whether the epoch became the best, bool (). What counts as better is in `member.wanted` (see
    Wanted). A resting member's state does not change, and its metrics are NaN. The state of the best epoch is returned
    as an Overwrite.
    """

    def keeping(training: Training, member: Any, data: Any) -> tuple[Training, dict[str, jax.Array], jax.Array]:
        best = training.best
        assert best is not None
        new, metrics = epoch(training._replace(best=None), member._replace(wanted=None), data)
        keys = member.wanted.keys(metrics)
        better = new.alive & less(keys, best.keys)
        since = jnp.where(better, 0, best.since + new.alive.astype(best.since.dtype))
        kept = BestEpoch(Overwrite(better, new.state), jnp.where(better, keys, best.keys), since)
        return Training(new.state, new.alive & (since < member.wanted.patience), kept), metrics, better

    return keeping


def keeping_none(epoch: Epoch) -> Improving:
    """`epoch` for a member of which the last epoch counts, and none is told to be the best."""
    return lambda training, member, data: (*epoch(training, member, data), None)
