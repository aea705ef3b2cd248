"""Fronts: rows of which none is better in all objectives, then those of the rows that are left."""

import numpy as np


def fronts_of(losses: np.ndarray) -> np.ndarray:
    """The number (rows,) of each row's front, from 0; rows (rows, objectives), less is better.

    Rows in lexicographic order are beaten by earlier ones alone, and one that a front beats is beaten by each front
    before it, so that its own is found by bisection (Zhang et al. 2015, "An efficient approach to nondominated
    sorting").

    >>> fronts_of(np.array([[0.0, 2.0], [1.0, 1.0], [1.0, 2.0], [2.0, 2.0]])).tolist()
    [0, 0, 1, 2]
    """
    found = np.zeros(len(losses), int)
    fronts: list[Front] = []
    for row in np.lexsort(losses.T[::-1]).tolist():
        low, high = 0, len(fronts)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if fronts[middle].beats(losses[row]) else (low, middle)
        if low == len(fronts):
            fronts.append(Front(losses.shape[1]))
        fronts[low].add(losses[row])
        found[row] = low
    return found


class Front:
    """The rows of a front so far, in lexicographic order.

    Of two objectives the last row has the least of the second one, so that it alone is looked at.
    """

    def __init__(self, objectives: int) -> None:
        self.rows = np.empty((8, objectives))
        self.count = 0

    def add(self, row: np.ndarray) -> None:
        """Take a row (objectives,) that none of the front beats."""
        if self.count == len(self.rows):
            self.rows = np.concatenate([self.rows, np.empty_like(self.rows)])
        self.rows[self.count] = row
        self.count += 1

    def beats(self, row: np.ndarray) -> bool:
        """Whether one of the front is at most this row (objectives,) in all, and less in one."""
        first = self.count - 1 if len(row) == 2 else 0
        rows = self.rows[first : self.count]
        return bool(((rows <= row).all(1) & (rows < row).any(1)).any())
