"""The contract between research code and the trainer: one trial as pure functions.

A Task describes how *one* model is trained; the population axis is added by popjax.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, Self

from popjax.core.calls import check_called
from popjax.space.scales import Constant, Scale
from popjax.space.space import Space

NO_NAMES: Mapping[str, str] = MappingProxyType({})
LESS, MORE = ("loss", "mse", "mae", "mape", "error"), ("accuracy", "r2", "f1", "auc", "mcc")  # is better
SPLITS = MappingProxyType({"train": "train_", "validation": "val_", "test": "test_"})


class Metric(str):
    """A number that a task reports of an epoch: its spelling, which is its key everywhere, and what that tells.

    Args:
        spelling: such as "val_f1".
        mode: "min" or "max"; told by how the name ends if not given.
        unit: what it is measured in, such as "s"; "" for none.

    Attributes:
        rows: of which split it is: "train", "validation" or "test"; None where the spelling does not tell.
        name: without the split.
        given: the mode that was given, if one was.
        unit: as given.

    >>> metric = Metric("val_f1")
    >>> metric.rows, metric.name, metric.mode, metric.on("test")
    ('validation', 'f1', 'max', 'test_f1')
    """

    rows: str | None
    name: str
    unit: str
    given: str | None

    def __new__(cls, spelling: str, mode: str | None = None, unit: str = "") -> Self:
        """A metric, with another one's mode and unit where none are given; raises ValueError for what is none."""
        if not isinstance(spelling, str):
            raise ValueError(f"metric {spelling!r:.40} is a {type(spelling).__name__}; give a name such as 'val_loss'")
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
        """The metric of this name on the rows of a split.

        >>> Metric.of("validation", "loss")
        'val_loss'
        """
        return cls(SPLITS[rows] + name)

    @property
    def mode(self) -> str:
        """ "min" or "max": whether less or more is better; raises ValueError where neither name nor mode tells."""
        if self.given is not None:
            return self.given
        for words, mode in ((LESS, "min"), (MORE, "max")):
            if self.name.endswith(words):
                return mode
        raise ValueError(f"metric {str(self)!r}: is less or more of it better? give mode min or max")

    def on(self, rows: str) -> "Metric":
        """The same on the rows of another split; itself where it is of none."""
        return self if self.rows is None else Metric(SPLITS[rows] + self.name, self.given, self.unit)


def check_mode(mode: Any) -> None:
    """Raise ValueError unless this is a mode, or none."""
    if mode not in (None, "min", "max"):
        raise ValueError(f"unknown mode {mode!r}; choose min or max")


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
    """What a Task may say of what its training takes, for planning, figures and rules. All may be left out.

    Attributes:
        updates: `(hparams) -> optimizer updates in one epoch`, for throughput figures only.
            It is called with arrays of members and must be plain arithmetic on them.
        epochs: caps the search's epochs.
        shapes: the hyperparameters that plan "buckets" makes static.
        parameters: `(hparams) -> how many trained parameters`, called as `updates` is; None where
            the state's arrays have their exact shape.
        flops: `(hparams) -> floating-point operations of one epoch`, or what takes as long, called
            as `updates` is; from it plan "auto" knows what padding costs.
        branches: the hyperparameters of which each value may be a branch of its own in one
            program, with its Python value: those that change no shape of the state.

    >>> Hints(updates=lambda hparams: 100 // hparams["batch_size"], epochs=5).epochs
    5
    """

    updates: PerEpoch | None = None
    epochs: int | None = None
    shapes: tuple[str, ...] = ()
    parameters: Parameters | None = None
    flops: PerEpoch | None = None
    branches: tuple[str, ...] = ()


NO_HINTS = Hints()


class _Fields(NamedTuple):
    """The fields of a Task."""

    init: Callable[..., Any]
    epoch: Callable[..., Any]
    data: Any
    metric: Metric
    mode: str
    score: Callable[..., Any] | None = None
    hints: Hints = NO_HINTS


