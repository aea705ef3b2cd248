"""What members have reported so far: their metrics, epoch by epoch. No JAX here."""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from popjax.scheduler import Trials
from popjax.space.space import Points
from popjax.store.records import mean_member


class Curves:
    """Metric -> (trials, folds, repeats, epochs); NaN where there is none, and from divergence on.

    Attributes:
        members: the curves.
        epochs: how many epochs (trials, folds, repeats) each member has finished.
    """

    def __init__(self, metrics: tuple[str, ...], folds: int, repeats: int, epochs: int, dtype: np.dtype) -> None:
        self.members = {name: np.full((0, folds, repeats, epochs), np.nan, dtype) for name in metrics}
        self.epochs = np.zeros((0, folds, repeats), np.int64)

    def grow(self, trials: int) -> None:
        """Make place for so many trials more."""
        for name, values in self.members.items():
            self.members[name] = np.concatenate([values, np.full((trials, *values.shape[1:]), np.nan, values.dtype)])
        self.epochs = np.concatenate([self.epochs, np.zeros((trials, *self.epochs.shape[1:]), np.int64)])

    def reach(self, epochs: int) -> None:
        """Make place for so many epochs, and for as many again, so that it need not be made each time."""
        for name, values in self.members.items():
            if epochs > values.shape[-1]:
                more = np.full((*values.shape[:-1], 2 * epochs - values.shape[-1]), np.nan, values.dtype)
                self.members[name] = np.concatenate([values, more], -1)

    def flat(self, name: str) -> np.ndarray:
        """A metric as (members, epochs), the same memory."""
        values = self.members[name]
        return values.reshape(self.epochs.size, values.shape[-1])

    def add(self, index: np.ndarray, epoch: int, metrics: Mapping[str, np.ndarray]) -> None:
        """Take one epoch, from 0, of the members `index`."""
        alive = functools.reduce(np.logical_and, map(np.isfinite, metrics.values()))
        for name, values in metrics.items():
            self.flat(name)[index, epoch] = np.where(alive, values, np.nan)
        self.epochs.reshape(-1)[index] = epoch + 1

    def load(self, index: np.ndarray, epoch: int, curves: Mapping[str, np.ndarray]) -> None:
        """Take what members had done before: curves (members, epoch), and nothing after them."""
        for name, values in curves.items():
            self.flat(name)[index, :epoch] = values
            self.flat(name)[index, epoch:] = np.nan
        self.epochs.reshape(-1)[index] = epoch

    def means(self) -> dict[str, np.ndarray]:
        """Metric -> (trials, epochs), the mean over a trial's members."""
        return {name: mean_member(values) for name, values in self.members.items()}

    def last(self) -> dict[str, np.ndarray]:
        """Metric -> (trials,), the mean over a trial's members after the epochs that all finished; NaN for none."""
        done = self.epochs.min((1, 2))
        rows = np.arange(len(done))
        return {n: np.where(done > 0, curve[rows, done - 1], np.nan) for n, curve in self.means().items()}


def trials_of(points: Points, curves: Curves, metric: str, mode: str, **known: Any) -> Trials:
    """What a scheduler sees of trials with these points and curves; `known` is what else is known of them."""
    epochs, last = curves.epochs.min((1, 2)), curves.last()[metric]
    loss = last if mode == "min" else -last
    loss = np.where((epochs > 0) & ~np.isfinite(loss), np.inf, loss)
    return Trials(points, epochs, loss, curves.means(), **known)
