"""Which epoch of a member counts under a rule, and what it is worth: the one place that tells. No JAX here.

The programs choose by the same comparison, `less` of rule.py, to the same bits.
"""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from popjax.rule import Improvement, Rule, less
from popjax.store.records import finite_epochs

FOREVER = np.iinfo(np.int64).max


class BestSoFar:
    """The best epoch of members so far, as epochs come in.

    Args:
        improvement: when an epoch is better.
        shape: of an array of members.

    Attributes:
        since: int (members), the epochs that each has trained since its best one.
    """

    def __init__(self, improvement: Improvement, shape: tuple[int, ...]) -> None:
        self.improvement = improvement
        self.keys = np.full((2, *shape), np.inf)
        self.since = np.zeros(shape, np.int64)

    def rests(self, at: Any = ...) -> np.ndarray:
        """Bool: which of the members `at` an index are out of patience."""
        patience = self.improvement.patience
        return self.since[at] >= (FOREVER if patience is None else patience)

    def grow(self, more: int) -> None:
        """Make place for so many more along the first axis."""
        new = BestSoFar(self.improvement, (more, *self.since.shape[1:]))
        self.keys = np.concatenate([self.keys, new.keys], 1)
        self.since = np.concatenate([self.since, new.since])

    def begin(self, at: Any) -> None:
        """Let the members `at` an index stand before their first epoch."""
        self.since[at] = 0
        self.keys[:, at] = np.inf

    def add(self, at: Any, metrics: Mapping[str, np.ndarray]) -> None:
        """Take an epoch of the members `at` an index: metric -> values; one without a finite one has trained none."""
        nothing = np.zeros(self.since[at].shape)
        keys = np.stack([sign * metrics[name] if name in metrics else nothing for name, sign in self.improvement.keys])
        trained = np.isfinite(keys[0])
        better = trained & less(keys, self.keys[:, at])
        self.since[at] = np.where(better, 0, self.since[at] + trained)
        self.keys[:, at] = np.where(better, keys, self.keys[:, at])

    def copy(self, targets: np.ndarray, sources: np.ndarray) -> None:
        """Let members stand as others do, by numbers (n,) along the first axis."""
        self.keys[:, targets], self.since[targets] = self.keys[:, sources], self.since[sources]


