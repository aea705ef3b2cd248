"""The contract between research code and the trainer: one trial as pure functions.

A Task describes how *one* model is trained; the population axis is added by popjax.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, Self

from popjax.core.calls import check_called
from popjax.core.modes import mode_of
from popjax.space.scales import Constant, Scale
from popjax.space.space import Space

NO_NAMES: Mapping[str, str] = MappingProxyType({})


class HParams(Mapping[str, Any]):
    """One member's hyperparameters as its task sees them.

    A dynamic value is a 0-d array, a static one a Python value. `fold` (a 0-d array) and
    `epochs` (an int) are there too. What is looked up is recorded, so that a
    hyperparameter which nothing reads can be reported.

    Args:
        values: name -> value.
        scales: name -> the Scale it was sampled from.
        reads: the record, shared by copies: the names that were looked up.
        sizes: the record of the names that were looked up as a size.
        inactive: the names that do not exist beside these values, each with what it depends on; not `in` the mapping,
            and reading one raises Inactive, a KeyError.

    >>> hparams = HParams({"learning_rate": 0.1})
    >>> hparams.get("momentum", 0.9), hparams["learning_rate"], sorted(hparams.reads)
    (0.9, 0.1, ['learning_rate', 'momentum'])
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        scales: Mapping[str, Scale] | None = None,
        reads: set[str] | None = None,
        sizes: set[str] | None = None,
        inactive: Mapping[str, str] = NO_NAMES,
    ) -> None:
        self._values = dict(values)
        self._scales = scales or {}
        self.reads: set[str] = set() if reads is None else reads
        self.sizes: set[str] = set() if sizes is None else sizes
        self.inactive = inactive

    def __getitem__(self, name: str) -> Any:
        if name in self.inactive:
            raise Inactive(name, self.inactive[name])
        self.reads.add(name)
        value = self._values[name]
        return value.make() if isinstance(value, Deferred) else value

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def size(self, name: str, default: int) -> Scale:
        """The scale of a hyperparameter that bounds a shape; a Constant if it is exact.

        Its `low` and `high` are Python integers: the room to make for a dynamic value.
        Raises ValueError for a scale that is not of whole numbers.
        """
        self.sizes.add(name)
        value = self.get(name, default)
        scale = self._scales[name] if hasattr(value, "dtype") else Constant(value)
        if not scale.whole:
            raise ValueError(f"{name}={scale}: a size is a whole number; use integers or a choice of them")
        return scale

    def within(self, name: str, low: float, high: float) -> None:
        """Raise ValueError unless all values of `name`, if it is there, lie in low <= value < high."""
        scale = self._scales.get(name)
        if scale is None or name not in self:
            return
        for end in (scale.low, scale.high):
            if end is None or not low <= end < high:
                raise ValueError(f"{name}={scale} is out of range; choose {low:g} <= {name} < {high:g}")

    def replace(self, **values: Any) -> "HParams":
        """A copy with some values replaced, recording into the same record."""
        return HParams({**self._values, **values}, self._scales, self.reads, self.sizes, self.inactive)


class Deferred(NamedTuple):
    """A value of HParams that is made when it is looked up."""

    make: Callable[[], Any]


