"""Nondominated fronts: the rows that no row dominates, then those of the remaining rows, and so on."""

import numpy as np


def fronts_of(losses: np.ndarray) -> np.ndarray:
    """The front (rows,) of each row of losses (rows, objectives), from 0; less is better.

    A row is dominated only by rows before it in lexicographic order, and a row that a front dominates is dominated by
    every earlier front, so its own front is found by bisection (Zhang et al. 2015, "An efficient approach to
    nondominated sorting").

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

    With two objectives the last row has the least second one, so only that row is compared.
    """

    def __init__(self, objectives: int) -> None:
        self.rows = np.empty((8, objectives))
        self.count = 0

    def add(self, row: np.ndarray) -> None:
        """Append a row (objectives,) that no row of the front dominates."""
        if self.count == len(self.rows):
            self.rows = np.concatenate([self.rows, np.empty_like(self.rows)])
        self.rows[self.count] = row
        self.count += 1

    def beats(self, row: np.ndarray) -> bool:
        """True if a row of the front dominates this row (objectives,): at most equal in all, less in one."""
        first = self.count - 1 if len(row) == 2 else 0
        rows = self.rows[first : self.count]
        return bool(((rows <= row).all(1) & (rows < row).any(1)).any())
