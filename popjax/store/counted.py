"""Which epoch of a member counts under a rule, and its value. No JAX here.

Compiled programs choose by the same comparison, `less` of rule.py, to the same bits.
"""

import functools
from collections.abc import Mapping

import numpy as np

from popjax.rule import Improvement, Rule, less
from popjax.store.records import finite_epochs


def improved_in(improvement: Improvement, records: Mapping[str, np.ndarray]) -> np.ndarray:
    """bool (..., epochs): the epochs that became the best so far, from metric -> (..., epochs), as a program chooses.

    An epoch with a metric that is not finite is never one.

    >>> rule = Rule("loss", at="best")
    >>> improved_in(rule.improvement, {"loss": np.array([3.0, 1.0, 2.0, 1.0, np.nan])}).tolist()
    [True, True, False, False, False]
    """
    shape = next(iter(records.values())).shape
    improved, best = np.zeros(shape, bool), np.full((2, *shape[:-1]), np.inf)
    nothing = np.zeros(shape)
    named = [sign * records[name] if name in records else nothing for name, sign in improvement.keys]
    for epoch in range(shape[-1]):
        keys = np.stack([values[..., epoch] for values in named])
        improved[..., epoch] = np.isfinite(keys[0]) & less(keys, best)
        best = np.where(improved[..., epoch], keys, best)
    return improved


class Counted:
    """Which of the members' records count under a rule, and their values.

    Args:
        rule: a rule with a metric.
        own: metric -> (n, folds, repeats, epochs), records of the selected trials; NaN where there is none, and from
            divergence on.
        improved: bool (n, folds, repeats, epochs), the epochs that became the best on the way to each state, as its
            program reported; compared again if None, as of loaded, simulated and re-ranked results.
        lineage: int (n, epochs), the trial that each state was trained as in each epoch; None if none was copied.
        among: records of all trials, which the lineage indexes; `own` if None.

    >>> loss = np.array([3.0, 1.0, 2.0, 2.0, np.nan])[None, None, None]
    >>> counted = Counted(Rule("loss", at="best", patience=2), {"loss": loss})
    >>> counted.epochs.ravel().tolist(), counted.resting.item(), counted.values["loss"].ravel().tolist()
    ([0, 1, 1, 1, 1], True, [3.0, 1.0, 1.0, 1.0, 1.0])
    """

    def __init__(
        self,
        rule: Rule,
        own: Mapping[str, np.ndarray],
        improved: np.ndarray | None = None,
        lineage: np.ndarray | None = None,
        among: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self.metric = rule.metric
        self.improvement = rule.improvement
        self.own = own
        self._improved = improved
        self.lineage = None if self.improvement is None else lineage
        self._among = own if among is None else among

    @functools.cached_property
    def records(self) -> Mapping[str, np.ndarray]:
        """Metric -> (n, folds, repeats, epochs): the records that led to a state; for a copy along its lineage."""
        return self.own if self.lineage is None else records_along(self._among, self.lineage)

    @functools.cached_property
    def trained(self) -> np.ndarray:
        """int (n, folds, repeats): number of epochs up to the last finite record."""
        return finite_epochs(self.records[self.metric])

    @property
    def reported(self) -> np.ndarray:
        """int (n, folds, repeats): number of finite records of each member itself, without its ancestors'."""
        return np.isfinite(self.own[self.metric]).sum(-1)

    @functools.cached_property
    def epochs(self) -> np.ndarray:
        """int (n, folds, repeats, epochs): the epoch that counts after each epoch, from 0."""
        shape = next(iter(self.records.values())).shape
        epochs = np.broadcast_to(np.arange(shape[-1]), shape)
        if self.improvement is None:
            return epochs
        improved = improved_in(self.improvement, self.records) if self._improved is None else self._improved
        return np.maximum.accumulate(np.where(improved, epochs, 0), -1)

    @functools.cached_property
    def final(self) -> np.ndarray:
        """int (n, folds, repeats): the epoch that counts in the end, from 0."""
        return np.take_along_axis(self.epochs, np.maximum(self.trained - 1, 0)[..., None], -1)[..., 0]

    @functools.cached_property
    def resting(self) -> np.ndarray:
        """bool (n, folds, repeats): out of patience."""
        if self.improvement is None or self.improvement.patience is None:
            return np.zeros(self.trained.shape, bool)
        return self.trained - 1 - self.final >= self.improvement.patience

    @functools.cached_property
    def present(self) -> Mapping[str, np.ndarray]:
        """Metric -> (n, folds, repeats, epochs): the own records; a resting member repeats its last one."""
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
        """Metric -> (n, folds, repeats): the record that counts in the end; NaN if none is finite."""
        final = {name: values[..., 0] for name, values in self._at(self.final[..., None]).items()}
        return {name: np.where(self.trained > 0, values, np.nan) for name, values in final.items()}

    def different(self, rows: np.ndarray) -> np.ndarray:
        """The rows without copies: of rows with the same counting state only the first."""
        if self.lineage is None:
            return rows
        final = self.final.reshape(len(self.final), -1)
        origins = np.concatenate([final, np.take_along_axis(self.lineage, final, 1)], 1)
        _, first = np.unique(origins[rows], axis=0, return_index=True)
        return rows[np.sort(first)]

    def _at(self, epochs: np.ndarray) -> dict[str, np.ndarray]:
        """Metric -> (n, folds, repeats, m): the records of these epochs (n, folds, repeats, m)."""
        return {name: np.take_along_axis(values, epochs, -1) for name, values in self.records.items()}


def records_along(records: Mapping[str, np.ndarray], lineage: np.ndarray) -> dict[str, np.ndarray]:
    """Metric -> (n, folds, repeats, epochs): the records along each lineage.

    Args:
        records: metric -> (trials, folds, repeats, epochs).
        lineage: int (n, epochs), the trial that a state was trained as in each epoch.
    """
    epochs = np.arange(lineage.shape[1])
    return {name: np.moveaxis(values[lineage, :, :, epochs], 1, -1) for name, values in records.items()}
