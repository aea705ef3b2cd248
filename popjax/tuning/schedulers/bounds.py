"""Values of a scheduler that lie outside the ranges of the space are said, once. No JAX here."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from popjax.core.text import short, tell
from popjax.scheduler import Decision, added
from popjax.space.space import Points, Space, take
from popjax.space.values import present

type Propose = Callable[..., dict[str, np.ndarray]]


class Bounds:
    """The ranges of a search, and of the spaces from which its scheduler asks for points, which may be wider.

    Args:
        space: of the search.
        trials: number of points that the search is for.
    """

    def __init__(self, space: Space, trials: int) -> None:
        self.spaces = [space]
        self.trials = trials
        self.said = self.counted = False
        self.violating = set[str]()  # those of which it was said

    def proposing(self, propose: Propose) -> Propose:
        """`Problem.propose` that takes note of the spaces that it gets."""

        def proposed(n: int, trials: Any = None, space: Space | None = None) -> dict[str, np.ndarray]:
            if space is not None and space not in self.spaces:
                self.spaces.append(space)
            return propose(n, trials, space)

        return proposed

    def look(self, what: str, decision: Decision, points: Points) -> None:
        """Say the first value of a decision outside all ranges, the first constraint that its points violate, and that
        there are more trials than asked for.

        Each is said once. `points`: those of all trials before the decision.
        """
        trials = len(next(iter(points.values()), ()))
        if not self.counted and decision.add and trials + added(decision) > self.trials:
            self.counted = True
            tell(f"popjax: {what} adds trials beyond the {self.trials} asked for; they are trained, and said once")
        if what not in self.violating and (constraint := broken(self.spaces[0], decision, points)):
            self.violating.add(what)
            tell(f"popjax: {what} gives a point that violates {constraint}; it is trained so, and said once")
        if self.said:
            return
        for name, values in given_numbers(decision):
            outside = ~np.any([within(space, name, values) for space in self.spaces], axis=0)
            if outside.any():
                self.said = True
                value, scale = short(values[outside][0]), self.spaces[0][name]
                tell(f"popjax: {what} gives {name}={value}, outside {scale}; it is trained so, and said once")
                return


def broken(space: Space, decision: Decision, points: Points) -> str:
    """The first constraint of a space that a point violates which a decision adds or sets; "" if none does.

    `points`: those of all trials before the decision.
    """
    if not space.constraints:
        return ""
    parts, changed = [space.masked(decision.add)] if decision.add else [], list(decision.set)
    if changed:
        rows = np.array([decision.copy.get(trial, trial) for trial in changed])  # copies come first
        now = {name: column.astype(object) for name, column in take(points, rows).items()}
        for row, values in enumerate(decision.set.values()):
            for name, value in values.items():
                now[name][row] = value
        parts.append(space.masked(now))
    return next(
        (str(constraint) for constraint in space.constraints for part in parts if not constraint.holds(part).all()), ""
    )


def given_numbers(decision: Decision) -> Iterator[tuple[str, np.ndarray]]:
    """Each hyperparameter with the numbers (n,) that a decision gives it, in new trials or by `set`."""
    numbers: dict[str, list[Any]] = {}
    for values in decision.set.values():
        for name, value in values.items():
            numbers.setdefault(name, []).append(value)
    for name, column in [*decision.add.items(), *((name, np.array(column)) for name, column in numbers.items())]:
        column = np.asarray(column)
        if column.ndim == 1 and column.dtype.kind in "biuf":
            yield name, column[present(column)]


def within(space: Space, name: str, values: np.ndarray) -> np.ndarray:
    """bool (n,): numbers (n,) lie in the range of a hyperparameter; True for what has no range, or is not there."""
    scale = space.get(name)
    if scale is None or not scale.numeric:
        return np.ones(len(values), bool)
    return np.asarray((values >= scale.low) & (values <= scale.high))
