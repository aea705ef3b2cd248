"""A metric: a number that a task reports for each epoch, and whether less or more of it is better."""

from types import MappingProxyType
from typing import Any, Self

from popjax.core.text import short

LESS, MORE = ("loss", "mse", "mae", "mape", "error"), ("accuracy", "r2", "f1", "auc", "mcc")  # is better
SPLITS = MappingProxyType({"train": "train_", "validation": "val_", "test": "test_"})


class Metric(str):
    """A number that a task reports for an epoch: a str, its key everywhere, with the split, mode and unit.

    Args:
        spelling: such as "val_f1", or another Metric.
        mode: "min" or "max"; follows from how the name ends if None.
        unit: the unit of its values, such as "s"; "" for none.

    Attributes:
        rows: the split by the prefix of the spelling: "train", "validation" or "test"; None without a prefix.
        name: the spelling without the prefix.
        given: the mode that was given; None if none was.
        unit: as given.

    >>> import popjax as pj
    >>> metric = pj.Metric("val_f1")
    >>> metric.rows, metric.name, metric.mode, metric.on("test")
    ('validation', 'f1', 'max', 'test_f1')
    """

    rows: str | None
    name: str
    unit: str
    given: str | None

    def __new__(cls, spelling: str, mode: str | None = None, unit: str = "") -> Self:
        """A metric; mode and unit default to those of a given Metric. Raises ValueError for another type or mode."""
        if not isinstance(spelling, str):
            raise ValueError(f"metric {short(spelling)} is a {type(spelling).__name__}; give a name such as 'val_loss'")
        check_mode(mode)
        self = super().__new__(cls, spelling)
        known = (spelling.given, spelling.unit) if isinstance(spelling, Metric) else (None, "")
        self.given, self.unit = mode or known[0], unit or known[1]
        self.rows = next((rows for rows, prefix in SPLITS.items() if spelling.startswith(prefix)), None)
        self.name = str(spelling) if self.rows is None else spelling[len(SPLITS[self.rows]) :]
        return self

    def __getnewargs__(self) -> tuple[Any, ...]:
        return str(self), self.given, self.unit

    @classmethod
    def of(cls, rows: str, name: str) -> Self:
        """The metric of this name on the rows of a split: "train", "validation" or "test".

        >>> import popjax as pj
        >>> pj.Metric.of("validation", "loss")
        'val_loss'
        """
        return cls(SPLITS[rows] + name)

    @property
    def mode(self) -> str:
        """ "min" if less is better, else "max"; raises ValueError if no mode was given and the name tells none."""
        if self.given is not None:
            return self.given
        for words, mode in ((LESS, "min"), (MORE, "max")):
            if self.name.endswith(words):
                return mode
        raise ValueError(f"metric {str(self)!r}: is less or more of it better? give mode min or max")

    def on(self, rows: str) -> "Metric":
        """The same metric on the rows of another split; unchanged if it has no split."""
        return self if self.rows is None else Metric(SPLITS[rows] + self.name, self.given, self.unit)


def mode_told(metric: Any) -> str | None:
    """The mode of a metric, or of its name; None if neither tells it.

    >>> mode_told("val_accuracy"), mode_told("speed"), mode_told(Metric("speed", "max"))
    ('max', None, 'max')
    """
    try:
        return Metric(metric).mode
    except ValueError:
        return None


def check_mode(mode: Any) -> None:
    """Raise ValueError unless `mode` is "min", "max" or None."""
    if mode not in (None, "min", "max"):
        raise ValueError(f"unknown mode {mode!r}; choose min or max")
