"""The rule `pareto`: several objectives, by nondominated fronts and hypervolume."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from popjax.rule import COSTS, Finished, Rule
from popjax.rules.hypervolume import contributions
from popjax.rules.nondominated import fronts_of
from popjax.task import Metric, Task, ranked_by


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
        others = tuple(Metric(one, "min" if one in COSTS else None) for one in self.others)
        object.__setattr__(self, "others", others)
        if not others:
            raise ValueError("pareto: one objective alone has no front; give two or more")

    def __repr__(self) -> str:
        objectives = [] if self.metric is None else [repr(str(one)) for one in self.objectives]
        return f"pareto({', '.join([*objectives, *([] if self.keep == 1 else [f'keep={self.keep}'])])})"

    @classmethod
    def asked(cls, metric: str | None, keep: int | None = None, **given: Any) -> Self:
        """The rule of --metric, objectives separated by commas, and --mode, which is that of the first one.

        Raises ValueError for a single objective.
        """
        first, *others = [None] if metric is None else metric.split(",")
        more = {} if metric is None else {"others": tuple(others)}
        return dataclasses.replace(super().asked(first, keep, **given), **more)  # type: ignore[arg-type]

    @property
    def objectives(self) -> tuple[Metric, ...]:
        """All objectives, the first one first."""
        return (self.metric, *self.others)

    def of(self, task: Task) -> Self:
        """The rule, with the task's metric first if it has none; raises ValueError if an objective has no mode."""
        others = tuple(one if one in COSTS else ranked_by(task, one, one.given) for one in self.others)
        return dataclasses.replace(super().of(task), others=others)

    def loss(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """The place (rows,) of each row in `order`, from 0."""
        places = np.empty(len(values[self.metric]))
        places[self.order(values)] = np.arange(len(places))
        return places

    def order(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """The rows, front by front; in a front by added hypervolume, largest first, then as `best` orders them."""
        losses = self.losses(values)
        finite = np.isfinite(losses).all(1)
        fronts = np.full(len(losses), len(losses))
        fronts[finite] = fronts_of(losses[finite])
        added = np.zeros(len(losses))
        worst = losses[finite].max(0, initial=-np.inf)
        for front in np.unique(fronts[finite]):
            rows = np.flatnonzero(fronts == front)
            added[rows] = contributions(losses[rows], worst)
        place = np.empty(len(losses))
        place[super().order(values)] = np.arange(len(losses))
        return np.lexsort((place, -added, fronts))

    def losses(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """The objectives as losses (rows, objectives): less is better."""
        columns = [np.asarray(values[one], float) * (1 if one.mode == "min" else -1) for one in self.objectives]
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
        return super().written() | {"others": [str(one) for one in self.others]}


def pareto(*objectives: Metric | str, keep: int = 1) -> Rule:
    """Rank trials by several objectives: first the trials that no other dominates, then those of the rest, and so on.

    Within a front, trials rank by what they add to the hypervolume between the front and the worst value of each
    objective (Zitzler and Thiele 1998), most first. The front's best in the first objective wins.

    Args:
        objectives: metrics, of which the first is shown where one value is; "parameters", the number of trained ones,
            and "flops", the operations of an epoch; of these two less is better. If none are given: the task's
            metric and "parameters".
        keep: number of best trials to keep the trained states of.

    Raises ValueError for a single objective, and for a first one that is not a metric.

    >>> rule = pareto("val_loss", "parameters")
    >>> values = {"val_loss": np.array([0.1, 0.3, 0.2, 0.4]), "parameters": np.array([90, 10, 20, 30])}
    >>> rule.order(values).tolist(), rule.front(values).tolist()
    ([2, 1, 0, 3], [0, 2, 1])
    """
    if not objectives:
        return Pareto(keep=keep)
    return Pareto(objectives[0], keep=keep, others=tuple(objectives[1:]))  # type: ignore[arg-type]