class Task(_Fields):
    """How one trial is trained: pure functions of one model, and the data they share.

    Attributes:
        init: `(key, hparams, data) -> state`; state is any pytree of arrays.
        epoch: `(state, hparams, data) -> (state, metrics)`: one unit of budget. The state
            keeps its shapes and dtypes; metrics is a dict of scalars.
        data: a pytree of arrays, an argument of the program: one copy per device.
        metric: the Metric that ranks trials, by its value after the last epoch; its spelling may be given.
        mode: the metric's: "min" or "max"; told by its name if not given: less of a loss or an error is better, more of
            an accuracy, r2, f1, auc or mcc.
        score: `(state, hparams, data) -> dict` of scalars on untouched data, asked once,
            for the winner.
        hints: what helps to plan and to show; training one model needs none (see Hints).

    What else a task may say of itself are attributes that a class derived from this one has its own of: `in_folds`,
    `settings`, `space`, `watch`, `recipe`, `remedies`.

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
        ranks = Metric(metric, mode)
        return super().__new__(cls, init, epoch, data, ranks, ranks.mode, score, hints)

    def in_folds(self, folds: int, share: float | None = None) -> "Task":
        """The task with its rows in so many folds, each validating on at most that share of them if given.

        Its data has an axis (folds,), in which `hparams["fold"]` () is a member's own place. A task that does not know
        how to, as this one, reads `hparams["fold"]` itself.
        """
        return self

    @property
    def settings(self) -> Mapping[str, Any]:
        """What else tells this task from another, as JSON values: a run is not taken up again with another task."""
        return {}

    @property
    def space(self) -> Space | None:
        """What is searched where no space is given."""
        return None

    @property
    def watch(self) -> Measure | None:
        """`(state, hparams, data) -> dict` of scalars that tell how training stands, where one model is watched."""
        return None

    @property
    def recipe(self) -> Rebuilds | None:
        """What turns raw rows into inputs, and outputs into predictions."""
        return None

    @property
    def remedies(self) -> Mapping[str, str]:
        """For errors: a hyperparameter -> what to use where its Python value is needed; a metric -> how it is had."""
        return {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}(metric={self.metric!r}, mode={self.mode!r}, settings={dict(self.settings)})"

    def _repr_html_(self) -> str:
        import popjax as pj

        return str(pj.as_html(self))

    def _replace(self, **fields: Any) -> Self:
        """A copy with some fields replaced."""
        refuse_hints(fields)
        return type(self)(**self._asdict() | fields)

    __replace__ = _replace


def refuse_hints(named: Iterable[str]) -> None:
    """Raise ValueError for a hint among the names of a Task's arguments."""
    for name in named:
        if name in Hints._fields:
            raise ValueError(f"Task({name}=...) is a hint now: write hints=popjax.Hints({name}=...)")


def ranked_by(task: Task, metric: str | None, mode: str | None) -> Metric:
    """The metric that ranks; the task's own where none is given.

    Of another metric than the task's own the direction follows from how its name ends.
    Raises ValueError where it does not.

    >>> task = objective(lambda key, hparams: {"loss": hparams["x"], "accuracy": -hparams["x"]})
    >>> ranked_by(task, "accuracy", None).mode
    'max'
    """
    own = metric in (None, task.metric)
    found = Metric(task.metric if own else str(metric), mode or (task.mode if own else None))
    return Metric(found, found.mode)


def unknown_metric(task: Task, metric: str | None, known: Iterable[str]) -> ValueError:
    """The error of ranking by what the task does not report, with how it would."""
    known = list(known)
    remedy = f"; write {task.remedies[metric]}" if metric and metric in task.remedies else ""
    meant = Metric.of("validation", str(metric))
    near = f"; did you mean {meant!r}?" if meant in (*known, *task.remedies) else ""
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
