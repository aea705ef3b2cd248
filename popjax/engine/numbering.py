"""From trials to members and back. No JAX here."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


class Numbering(NamedTuple):
    """How members are numbered: trial by trial, within a trial fold by fold, within a fold repeat by repeat.

    So an array (trials, folds, repeats, ...) is an array (members, ...) of the same memory.

    >>> numbering = Numbering(folds=2, repeats=3)
    >>> numbering.members([1]).tolist(), numbering.trials(np.array([5, 6])).tolist()
    ([6, 7, 8, 9, 10, 11], [0, 1])
    >>> [axis.tolist() for axis in numbering.places(np.array([7, 11]))]
    [[1, 1], [0, 1], [1, 2]]
    """

    folds: int = 1
    repeats: int = 1

    @property
    def each(self) -> int:
        """The number of members of a trial."""
        return self.folds * self.repeats

    def members(self, trials: Iterable[int]) -> np.ndarray:
        """Int (n * each,): the members of these trials (n,), in their order."""
        return (np.asarray([*trials], np.int64)[:, None] * self.each + np.arange(self.each)).ravel()

    def trials(self, members: np.ndarray) -> np.ndarray:
        """The trial (members,) of each member."""
        return np.asarray(members // self.each)

    def places(self, members: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The trial, the fold and the repeat (members,) of each member."""
        trial, within = np.divmod(members, self.each)
        return trial, within // self.repeats, within % self.repeats
