"""The axes of the figures: coordinates and ticks of hyperparameters and metrics. No JAX here."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from popjax.metric import LESS
from popjax.space.points import units_of
from popjax.space.scales import Choice, LogIntegers, LogUniform, OneMinusLogUniform, Range, Scale
from popjax.space.space import Space
from popjax.space.values import absent
from popjax.store.results import Results

NOWHERE = "–"  # for an inactive hyperparameter
TICKS = 6  # approximate number of ticks of an axis
SHARES = ("accuracy", "f1", "auc")  # metrics that are shares of 1, so that 1 - metric is an error
FEW = 0.1  # the share of the values at each end that may be outliers
CLOSE = 1.5  # distance from the other values, in widths of their range, up to which a value is not cut off


class Tick(NamedTuple):
    """A place on the unit axis and the value there; `window` is the averaging window of a β in steps."""

    unit: float
    value: str
    window: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Axis:
    """The values of one hyperparameter over the trials, on the axis of its scale.

    Attributes:
        name: the hyperparameter.
        scale: its scale in the user's space.
        values: one Python value per trial; None where the hyperparameter is inactive.
        units: their coordinates (trials,) on the unit axis; NaN where it is inactive.
    """

    name: str
    scale: Scale
    values: list[Any]
    units: np.ndarray

    @property
    def varied(self) -> bool:
        """True if the trials differ in it."""
        return len(set(self.values)) > 1

    @property
    def everywhere(self) -> bool:
        """True if it is active in all trials."""
        return None not in self.values

    @property
    def ticks(self) -> list[Tick]:
        """The ticks of the scale."""
        return ticks(self.scale)

    @property
    def places(self) -> list[float]:
        """Coordinates of the ticks on the unit axis."""
        return [tick.unit for tick in self.ticks]

    @property
    def cell(self) -> float:
        """The width of one value on the unit axis; 0 for real numbers."""
        return 0.0 if math.isinf(self.scale.levels) else 1 / self.scale.levels

    def label(self, trial: int) -> str:
        """A trial's value in few digits."""
        return self.label_of(self.values[trial])

    def label_of(self, value: Any) -> str:
        """A value in few digits."""
        return label(self.scale, value)


def axes(results: Results) -> list[Axis]:
    """The axis of every hyperparameter, constants too, in the order of the space."""
    return [axis(name, scale, results.points[name]) for name, scale in Space.from_dict(results.run["space"]).items()]


def axis(name: str, scale: Scale, column: np.ndarray) -> Axis:
    """The axis of a column."""
    kind = int if scale.whole else lambda value: value
    values = [None if absent(value) else kind(value) for value in column.tolist()]
    return Axis(name, scale, values, units_of(scale, column))


def label(scale: Scale, value: Any) -> str:
    """A value in four digits; a β in enough digits to tell its window.

    >>> label(OneMinusLogUniform(0.9, 0.99999), 0.999956)
    '0.999956'
    """
    if not isinstance(value, float):
        return NOWHERE if value is None else str(value)
    if isinstance(scale, OneMinusLogUniform) and 0 < 1 - value < 1:
        return repr(round(value, 2 - math.floor(math.log10(1 - value))))
    return f"{value:.4g}"


def ticks(scale: Scale) -> list[Tick]:
    """The ticks of a scale.

    >>> [tick.value for tick in ticks(LogUniform(1e-4, 1))]
    ['0.0001', '0.001', '0.01', '0.1', '1']
    >>> [f"{tick.value} {tick.window}" for tick in ticks(OneMinusLogUniform(0.9, 0.999))]
    ['0.9 10 steps', '0.99 100 steps', '0.999 1,000 steps']
    """
    if isinstance(scale, Choice):
        shown = scale.values[:: math.ceil(len(scale.values) / (2 * TICKS))]
        return [Tick(scale.to_unit(value), str(value)) for value in shown]
    if not isinstance(scale, Range) or scale.low == scale.high:
        value = getattr(scale, "value", scale.low)
        return [Tick(0.5, label(scale, value))]
    if isinstance(scale, OneMinusLogUniform):
        return windows(scale)
    if isinstance(scale, LogUniform | LogIntegers):
        values = decades(scale.low, scale.high)
    else:
        values = steps(scale.low, scale.high, scale.whole)
    return [Tick(scale.to_unit(value), f"{value:.6g}") for value in values]


