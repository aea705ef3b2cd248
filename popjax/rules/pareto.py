"""Several objectives: fronts of trials of which none is better in all, then hypervolume."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from popjax.rule import COSTS, Finished, Rule
from popjax.rules.hypervolume import contributions
from popjax.rules.nondominated import fronts_of
from popjax.task import Metric, Task


@dataclasses.dataclass(frozen=True, repr=False)
class Pareto(Rule):
    """See `pareto`.

    Attributes:
        others: the further objectives: metrics, "parameters" or "flops".
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
        if self.metric in COSTS:
            raise ValueError(f"pareto: {self.metric!s} is no metric; give one first, such as 'val_loss'")
        if not others:
            raise ValueError("pareto: one objective alone has no front; give two or more")

    def __repr__(self) -> str:
        objectives = [] if self.metric is None else [repr(str(one)) for one in self.objectives]
        return f"pareto({', '.join([*objectives, *([] if self.keep == 1 else [f'keep={self.keep}'])])})"

    @classmethod
    def asked(cls, metric: str | None, keep: int | None = None, **given: Any) -> Self:
        """The objectives are the metrics and costs of --metric, with commas between them; the mode is the first one's.

        Raises ValueError for one alone.
        """
        first, *others = [None] if metric is None else metric.split(",")
        more = {} if metric is None else {"others": tuple(others)}
        return dataclasses.replace(super().asked(first, keep, **given), **more)  # type: ignore[arg-type]

    @property
    def objectives(self) -> tuple[Metric, ...]:
        """All of them."""
        return (self.metric, *self.others)

    def of(self, task: Task) -> Self:
        """The same with the task's metric first where none is; raises ValueError where an objective has no mode."""
        found = super().of(task)
        for one in found.objectives:
            _ = one.mode  # which is told by its name, or known
        return found

    def loss(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """The place (rows,) of each row in the order, from 0."""
        places = np.empty(len(values[self.metric]))
        places[self.order(values)] = np.arange(len(places))
        return places

    def order(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """The rows, front by front; in a front those first that add most hypervolume, then as `best` orders them."""
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
        """The objectives (rows, objectives), less is better."""
        columns = [np.asarray(values[one], float) * (1 if one.mode == "min" else -1) for one in self.objectives]
        return np.stack(columns, 1)

    def front(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """The rows of which none is better in all objectives, best first by the first one."""
        losses = self.losses(values)
        rows = np.flatnonzero(fronts_of(losses) == 0)
        return rows[np.lexsort((rows, losses[rows, 0]))]

    def why(self, count: int, first: str | None) -> str:
        """Also of which objective it is the best."""
        return f"the front's best in {self.metric}, of {count:,}, so optimistic"

    def winner(self, finished: Finished) -> int:
        """The front's best in the first objective."""
        return int(self.front(finished.values)[0])

    def written(self) -> dict[str, Any]:
        return super().written() | {"others": [str(one) for one in self.others]}


def pareto(*objectives: Metric | str, keep: int = 1) -> Rule:
    """Trials rank by several objectives: the front of those that none beats in all, then the front of the others.

    In a front those come first that add most to the hypervolume between the front and the worst value of each
    objective (Zitzler and Thiele 1998). The front's best in the first objective wins.

    Args:
        objectives: metrics, of which the first one ranks where one value is shown; "parameters", how many are trained,
            and "flops", operations of an epoch, of which less is better. The task's metric and "parameters" if none
            are given.
        keep: of how many trials the trained states are kept.

    Raises ValueError for one objective alone, and for a first one that is no metric.

    >>> rule = pareto("val_loss", "parameters")
    >>> values = {"val_loss": np.array([0.1, 0.3, 0.2, 0.4]), "parameters": np.array([90, 10, 20, 30])}
    >>> rule.order(values).tolist(), rule.front(values).tolist()
    ([2, 1, 0, 3], [0, 2, 1])
    """
    if not objectives:
        return Pareto(keep=keep)
    return Pareto(objectives[0], keep=keep, others=tuple(objectives[1:]))  # type: ignore[arg-type]
