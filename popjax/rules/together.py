"""The best trials together."""

import dataclasses
from typing import ClassVar

from popjax.core.counts import check_count
from popjax.rule import Rule
from popjax.task import Metric

TOGETHER = 25  # trials of an ensemble


@dataclasses.dataclass(frozen=True, repr=False)
class Together(Rule):
    """See `together`."""

    keep: int = TOGETHER

    name: ClassVar[str] = "ensemble"
    call: ClassVar[tuple[str, str]] = ("together", "size")
    together: ClassVar[bool] = True


def together(
    size: int = TOGETHER,
    metric: Metric | str | None = None,
    mode: str | None = None,
    at: str = "last",
    patience: int | None = None,
) -> Rule:
    """Trials rank as by `best`; the best `size` are kept and predict together, by the mean of what each predicts.

    The other arguments are those of `best`.

    >>> together(5, "val_loss").keep
    5
    """
    return Together(metric, mode, check_count("size", size), at, patience)  # type: ignore[arg-type]
