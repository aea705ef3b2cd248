"""The rule `one_se`: the smallest model within one standard error of the best (Breiman et al. 1984, section 3.4.3)."""

from typing import ClassVar

import numpy as np

from popjax.rule import Finished, Rule
from popjax.task import Metric


class OneSe(Rule):
    """See `one_se`."""

    name: ClassVar[str] = "one-se"
    call: ClassVar[tuple[str, str]] = ("one_se", "keep")
    needs = ("parameters",)

    def check(self, members: int) -> None:
        """Raise ValueError for one member per trial."""
        if members == 1:
            raise ValueError("rank one-se: one member has no standard error; use folds or repeats of at least 2")

    def why(self, count: int, first: str | None) -> str:
        """Also says if no smaller model lies within one standard error."""
        if first is None:
            return f"{super().why(count, first)}; no smaller model lies within one standard error"
        return f"the smallest model within one standard error of {first}"

    def winner(self, finished: Finished) -> int:
        """The row with the fewest parameters within one standard error of the first; of equal ones the better."""
        values, parameters = finished.values[self.metric], finished.values["parameters"]
        near = np.flatnonzero(abs(values - values[0]) <= finished.errors[self.metric][0])
        return int(near[np.argmin(parameters[near])])


def one_se(
    metric: Metric | str | None = None,
    mode: str | None = None,
    at: str = "last",
    patience: int | None = None,
    *,
    keep: int = 1,
) -> Rule:
    """Rank trials as `best` does; the one with the fewest parameters within one standard error of the first wins.

    The error is that of the mean over folds and repeats; a search with one member per trial raises ValueError. The
    arguments are those of `best`.

    >>> values = {"val_accuracy": np.array([0.90, 0.89, 0.5]), "parameters": np.array([900, 100, 1])}
    >>> one_se("val_accuracy").winner(Finished(values, {"val_accuracy": np.array([0.02, 0.1, 0.1])}))
    1
    """
    return OneSe(metric, mode, keep, at, patience)  # type: ignore[arg-type]
