"""The contract between research code and the trainer: the training of one model as pure functions.

A Task describes how *one* model is trained; popjax adds the population axis.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, Self

from popjax.core.calls import check_called
from popjax.core.contracts import check_contract
from popjax.core.counts import check_count
from popjax.core.text import meant
from popjax.metric import Metric, mode_told
from popjax.space.scales import Constant, Scale
from popjax.space.space import Space

NO_NAMES: Mapping[str, str] = MappingProxyType({})


class HParams(Mapping[str, Any]):
    """One member's hyperparameters as its task sees them.

    A dynamic value is a 0-d array, a static one a Python value. `fold` (a 0-d array) and
    `epochs` (an int) are there too. Look-ups are recorded, so that a hyperparameter that
    nothing reads can be reported.

    Args:
        values: name -> value.
        scales: name -> the Scale it was sampled from.
        reads: the record of the names that were looked up, shared by copies.
        sizes: the record of the names that were looked up as a size, shared by copies.
        inactive: name -> condition as a str, of the hyperparameters that do not exist beside these values; they are not
            `in` the mapping, and reading one raises Inactive, a KeyError.

    >>> import popjax as pj
    >>> hparams = pj.HParams({"learning_rate": 0.1})
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

    @property
    def dynamic(self) -> dict[str, Any]:
        """The values that are arrays of the program."""
        return {name: value for name, value in self._values.items() if hasattr(value, "dtype")}

    def size(self, name: str, default: int) -> Scale:
        """The scale of a hyperparameter that bounds a shape; a Constant for a static value or the default.

        Its `low` and `high` are ints: a shape must have room for `high`, the largest dynamic value.
        Raises ValueError for a scale that is not of whole numbers.
        """
        self.sizes.add(name)
        value = self.get(name, default)
        scale = self._scales[name] if hasattr(value, "dtype") else Constant(value)
        if not scale.whole:
            raise ValueError(f"{name}={scale}: a size is a whole number; use integers or a choice of them")
        return scale

    def within(self, name: str, low: float, high: float) -> None:
        """Raise ValueError if the scale of `name`, where there is one, has values outside low <= value < high."""
        scale = self._scales.get(name)
        if scale is None or name not in self:
            return
        for end in (scale.low, scale.high):
            if end is None or not low <= end < high:
                raise ValueError(f"{name}={scale} is out of range; choose {low:g} <= {name} < {high:g}")

    def replace(self, **values: Any) -> "HParams":
        """A copy with some values replaced, which shares the records of look-ups."""
        inactive = {name: condition for name, condition in self.inactive.items() if name not in values}
        return HParams({**self._values, **values}, self._scales, self.reads, self.sizes, inactive)


class Deferred(NamedTuple):
    """A value of HParams that `make()` computes at each look-up."""

    make: Callable[[], Any]


class Inactive(KeyError, ValueError):
    """Raised when a task reads a hyperparameter that does not exist beside the values of others."""

    def __init__(self, name: str, condition: str) -> None:
        super().__init__(name)
        self.name, self.condition = name, condition

    def __str__(self) -> str:
        return f"{self.name} exists only when {self.condition}; read hparams.get({self.name!r}, default)"

    def __reduce__(self) -> tuple[Any, ...]:
        return Inactive, (self.name, self.condition)


