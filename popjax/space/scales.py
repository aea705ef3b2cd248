"""Scales: the values of one hyperparameter as a function of the unit interval.

Equal steps on the interval get equal effort in the search: plain steps for a number of
units, decades for a learning rate, decades of 1-β for a momentum (Bergstra and Bengio
2012; Ng, Deep Learning Specialization, course 2, week 3).
"""

import dataclasses
import math
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np

from popjax.space.beliefs import SHARE, WIDTH, Belief
from popjax.space.values import WHEN, Condition, clauses, condition_values, finite, is_number, python_value, word


class Scale:
    """The values of one hyperparameter as a function of the unit interval, increasing for a range.

    Attributes:
        name: the scale's name as it is spelled.
        low, high: the smallest and the largest value; None if not all values are numbers.
        static: True if the user asks for a static hyperparameter: a Python value, which each value's own program holds,
            as for a shape of a model of your own; else an array's element, whose change compiles nothing.

    >>> import popjax as pj
    >>> scale = pj.log_uniform(1e-4, 1)
    >>> isinstance(scale, pj.Scale), scale.low, scale.high, scale.static
    (True, 0.0001, 1, False)
    """

    name: ClassVar[str]
    low: Any
    high: Any
    static: bool

    def from_unit(self, u: Any) -> Any:
        """The values at `u`: an array for an array, else one value; raises ValueError for `u` outside [0, 1]."""
        u = np.asarray(u, float)
        if not np.all((u >= 0) & (u <= 1)):
            raise ValueError(f"{self}: a unit coordinate lies outside 0..1")
        values = self._from_unit(u)
        return values if u.ndim else values.item()

    def to_unit(self, value: Any) -> Any:
        """The unit coordinates of `value`, an array or one value: the middle of its cell if values are discrete."""
        value = np.asarray(value)
        units = np.asarray(self._to_unit(value), float)
        return units if value.ndim else units.item()

    def scaled(self, value: Any, factor: float) -> Any:
        """`value` changed by a factor in the scale's own terms, within its ends.

        A real number is multiplied, or 1-β on a scale of 1-β; a whole number is too, and moves by at least one;
        a choice becomes the next one, or for a factor below 1 the previous one. A constant stays.
        """
        return value

    def when(self, /, **condition: Any) -> "Entry":
        """The scale of a hyperparameter that exists only where others have these values, one or several each.

        Elsewhere it is null in tables, and reading it raises `Inactive` if the others are static.

        >>> import popjax as pj
        >>> print(pj.one_minus_log_uniform(0.9, 0.999).when(optimizer="sgd"))
        one_minus_log_uniform(0.9, 0.999) when optimizer=sgd
        """
        return Entry(self, condition)

    def near(self, *values: Any, width: float = WIDTH, share: float = SHARE) -> "Entry":
        """The scale with a belief: good values are expected near these; see `Belief`.

        `share` of the points are drawn near them, `width` of the scale's axis apart, or of a choice these values
        themselves; the others from the whole scale. Shares are of points, not of values: where several hyperparameters
        have beliefs of the same share, one point has all of them near, or none, so that beliefs that are wrong together
        cost at most 1 / (1 - share) times the trials too; of different shares the largest counts. Of the samplers that
        learn "tpe" takes beliefs as a prior, and the others for their first round alone.

        Raises ValueError for a value that the scale does not have, and as `Belief` does.

        >>> import popjax as pj
        >>> print(pj.log_uniform(1e-4, 1).near(0.01, width=0.05).when(optimizer="sgd"))
        log_uniform(0.0001, 1) near 0.01, width=0.05 when optimizer=sgd
        """
        return Entry(self).near(*values, width=width, share=share)

    @property
    def inactive(self) -> Any:
        """The placeholder in arrays where the hyperparameter is inactive: the low end, or the first category."""
        return self.low if self.numeric else self.from_unit(0.0)

    def has(self, value: Any) -> bool:
        """True if `value` is one of the scale's values.

        >>> import popjax as pj
        >>> pj.integers(1, 4).has(3), pj.integers(1, 4).has(2.5), pj.choice("sgd", "adam").has("adamw")
        (True, False, False)
        """
        between = self.numeric and finite(value) and self.low <= value <= self.high
        return between and (not self.whole or value == int(value))

    def up_to(self, high: Any) -> "Scale":
        """The scale without the values above `high`, at most its own high; raises ValueError if none is left."""
        raise NotImplementedError

    def _from_unit(self, u: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _to_unit(self, value: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    @property
    def levels(self) -> float:
        """Number of distinct values; infinite for a continuous scale."""
        return np.inf

    @property
    def numeric(self) -> bool:
        """True if every value is a number."""
        return True

    @property
    def whole(self) -> bool:
        """True if every value is an int."""
        return False

    @property
    def ordered(self) -> bool:
        """True if neighbours on the unit interval are alike; False for a choice."""
        return True


@dataclasses.dataclass(frozen=True)
class Entry:
    """A scale with what is known of its hyperparameter beside it; a Space keeps them apart.

    Attributes:
        condition: other hyperparameters -> their values for which this one exists; empty: it always does.
        belief: where good values are expected; None: nowhere.

    Raises ValueError for a parent without values, for a value that is not a finite number, str or bool, and for a
    belief in a value that the scale does not have.

    >>> print(uniform(0, 1).when(optimizer=("sgd", "nesterov"), depth=3))
    uniform(0, 1) when optimizer=sgd|nesterov and depth=3
    """

    scale: Scale
    condition: Condition = MappingProxyType({})
    belief: Belief | None = None

    def __post_init__(self) -> None:
        condition = {parent: condition_values(parent, values) for parent, values in self.condition.items()}
        object.__setattr__(self, "condition", condition)
        if self.belief is not None:
            self.belief.check(self.scale)

    def __str__(self) -> str:
        condition = f"{WHEN}{clauses(self.condition)}" if self.condition else ""
        return f"{self.scale}{'' if self.belief is None else self.belief}{condition}"

    def when(self, /, **condition: Any) -> Self:
        """The scale with further parents, or other values of the same ones."""
        return dataclasses.replace(self, condition={**self.condition, **condition})

    def near(self, *values: Any, width: float = WIDTH, share: float = SHARE) -> Self:
        """The scale with a belief; see `Scale.near`."""
        return dataclasses.replace(self, belief=Belief(values, width, share))


def bare(scale: Any) -> Any:
    """The scale of an Entry; anything else as it is.

    >>> print(bare(uniform(0, 1).near(0.5)))
    uniform(0, 1)
    """
    return scale.scale if isinstance(scale, Entry) else scale


@dataclasses.dataclass(frozen=True)
class Range(Scale):
    """A scale between two numbers, both included.

    Raises ValueError for an end that is not a finite number, a low above the high, a width that float64 cannot hold,
    and for a `static` that is not a bool.
    """

    low: Any
    high: Any
    static: bool = dataclasses.field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        for end in ("low", "high"):
            number = getattr(self, end)
            object.__setattr__(self, end, python_value(number))
            if not finite(python_value(number)):
                raise ValueError(f"{self.name}: {end}={number!r} is no finite number; give two numbers, low and high")
        check_flag(self.static)
        if not np.isfinite(float(self.high) - float(self.low)):
            raise ValueError(f"{self}: the range is wider than a float can hold; narrow it")
        self._check_reach(min(self.low, self.high), max(self.low, self.high))
        if self.low > self.high:
            raise ValueError(f"{self}: low is above high; write {self.name}({self.high!r}, {self.low!r})")

    def _check_reach(self, low: Any, high: Any) -> None:
        """Raise ValueError for ends that the scale cannot reach, in either order."""

    def __str__(self) -> str:
        static = ", static=True" if self.static else ""
        return f"{self.name}({self.low!r}, {self.high!r}{static})"

    def scaled(self, value: Any, factor: float) -> Any:
        return float(np.clip(value * factor, self.low, self.high))

    def up_to(self, high: Any) -> "Range":
        return dataclasses.replace(self, high=high)

    def _warp(self, value: Any) -> Any:
        """`value` on the axis on which the scale is uniform."""
        return value

    def _unwarp(self, axis: Any) -> Any:
        return axis

    def along(self, u: float) -> Any:
        """The value at coordinate `u`, which may lie outside [0, 1]; it is not clipped."""
        low, high = self._warp(self.low), self._warp(self.high)
        return float(self._unwarp(low + u * (high - low)))

    def _from_unit(self, u: np.ndarray) -> np.ndarray:
        low, high = self._warp(self.low), self._warp(self.high)
        return np.clip(self._unwarp(low + u * (high - low)), self.low, self.high).astype(float)

    def _to_unit(self, value: np.ndarray) -> np.ndarray:
        low, high = self._warp(self.low), self._warp(self.high)
        if low == high:
            return np.full(value.shape, 0.5)
        return np.clip((self._warp(value.astype(float)) - low) / (high - low), 0, 1)


class Uniform(Range):
    """Equal effort per unit, such as a dropout rate.

    Raises ValueError for an end that is not a finite number, or a low above the high; so do all ranges.

    >>> import popjax as pj
    >>> pj.uniform(0, 0.5).from_unit(0.5)
    0.25
    """

    name = "uniform"


class LogUniform(Range):
    """Equal effort per decade, such as a learning rate; 0 < low.

    Raises ValueError for a low of 0 or below.

    >>> import popjax as pj
    >>> round(pj.log_uniform(1e-4, 1).from_unit(0.5), 6)
    0.01
    """

    name = "log_uniform"

    def _check_reach(self, low: Any, high: Any) -> None:
        if low <= 0:
            raise ValueError(f"{self}: a log scale cannot reach {low!r}; start above 0, such as 1e-6")

    def _warp(self, value: Any) -> Any:
        return np.log(value)

    def _unwarp(self, axis: Any) -> Any:
        return np.exp(axis)


class OneMinusLogUniform(Range):
    """Equal effort per decade of 1-β, such as a momentum; high < 1.

    A momentum β acts through its averaging window 1/(1-β); this scale is uniform in the
    logarithm of that window: half of all samples of 0.9..0.999 lie above 0.99.

    Raises ValueError for a high of 1 or above.

    >>> import popjax as pj
    >>> round(pj.one_minus_log_uniform(0.9, 0.999).from_unit(0.5), 6)
    0.99
    """

    name = "one_minus_log_uniform"

    def scaled(self, value: Any, factor: float) -> Any:
        return float(np.clip(1 - (1 - value) * factor, self.low, self.high))

    def _check_reach(self, low: Any, high: Any) -> None:
        if high >= 1:
            raise ValueError(f"{self}: a log scale of 1-value cannot reach {high!r}; end below 1, such as 0.9999")

    def _warp(self, value: Any) -> Any:
        return -np.log1p(-np.asarray(value, float))

    def _unwarp(self, axis: Any) -> Any:
        return -np.expm1(-axis)


class Integers(Range):
    """Whole numbers, both ends included, each equally likely.

    Raises ValueError for an end that is not whole.

    >>> import popjax as pj
    >>> pj.integers(2, 4).from_unit([0.0, 0.5, 1.0])
    array([2, 3, 4])
    """

    name = "integers"

    def __post_init__(self) -> None:
        super().__post_init__()
        for end in (self.low, self.high):
            if end != int(end):
                raise ValueError(f"{self}: {end!r} is not a whole number; use uniform for real values")
        object.__setattr__(self, "low", int(self.low))
        object.__setattr__(self, "high", int(self.high))

    def _edges(self, value: Any) -> Any:
        """The axis position of the lower edge of the cell of `value`."""
        return value

    def _value(self, axis: Any) -> Any:
        return axis

    def scaled(self, value: Any, factor: float) -> Any:
        """Rounded away from `value`, so that it moves by at least one within the ends; 0 stays 0."""
        times = value * factor
        moved = math.ceil(times) if times > value else math.floor(times)
        return int(np.clip(moved, self.low, self.high))

    def along(self, u: float) -> Any:
        low, high = self._edges(self.low), self._edges(self.high + 1)
        return int(np.floor(self._value(low + u * (high - low))))

    def _from_unit(self, u: np.ndarray) -> np.ndarray:
        low, high = self._edges(self.low), self._edges(self.high + 1)
        values = np.floor(self._value(low + u * (high - low)))
        return np.clip(values, self.low, self.high).astype(np.int64)

    def _to_unit(self, value: np.ndarray) -> np.ndarray:
        low, high = self._edges(self.low), self._edges(self.high + 1)
        middle = (self._edges(value) + self._edges(value + 1)) / 2
        return np.clip((middle - low) / (high - low), 0, 1)

    @property
    def levels(self) -> float:
        return self.high - self.low + 1

    @property
    def whole(self) -> bool:
        return True


class LogIntegers(Integers):
    """Whole numbers, both ends included, with equal effort per decade; 1 <= low.

    Raises ValueError for an end that is not whole, or a low below 1.

    >>> import popjax as pj
    >>> pj.log_integers(1, 127).from_unit(0.5)
    11
    """

    name = "log_integers"

    def _check_reach(self, low: Any, high: Any) -> None:
        if low <= 0:
            raise ValueError(f"{self}: a log scale cannot reach {low!r}; start at 1 or above")

    def _edges(self, value: Any) -> Any:
        return np.log(value)

    def _value(self, axis: Any) -> Any:
        return np.exp(axis)


@dataclasses.dataclass(frozen=True, init=False)
class Choice(Scale):
    """One of the given values, each equally likely.

    Raises ValueError for no values, a repeated one, two that are written alike, as 1 and "1", and one that is not a
    finite number, str or bool.

    >>> import popjax as pj
    >>> pj.choice(16, 32, 64, 128).from_unit(0.3)
    32
    """

    name = "choice"
    values: tuple[Any, ...]
    static: bool

    def __init__(self, *values: Any, static: bool = False) -> None:
        values = tuple(map(python_value, values))
        if not values:
            raise ValueError("choice(): no values; give at least one")
        for value in values:
            if not (finite(value) or isinstance(value, str | bool)):
                raise ValueError(f"choice: {value!r} is no finite number, text or truth value; name it by a text")
        if len(set(values)) < len(values):
            raise ValueError(f"choice{values}: a value appears twice; list each once")
        if len(set(map(str, values))) < len(values):
            raise ValueError(f"choice{values}: two values are written alike in tables; name one of them otherwise")
        check_flag(static)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "static", static)
        object.__setattr__(self, "low", min(values) if self.numeric else None)
        object.__setattr__(self, "high", max(values) if self.numeric else None)

    def __str__(self) -> str:
        static = ", static=True" if self.static else ""
        return f"choice({', '.join(map(repr, self.values))}{static})"

    @property
    def ordered(self) -> bool:
        return False

    def _from_unit(self, u: np.ndarray) -> np.ndarray:
        values = np.empty(len(self.values), object)
        values[:] = self.values
        return values[np.minimum((u * len(values)).astype(int), len(values) - 1)]

    def _to_unit(self, value: np.ndarray) -> np.ndarray:
        index = [self._place(single) for single in value.ravel().tolist()]
        return (np.reshape(index, value.shape) + 0.5) / len(self.values)

    def _place(self, value: Any) -> int:
        """The place of a value; of a number that is none of the values, as one that was set may be, the nearest's."""
        if value in self.values:
            return self.values.index(value)
        if not (self.numeric and is_number(value)):
            raise ValueError(f"{value!r} is not in {self}; give one of its values")
        return int(np.argmin([abs(own - value) for own in self.values]))

    def scaled(self, value: Any, factor: float) -> Any:
        step = (factor > 1) - (factor < 1)
        return self.values[min(max(self._place(value) + step, 0), len(self.values) - 1)]

    def has(self, value: Any) -> bool:
        return value in self.values

    def up_to(self, high: Any) -> "Choice":
        return Choice(*(value for value in self.values if value <= high), static=self.static)

    def from_unit(self, u: Any) -> Any:
        values = super().from_unit(np.atleast_1d(u))
        return values if np.ndim(u) else values[0]

    @property
    def levels(self) -> float:
        return len(self.values)

    @property
    def numeric(self) -> bool:
        return all(map(is_number, self.values))

    @property
    def whole(self) -> bool:
        return self.numeric and all(isinstance(value, int | np.integer) for value in self.values)


@dataclasses.dataclass(frozen=True)
class Constant(Scale):
    """A hyperparameter that has a fixed value and is not searched; a column like the others.

    Raises ValueError for a value that is not a finite number, str or bool.

    >>> import popjax as pj
    >>> pj.Constant("relu").from_unit(0.3)
    'relu'
    """

    name = "constant"
    value: Any
    static: bool = dataclasses.field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", python_value(self.value))
        if not (finite(self.value) or isinstance(self.value, str | bool)):
            what = f"{self.value!r} is neither a scale nor a finite number, text or truth value"
            several = isinstance(self.value, list | tuple | np.ndarray)
            raise ValueError(f"{what}; of several values write popjax.choice(...)" if several else what)
        for end in ("low", "high"):
            object.__setattr__(self, end, self.value if self.numeric else None)

    def __str__(self) -> str:
        return word(self.value)

    def has(self, value: Any) -> bool:
        return bool(value == self.value)

    def _from_unit(self, u: np.ndarray) -> np.ndarray:
        kind = type(self.value) if is_number(self.value) else object
        return np.full(u.shape, self.value, kind)

    def _to_unit(self, value: np.ndarray) -> np.ndarray:
        return np.full(value.shape, 0.5)

    @property
    def levels(self) -> float:
        return 1

    @property
    def numeric(self) -> bool:
        return is_number(self.value)

    @property
    def whole(self) -> bool:
        return self.numeric and isinstance(self.value, int | np.integer)


def check_flag(static: Any) -> None:
    """Raise ValueError unless `static` is a bool."""
    if not isinstance(static, bool):
        raise ValueError(f"static={static!r}: write True or False")


uniform, log_uniform, one_minus_log_uniform = Uniform, LogUniform, OneMinusLogUniform
integers, log_integers, choice = Integers, LogIntegers, Choice
SCALES = {s.name: s for s in (Uniform, LogUniform, OneMinusLogUniform, Integers, LogIntegers, Choice)}
