"""Rules that rank by one metric: the best wins, or the smallest within one standard error, or the best together.

One standard error: Breiman et al. 1984, section 3.4.3.
"""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np

from popjax.core.counts import check_count
from popjax.core.text import lookup
from popjax.metric import Metric
from popjax.rule import Finished, Rule
from popjax.task import Task


def best(
    metric: Metric | str | None = None,
    mode: str | None = None,
    at: str = "last",
    patience: int | None = None,
    *,
    keep: int = 1,
    subject_to: str | Sequence[str] = (),
) -> Rule:
    """Rank trials by a metric; the first one wins.

    Args:
        metric: the metric that ranks; the task's if None.
        mode: "min" or "max"; follows from the metric's name if None.
        at: which epoch of each member counts: "last", or "best", the one with the best value, of equal ones the
            earlier. Its weights are kept, and a trial's value is the mean of its members' best ones, so it is
            optimistic.
        patience: number of epochs without a better one after which a member rests; None: never. Only with at="best".
        keep: number of best trials to keep the trained states of.
        subject_to: a text `name <= number` or `name >= number`, or several, of metrics, "parameters" or "flops".
            Trials that violate none rank before all others, and these by the sum of their relative violations. Points
            that cost too much are drawn again. With at="best" the best epoch is that of the metric alone, and the
            limits are judged by what the trial reported there.

    Raises ValueError for another `mode` or `at`, a `keep` or `patience` that is not a whole number of at least 1, a
    `patience` with at="last", and another `subject_to`.

    >>> import popjax as pj
    >>> pj.best("val_loss", keep=5).keep
    5
    >>> pj.best("val_loss", at="best", patience=10)
    best(metric='val_loss', keep=1, at='best', patience=10)
    >>> pj.best("val_loss", subject_to="parameters<=10000").subject_to
    ('parameters <= 10000',)
    """
    return Rule(metric, mode, keep, at, patience, subject_to)  # type: ignore[arg-type]


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
    subject_to: str | Sequence[str] = (),
) -> Rule:
    """Rank trials as `best` does; the one with the fewest parameters within one standard error of the first wins.

    The error is that of the mean over folds and repeats; a search with one member per trial raises ValueError. The
    arguments are those of `best`.

    >>> import numpy as np
    >>> import popjax as pj
    >>> values = {"val_accuracy": np.array([0.90, 0.89, 0.5]), "parameters": np.array([900, 100, 1])}
    >>> pj.one_se("val_accuracy").winner(pj.Finished(values, {"val_accuracy": np.array([0.02, 0.1, 0.1])}))
    1
    """
    return OneSe(metric, mode, keep, at, patience, subject_to)  # type: ignore[arg-type]


TOGETHER = 25  # trials of an ensemble
METHODS = ("mean", "greedy")


@dataclasses.dataclass(frozen=True, repr=False)
class Together(Rule):
    """See `together`.

    Attributes:
        method: how the trials of the ensemble are chosen among the kept ones: "mean" or "greedy".
    """

    keep: int = TOGETHER
    method: str = "mean"

    name: ClassVar[str] = "ensemble"
    call: ClassVar[tuple[str, str]] = ("together", "size")
    together: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        lookup({name: name for name in METHODS}, "method", self.method)

    def of(self, task: Task) -> Self:
        """As `Rule.of`; also raises ValueError for "greedy" with a task that has no recipe."""
        if self.method != "mean" and task.recipe is None:
            raise ValueError(f"together: method {self.method!r} needs the rows of a supervised task; leave it out")
        return super().of(task)


def together(
    size: int = TOGETHER,
    method: str = "mean",
    metric: Metric | str | None = None,
    mode: str | None = None,
    at: str = "last",
    patience: int | None = None,
    *,
    subject_to: str | Sequence[str] = (),
) -> Rule:
    """Rank trials as `best` does; the best `size` are kept and predict together, by the mean of their predictions.

    Args:
        size: number of best trials to keep the trained states of.
        method: "mean": each of them counts once. "greedy": those that a forward selection picks, counted as often as
            it picks them (see `popjax.ensemble`); for supervised tasks.
        metric, mode, at, patience, subject_to: those of `best`; each trial of the ensemble violates none.

    Raises ValueError as `best` does, and for another method.

    >>> import popjax as pj
    >>> pj.together(5, metric="val_loss").keep
    5
    """
    keep = check_count("size", size)
    return Together(metric, mode, keep, at, patience, subject_to, method)  # type: ignore[arg-type]


def method_of(rule: Rule) -> str:
    """The `method` of a Together rule; "mean" for any other rule."""
    return rule.method if isinstance(rule, Together) else "mean"
