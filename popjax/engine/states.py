"""Where the state of each member lives between two segments: which train on, which are copied, given up, or kept."""

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np

from popjax.engine.members import MemberTable
from popjax.engine.on_devices import OnDevices
from popjax.rules.checking import order_of
from popjax.scheduler import Status
from popjax.store.cohort import Arrays, Cohort, counting_state, gathered, join
from popjax.store.commits import Commits, OnDisk
from popjax.store.records import mean_member


class States:
    """The cohorts of the members that wait, and the trained states of the best trials.

    Args:
        table: of the members.
        bound: bytes of states to hold; if None, all are held.
        host_only: True if no state is to wait on the devices.

    Attributes:
        cohorts: each member that has not ended is in one of them, but while it trains.
        best: member -> name -> array, the task's own state at the epoch that counts, of the best trials so far, and of
            ended members whose trial is not complete.
    """

    def __init__(self, table: MemberTable, bound: int | None, host_only: bool = False) -> None:
        self.table = table
        self.bound = bound
        self.host_only = host_only
        self.best: dict[int, Arrays] = {}
        self.put([])

    def put(self, cohorts: Iterable[Cohort]) -> None:
        """Replace all cohorts by these."""
        self.cohorts = list(cohorts)
        self._bytes = sum(cohort.nbytes for cohort in self.cohorts)

    def keep(self, cohort: Cohort, needed: bool = False) -> None:
        """Add a cohort; beyond the bound its state is given up, except where it is `needed`."""
        cohort = cohort.on_host() if self.host_only else cohort
        full = self.bound is not None and self._bytes + cohort.nbytes > self.bound
        if full and not needed:
            cohort = dataclasses.replace(cohort, state=None)
        self.cohorts.append(cohort)
        self._bytes += cohort.nbytes

    def take_back(self, cohort: Cohort) -> list[Cohort]:
        """Take a cohort back from training: at the last epoch it is offered as one of the best, else it waits.

        Returns the members that no longer wait, since their trials have ended before the last epoch: they are offered,
        too.
        """
        table = self.table
        over = table.end_segment(cohort.members, cohort.epoch)
        early = over if table.last is not None and table.patience is not None else over[:0]
        members = table.numbering.members(early)
        if cohort.epoch == table.last:
            self.offer(cohort)
            rested = []
        else:
            rested = self._wait(cohort, np.isin(cohort.members, members))
        rested = gathered([*rested, *self.take(np.setdiff1d(members, cohort.members))])
        for ended in rested:
            self.offer(ended)
        return rested

    def _wait(self, cohort: Cohort, ended: np.ndarray) -> list[Cohort]:
        """Keep a cohort but for the members in `ended`, bool (members,); these are returned."""
        cohort = cohort.off_devices() if ended.any() else cohort
        table, waiting = self.table, cohort.take(~ended)
        if len(waiting.members):
            trials = table.numbering.trials(waiting.members)
            self.keep(waiting, bool(table.pinned[trials].any() or table.rests(waiting.members).any()))
        return [cohort.take(ended)] if ended.any() else []

    def offer(self, cohort: Cohort) -> None:
        """Keep the states of ended members: of the best trials, and of those of which other members have not ended.

        States of trials that are no longer among the best, or have diverged, are dropped.
        """
        table = self.table
        owners = table.numbering.trials(cohort.members)
        each = table.numbering.each
        candidates = np.array(sorted({*owners.tolist(), *(member // each for member in self.best)}))
        status = table.status[candidates]
        counted = table.counted(candidates)
        last = {name: mean_member(values)[:, -1] for name, values in counted.values.items()}
        order = order_of(table.rule, last | {name: cost[candidates] for name, cost in table.costs.items()})
        best = counted.different(order[(status == Status.COMPLETE)[order]])[: table.rule.keep]
        going = (status == Status.WAITING) | (status == Status.STOPPED)
        kept = {*candidates[best].tolist(), *candidates[going].tolist()}
        self.best = {member: state for member, state in self.best.items() if member // each in kept}
        rows = [row for row, trial in enumerate(owners.tolist()) if trial in kept]
        arrays = counting_state(cohort.arrays()) if rows else {}
        for row in rows:
            self.best[int(cohort.members[row])] = {name: array[row].copy() for name, array in arrays.items()}

    def of_trials(self, waiting: Iterable[int] = ()) -> dict[int, Arrays]:
        """Trial -> name -> array (members of a trial, ...): the task's own state at the epoch that counts.

        Of the best trials, and of those of `waiting`, which have not ended, where the states of all members are held.
        """
        numbering = self.table.numbering
        known = self.best | self._waiting(numbering.members(waiting))
        trials = sorted({member // numbering.each for member in known})
        own = {trial: numbering.members([trial]).tolist() for trial in trials}
        whole = {trial: members for trial, members in own.items() if all(member in known for member in members)}
        return {
            trial: {name: np.stack([known[member][name] for member in members]) for name in known[members[0]]}
            for trial, members in whole.items()
        }

    def _waiting(self, members: np.ndarray) -> dict[int, Arrays]:
        """Member -> name -> array, the states at the epoch that counts of those of `members` that wait with a state."""
        states: dict[int, Arrays] = {}
        for cohort in self.cohorts if len(members) else ():
            rows = np.isin(cohort.members, members)
            if cohort.state is None or not rows.any():
                continue
            own = cohort.take(rows)
            arrays = counting_state(own.arrays())
            for row, member in enumerate(own.members.tolist()):
                states[member] = {name: array[row].copy() for name, array in arrays.items()}
        return states

    @property
    def held(self) -> np.ndarray:
        """Bool (members,): a state is held, of the member in training or at the epoch that counts."""
        held = np.zeros(self.table.epochs.size, bool)
        held[[*self.best]] = True
        for cohort in self.cohorts:
            held[cohort.members] |= cohort.state is not None
        return held

    def due(self) -> list[tuple[Cohort, int]]:
        """Take out the members before their goals; return cohorts, each with the epoch to reach.

        A cohort on the devices with one goal for all members is returned as it is; others are brought to the host and
        joined by bucket, epoch, goal and having a state. Ordered by bucket. Raises MemoryError for a state that is lost
        and cannot be trained again alone.
        """
        all_goals = self.table.goals()
        due: list[tuple[Cohort, int]] = []
        loose: dict[tuple[int, int, int, bool], list[Cohort]] = {}
        staying: list[Cohort] = []
        for cohort in self.cohorts:
            goals = all_goals[cohort.members]
            behind = goals > cohort.epoch
            if not behind.any():
                staying.append(cohort)
                continue
            self._check_trainable(cohort)
            if isinstance(cohort.state, OnDevices) and behind.all() and len(set(goals.tolist())) == 1:
                due.append((cohort, int(goals[0])))
                continue
            cohort = cohort.off_devices()
            if not behind.all():
                staying.append(cohort.take(~behind))
            for goal in np.unique(goals[behind]).tolist():
                key = cohort.bucket, cohort.epoch, goal, cohort.state is None
                loose.setdefault(key, []).append(cohort.take(goals == goal))
        self.put(staying)
        due += [(join(cohorts).on_host(), key[2]) for key, cohorts in loose.items()]
        return sorted(due, key=lambda pair: pair[0].bucket)

    def _check_trainable(self, cohort: Cohort) -> None:
        """Raise MemoryError for a cohort whose lost states depend on copies or changes."""
        trials = self.table.numbering.trials(cohort.members)
        pinned = trials[self.table.pinned[trials]]
        if cohort.state is None and cohort.epoch and len(pinned):
            lost = f"the state of trial {pinned.min()}, which was copied or changed, is lost"
            raise MemoryError(f"{lost}: resume the run from its last commit, or start it again")

    def take(self, members: np.ndarray, which: Callable[[Cohort], bool] = lambda cohort: True) -> list[Cohort]:
        """Take out these members, of the cohorts that satisfy `which`; in as few cohorts as possible."""
        wanted = np.zeros(self.table.epochs.size, bool)
        wanted[members] = True
        taken, staying = [], []
        for cohort in self.cohorts if len(members) else ():
            rows = wanted[cohort.members]
            if not rows.any() or not which(cohort):
                staying.append(cohort)
                continue
            cohort = cohort.off_devices()
            taken.append(cohort.take(rows))
            if not rows.all():
                staying.append(cohort.take(~rows))
        if taken:
            self.put(staying)
        return gathered(taken)

    def behind(self, trials: Iterable[int]) -> list[Cohort]:
        """Take out the waiting members of these trials that have no state: not begun, or given up."""
        return self.take(self.table.numbering.members(trials), lambda cohort: cohort.state is None)

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

    def copies(self, targets: Iterable[int], sources: Iterable[int]) -> list[Cohort]:
        """The states of the trials `sources` (n,), on the host, as cohorts of the trials `targets` (n,)."""
        from_members, to_members = map(self.table.numbering.members, (sources, targets))
        copied = []
        for cohort in self.cohorts if len(from_members) else ():
            own = enumerate(cohort.members.tolist())
            pairs = [(row, at) for row, member in own for at in np.flatnonzero(from_members == member)]
            if pairs:
                rows, at = map(np.array, zip(*pairs, strict=True))
                copied.append(dataclasses.replace(cohort.take(rows).on_host(), members=to_members[at]))
        return copied

    def to_disk(self, commits: Commits) -> None:
        """If more than half of the bound is used, drop the states that files hold; they are read when needed.

        They are read together: a file holds many cohorts.
        """
        if self.bound is None or self._bytes <= self.bound / 2:
            return
        held: dict[tuple[int, int], list[np.ndarray]] = {}
        staying = []
        for cohort in self.cohorts:
            if commits.holds(cohort):
                held.setdefault((cohort.bucket, cohort.epoch), []).append(cohort.members)
            else:
                staying.append(cohort)
        for (bucket, epoch), parts in held.items():
            members = np.concatenate(parts)
            staying.append(Cohort(bucket, members, epoch, OnDisk(commits, members)))
        self.put(staying)

    def on_host(self) -> list[Cohort]:
        """All cohorts, with their states on the host."""
        return [cohort.on_host() for cohort in self.cohorts]
