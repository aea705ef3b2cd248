"""The best trials together."""

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
        method: how those that predict together are chosen of the kept ones.
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
        """Also raises ValueError for a method that needs the rows of a supervised task."""
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
    """Trials rank as by `best`; the best `size` are kept and predict together, by the mean of what each predicts.

    Args:
        size: of how many trials the states are kept.
        method: "mean": each of them counts once. "greedy": of them those that a forward selection takes, as often as
            it takes them (see `popjax.ensemble`); for supervised tasks.
        metric, mode, at, patience: those of `best`.

    Raises ValueError as `best` does, and for another method.

    >>> together(5, metric="val_loss").keep
    5
    """
    return Together(metric, mode, check_count("size", size), at, patience, method)  # type: ignore[arg-type]


def method_of(rule: Rule) -> str:
    """How the trials of a rule that predict together are chosen of the kept ones."""
    return rule.method if isinstance(rule, Together) else "mean"
