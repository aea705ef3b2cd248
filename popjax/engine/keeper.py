"""The trained states of the best trials."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from popjax.core.trees import named
from popjax.engine.batch import Batch
from popjax.engine.snapshot import Snapshot
from popjax.store.records import mean_member, ranking


class Keeper:
    """The trained states of the best trials so far, and of trials of which other members still train.

    Args:
        each: the members of a trial.
        keep: of how many of the best trials to keep the states.
        metric, mode: what ranks.
    """

    def __init__(self, each: int, keep: int, metric: str, mode: str) -> None:
        self.keep = keep
        self.metric = metric
        self.mode = mode
        self.trained = np.zeros((0, each), bool)
        self.states: dict[int, list[tuple[int, Any]]] = {}

    def grow(self, trials: int) -> None:
        """Make place for so many trials more."""
        self.trained = np.concatenate([self.trained, np.zeros((trials, self.trained.shape[1]), bool)])

    def load(self, member: int, arrays: Any) -> None:
        """Take the trained state of a member from before the run was interrupted."""
        self.states.setdefault(member // self.trained.shape[1], []).append((member, arrays))

    def kept(self) -> list[tuple[int, Any]]:
        """Members and their states."""
        return [member for members in self.states.values() for member in members]

    def complete(self) -> dict[int, dict[str, np.ndarray]]:
        """Trial -> name -> array (members, ...), of the trials of which all members are there."""
        each = self.trained.shape[1]
        return {trial: flatten(members) for trial, members in self.states.items() if len(members) == each}

    def offer(self, held: Batch | Snapshot, curves: Mapping[str, np.ndarray]) -> None:
        """Take what deserves it from members trained to the end; curves (trials, folds, repeats, epochs)."""
        index = held.index
        self.trained.reshape(-1)[index] = True
        owners = index // self.trained.shape[1]
        candidates = np.array(sorted({*owners.tolist(), *self.states}))
        complete = self.trained[candidates].all(1)
        last = {name: mean_member(values[candidates])[:, -1] for name, values in curves.items()}
        order = ranking(last, self.metric, self.mode)
        finished = complete & np.isfinite(last[self.metric])
        kept = {*candidates[order[finished[order]][: self.keep]].tolist(), *candidates[~complete].tolist()}
        for trial in set(self.states) - kept:
            del self.states[trial]
        rows = [row for row, trial in enumerate(owners) if trial in kept]
        state = held.snapshot().begun.state if rows else None
        for row in rows:
            arrays = jax.tree.map(lambda leaf, row=row: leaf[row].copy(), state)
            self.states.setdefault(int(owners[row]), []).append((int(index[row]), arrays))


def flatten(members: list[tuple[int, Any]]) -> dict[str, np.ndarray]:
    """Name -> array (members, ...), in order of the members."""
    ordered = [named(arrays) for _, arrays in sorted(members, key=lambda member: member[0])]
    return {name: np.stack([arrays[name] for arrays in ordered]) for name in ordered[0]}
