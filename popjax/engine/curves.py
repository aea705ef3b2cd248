"""What members have reported so far: their metrics, epoch by epoch. No JAX here."""

import functools
from collections.abc import Mapping

import numpy as np

from popjax.engine.numbering import Numbering
from popjax.rule import Rule
from popjax.scheduler import NONE, Trials
from popjax.space.space import Points
from popjax.store.records import after, mean_member


class Curves:
    """Metric -> (trials, folds, repeats, epochs); NaN where there is none, and from divergence on.

    Attributes:
        metrics: the curves.
        epochs: how many epochs (trials, folds, repeats) each member has finished.
    """

    def __init__(self, metrics: tuple[str, ...], numbering: Numbering, epochs: int, dtype: np.dtype) -> None:
        self.metrics = {name: np.full((0, *numbering, epochs), np.nan, dtype) for name in metrics}
        self.epochs = np.zeros((0, *numbering), np.int64)

    def grow(self, trials: int) -> None:
        """Make place for so many trials more."""
        for name, values in self.metrics.items():
            self.metrics[name] = np.concatenate([values, np.full((trials, *values.shape[1:]), np.nan, values.dtype)])
        self.epochs = np.concatenate([self.epochs, np.zeros((trials, *self.epochs.shape[1:]), np.int64)])

    def reach(self, epochs: int) -> None:
        """Make place for so many epochs, and for as many again, so that it need not be made each time."""
        for name, values in self.metrics.items():
            if epochs > values.shape[-1]:
                more = np.full((*values.shape[:-1], 2 * epochs - values.shape[-1]), np.nan, values.dtype)
                self.metrics[name] = np.concatenate([values, more], -1)

    def flat(self, name: str) -> np.ndarray:
        """A metric as (members, epochs), the same memory."""
        values = self.metrics[name]
        return values.reshape(self.epochs.size, values.shape[-1])

    def of(self, members: np.ndarray, epoch: int) -> dict[str, np.ndarray]:
        """Metric -> (members, epoch), what members reported up to an epoch."""
        return {name: self.flat(name)[members, :epoch] for name in self.metrics}

    def add(self, members: np.ndarray, epoch: int, metrics: Mapping[str, np.ndarray]) -> None:
        """Take one epoch, from 0, of some members."""
        alive = functools.reduce(np.logical_and, map(np.isfinite, metrics.values()))
        for name, values in metrics.items():
            self.flat(name)[members, epoch] = np.where(alive, values, np.nan)
        self.stand(members, epoch + 1)

    def stand(self, members: np.ndarray, epoch: int) -> None:
        """Let members have finished so many epochs."""
        self.epochs.reshape(-1)[members] = epoch

    def load(self, members: np.ndarray, epoch: int, curves: Mapping[str, np.ndarray]) -> None:
        """Take what members had done before: curves (members, epoch), and nothing after them."""
        for name, values in curves.items():
            self.flat(name)[members, :epoch] = values
        self.cut(members, epoch)

    def cut(self, members: np.ndarray, epoch: int) -> None:
        """Forget what members reported after an epoch."""
        for name in self.metrics:
            self.flat(name)[members, epoch:] = np.nan
        self.stand(members, epoch)

    def means(self) -> dict[str, np.ndarray]:
        """Metric -> (trials, epochs), the mean over a trial's members."""
        return {name: mean_member(values) for name, values in self.metrics.items()}

    @property
    def done(self) -> np.ndarray:
        """How many epochs (trials,) all members of a trial have finished."""
        return self.epochs.min((1, 2))


def trials_of(points: Points, curves: Curves, rule: Rule, costs: Mapping[str, np.ndarray] = NONE) -> Trials:
    """What a scheduler sees of trials with these points and curves."""
    epochs, means = curves.done, curves.means()
    last = after({name: means[name] for name in rule.metrics}, epochs)
    loss = np.where(epochs > 0, np.inf, np.nan).astype(means[rule.metric].dtype)
    alive = (epochs > 0) & np.isfinite(list(last.values())).all(0)
    loss[alive] = rule.loss({name: values[alive] for name, values in (last | dict(costs)).items()})
    return Trials(points, epochs, loss, means, costs=costs)
