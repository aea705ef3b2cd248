"""The contract of what counts as best: which metric ranks, in which order, and which trial wins. No JAX here."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from popjax.core.counts import check_count
from popjax.core.text import short
from popjax.metric import Metric, check_mode
from popjax.space.values import python_value
from popjax.task import Task, ranked_by

COSTS = ("parameters", "flops")  # of a trial: number of trained parameters, operations of an epoch
AT = ("last", "best")
ROUNDING = 1e-6  # relative, of a metric
TIES = Metric("val_loss")  # breaks ties in the metric that ranks


class Improvement(NamedTuple):
    """When an epoch of a member is better than all before it.

    Attributes:
        keys: (metric, sign) of the metric that ranks and of the one for ties, compared by `less`; the sign is -1 if
            more is better. A metric that the task does not report counts as constant.
        patience: number of epochs without a better one after which the member rests; None: never.
    """

    keys: tuple[tuple[str, int], tuple[str, int]]
    patience: int | None


def less(one: Any, other: Any) -> Any:
    """bool (...): pairs of numbers (2, ...) that come before others in lexicographic order; NumPy or JAX arrays.

    >>> less(np.array([[1, 2], [4, 9]]), np.array([[1, 1], [5, 9]])).tolist()
    [True, False]
    """
    return (one[0] < other[0]) | ((one[0] == other[0]) & (one[1] < other[1]))


class Limit(NamedTuple):
    """What a trial's value must not exceed, or fall below, to be feasible.

    Attributes:
        name: of a metric, or of a cost.
        sign: 1 if values are at most the bound, -1 if they are at least the bound.
        bound: a finite number.
    """

    name: str
    sign: int
    bound: float

    @classmethod
    def of(cls, text: Any) -> Self:
        """The limit of `name <= number` or `name >= number`; raises ValueError for anything else.

        >>> str(Limit.of("parameters<=1e4")), Limit.of("val_recall >= 0.9").sign
        ('parameters <= 10000', -1)
        """
        parts = re.fullmatch(r"\s*([^<>=\s]+)\s*(<=|>=)\s*([^<>=\s]+)\s*", text) if isinstance(text, str) else None
        try:
            bound = float(parts[3]) if parts else np.nan
        except ValueError:
            bound = np.nan
        if parts is None or not np.isfinite(bound):
            form = "name <= number or name >= number, such as parameters <= 10000"
            raise ValueError(f"subject_to {short(text)}: write {form}")
        return cls(parts[1], 1 if parts[2] == "<=" else -1, bound)

    def __str__(self) -> str:
        bound = int(self.bound) if self.bound.is_integer() and abs(self.bound) < 2**63 else self.bound
        return f"{self.name} {'<=' if self.sign > 0 else '>='} {bound!r}"

    def violation(self, values: np.ndarray) -> np.ndarray:
        """Float (rows,): by how much values (rows,) are beyond the bound, as a share of it (of 1 for a bound of 0).

        Metrics are means of float32, so one that differs by their rounding alone is not beyond it.
        """
        beyond = self.sign * (np.asarray(values, float) - self.bound)
        rounding = 0 if self.name in COSTS else ROUNDING * abs(self.bound)
        with np.errstate(over="ignore", invalid="ignore"):
            return np.where(beyond > rounding, beyond / (abs(self.bound) or 1), 0.0)


class Finished(NamedTuple):
    """The complete trials that did not diverge, best first.

    Attributes:
        values: metric -> (n,), after the epoch that counts; also cost -> (n,), of the costs that the rule needs.
        errors: metric -> (n,), the standard errors over folds and repeats; empty for one member per trial.

    What `Rule.winner` is given of three trials, of which one did not end:

    >>> import numpy as np
    >>> import popjax as pj
    >>> finished = pj.Finished({"val_loss": np.array([0.3, 0.4])}, {"val_loss": np.array([0.05, 0.02])})
    >>> pj.Rule("val_loss").winner(finished)
    0
    """

    values: Mapping[str, np.ndarray]
    errors: Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True, repr=False)
class Rule:
    """How trials are ordered, and which one wins: here the best by a metric.

    A custom rule is a subclass with another `winner` or `order`, passed as `search(rank=Mine())`:

    >>> import popjax as pj
    >>> class Second(pj.Rule):
    ...     name = "second"
    ...     def winner(self, finished):
    ...         return min(1, len(finished.values["loss"]) - 1)
    >>> task = pj.objective(lambda key, hparams: {"loss": hparams["x"] ** 2})
    >>> results = pj.search(task, {"x": pj.uniform(0, 1)}, trials=8, rank=Second())
    >>> results.best.trial == int(results.order[1])
    True

    Attributes:
        metric: the Metric that ranks; None until `of` sets the task's.
        mode: "min" or "max"; the metric's if None.
        keep: number of best trials to keep the trained states of.
        at: which epoch of a member counts, for its value and its weights: "last", or "best" by the metric, then by
            the validation loss; of equal ones the earlier.
        patience: number of epochs without a better one after which a member rests; None: never. Only with at="best".
        subject_to: texts `name <= number` or `name >= number`, of metrics and of costs: trials that violate none rank
            before all others, and these by the sum of their relative violations (Deb 2000, "An efficient constraint
            handling method for genetic algorithms"). Methods of a rule see feasible trials alone.
        name: the rule's name in `--choose` and run.json.
        call: the name of the function that makes it, and of that function's argument for `keep`.
        together: True if the kept trials predict together, rather than the winner alone.

    Raises ValueError for another `mode` or `at`, a `keep` or `patience` that is not a whole number of at least 1, a
    `patience` with at="last", and a `subject_to` that is no such text.
    """

    metric: Metric = None  # type: ignore[assignment]
    mode: str | None = None
    keep: int = 1
    at: str = "last"
    patience: int | None = None
    subject_to: tuple[str, ...] = ()

    name: ClassVar[str] = "best"
    call: ClassVar[tuple[str, str]] = ("best", "keep")
    together: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_mode(self.mode)
        if self.at not in AT:
            raise ValueError(f"at={self.at!r}; choose {' or '.join(AT)}")
        if self.patience is not None:
            object.__setattr__(self, "patience", check_count("patience", self.patience))  # the dataclass is frozen
            if self.at != "best":
                raise ValueError(f"patience={self.patience} needs at='best': a member rests after its best epoch")
        given: Any = self.subject_to
        several = given if isinstance(given, list | tuple) else [given]
        limits = tuple(dict.fromkeys(str(Limit.of(text)) for text in several))
        fields: dict[str, Any] = {"keep": check_count("keep", self.keep), "subject_to": limits}
        if self.metric is not None:
            if self.metric in COSTS:
                cost = f"{self.metric!s} is no metric but what a trial costs"
                raise ValueError(f"{cost}; rank by a metric first, as popjax.pareto('val_loss', '{self.metric!s}')")
            metric = Metric(self.metric, self.mode)
            fields |= {"metric": metric, "mode": metric.given}
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        call, keep = vars(type(self)).get("call", (type(self).__name__, "keep"))
        said = {"metric": self.metric, "mode": self.mode, keep: self.keep}
        others = [field for field in dataclasses.fields(self) if field.name not in ("metric", "mode", "keep")]
        said |= {field.name: value for field in others if (value := getattr(self, field.name)) != field.default}
        return f"{call}({', '.join(f'{name}={value!r}' for name, value in said.items() if value is not None)})"

    @classmethod
    def asked(cls, metric: str | None, keep: int | None = None, **given: Any) -> Self:
        """The rule of --metric, --mode, --at and --patience; `keep`: number of trials to keep, its default if None."""
        more = {} if keep is None else {"keep": keep}
        return cls(metric, **given, **more)  # type: ignore[arg-type]

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The limits of `subject_to`."""
        return tuple(map(Limit.of, self.subject_to))

    @property
    def improvement(self) -> Improvement | None:
        """When an epoch is better than those before it; None with at="last"."""
        if self.at == "last":
            return None
        ranks, ties = ((str(key), 1 if key.mode == "min" else -1) for key in (self.metric, TIES))
        return Improvement((ranks, ties), self.patience)

    @property
    def objectives(self) -> tuple[Metric, ...]:
        """What the rule orders by, apart from ties: metrics, or costs of a trial (`COSTS`)."""
        return (self.metric,)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The objectives and limits that are metrics, which the task reports."""
        limited = (Metric(one.name) for one in self.limits)
        return tuple(dict.fromkeys(one for one in (*self.objectives, *limited) if one not in COSTS))

    @property
    def needs(self) -> tuple[str, ...]:
        """The costs of a trial that the rule's methods use."""
        return tuple(str(one) for one in self.objectives if one in COSTS)

    @property
    def costs(self) -> tuple[str, ...]:
        """The costs of a trial that the rule's methods and its limits use."""
        return tuple(dict.fromkeys((*self.needs, *(one.name for one in self.limits if one.name in COSTS))))

    def violation(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """Float (rows,): the sum of the relative violations of the limits; 0 for a feasible row.

        >>> import numpy as np
        >>> import popjax as pj
        >>> best = pj.Rule("loss", subject_to=("parameters <= 100", "loss <= 2"))
        >>> best.violation({"loss": np.array([1.0, 3.0]), "parameters": np.array([150, 100])}).tolist()
        [0.5, 0.5]
        """
        rows = len(next(iter(values.values()), ()))
        return sum((limit.violation(values[limit.name]) for limit in self.limits), np.zeros(rows))

    def of(self, task: Task) -> Self:
        """The rule with the task's metric if it has none, and its mode; raises ValueError if the mode is unknown."""
        metric = ranked_by(task, self.metric, self.mode)
        return dataclasses.replace(self, metric=metric, mode=metric.mode)

    def check(self, members: int) -> None:
        """Raise ValueError if trials of this number of members each cannot be ranked by the rule."""

    def loss(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """`Trials.loss` (rows,) of metric or cost -> values (rows,); less is better."""
        return values[self.metric] if self.metric.mode == "min" else -values[self.metric]

    def order(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """Row numbers (rows,) of metric or cost -> values (rows,), best first; ties by val_loss, then by row."""
        key = Rule.loss(self, values)
        return np.lexsort((values.get(TIES, key), key))

    def front(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """The row numbers that no row dominates, best first by the first objective; here those of the best value."""
        key = Rule.loss(self, values)
        return np.flatnonzero(key == key.min())

    def winner(self, finished: Finished) -> int:
        """The row number of the winner among the finished trials."""
        return 0

    def why(self, count: int, first: str | None) -> str:
        """Why the winner of `count` trials wins, in words; `first`: the trial of rank 1, None if it is the winner."""
        if first is None:
            each = "" if self.at == "last" else ", each at its best epoch"
            return f"the best of {count:,}{each}, so optimistic"
        return f"chosen by the rule {self.name}; rank 1 is {first}"

    def written(self) -> dict[str, Any]:
        """The rule as JSON values, for run.json."""
        fields = {field.name: python_value(getattr(self, field.name)) for field in dataclasses.fields(self)}
        fields = {name: value for name, value in fields.items() if name != "subject_to" or value}
        known = [] if self.metric is None else self.objectives
        units = {str(one): one.unit for one in known if one.unit}
        return {"rule": self.name} | fields | ({"units": units} if units else {})
