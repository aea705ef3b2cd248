"""Checks of a task before anything is compiled: which hyperparameters must be static, and which are never read."""

import dataclasses
from collections.abc import Set
from typing import Any

import jax
import numpy as np

from popjax.core.faults import place_in, raised_in
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
    """A task and the points to train, traced under different choices of the static hyperparameters.

    Attributes:
        epochs: of the whole run.
        branching: True if each value of what may branch is a branch (see MemberFunctions).
        caps: ascending; a trial's layers are as wide as the first caps that hold them.
        members: the functions so far; a Tracer of other points may share them.
        keeps_best: True if members keep their best epoch.
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
        """The functions of the trial in `row`: one object for equal static values and caps, so traced once."""
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
        """Name -> ascending values of what may branch: hyperparameters with 2 to MOST_BRANCHES whole numbers."""
        if self.branching and not self.task.hints.copies:
            return {}
        names = [name for name in self.task.hints.branches if name in self.space and name not in static]
        values = {name: getattr(self.space[name], "values", ()) for name in names if self.space[name].whole}
        return {name: tuple(sorted(given)) for name, given in values.items() if 1 < len(given) <= MOST_BRANCHES}

    def trace(self, static: set[str]) -> MemberFunctions:
        """The first trial's functions, traced; raises ValueError if the task reads a name that is not in the space."""
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
        """The names that must be static, including `static`; raises ValueError naming one that is to be marked.

        Also beside other static values than the first trial has: they follow from the space, whichever trial is first.
        """
        while True:
            names = self.static_of_first(static)
            try:
                self.trace_others(names)
            except NeedsStatic as error:
                if error.name in names or error.name not in self.space:
                    raise
                static = static | {error.name}
            else:
                return names

    def static_of_first(self, static: set[str]) -> set[str]:
        """The names that must be static, including `static`, beside the static values of the first trial.

        Choices that are not numbers and scales marked static are static. Constant whole numbers are static, and so
        exact, where the task uses them as sizes, and all of them where it needs a Python value; else they are dynamic.
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
                name, alone = self.needed(error, static | constants)
                if not isinstance(self.space[name], Constant):
                    raise ValueError(self.remedy(name, alone)) from None
                static = static | {name}
        exact = constants & member.sizes
        try:
            self.trace(static | exact)
        except Exception as error:
            if not wants_python_value(error):
                raise
            return static | constants
        return static | exact

    def trace_others(self, static: set[str]) -> None:
        """Raise NeedsStatic for a name that must be static beside another static value than the first trial has.

        Other errors are those of a trial, if there is one with these values.
        """
        for other in self.others(static):
            try:
                other.trace(abstract(self.task.data))
            except NeedsStatic:
                raise
            except Exception:
                continue

    def needed(self, error: Exception, static: set[str]) -> tuple[str, Exception]:
        """The hyperparameter that is needed as a Python value, with the error where it alone is none.

        Raises `error` if the task fails with all of them static, too, and ValueError if none alone makes it fail.
        """
        try:
            self.trace(set(self.space))
        except Exception:
            raise error from None
        for name in [name for name in self.space if name not in static]:
            try:
                self.trace(set(self.space) - {name})
            except Exception as alone:
                if wants_python_value(alone):
                    return name, alone
        raise ValueError(f"the task needs a Python value: {str(error).splitlines()[0]}") from None

    def remedy(self, name: str, error: Exception) -> str:
        """The message for a hyperparameter needed as a Python value: what to use instead, or to mark it static."""
        marked = "mark it static=True, a program for each of its values"
        place = place_in(error, surely=True) or " here"
        if name in self.task.remedies:
            return f"{name} is used as a Python value{place}: use {self.task.remedies[name]}, or {marked}"
        if raised_in(error, "optax"):
            outside = f"multiply by hparams[{name!r}] outside of it, as with optax.scale"
            return f"{name} is used as a Python value by optax{place}: {outside}, or {marked}"
        if isinstance(error, jax.errors.TracerBoolConversionError | jax.errors.TracerArrayConversionError):
            return f"{name} is used as a Python value{place}: use jax.numpy, and jnp.where for an if, or {marked}"
        for made, instead in (("float", "leave float() out"), ("int", "use .astype(int)")):
            if f"`{made}` function" in str(error):
                why = "it is an array in the program"
                made = f"{name} is made a Python {made}{place}, but {why}"
                return f"{made}: {instead}; or, if it fixes a shape, {marked}"
        return f"{name} fixes a shape{place}: {marked}"

    def reads(self) -> set[str]:
        """The names of the hyperparameters that the first trial reads."""
        return self.trace(self.static_names(set())).reads & set(self.space)

    def read_by(self, members: list[MemberFunctions]) -> set[str]:
        """The names that these members read; stops once they are all of the space."""
        reads: set[str] = set()
        for member in members:
            member.trace(abstract(self.task.data))
            reads |= member.reads
            if reads >= set(self.space):
                break
        return reads

    def others(self, static: set[str]) -> list[MemberFunctions]:
        """The functions with each value of one static hyperparameter in turn, or the ends of a range of numbers.

        The others are in the middle of their scales. A task may read some names only where a static one has a value
        that no trial has.
        """
        members = []
        for name in sorted(static & set(self.space)):
            scale = self.space[name]
            if scale.levels <= 1:
                continue
            values = getattr(scale, "values", (scale.low, scale.high) if scale.numeric else ())
            column = np.array(values, self.points[name].dtype)
            points = {other: self.space[other].from_unit(np.full(len(column), 0.5)) for other in self.space}
            points[name] = column
            tracer = dataclasses.replace(self, points=points)
            members += [tracer.member(row, static) for row in range(len(column))]
        return members


def check_read(space: Space, reads: Set[str], known: Set[str]) -> None:
    """Raise ValueError for a hyperparameter of `known` that is not read and on which no other depends."""
    parents = {parent for condition in space.conditions.values() for parent in condition}
    for name in space:
        if name in known - reads - parents:
            what = "leave it out, or have the model, the optimizer or the task read it"
            near = meant(name, (reads | set(space)) - {name}, 0.75)
            raise ValueError(f"{name} is read by nothing: {what}{near}")


def wants_python_value(error: Exception) -> bool:
    """True if JAX could not trace because it needed a Python value."""
    concrete = (jax.errors.ConcretizationTypeError, jax.errors.TracerIntegerConversionError)
    fixed = isinstance(error, ValueError) and "static attribute" in str(error)  # of an nnx module: a kernel's shape
    about = fixed or isinstance(error, TypeError | IndexError)
    return isinstance(error, concrete) or (about and "Tracer" in str(error))
