"""What the workers report, gathered: the curves, and the trained states of the best trials."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from popjax.core.trees import named, to_host
from popjax.engine.backend import Report
from popjax.store.results import Results, mean_member, ranking


class Collector:
    """Gathers the reports in the caller's thread.

    Args:
        shape: (trials, folds, repeats, epochs).
        metrics: the names of the task's metrics.
        metric, mode: what ranks.
        keep: of how many of the best trials to keep the states.
    """

    def __init__(self, shape: tuple[int, ...], metrics: tuple[str, ...], metric: str, mode: str, keep: int) -> None:
        dtype = jax.dtypes.canonicalize_dtype(float)
        self.members = {name: np.full(shape, np.nan, dtype) for name in metrics}
        self.metric = metric
        self.mode = mode
        self.keeper = Keeper(shape, keep, metric, mode)
        self.epochs = np.zeros(shape[:3], np.int64)
        self.total = self.members[metric].size
        self.best_so_far: float | None = None

    @property
    def done(self) -> int:
        """The epochs that are trained, over all members."""
        return int(self.epochs.sum())

    def add(self, report: Report) -> None:
        """Take one epoch of a part."""
        index = report.index
        alive = np.all([np.isfinite(values) for values in report.metrics.values()], axis=0)
        for name, values in report.metrics.items():
            self.flat(name)[index, report.epoch] = np.where(alive, values, np.nan)
        self.epochs.reshape(-1)[index] = report.epoch + 1
        self._better(report.metrics[self.metric][alive])
        if report.trained is not None:
            self.keeper.offer(report, self.members)

    def load(self, index: np.ndarray, curves: Mapping[str, np.ndarray]) -> None:
        """Take what members had done before the run was interrupted: curves (members, epochs)."""
        for name, values in curves.items():
            epochs = values.shape[1]
            self.flat(name)[index, :epochs] = values
        self.epochs.reshape(-1)[index] = epochs
        if epochs == self.members[self.metric].shape[-1]:
            self.keeper.trained.reshape(-1)[index] = True
        values = curves[self.metric]
        self._better(values[np.isfinite(values)])

    def flat(self, name: str) -> np.ndarray:
        """A metric as (members, epochs), the same memory."""
        return self.members[name].reshape(-1, self.members[name].shape[-1])

    def _better(self, values: np.ndarray) -> None:
        better = max if self.mode == "max" else min
        self.best_so_far = better(
            [*values.tolist(), *([] if self.best_so_far is None else [self.best_so_far])], default=None
        )

    def results(self, points: Mapping[str, np.ndarray]) -> Results:
        """The results, without what the run knows of itself."""
        each = self.keeper.trained.shape[1]
        states = {trial: flatten(members) for trial, members in self.keeper.states.items() if len(members) == each}
        return Results(dict(points), self.members, self.metric, self.mode, states=states, done=self.epochs)


class Keeper:
    """The trained states of the best trials so far, and of trials of which other members still train."""

    def __init__(self, shape: tuple[int, ...], keep: int, metric: str, mode: str) -> None:
        self.keep = keep
        self.metric = metric
        self.mode = mode
        self.trained = np.zeros((shape[0], shape[1] * shape[2]), bool)
        self.states: dict[int, list[tuple[int, Any]]] = {}

    def load(self, member: int, arrays: Any) -> None:
        """Take the trained state of a member from before the run was interrupted."""
        self.states.setdefault(member // self.trained.shape[1], []).append((member, arrays))

    def kept(self) -> list[tuple[int, Any]]:
        """Members and their states."""
        return [member for members in self.states.values() for member in members]

    def offer(self, report: Report, members: dict[str, np.ndarray]) -> None:
        """Take what deserves it from a part that is trained."""
        index = report.index
        self.trained.reshape(-1)[index] = True
        owners = index // self.trained.shape[1]
        candidates = np.array(sorted({*owners.tolist(), *self.states}))
        complete = self.trained[candidates].all(1)
        last = {name: mean_member(values[candidates])[:, -1] for name, values in members.items()}
        order = ranking(last, self.metric, self.mode)
        finished = complete & np.isfinite(last[self.metric])
        kept = {*candidates[order[finished[order]][: self.keep]].tolist(), *candidates[~complete].tolist()}
        for trial in set(self.states) - kept:
            del self.states[trial]
        rows = [row for row, trial in enumerate(owners) if trial in kept]
        host = to_host(report.trained) if rows else None
        for row in rows:
            arrays = jax.tree.map(lambda leaf, place=report.part.places[row]: leaf[place].copy(), host)
            self.states.setdefault(int(owners[row]), []).append((int(index[row]), arrays))


def flatten(members: list[tuple[int, Any]]) -> dict[str, np.ndarray]:
    """Name -> array (members, ...), in order of the members."""
    ordered = [named(arrays) for _, arrays in sorted(members, key=lambda member: member[0])]
    return {name: np.stack([arrays[name] for arrays in ordered]) for name in ordered[0]}
