"""Cohort: members of one bucket at one epoch, with where their state lives. No JAX here."""

import dataclasses
import functools
from collections.abc import Iterable, Sequence
from typing import Protocol, Self

import numpy as np

Arrays = dict[str, np.ndarray]


class State(Protocol):
    """Training state of members, wherever it lives: `OnHost`, `OnDisk` (store/commits.py), `OnDevices` (engine/)."""

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""

    def arrays(self) -> Arrays:
        """Name -> array (members, ...) on the host: the leaves of the state by path below "state", and "alive".

        Where the best epoch is kept, also the leaves of its state by path below "best".
        """

    def off_devices(self) -> "State":
        """The state where some members of it can be taken: of one on devices a copy on the host, else itself."""

    def take(self, rows: np.ndarray | slice) -> "State":
        """The state of some members, by mask, indices or slice."""


@dataclasses.dataclass(frozen=True, eq=False)
class OnHost:
    """Training state as NumPy arrays (members, ...) by name."""

    held: Arrays

    @functools.cached_property
    def nbytes(self) -> int:
        """Memory in bytes."""
        return sum(array.nbytes for array in self.held.values())

    def arrays(self) -> Arrays:
        """The arrays themselves, not copied."""
        return self.held

    def off_devices(self) -> Self:
        """Itself."""
        return self

    def take(self, rows: np.ndarray | slice) -> "OnHost":
        """The arrays of some members."""
        return OnHost({name: array[rows] for name, array in self.held.items()})


@dataclasses.dataclass(frozen=True, eq=False)
class Cohort:
    """Members of one bucket at one epoch, as passed between trainer, disk, session and executor.

    Attributes:
        bucket: number of the bucket.
        members: int (members,), their numbers in the population.
        epoch: number of epochs they have finished.
        state: their training state, on devices, host or disk; None before the first epoch, or where it was dropped:
            such members are trained again to their epoch, bit for bit.
    """

    bucket: int
    members: np.ndarray
    epoch: int = 0
    state: State | None = None

    @property
    def nbytes(self) -> int:
        """Memory of the state in bytes; 0 if there is none."""
        return 0 if self.state is None else self.state.nbytes

    def arrays(self) -> Arrays:
        """Arrays of the state (members, ...) by name; the cohort must have a state."""
        assert self.state is not None
        return self.state.arrays()

    def on_host(self) -> Self:
        """The cohort with its state on the host; itself if there is none."""
        if self.state is None or isinstance(self.state, OnHost):
            return self
        return dataclasses.replace(self, state=OnHost(self.arrays()))

    def off_devices(self) -> Self:
        """The cohort with its state on the host or on disk."""
        return self if self.state is None else dataclasses.replace(self, state=self.state.off_devices())

    def take(self, rows: np.ndarray | slice) -> Self:
        """The cohort of some members, by mask, indices or slice, off the devices; itself for a mask of all.

        What is on disk stays there.
        """
        if isinstance(rows, np.ndarray) and rows.dtype == bool and rows.all():
            return self
        state = None if self.state is None else self.state.take(rows)
        return dataclasses.replace(self, members=self.members[rows], state=state)

    def cut(self, size: int) -> list[Self]:
        """Cohorts of at most `size` members each, on the host."""
        whole = self.on_host()
        return [whole.take(slice(at, at + size)) for at in range(0, len(self.members), size)]


def join(cohorts: Sequence[Cohort]) -> Cohort:
    """Concatenate cohorts of one bucket at one epoch, all or none of them with a state."""
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
    """The same members with cohorts joined where bucket, epoch, and presence of a state agree."""
    alike: dict[tuple[int, int, bool], list[Cohort]] = {}
    for cohort in cohorts:
        alike.setdefault((cohort.bucket, cohort.epoch, cohort.state is None), []).append(cohort)
    return list(map(join, alike.values()))


def of_members(cohorts: Iterable[Cohort], members: np.ndarray) -> Cohort:
    """Cohort of these members, all of one bucket and at one epoch, sorted by their numbers, on the host."""
    masks = [(cohort, np.isin(cohort.members, members)) for cohort in cohorts]
    joined = join([cohort.on_host().take(mask) for cohort, mask in masks if mask.any()])
    return joined.take(np.argsort(joined.members))


def state_in(arrays: Arrays) -> Arrays:
    """Leaves of the task's current state by path, from the arrays of a training state."""
    own = {name: array for name, array in arrays.items() if name.partition(".")[0] == "state"}
    return {name.removeprefix("state").removeprefix("."): array for name, array in own.items()}


def counting_state(arrays: Arrays) -> Arrays:
    """Leaves of the task's state at the epoch that counts: the best epoch where it is kept, else the current one."""
    best = {name.removeprefix("best."): array for name, array in arrays.items() if name.startswith("best.")}
    return state_in(best or arrays)
