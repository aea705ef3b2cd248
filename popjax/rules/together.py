"""The rule `together`: the best trials predict together."""

import dataclasses
from typing import ClassVar, Self

from popjax.core.counts import check_count
from popjax.core.text import lookup
from popjax.rule import Rule
from popjax.task import Metric, Task

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
) -> Rule:
    """Rank trials as `best` does; the best `size` are kept and predict together, by the mean of their predictions.

    Args:
        size: number of best trials to keep the trained states of.
        method: "mean": each of them counts once. "greedy": those that a forward selection picks, counted as often as
            it picks them (see `popjax.ensemble`); for supervised tasks.
        metric, mode, at, patience: those of `best`.

    Raises ValueError as `best` does, and for another method.

    >>> together(5, metric="val_loss").keep
    5
    """
    return Together(metric, mode, check_count("size", size), at, patience, method)  # type: ignore[arg-type]


def method_of(rule: Rule) -> str:
    """The `method` of a Together rule; "mean" for any other rule."""
    return rule.method if isinstance(rule, Together) else "mean"