class NeedsStatic(ValueError):
    """Raised by a task that cannot train with `name` dynamic; popjax then makes it static."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} must be static: {reason}")
        self.name = name


class PerEpoch(Protocol):
    """The type of `Hints.updates` and `Hints.flops`: the cost of one epoch of members."""

    def __call__(self, hparams: Mapping[str, Any], /) -> Any:
        """Numbers (members,), or one for all, by plain arithmetic.

        A hyperparameter is an array (members,), or its Python value if all members share it.
        """


class Parameters(Protocol):
    """The type of `Hints.parameters`: the number of trained parameters of members."""

    def __call__(self, hparams: Mapping[str, Any], /) -> Any:
        """Numbers (members,), or one for all, from the same mapping as `PerEpoch`.

        None if the state's arrays have their exact shape, so that they can be counted.
        """


class Measure(Protocol):
    """The type of `Task.watch`: figures of one model in training."""

    def __call__(self, state: Any, hparams: HParams, data: Any, /) -> Mapping[str, Any]:
        """Name -> scalar (), from the arguments of `Task.epoch`."""


class Rebuilds(Protocol):
    """What a predictor is rebuilt from, beside the arrays of a trained trial."""

    @property
    def inputs(self) -> tuple[int, ...]:
        """The shape of one row."""

    @property
    def identity(self) -> dict[str, Any]:
        """What distinguishes the rows from other rows, as JSON values."""

    def describe(self) -> dict[str, Any]:
        """All that rebuilds a predictor, as JSON values."""


class Hints(NamedTuple):
    """Optional hints of a Task about the cost of its training, for planning, figures and rules.

    Attributes:
        updates: `(hparams) -> optimizer updates in one epoch`, for throughput figures and plan "auto".
            It is called with arrays (members,) and must be plain arithmetic on them.
        epochs: the most epochs that a search may train.
        shapes: the hyperparameters that plan "buckets" makes static.
        parameters: `(hparams) -> number of trained parameters`, called like `updates`; None if the
            state's arrays have their exact shape.
        flops: `(hparams) -> floating-point operations of one epoch`, or an equivalent in time, called
            like `updates`; plan "auto" estimates from it what padding costs.
        branches: the hyperparameters with values that may each be a branch in one program, there as
            a Python value: those that change no shape of the state.
        copies: False if on a CPU one copy of the epoch, with a dynamic value, is as fast as a branch for each.

    >>> import popjax as pj
    >>> pj.Hints(updates=lambda hparams: 100 // hparams["batch_size"], epochs=5).epochs
    5
    """

    updates: PerEpoch | None = None
    epochs: int | None = None
    shapes: tuple[str, ...] = ()
    parameters: Parameters | None = None
    flops: PerEpoch | None = None
    branches: tuple[str, ...] = ()
    copies: bool = True


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
    """How one model is trained: pure functions, and the data that all members share.

    Attributes:
        init: `(key, hparams, data) -> state`; state is any pytree of arrays.
        epoch: `(state, hparams, data) -> (state, metrics)`: one unit of budget. The state
            keeps its shapes and dtypes; metrics is a dict of scalars.
        data: a pytree of arrays, an argument of the program: one copy per device.
        metric: the Metric that ranks trials, by default by its value after the last epoch; may be given as a str.
        mode: the metric's: "min" or "max"; if None it follows from the end of its name: less of a loss, mse, mae, mape
            or error is better, more of an accuracy, r2, f1, auc or mcc.
        score: `(state, hparams, data) -> dict` of scalars on untouched data, evaluated once,
            for the winner: in `results.summary["test"]`, and as its "test_value" what has the ranking metric's own
            name there (of `val_loss`, `test_loss`).
        hints: costs for planning and figures; training one model needs none (see Hints).

    A subclass may override the optional parts: `in_folds`, `settings`, `space`, `modes`, `watch`, `recipe`, `remedies`,
    `beside`, `afterwards`.

    Raises ValueError for functions with other arguments, for a hint of another type or not in `hints`, and for a metric
    without a mode if its name tells none; TypeError for an unknown keyword argument.

    A quadratic, minimized by gradient descent from a random point:

    >>> import popjax as pj
    >>> import jax
    >>> def init(key, hparams, data):
    ...     return jax.random.normal(key)
    >>> def epoch(x, hparams, data):
    ...     x = x - hparams["learning_rate"] * 2 * (x - data)
    ...     return x, {"loss": (x - data) ** 2}
    >>> task = pj.Task(init, epoch, data=3.0)
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
        """A Task; hints as arguments of their own, as in earlier versions, are refused with a pointer to `hints`."""
        refuse_hints(others)
        if others:
            raise TypeError(f"Task got an unexpected keyword argument {next(iter(others))!r}")
        if more or not isinstance(hints, Hints):
            given = "it takes seven arguments" if more else f"hints is a {type(hints).__name__}"
            raise ValueError(f"Task: {given}; what follows score is a hint: write hints=popjax.Hints(updates=...)")
        ranks = Metric(metric, mode)
        check_task(cls, init, epoch, score)
        check_types(hints)
        return super().__new__(cls, init, epoch, data, ranks, ranks.mode, score, hints)

    def in_folds(self, folds: int, share: float | None = None) -> "Task":
        """The task with its rows in `folds` folds, each validating on at most `share` of them; None: no limit.

        Its data has an axis (folds,), which `hparams["fold"]` () indexes. By default the task itself: its functions
        read `hparams["fold"]` to tell the folds apart.
        """
        return self

    @property
    def settings(self) -> Mapping[str, Any]:
        """What distinguishes this task from others, beside data and code, as JSON values; compared on resume."""
        return {}

    @property
    def space(self) -> Space | None:
        """The default space of a search; None if there is none."""
        return None

    @property
    def modes(self) -> Mapping[str, str]:
        """Metric -> "min" or "max", of those whose names do not tell."""
        return {}

    @property
    def watch(self) -> Measure | None:
        """`(state, hparams, data) -> dict` of scalars shown when a person watches one model; None if there are none."""
        return None

    @property
    def recipe(self) -> Rebuilds | None:
        """What turns raw rows into inputs, and outputs into predictions; None if the task has no rows."""
        return None

    def beside(self) -> Mapping[str, Callable[[], Mapping[str, Any]]]:
        """Baselines that are fitted while a search trains: name in summary.json -> function that gives test scores."""
        return {}

    def afterwards(self, results: Any, page: bool = False) -> dict[str, Any]:
        """Further entries of summary.json, once the winner of a search is scored.

        "together" is none of them: the trials that predict together, each repeated by its weight, if the rule combines
        some otherwise than by their mean. `page`: a page is written, which shows them.
        """
        return {}

    @property
    def remedies(self) -> Mapping[str, str]:
        """For errors: hyperparameter -> what to use where its Python value is needed; metric -> how to report it."""
        return {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}(metric={self.metric!r}, mode={self.mode!r}, settings={dict(self.settings)})"

    def _repr_html_(self) -> str:
        import popjax as pj

        return str(pj.as_html(self))

    def _replace(self, **fields: Any) -> Self:
        """A copy with some fields replaced; raises ValueError for a hint as a field.

        The mode of a new metric is its own, if it has one or its name tells it.
        """
        refuse_hints(fields)
        if "metric" in fields and "mode" not in fields:
            fields = fields | {"mode": mode_told(fields["metric"]) or self.mode}
        return type(self)(**self._asdict() | fields)

    __replace__ = _replace


def refuse_hints(named: Iterable[str]) -> None:
    """Raise ValueError if a name of a Task's arguments is that of a hint."""
    for name in named:
        if name in Hints._fields:
            raise ValueError(f"Task({name}=...) is a hint now: write hints=popjax.Hints({name}=...)")


def check_task(kind: type[Task], init: Any, epoch: Any, score: Any) -> None:
    """Raise ValueError for functions of a task with other arguments, and for a subclass that misspells a hook."""
    what = f"the task {kind.__name__}"
    if kind is not Task:
        check_contract(what, kind, Task)
    check_called(f"{what}: init", init, "key", "hparams", "data")
    check_called(f"{what}: epoch", epoch, "state", "hparams", "data")
    if score is not None:
        check_called(f"{what}: score", score, "state", "hparams", "data")


def check_types(hints: Hints) -> None:
    """Raise ValueError for a hint of another type than `Hints` says."""
    for name in ("updates", "parameters", "flops"):
        if getattr(hints, name) is not None:
            check_called(f"hints: {name}", getattr(hints, name), "hparams")
    if hints.epochs is not None:
        check_count("hints: epochs", hints.epochs)
    for name in ("shapes", "branches"):
        given = getattr(hints, name)
        named = isinstance(given, tuple | list | set | frozenset) and all(isinstance(one, str) for one in given)
        if not named:
            raise ValueError(f"hints: {name}={given!r}; give a tuple of names, such as ('depth',)")
    if not isinstance(hints.copies, bool):
        raise ValueError(f"hints: copies={hints.copies!r}; give True or False")


def ranked_by(task: Task, metric: str | None, mode: str | None) -> Metric:
    """The metric that ranks, with a mode; the task's own if `metric` is None.

    If `mode` is None, the mode is the task's for its own metric, and for another one that of its `modes`, or as the
    name ends. Raises ValueError if neither tells it.

    >>> task = objective(lambda key, hparams: {"loss": hparams["x"], "accuracy": -hparams["x"]})
    >>> ranked_by(task, "accuracy", None).mode
    'max'
    """
    own = metric in (None, task.metric)
    unit = getattr(metric, "unit", "") or (task.metric.unit if own else "")
    known = mode or (task.mode if own else task.modes.get(str(metric)))
    ranked = Metric(task.metric if own else str(metric), known, unit)
    return Metric(ranked, ranked.mode)


def unknown_metric(task: Task, metric: str | None, known: Iterable[str]) -> ValueError:
    """The ValueError of ranking by a metric that the task does not report (`known`: those it does), with a remedy."""
    known, name = list(known), str(metric)
    others = [str(each) for each in task.remedies if Metric(each).rows is not None]
    reports = f"the task reports {', '.join(known)}" + (f", and if asked for {', '.join(others)}" if others else "")
    if name in others:
        return ValueError(f"unknown metric {metric!r}; {reports}; write {task.remedies[name]}")
    same = Metric.of("validation", name)
    near = f"; did you mean {str(same)!r}?" if same in (*known, *others) else meant(name, (*known, *others), 0.65)
    if metric == task.metric and not near:  # what it was made to report
        near = f"; name one of these where the task is made, as in metric={known[0]!r}"
    return ValueError(f"unknown metric {metric!r}; {reports}{near}")


def objective(fn: Callable[..., Any], metric: str = "loss", mode: str | None = None) -> Task:
    """A Task of one epoch from an opaque function `fn(key, hparams) -> metrics`.

    `fn` is one trial from beginning to end in JAX, such as what PureJaxRL's `make_train` returns; metrics is a dict of
    scalars, or one scalar, then named `metric`.

    Args:
        fn: `fn(key, hparams) -> metrics`; `hparams["x"]` is an array's element, so that all trials run at once.
        metric: the metric that ranks.
        mode: "min" or "max"; if None it follows from the metric's name (see Task).

    Raises ValueError if `fn` is not such a function, and if `mode` is None and the metric's name tells none.

    >>> import popjax as pj
    >>> task = pj.objective(lambda key, hparams: {"loss": (hparams["x"] - 2) ** 2})
    >>> results = pj.search(task, {"x": pj.uniform(0, 5)}, trials=256)
    >>> 1.9 < results.best.hparams["x"] < 2.1
    True
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
