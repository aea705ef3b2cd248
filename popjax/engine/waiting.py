"""Members that wait between two segments: which train on, which are copied, which states are given up."""

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np

from popjax.engine.on_devices import OnDevices
from popjax.store.cohort import Cohort, gathered, join
from popjax.store.commits import Commits, OnDisk


class Waiting:
    """The cohorts of all members that are not finished, between segments.

    Args:
        bound: bytes of states to hold; if None, all are held.

    Attributes:
        cohorts: each member is in one of them.
    """

    def __init__(self, bound: int | None) -> None:
        self.bound = bound
        self.put([])

    def put(self, cohorts: Iterable[Cohort]) -> None:
        """Replace all cohorts by these."""
        self.cohorts = list(cohorts)
        self._bytes = sum(cohort.nbytes for cohort in self.cohorts)

    def keep(self, cohort: Cohort, needed: bool = False) -> None:
        """Add a cohort; beyond the bound its state is given up, except where it is `needed`."""
        full = self.bound is not None and self._bytes + cohort.nbytes > self.bound
        if full and not needed:
            cohort = dataclasses.replace(cohort, state=None)
        self.cohorts.append(cohort)
        self._bytes += cohort.nbytes

    def due(self, targets: np.ndarray) -> list[tuple[Cohort, int]]:
        """Take out the members before their `targets`, int (members,); return cohorts, each with the epoch to reach.

        A cohort on the devices with one target for all members is returned as it is; others are brought to the host
        and joined by bucket, epoch, target and having a state. Ordered by bucket.
        """
        due: list[tuple[Cohort, int]] = []
        loose: dict[tuple[int, int, int, bool], list[Cohort]] = {}
        staying: list[Cohort] = []
        for cohort in self.cohorts:
            goals = targets[cohort.members]
            behind = goals > cohort.epoch
            if not behind.any():
                staying.append(cohort)
                continue
            if isinstance(cohort.state, OnDevices) and behind.all() and len(set(goals.tolist())) == 1:
                due.append((cohort, int(goals[0])))
                continue
            cohort = cohort.on_host()
            if not behind.all():
                staying.append(cohort.take(~behind))
            for goal in np.unique(goals[behind]).tolist():
                key = cohort.bucket, cohort.epoch, goal, cohort.state is None
                loose.setdefault(key, []).append(cohort.take(goals == goal))
        self.put(staying)
        due += [(join(cohorts), key[2]) for key, cohorts in loose.items()]
        return sorted(due, key=lambda pair: pair[0].bucket)

    def take(self, members: np.ndarray, which: Callable[[Cohort], bool] = lambda cohort: True) -> list[Cohort]:
        """Take out these members, of the cohorts that satisfy `which`; on the host, in as few cohorts as possible."""
        taken, staying = [], []
        for cohort in self.cohorts:
            rows = np.isin(cohort.members, members)
            if not rows.any() or not which(cohort):
                staying.append(cohort)
                continue
            cohort = cohort.on_host()
            taken.append(cohort.take(rows))
            if not rows.all():
                staying.append(cohort.take(~rows))
        self.put(staying)
        return gathered(taken)

    def replace(self, cohorts: list[Cohort]) -> None:
        """Replace the cohorts of these members by the given ones; their states are not given up."""
        if cohorts:
            self.take(np.concatenate([cohort.members for cohort in cohorts]))
            for cohort in cohorts:
                self.keep(cohort, needed=True)

    def pass_by(self, epochs: np.ndarray) -> None:
        """Raise the epochs of members to `epochs`, int (members,), where these are later; states do not change."""
        for epoch in np.unique(epochs[epochs > 0]).tolist():
            members = np.flatnonzero(epochs == epoch)
            later = [dataclasses.replace(cohort, epoch=max(cohort.epoch, epoch)) for cohort in self.take(members)]
            self.put([*self.cohorts, *later])

    def copies(self, sources: np.ndarray, targets: np.ndarray) -> list[Cohort]:
        """The states of the members `sources` (n,), on the host, as cohorts of the members `targets` (n,)."""
        found = []
        for cohort in self.cohorts if len(sources) else ():
            pairs = [(row, at) for row, m in enumerate(cohort.members.tolist()) for at in np.flatnonzero(sources == m)]
            if pairs:
                rows, at = map(np.array, zip(*pairs, strict=True))
                found.append(dataclasses.replace(cohort.on_host().take(rows), members=targets[at]))
        return found

    def to_disk(self, commits: Commits) -> None:
        """If more than half of the bound is used, drop the states that files hold; they are read when needed."""
        if self.bound is not None and self._bytes > self.bound / 2:
            on_disk = lambda cohort: dataclasses.replace(cohort, state=OnDisk(commits, cohort.members))
            self.put(on_disk(cohort) if commits.holds(cohort) else cohort for cohort in self.cohorts)

    def on_host(self) -> list[Cohort]:
        """All cohorts, with their states on the host."""
        return [cohort.on_host() for cohort in self.cohorts]
