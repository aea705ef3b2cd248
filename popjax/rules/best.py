"""The rule `best`: trials rank by a metric."""

from popjax.rule import Rule
from popjax.task import Metric


def best(
    metric: Metric | str | None = None,
    mode: str | None = None,
    at: str = "last",
    patience: int | None = None,
    *,
    keep: int = 1,
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

    Raises ValueError for another `mode` or `at`, a `keep` or `patience` that is not a whole number of at least 1, and
    a `patience` with at="last".

    >>> best("val_loss", keep=5).written()
    {'rule': 'best', 'metric': 'val_loss', 'mode': None, 'keep': 5, 'at': 'last', 'patience': None}
    >>> best("val_loss", at="best", patience=10)
    best(metric='val_loss', keep=1, at='best', patience=10)
    """
    return Rule(metric, mode, keep, at, patience)  # type: ignore[arg-type]
