"""The cohort: members of one bucket at one epoch, wherever their state lives. No JAX here."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Protocol, Self

import numpy as np

Arrays = dict[str, np.ndarray]


class State(Protocol):
    """Where the training state of members lives: `OnHost`, `OnDisk` (store/commits.py), `OnDevices` (engine/)."""

    @property
    def nbytes(self) -> int:
        """The memory that it takes."""

    def arrays(self) -> Arrays:
        """Name -> array (members, ...) on the host: the state's leaves by their paths below "state", and "alive".

        Where the best epoch is kept also its own, below "best".
        """


@dataclasses.dataclass(frozen=True, eq=False)
class OnHost:
    """A training state as NumPy arrays (members, ...) by name."""

    held: Arrays

    @property
    def nbytes(self) -> int:
        """The memory that it takes."""
        return sum(array.nbytes for array in self.held.values())

    def arrays(self) -> Arrays:
        """These arrays."""
        return self.held


@dataclasses.dataclass(frozen=True, eq=False)
class Cohort:
    """Members of one bucket at one epoch: the one carrier between trainer, disk, session and executor.

    Attributes:
        bucket: the bucket's number.
        members: their numbers (members,) in the population.
        epoch: the epochs that they have finished.
        state: their training state, on devices, host or disk; None for nowhere: before the first epoch, or where it
            was given up, from where members are trained again to their epoch, to the same bits.
    """

    bucket: int
    members: np.ndarray
    epoch: int = 0
    state: State | None = None

    @property
    def nbytes(self) -> int:
        """The memory that the state takes."""
        return 0 if self.state is None else self.state.nbytes

    def arrays(self) -> Arrays:
        """The state's arrays (members, ...) by name, of members that have a state."""
        assert self.state is not None
        return self.state.arrays()

    def on_host(self) -> Self:
        """The same with its state on the host; without a state itself."""
        if self.state is None or isinstance(self.state, OnHost):
            return self
        return dataclasses.replace(self, state=OnHost(self.arrays()))

    def take(self, rows: np.ndarray | slice) -> Self:
        """Some of the members, on the host; itself for a mask of all."""
        if isinstance(rows, np.ndarray) and rows.dtype == bool and rows.all():
            return self
        state = None if self.state is None else OnHost({n: array[rows] for n, array in self.arrays().items()})
        return dataclasses.replace(self, members=self.members[rows], state=state)

    def cut(self, size: int) -> list[Self]:
        """The same in pieces of at most `size` members, on the host."""
        whole = self.on_host()
        return [whole.take(slice(at, at + size)) for at in range(0, len(self.members), size)]


def join(cohorts: Sequence[Cohort]) -> Cohort:
    """Cohorts of one bucket at one epoch, all or none with a state, as one."""
    first = cohorts[0]
    if len(cohorts) == 1:
        return first
    members = np.concatenate([cohort.members for cohort in cohorts])
    if first.state is None:
        return dataclasses.replace(first, members=members)
    states = [cohort.arrays() for cohort in cohorts]
    joined = {name: np.concatenate([state[name] for state in states]) for name in states[0]}
    return dataclasses.replace(first, members=members, state=OnHost(joined))


def gathered(cohorts: Iterable[Cohort]) -> list[Cohort]:
    """The same members in as few cohorts as there are buckets and epochs, with and without a state."""
    alike: dict[tuple[int, int, bool], list[Cohort]] = {}
    for cohort in cohorts:
        alike.setdefault((cohort.bucket, cohort.epoch, cohort.state is None), []).append(cohort)
    return list(map(join, alike.values()))


def of_members(cohorts: Iterable[Cohort], members: np.ndarray) -> Cohort:
    """These members, of one bucket and at one epoch, in order of their numbers, on the host."""
    masks = [(cohort, np.isin(cohort.members, members)) for cohort in cohorts]
    found = join([cohort.on_host().take(mask) for cohort, mask in masks if mask.any()])
    return found.take(np.argsort(found.members))


def state_in(arrays: Arrays) -> Arrays:
    """The arrays of a task's own state, by their paths in it, of those of a training state: as it is now."""
    own = {name: array for name, array in arrays.items() if name.partition(".")[0] == "state"}
    return {name.removeprefix("state").removeprefix("."): array for name, array in own.items()}


def counting_state(arrays: Arrays) -> Arrays:
    """The same of the epoch that counts: the best one where it is kept."""
    best = {name.removeprefix("best."): array for name, array in arrays.items() if name.startswith("best.")}
    return state_in(best or arrays)
