"""History of trials that a scheduler changes: hyperparameters by epoch, and which trials their states came from."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from popjax.scheduler import Decision, added
from popjax.space.space import Space
from popjax.store.trial_columns import arrow, sampled

if TYPE_CHECKING:
    import pyarrow as pa

UNTRAINED = -1


class History(NamedTuple):
    """Hyperparameters and ancestry of each trial, epoch by epoch.

    Attributes:
        parents: int (trials, epochs): the trial that the state came from at the beginning of the epoch, itself or the
            source of a copy; -1 where the trial was not trained.
        fresh: bool (trials, epochs): True where the random keys were changed at the beginning of the epoch.
        values: name -> (trials, epochs), the hyperparameters; inactive ones are masked by `Space.masked`.
    """

    parents: np.ndarray
    fresh: np.ndarray
    values: dict[str, np.ndarray]

    def lineage(self, trial: int) -> np.ndarray:
        """int (epochs,): trials that a trial descends from: in epoch e its state was trained as trial lineage[e]."""
        epochs = int((self.parents[trial] != UNTRAINED).sum())
        line = np.full(epochs, trial)
        for epoch in range(epochs - 1, 0, -1):
            line[epoch - 1] = self.parents[line[epoch], epoch]
        return line

    @property
    def lineages(self) -> np.ndarray:
        """int (trials, epochs): `lineage` of all trials; the trial itself where it was not trained."""
        trials, epochs = self.parents.shape
        line = np.empty((trials, epochs), np.int64)
        now = np.arange(trials)
        for epoch in range(epochs - 1, -1, -1):
            line[:, epoch] = now
            before = self.parents[now, epoch]
            now = np.where(before == UNTRAINED, now, before)
        return line

    def of(self, trial: int) -> dict[str, np.ndarray]:
        """Name -> (epochs,): the hyperparameters that the trial's weights were trained with, including its ancestors'.

        >>> history = History(np.array([[0, 1], [1, 1]]), np.zeros((2, 2), bool), {"x": np.array([[1, 2], [3, 4]])})
        >>> history.of(0)["x"].tolist()
        [3, 2]
        """
        line = self.lineage(trial)
        return {name: values[line, np.arange(len(line))] for name, values in self.values.items()}

    def at(self, epochs: np.ndarray) -> dict[str, np.ndarray]:
        """Name -> (trials,): hyperparameters that each trial's state was trained with in an epoch (trials,), from 0."""
        trained_as = self.lineages[np.arange(len(epochs)), epochs]
        return {name: values[trained_as, epochs] for name, values in self.values.items()}

    def table(self) -> "pa.Table":
        """Arrow table, one row per trained epoch of a trial: trial, epoch, parent, fresh, the hyperparameters."""
        import pyarrow as pa

        trial, epoch = np.nonzero(self.parents != UNTRAINED)
        columns: dict[str, Any] = {"trial": trial, "epoch": epoch, "parent": self.parents[trial, epoch]}
        columns["fresh"] = self.fresh[trial, epoch]
        return pa.table(columns | {name: arrow(values[trial, epoch]) for name, values in self.values.items()})

    @classmethod
    def of_table(cls, table: "pa.Table", space: Space, trials: int, epochs: int) -> Self:
        """Inverse of `table`; raises KeyError, IndexError or ValueError for another table."""
        trial, epoch = table["trial"].to_numpy(), table["epoch"].to_numpy()
        parents, fresh = np.full((trials, epochs), UNTRAINED), np.zeros((trials, epochs), bool)
        parents[trial, epoch] = table["parent"].to_numpy()
        fresh[trial, epoch] = table["fresh"].to_numpy(zero_copy_only=False)
        if not UNTRAINED <= parents.min() <= parents.max() < trials:
            raise ValueError(f"there is no trial {parents.max()}")
        values = {}
        for name, scale in space.items():
            column = sampled(table[name], scale)
            values[name] = np.zeros((trials, epochs), column.dtype)
            values[name][trial, epoch] = column
        return cls(parents, fresh, values)


def history_of(space: Space, decisions: Iterable[Decision], done: np.ndarray, epochs: int) -> History | None:
    """History that decisions led to, with `done` (trials,) epochs trained; None if no decision copies or sets.

    A decision that copies or sets acts before the epoch that its trials train next.
    """
    decisions = list(decisions)
    if not any(decision.copy or decision.set for decision in decisions):
        return None
    count = len(done)
    parents, fresh = np.full((count, epochs), UNTRAINED), np.zeros((count, epochs), bool)
    now, begun = np.zeros(count, int), 0
    source, anew = np.arange(count), np.zeros(count, bool)
    points: dict[str, np.ndarray] = {}
    values: dict[str, np.ndarray] = {}
    for decision in decisions:
        for name, column in space.filled(decision.add).items() if decision.add else ():
            points.setdefault(name, np.zeros(count, column.dtype))[begun : begun + len(column)] = column
            values.setdefault(name, np.zeros((count, epochs), column.dtype))
        begun += added(decision)
        alter(decision, points)
        copied = list(decision.copy.values())
        source[list(decision.copy)], anew[list(decision.copy)] = source[copied], anew[copied]
        anew[list(decision.fresh)] = True
        for trial, goal in decision.until.items():
            first, last = now[trial], min(goal, done[trial])
            if first >= last:
                continue
            parents[trial, first:last] = trial
            parents[trial, first], fresh[trial, first] = source[trial], anew[trial]
            source[trial], anew[trial], now[trial] = trial, False, last
            for name, column in points.items():
                values[name][trial, first:last] = column[trial]
    flat = space.masked({name: column.ravel() for name, column in values.items()})
    return History(parents, fresh, {name: column.reshape(count, epochs) for name, column in flat.items()})


def alter(decision: Decision, points: Mapping[str, np.ndarray]) -> None:
    """Apply the copies and settings of a decision to columns of hyperparameters (trials,), in place."""
    targets, sources = list(decision.copy), list(decision.copy.values())
    for column in points.values():
        column[targets] = column[sources]
    for trial, changed in decision.set.items():
        for name, value in changed.items():
            points[name][trial] = value