class Inactive(KeyError, ValueError):
    """A task reads a hyperparameter that does not exist beside the values of others."""

    def __init__(self, name: str, condition: str) -> None:
        super().__init__(name)
        self.name, self.condition = name, condition

    def __str__(self) -> str:
        return (
            f"{self.name} exists only when {self.condition}: read it there, or by hparams.get({self.name!r}, default)"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return Inactive, (self.name, self.condition)


class NeedsStatic(ValueError):
    """Raised by a task that cannot train with `name` dynamic; a plan then makes it static."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} must be static: {reason}")
        self.name = name


class PerEpoch(Protocol):
    """What one epoch takes of members: `updates` and `flops`."""

    def __call__(self, hparams: Mapping[str, Any], /) -> Any:
        """A number (members,) each, by plain arithmetic.

        A hyperparameter is an array (members,), or its Python value where all share one.
        """


class Parameters(Protocol):
    """How many trained parameters members have."""

    def __call__(self, hparams: Mapping[str, Any], /) -> Any:
        """A number (members,) each, from what `PerEpoch` takes.

        None where the state's arrays have their exact shape.
        """


class Folding(Protocol):
    """A task cut into folds."""

    def __call__(self, folds: int, share: float | None = None, /) -> "Task":
        """The Task with its rows in so many folds, each validating on at most that share of them if given.

        Its data has an axis (folds,), in which `hparams["fold"]` () is a member's own place.
        """


class Measure(Protocol):
    """How the training of one model stands."""

    def __call__(self, state: Any, hparams: HParams, data: Any, /) -> Mapping[str, Any]:
        """Scalars () by name, from what `Task.epoch` takes."""


class Rebuilds(Protocol):
    """What a predictor is made of again, beside the winner's arrays."""

    @property
    def inputs(self) -> tuple[int, ...]:
        """The shape of one row."""

    @property
    def identity(self) -> dict[str, Any]:
        """What tells the rows from other rows, as JSON values."""

    def describe(self) -> dict[str, Any]:
        """All of it, as JSON values."""


class Hints(NamedTuple):
    """What a Task may say of itself: for planning, for figures, and for supervised learning. All may be left out.

    Attributes:
        updates: `(hparams) -> optimizer updates in one epoch`, for throughput figures only.
            It is called with arrays of members and must be plain arithmetic on them.
        epochs: caps the search's epochs.
        shapes: the hyperparameters that plan "buckets" makes static.
        parameters: `(hparams) -> how many trained parameters`, called as `updates` is; None where
            the state's arrays have their exact shape.
        flops: `(hparams) -> floating-point operations of one epoch`, or what takes as long, called
            as `updates` is; from it plan "auto" knows what padding costs.
        folded: `(folds, share) -> Task` with its rows cut into so many folds, each validating on
            at most that share of them if given; a task without it reads `hparams["fold"]` itself.
        watch: `(state, hparams, data) -> dict` of scalars that tell how training stands, for
            whoever watches one model.
        branches: the hyperparameters of which each value may be a branch of its own in one
            program, with its Python value: those that change no shape of the state.
        settings: what else tells this task from another, as JSON values, so that a run is not
            taken up again with another task.
        recipe: what turns raw rows into inputs and outputs into predictions, for the winner.
        remedies: for errors: a hyperparameter -> what to use where its Python value is needed; a metric that is not
            reported -> how it would be.
        space: the Space that is searched where none is given.

    >>> Hints(updates=lambda hparams: 100 // hparams["batch_size"], epochs=5).epochs
    5
    """

    updates: PerEpoch | None = None
    epochs: int | None = None
    shapes: tuple[str, ...] = ()
    parameters: Parameters | None = None
    flops: PerEpoch | None = None
    folded: Folding | None = None
    watch: Measure | None = None
    branches: tuple[str, ...] = ()
    settings: Mapping[str, Any] = MappingProxyType({})
    recipe: Rebuilds | None = None
    remedies: Mapping[str, str] = MappingProxyType({})
    space: Space | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """As plain dicts, since a read-only mapping cannot be pickled."""
        return Hints, tuple(dict(hint) if isinstance(hint, MappingProxyType) else hint for hint in self)


NO_HINTS = Hints()


class _Fields(NamedTuple):
    """The fields of a Task."""

    init: Callable[..., Any]
    epoch: Callable[..., Any]
    data: Any
    metric: str = "loss"
    mode: str = "min"
    score: Callable[..., Any] | None = None
    hints: Hints = NO_HINTS


class Task(_Fields):
    """How one trial is trained: pure functions of one model, and the data they share.

    Attributes:
        init: `(key, hparams, data) -> state`; state is any pytree of arrays.
        epoch: `(state, hparams, data) -> (state, metrics)`: one unit of budget. The state
            keeps its shapes and dtypes; metrics is a dict of scalars.
        data: a pytree of arrays, an argument of the program: one copy per device.
        metric: the metric that ranks trials, by its value after the last epoch.
        mode: "min" or "max"; told by the metric's name if not given: less of a loss or an error is better, more of an
            accuracy, r2, f1, auc or mcc.
        score: `(state, hparams, data) -> dict` of scalars on untouched data, asked once,
            for the winner.
        hints: what helps to plan, to show and to cut into folds; training one model needs none (see Hints).

    Raises ValueError for a hint that is not in `hints`, and for a metric without a mode whose name does not tell it.

    A quadratic, minimized by gradient descent from a random point:

    >>> import jax
    >>> def init(key, hparams, data):
    ...     return jax.random.normal(key)
    >>> def epoch(x, hparams, data):
    ...     x = x - hparams["learning_rate"] * 2 * (x - data)
    ...     return x, {"loss": (x - data) ** 2}
    >>> task = Task(init, epoch, data=3.0)
    """

    __slots__ = ()

    def __new__(
        cls,
        init: Callable[..., Any],
        epoch: Callable[..., Any],
        data: Any,
        metric: str = "loss",
        mode: str | None = None,
        score: Callable[..., Any] | None = None,
        hints: Hints = NO_HINTS,
        *more: Any,
        **others: Any,
    ) -> Self:
        """A Task; the hints, which were arguments of its own, are refused there with their new place."""
        refuse_hints(others)
        if others:
            raise TypeError(f"Task got an unexpected keyword argument {next(iter(others))!r}")
        if more or not isinstance(hints, Hints):
            given = "it takes seven arguments" if more else f"hints is a {type(hints).__name__}"
            raise ValueError(f"Task: {given}; what follows score is a hint: write hints=popjax.Hints(updates=...)")
        return super().__new__(cls, init, epoch, data, metric, mode or mode_of(metric), score, hints)

    def in_folds(self, folds: int) -> "Task":
        """The task with its rows in so many folds, if it knows how to."""
        return self if folds == 1 or self.hints.folded is None else self.hints.folded(folds)

    def __repr__(self) -> str:
        return f"Task(metric={self.metric!r}, mode={self.mode!r}, settings={dict(self.hints.settings)})"

    def _repr_html_(self) -> str:
        import popjax as pj

        return str(pj.as_html(self))

    def _replace(self, **fields: Any) -> Self:
        """A copy with some fields replaced."""
        refuse_hints(fields)
        return super()._replace(**fields)

    __replace__ = _replace


def refuse_hints(named: Iterable[str]) -> None:
    """Raise ValueError for a hint among the names of a Task's arguments."""
    for name in named:
        if name in Hints._fields:
            raise ValueError(f"Task({name}=...) is a hint now: write hints=popjax.Hints({name}=...)")


def ranked_by(task: Task, metric: str | None, mode: str | None) -> tuple[str, str]:
    """The metric that ranks and its direction; the task's own where none is given.

    Of another metric than the task's own the direction follows from how its name ends.
    Raises ValueError where it does not.

    >>> task = objective(lambda key, hparams: {"loss": hparams["x"], "accuracy": -hparams["x"]})
    >>> ranked_by(task, "accuracy", None)
    ('accuracy', 'max')
    """
    if metric in (None, task.metric):
        return task.metric, mode or task.mode
    assert metric is not None
    return metric, mode or mode_of(metric)


def unknown_metric(task: Task, metric: str | None, known: Iterable[str]) -> ValueError:
    """The error of ranking by what the task does not report, with how it would."""
    known = list(known)
    remedy = f"; write {task.hints.remedies[metric]}" if metric and metric in task.hints.remedies else ""
    near = f"; did you mean 'val_{metric}'?" if f"val_{metric}" in (*known, *task.hints.remedies) else ""
    return ValueError(f"unknown metric {metric!r}; the task reports {', '.join(known)}{near or remedy}")


def objective(fn: Callable[..., Any], metric: str = "loss", mode: str | None = None) -> Task:
    """An opaque function `fn(key, hparams) -> metrics` as a Task of one epoch.

    `fn` is one trial from beginning to end, such as what PureJaxRL's `make_train` gives,
    in terms of JAX; metrics is a dict of scalars, or one scalar, then called `metric`. The mode is "min" or "max"; told
    by the metric's name if not given (see Task).

    Raises ValueError for what is no such function, and for a metric whose name does not tell its mode.

    >>> task = objective(lambda key, hparams: {"loss": (hparams["x"] - 2) ** 2})
    """
    check_called("the objective", fn, "key", "hparams")

    def init(key: Any, hparams: HParams, data: Any) -> Any:
        return key

    def epoch(key: Any, hparams: HParams, data: Any) -> Any:
        metrics = fn(key, hparams)
        if metrics is None or isinstance(metrics, str | list | tuple):
            what = f"a {type(metrics).__name__}" if isinstance(metrics, list | tuple) else repr(metrics)
            raise ValueError(f"the objective returned {what}; return a scalar, or a dict of scalars")
        return key, metrics if isinstance(metrics, Mapping) else {metric: metrics}

    return Task(init, epoch, (), metric, mode, hints=Hints(epochs=1))
