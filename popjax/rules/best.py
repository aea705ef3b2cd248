"""The best by a metric."""

from popjax.rule import Rule
from popjax.task import Metric


def best(metric: Metric | str | None = None, mode: str | None = None, *, keep: int = 1) -> Rule:
    """Trials rank by a metric after the last epoch, and the first one wins.

    Args:
        metric: the task's own if not given.
        mode: "min" or "max"; as the metric's name tells if not given.
        keep: of how many of the best trials the trained states are kept.

    Raises ValueError for another mode, and for a `keep` that is no whole number of at least 1.

    >>> best("val_loss", keep=5).written()
    {'rule': 'best', 'metric': 'val_loss', 'mode': None, 'keep': 5}
    """
    return Rule(metric, mode, keep)  # type: ignore[arg-type]