class Counted:
    """What members' records are worth under a rule.

    Args:
        rule: with a metric.
        own: metric -> (n, folds, repeats, epochs), the records of the trials that are looked at: NaN where there is
            none, and from divergence on.
        lineage: int (n, epochs), where states were copied: as which trial each of them was trained in each epoch.
        among: the records of all trials, which the lineage names; these themselves if not given.

    >>> loss = np.array([3.0, 1.0, 2.0, 2.0, np.nan])[None, None, None]
    >>> counted = Counted(Rule("loss", at="best", patience=2), {"loss": loss})
    >>> counted.epochs.ravel().tolist(), counted.resting.item(), counted.values["loss"].ravel().tolist()
    ([0, 1, 1, 1, 1], True, [3.0, 1.0, 1.0, 1.0, 1.0])
    """

    def __init__(
        self,
        rule: Rule,
        own: Mapping[str, np.ndarray],
        lineage: np.ndarray | None = None,
        among: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self.metric = rule.metric
        self.improvement = rule.improvement
        self.own = own
        self.lineage = None if self.improvement is None else lineage
        self._among = own if among is None else among

    @functools.cached_property
    def records(self) -> Mapping[str, np.ndarray]:
        """Metric -> (n, folds, repeats, epochs): what led to a state; of a copy those of what it descends from."""
        return self.own if self.lineage is None else records_along(self._among, self.lineage)

    @functools.cached_property
    def trained(self) -> np.ndarray:
        """Int (n, folds, repeats): the epochs up to the last finite record."""
        return finite_epochs(self.records[self.metric])

    @property
    def reported(self) -> np.ndarray:
        """Int (n, folds, repeats): the finite records of each member's own, without those of what it descends from."""
        return np.isfinite(self.own[self.metric]).sum(-1)

    @functools.cached_property
    def epochs(self) -> np.ndarray:
        """Int (n, folds, repeats, epochs): after each epoch the one that counts, from 0."""
        shape = next(iter(self.records.values())).shape
        found = np.broadcast_to(np.arange(shape[-1]), shape)
        if self.improvement is None:
            return found
        since, so_far = np.empty(shape, np.int64), BestSoFar(self.improvement, shape[:-1])
        for epoch in range(shape[-1]):
            so_far.add(..., {name: values[..., epoch] for name, values in self.records.items()})
            since[..., epoch] = so_far.since
        return np.minimum(found, np.maximum(self.trained - 1, 0)[..., None]) - since

    @functools.cached_property
    def final(self) -> np.ndarray:
        """Int (n, folds, repeats): the epoch that counts in the end, from 0."""
        return np.take_along_axis(self.epochs, np.maximum(self.trained - 1, 0)[..., None], -1)[..., 0]

    @functools.cached_property
    def resting(self) -> np.ndarray:
        """Bool (n, folds, repeats): out of patience."""
        if self.improvement is None or self.improvement.patience is None:
            return np.zeros(self.trained.shape, bool)
        return self.trained - 1 - self.final >= self.improvement.patience

    @functools.cached_property
    def present(self) -> Mapping[str, np.ndarray]:
        """Metric -> (n, folds, repeats, epochs): the own records; of a resting member the last one goes on."""
        if not self.resting.any():
            return self.own
        last = self._at(np.maximum(self.trained - 1, 0)[..., None])
        over = self.resting[..., None] & (np.arange(self.epochs.shape[-1]) >= self.trained[..., None])
        return {n: np.where(over & np.isnan(values), last[n], values) for n, values in self.own.items()}

    @functools.cached_property
    def values(self) -> Mapping[str, np.ndarray]:
        """Metric -> (n, folds, repeats, epochs): what would count if training ended after each epoch."""
        if self.improvement is None:
            return self.records
        over = (np.arange(self.epochs.shape[-1]) >= self.trained[..., None]) & ~self.resting[..., None]
        return {name: np.where(over, np.nan, values) for name, values in self._at(self.epochs).items()}

    @property
    def in_the_end(self) -> dict[str, np.ndarray]:
        """Metric -> (n, folds, repeats): the record that counts in the end; NaN where none is finite."""
        found = {name: values[..., 0] for name, values in self._at(self.final[..., None]).items()}
        return {name: np.where(self.trained > 0, values, np.nan) for name, values in found.items()}

    def different(self, rows: np.ndarray) -> np.ndarray:
        """These rows without copies: each state that counts once, in the first of its rows."""
        if self.lineage is None:
            return rows
        final = self.final.reshape(len(self.final), -1)
        origins = np.concatenate([final, np.take_along_axis(self.lineage, final, 1)], 1)
        _, first = np.unique(origins[rows], axis=0, return_index=True)
        return rows[np.sort(first)]

    def _at(self, epochs: np.ndarray) -> dict[str, np.ndarray]:
        """Metric -> the records (n, folds, repeats, m) of these epochs (n, folds, repeats, m)."""
        return {name: np.take_along_axis(values, epochs, -1) for name, values in self.records.items()}


def records_along(records: Mapping[str, np.ndarray], lineage: np.ndarray) -> dict[str, np.ndarray]:
    """Metric -> (n, folds, repeats, epochs): the records of what states descend from.

    Args:
        records: metric -> (trials, folds, repeats, epochs).
        lineage: int (n, epochs), the trial that a state was trained as in each epoch.
    """
    epochs = np.arange(lineage.shape[1])
    return {name: np.moveaxis(values[lineage, :, :, epochs], 1, -1) for name, values in records.items()}
