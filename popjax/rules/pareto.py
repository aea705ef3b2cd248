"""The rule `pareto`: several objectives, by nondominated fronts and hypervolume."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from popjax.metric import LESS, MORE, Metric
from popjax.rule import COSTS, Finished, Rule
from popjax.task import Task, ranked_by


@dataclasses.dataclass(frozen=True, repr=False)
class Pareto(Rule):
    """See `pareto`.

    Attributes:
        others: the objectives after the first: metrics, "parameters" or "flops".
    """

    others: tuple[Metric, ...] = (Metric("parameters", "min"),)

    name: ClassVar[str] = "pareto"
    call: ClassVar[tuple[str, str]] = ("pareto", "keep")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.at != "last":
            raise ValueError(f"pareto: several objectives have no one best epoch; leave at={self.at!r} out")
        others = tuple(Metric(metric, "min" if metric in COSTS else None) for metric in self.others)
        object.__setattr__(self, "others", others)
        if not others:
            raise ValueError("pareto: one objective alone has no front; give two or more")

    def __repr__(self) -> str:
        objectives = [] if self.metric is None else [spelled(metric) for metric in self.objectives]
        given = {"keep": (self.keep, 1), "subject_to": (self.subject_to, ())}
        more = [f"{name}={value!r}" for name, (value, usual) in given.items() if value != usual]
        return f"pareto({', '.join([*objectives, *more])})"

    @classmethod
    def asked(cls, metric: str | None, keep: int | None = None, **given: Any) -> Self:
        """The rule of --metric, objectives separated by commas, and --mode, which is that of the first one.

        Raises ValueError for a single objective.
        """
        first, *others = [None] if metric is None else [name.strip() for name in metric.split(",")]
        more = {} if metric is None else {"others": tuple(others)}
        return dataclasses.replace(super().asked(first, keep, **given), **more)  # type: ignore[arg-type]

    @property
    def objectives(self) -> tuple[Metric, ...]:
        """All objectives, the first one first."""
        return (self.metric, *self.others)

    def of(self, task: Task) -> Self:
        """The rule, with the task's metric first if it has none; raises ValueError if an objective has no mode."""
        others = tuple(metric if metric in COSTS else ranked_by(task, metric, metric.given) for metric in self.others)
        return dataclasses.replace(super().of(task), others=others)

    def loss(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """The place (rows,) of each row in `order`, from 0."""
        places = np.empty(len(values[self.metric]))
        places[self.order(values)] = np.arange(len(places))
        return places

    def order(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """The rows, front by front: its best in each objective, then by added hypervolume, then as `best` orders."""
        losses = self.losses(values)
        finite = np.isfinite(losses).all(1)
        fronts = np.full(len(losses), len(losses))
        fronts[finite] = fronts_of(losses[finite])
        added = np.zeros(len(losses))
        worst = losses[finite].max(0, initial=-np.inf)
        for front in np.unique(fronts[finite]):
            rows = np.flatnonzero(fronts == front)
            added[rows] = contributions(losses[rows], worst)
            added[rows[losses[rows].argmin(0)]] = np.inf  # which touch the worst value of another, and add nothing
        place = np.empty(len(losses))
        place[super().order(values)] = np.arange(len(losses))
        return np.lexsort((place, -added, fronts))

    def losses(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """The objectives as losses (rows, objectives): less is better."""
        columns = [
            np.asarray(values[metric], float) * (1 if metric.mode == "min" else -1) for metric in self.objectives
        ]
        return np.stack(columns, 1)

    def front(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """The rows that no row dominates, best first by the first objective."""
        losses = self.losses(values)
        rows = np.flatnonzero(fronts_of(losses) == 0)
        return rows[np.lexsort((rows, losses[rows, 0]))]

    def why(self, count: int, first: str | None) -> str:
        """Names the objective in which the winner is the front's best."""
        return f"the front's best in {self.metric}, of {count:,}, so optimistic"

    def winner(self, finished: Finished) -> int:
        """The row of the front that is best in the first objective."""
        return int(self.front(finished.values)[0])

    def written(self) -> dict[str, Any]:
        modes = {
            str(metric): metric.given for metric in self.others if metric.given is not None and metric not in COSTS
        }
        return (
            super().written()
            | {"others": [str(metric) for metric in self.others]}
            | ({"modes": modes} if modes else {})
        )


def spelled(objective: Metric) -> str:
    """An objective as code, with its mode if the name does not tell it.

    >>> spelled(Metric("val_loss", "min")), spelled(Metric("speed", "max"))
    ("'val_loss'", "Metric('speed', 'max')")
    """
    name = str(objective)
    told = objective.given is None or name in COSTS or name.endswith(LESS if objective.given == "min" else MORE)
    return repr(name) if told else f"Metric({name!r}, {objective.given!r})"


def pareto(*objectives: Metric | str, keep: int = 1, subject_to: str | Sequence[str] = ()) -> Rule:
    """Rank trials by several objectives: first the trials that no other dominates, then those of the rest, and so on.

    Within a front, its best in each objective come first, as with an infinite crowding distance (Deb et al. 2002), that
    in the first objective foremost, which wins. The others rank by what they add to the hypervolume between the front
    and the worst value of each objective (Zitzler and Thiele 1998), most first.

    Args:
        objectives: metrics, of which the first is shown where one value is; "parameters", the number of trained ones:
            what a Task's `Hints.parameters` says, or what its state has as "params", and if it has neither all numbers
            of the state, which tables and figures then call "numbers_in_state"; and "flops", the operations of an
            epoch; of these two less is better. If none are given: the task's
            metric and "parameters".
        keep: number of best trials to keep the trained states of.
        subject_to: that of `best`: the fronts are those of the trials that violate nothing.

    Raises ValueError for a single objective, and for a first one that is not a metric.

    >>> import numpy as np
    >>> import popjax as pj
    >>> rule = pj.pareto("val_loss", "parameters")
    >>> values = {"val_loss": np.array([0.1, 0.3, 0.2, 0.4]), "parameters": np.array([90, 10, 20, 30])}
    >>> rule.order(values).tolist(), rule.front(values).tolist()
    ([0, 1, 2, 3], [0, 2, 1])
    """
    if not objectives:
        return Pareto(keep=keep, subject_to=subject_to)  # type: ignore[arg-type]
    others = tuple(objectives[1:])
    return Pareto(objectives[0], keep=keep, others=others, subject_to=subject_to)  # type: ignore[arg-type]


def fronts_of(losses: np.ndarray) -> np.ndarray:
    """The front (rows,) of each row of losses (rows, objectives), from 0; less is better.

    A row is dominated only by rows before it in lexicographic order, and a row that a front dominates is dominated by
    every earlier front, so its own front is found by bisection (Zhang et al. 2015, "An efficient approach to
    nondominated sorting").

    >>> fronts_of(np.array([[0.0, 2.0], [1.0, 1.0], [1.0, 2.0], [2.0, 2.0]])).tolist()
    [0, 0, 1, 2]
    """
    depths = np.zeros(len(losses), int)
    fronts: list[Front] = []
    for row in np.lexsort(losses.T[::-1]).tolist():
        low, high = 0, len(fronts)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if fronts[middle].beats(losses[row]) else (low, middle)
        if low == len(fronts):
            fronts.append(Front(losses.shape[1]))
        fronts[low].add(losses[row])
        depths[row] = low
    return depths


class Front:
    """The rows of a front so far, in lexicographic order.

    With two objectives the last row has the least second one, so only that row is compared.
    """

    def __init__(self, objectives: int) -> None:
        self.rows = np.empty((8, objectives))
        self.count = 0

    def add(self, row: np.ndarray) -> None:
        """Append a row (objectives,) that no row of the front dominates."""
        if self.count == len(self.rows):
            self.rows = np.concatenate([self.rows, np.empty_like(self.rows)])
        self.rows[self.count] = row
        self.count += 1

    def beats(self, row: np.ndarray) -> bool:
        """True if a row of the front dominates this row (objectives,): at most equal in all, less in one."""
        first = self.count - 1 if len(row) == 2 else 0
        rows = self.rows[first : self.count]
        return bool(((rows <= row).all(1) & (rows < row).any(1)).any())


def contributions(losses: np.ndarray, worst: np.ndarray) -> np.ndarray:
    """What each point (n,) of losses (n, objectives) adds to the volume that the others dominate, up to `worst`.

    Sliced along the last objective, down to two: there a slice belongs to the point with the least first loss, as far
    as the second least. No loss is greater than `worst`.

    >>> contributions(np.array([[0.0, 2.0], [1.0, 1.0]]), np.array([3.0, 3.0])).tolist()
    [1.0, 2.0]
    """
    order = np.argsort(losses[:, -1], kind="stable")
    last = losses[order, -1]
    heights = np.append(last[1:], worst[-1]) - last
    if losses.shape[1] > 2:
        added = np.zeros(len(losses))
        for n in np.flatnonzero(heights):
            slice_ = order[: n + 1]
            added[slice_] += heights[n] * contributions(losses[slice_, :-1], worst[:-1])
        return added
    first = losses[order, 0]
    least = np.minimum.accumulate(first)
    before = np.append(worst[0], least[:-1])
    second = np.minimum.accumulate(np.append(worst[0], np.maximum(first, before)[1:]))
    owner = np.maximum.accumulate(np.where(first < before, np.arange(len(first)), 0))
    added = np.empty(len(losses))
    added[order] = np.bincount(owner, (second - least) * heights, len(losses))
    return added
