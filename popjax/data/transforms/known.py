"""Codes of texts, without those that no training row has. No JAX here."""

import dataclasses
import functools
from typing import Any

import numpy as np

from popjax.data.transforms.transform import Columns
from popjax.data.transforms.unchanged import Unchanged


@dataclasses.dataclass(frozen=True, eq=False)
class Known(Unchanged):
    """Codes (rows, columns): one that no training row of the fold has becomes 0, that of an unknown text.

    Else a model would read numbers that it never trained.

    Attributes:
        codes: those that occur in each column.
    """

    codes: Any = None

    def fit(self, x: np.ndarray, columns: Columns) -> "Known":
        """Note the codes of the training rows."""
        return Known([np.unique(column) for column in x.T])

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The rows without other codes."""
        xp = x.__array_namespace__()
        occurs = [xp.asarray(known)[xp.clip(x[:, at], 0, len(known) - 1)] for at, known in enumerate(self.marks)]
        found: np.ndarray = xp.where(xp.stack(occurs, 1), x, 0)
        return found

    @functools.cached_property
    def marks(self) -> list[np.ndarray]:
        """For each column, bool (codes + 1,): the code occurs; the last one, of all greater codes, does not."""
        marks = [np.zeros(max(codes, default=0) + 2, bool) for codes in self.codes]
        for mark, codes in zip(marks, self.codes, strict=True):
            mark[codes] = True
        return marks
