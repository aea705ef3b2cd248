"""A task's checks before anything is compiled: what must be static, and what is never read."""

import dataclasses
from collections.abc import Set
from typing import Any

import jax
import numpy as np

from popjax.core.text import meant
from popjax.core.trees import abstract
from popjax.engine.caps import Caps, levels
from popjax.engine.member import MemberFunctions
from popjax.space.scales import Constant
from popjax.space.space import Points, Space, take
from popjax.task import Inactive, NeedsStatic, Task

MOST_BRANCHES = 8


@dataclasses.dataclass(frozen=True, eq=False)
class Tracer:
    """A task with the points to train, traced under different choices of what is static.

    `branching` makes a branch of each value of what may branch (see Member). With `caps`, ascending,
    a trial's layers are as wide as the first that hold them. `members` are the functions so far; a
    Tracer of other points may share them. With `keeps_best` members keep their best epoch.
    """

    task: Task
    space: Space
    points: Points
    epochs: int
    branching: bool = False
    caps: list[Caps] = dataclasses.field(default_factory=list)
    members: dict[Any, MemberFunctions] = dataclasses.field(default_factory=dict)
    keeps_best: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", self.space.filled(self.points))

    def member(self, row: int, static: set[str]) -> MemberFunctions:
        """The functions of the trial in `row`: the same object for the same static values, traced once."""
        values = {name: self.points[name][[row]].tolist()[0] for name in self.space if name in static}
        inactive = self.space.inactive(values)
        values = {name: value for name, value in values.items() if name not in inactive}
        free = [name for name in self.space if name not in static and name not in inactive]
        dynamic = {name: int if self.space[name].whole else float for name in free}
        caps = self.caps[levels(take(self.points, np.array([row])), self.caps)[0]] if self.caps else {}
        key = tuple((name, type(value), value) for name, value in values.items()), tuple(caps.items())
        if key not in self.members:
            branches = self.branches(static) if self.branching else {}
            capped = self.space.replace(**{name: self.space[name].up_to(units) for name, units in caps.items()})
            self.members[key] = MemberFunctions(
                self.task,
                static=values,
                dynamic=dynamic,
                scales=capped,
                epochs=self.epochs,
                branching=self.branching,
                branches=branches,
                inactive=inactive,
                keeps_best=self.keeps_best,
            )
        return self.members[key]

    def branches(self, static: Set[str] = frozenset()) -> dict[str, tuple[int, ...]]:
        """The values of what may branch, where they are whole numbers, and few."""
        names = [name for name in self.task.hints.branches if name in self.space and name not in static]
        values = {name: getattr(self.space[name], "values", ()) for name in names if self.space[name].whole}
        return {name: tuple(sorted(given)) for name, given in values.items() if 1 < len(given) <= MOST_BRANCHES}

    def trace(self, static: set[str]) -> MemberFunctions:
        """The first trial's functions, traced."""
        member = self.member(0, static)
        try:
            member.trace(abstract(self.task.data))
        except KeyError as error:
            name = error.args[0] if error.args else None
            if isinstance(error, Inactive) or name in self.space or name not in member.reads:
                raise
            known = ", ".join(self.space) or "none"
            raise ValueError(f"the task reads {name!r}, which the space does not name; it names {known}") from None
        return member

    def static_names(self, static: set[str]) -> set[str]:
        """The names that must be static, `static` among them; raises ValueError naming another.

        Choices that are not numbers and what the user marked are static. A constant whole
        number is static where the task needs it so, and then exact; else it is dynamic.
        """
        static = static | {name for name, scale in self.space.items() if not scale.numeric or scale.static}
        constants = {n for n, s in self.space.items() if isinstance(s, Constant) and s.whole}
        while True:
            try:
                member = self.trace(static | constants)
                break
            except NeedsStatic as error:
                if error.name in static or error.name not in self.space:
                    raise
                static = static | {error.name}
            except Exception as error:
                if not wants_python_value(error):
                    raise
                raise self.explain(error, static | constants) from None
        exact = constants & member.sizes
        try:
            self.trace(static | exact)
        except Exception as error:
            if not wants_python_value(error):
                raise
            return static | constants
        return static | exact

    def explain(self, error: Exception, static: set[str]) -> Exception:
        """Name the hyperparameter whose Python value the task needs, if that is what is wrong."""
        try:
            self.trace(set(self.space))
        except Exception:
            return error
        for name in [name for name in self.space if name not in static]:
            try:
                self.trace(set(self.space) - {name})
            except Exception as alone:
                if wants_python_value(alone):
                    return ValueError(self.remedy(name, alone))
        return ValueError(f"the task needs a Python value: {str(error).splitlines()[0]}")

    def remedy(self, name: str, error: Exception) -> str:
        """What to do about a hyperparameter whose Python value is needed."""
        marked = f"mark it static=True, {len(set(self.points[name].tolist()))} programs"
        if name in self.task.remedies:
            return f"{name} is used as a Python value here: use {self.task.remedies[name]}, or {marked}"
        if isinstance(error, jax.errors.TracerBoolConversionError | jax.errors.TracerArrayConversionError):
            return f"{name} is used as a Python value here: use jax.numpy, and jnp.where for an if, or {marked}"
        for made, instead in (("float", "leave float() out"), ("int", "use .astype(int)")):
            if f"`{made}` function" in str(error):
                why = "it is an array in the program"
                return f"{name} is made a Python {made} here, but {why}: {instead}; or, if it fixes a shape, {marked}"
        return f"{name} fixes a shape here: {marked}"

    def reads(self) -> set[str]:
        """The hyperparameters that the first trial reads."""
        return self.trace(self.static_names(set())).reads & set(self.space)

    def read_by(self, members: list[MemberFunctions]) -> set[str]:
        """What these members read."""
        reads: set[str] = set()
        for member in members:
            member.trace(abstract(self.task.data))
            reads |= member.reads
            if reads >= set(self.space):
                break
        return reads


def check_read(space: Space, reads: Set[str]) -> None:
    """Raise ValueError for a hyperparameter that is not read, and on which no other depends."""
    parents = {parent for condition in space.conditions.values() for parent in condition}
    for name in space:
        if name not in reads and name not in parents:
            what = "leave it out, or choose a model and optimizer that use it"
            near = meant(name, (reads | set(space)) - {name}, 0.75)
            raise ValueError(f"{name} is read by nothing here: {what}{near}")


def wants_python_value(error: Exception) -> bool:
    """Whether JAX could not trace because it needed a Python value."""
    concrete = (jax.errors.ConcretizationTypeError, jax.errors.TracerIntegerConversionError)
    fixed = isinstance(error, ValueError) and "static attribute" in str(error)  # of an nnx module, as a kernel's shape
    about = fixed or isinstance(error, TypeError | IndexError)
    return isinstance(error, concrete) or (about and "Tracer" in str(error))