def windows(scale: OneMinusLogUniform) -> list[Tick]:
    """Ticks at round averaging windows 1/(1-β), with β and window."""
    ticks = []
    for window in decades(1 / (1 - scale.low), 1 / (1 - scale.high)):
        beta = round(1 - 1 / window, max(0, math.ceil(math.log10(window))) + 2)
        ticks.append(
            Tick(scale.to_unit(beta), f"{beta:.12g}", f"{window:,.0f} steps" if window >= 10 else f"{window:.3g} steps")
        )
    return ticks


def decades(low: float, high: float) -> list[float]:
    """Powers of ten from low to high, with 2 and 5 between them if there are few; the ends if there are none.

    >>> decades(20, 500)
    [20.0, 50.0, 100.0, 200.0, 500.0]
    """
    for digits in ((1,), (1, 2, 5)):
        values = list(powers(low, high, digits))
        if len(values) > 2:
            return values[:: math.ceil(len(values) / (TICKS + 2))]
    return values if len(values) == 2 else [low, high]


def powers(low: float, high: float, digits: tuple[int, ...]) -> Iterator[float]:
    """Yield the products of a digit and a power of ten, from low to high."""
    for exponent in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        for digit in digits:
            value = float(f"{digit}e{exponent}")
            if low * (1 - 1e-9) <= value <= high * (1 + 1e-9):
                yield value


def steps(low: float, high: float, whole: bool = False) -> list[float]:
    """Round numbers in equal steps from low to high.

    >>> steps(50, 100, whole=True)
    [50, 60, 70, 80, 90, 100]
    """
    rough = (high - low) / (TICKS - 1)
    base = 10.0 ** math.floor(math.log10(rough))
    step = next(digit * base for digit in (1, 2, 5, 10) if digit * base >= 0.8 * rough)
    step = max(1, round(step)) if whole else step
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [n * step for n in range(first, last + 1)]


def is_loss(name: str) -> bool:
    """True if a metric's name says that less is better."""
    return any(word in name for word in LESS)


def scope(name: str, values: np.ndarray, keep: np.ndarray, loss: bool = False) -> tuple[float, float, bool]:
    """The range (low, high, log) of a metric in a figure, with all of `keep`; log for losses over a decade or more.

    >>> scope("val_loss", np.array([0.001, 0.5, 3]), np.empty(0)), scope("val_mae", np.array([2, 3]), np.empty(0))
    ((0.001, 3.0, True), (2.0, 3.0, False))
    """
    finite = values[np.isfinite(values)]
    if (loss or is_loss(name)) and np.all(finite > 0):
        low, high = frame(values, True, keep)
        if high >= 10 * low:
            return low, high, True
    return *frame(values, False, keep), False


def frame(values: np.ndarray, log: bool, keep: np.ndarray) -> tuple[float, float]:
    """The least and the greatest value that a figure shows: with all of `keep`, without far outliers.

    >>> frame(np.append(np.linspace(0, 1, 99), 1e9), log=False, keep=np.empty(0))
    (0.0, 1.0)
    """
    values, keep = (np.log10(v[np.isfinite(v)]) if log else v[np.isfinite(v)] for v in (values, keep))
    low, high = np.quantile(values, [FEW, 1 - FEW])
    room = CLOSE * (high - low) or np.inf
    inside = values[(values >= low - room) & (values <= high + room)]
    inside = np.concatenate([inside, keep])
    low, high = inside.min(), inside.max()
    low, high = (10.0**low, 10.0**high) if log else (low, high)
    return float(f"{low:.6g}"), float(f"{high:.6g}")
