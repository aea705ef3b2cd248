"""The best by a metric."""

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
    """Trials rank by a metric, and the first one wins.

    Args:
        metric: the task's own if not given.
        mode: "min" or "max"; as the metric's name tells if not given.
        at: which epoch of each model counts: "last", or "best", that with the best value; of equal ones the earlier.
            Its weights are kept, and a trial's value is the mean of its models' best ones, so it is optimistic.
        patience: a model rests after so many epochs without a better one; only with at="best".
        keep: of how many of the best trials the trained states are kept.

    Raises ValueError for another mode or epoch, for a `keep` or a `patience` that is no whole number of at least 1,
    and for patience where the last epoch counts.

    >>> best("val_loss", keep=5).written()
    {'rule': 'best', 'metric': 'val_loss', 'mode': None, 'keep': 5, 'at': 'last', 'patience': None}
    >>> best("val_loss", at="best", patience=10)
    best(metric='val_loss', keep=1, at='best', patience=10)
    """
    return Rule(metric, mode, keep, at, patience)  # type: ignore[arg-type]
