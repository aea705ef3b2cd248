"""Estimated cost of each plan, in closed form and never timed, so the choice is the same on every machine of a kind.

Seconds = arithmetic / rate + steps * launch + members * steps * parameters * passes + compiling, where passes are more
in a program that adds up gradients.
With one lane the task's shapes are real branches, and only the padded width is wasted. Under vmap
every member computes the largest shape, and takes as many steps as the lowest branch value needs,
except for hyperparameters that have one value in the program.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Set
from typing import Any

import numpy as np

from popjax.core.text import plural
from popjax.engine.caps import MEMBERS, WORTH, Caps, choose, levels
from popjax.space.space import Points, Space, group, take
from popjax.task import Task

EPOCHS = 20  # in a run of the usual length


@dataclasses.dataclass(frozen=True)
class Machine:
    """The speed of a kind of device on small models, rounded and fixed.

    Attributes:
        flops: operations per second, of all `cores`.
        launch: seconds of an optimizer step beside its arithmetic.
        passes: seconds of an update to move one parameter of one member through memory, all passes
            together; 0 where a member stays in the cache.
        accumulating: the factor of `passes` in a program of several branch values, which adds up gradients.
        program, branch: seconds to trace and compile a program, and each of its branches, while
            others train.
        usual: members of the run for which the width caps are chosen.
        lanes: members that advance together.
        branching: True if branches are real (see `TracedTask.tracer`).
        cores: that `flops` counts; 1 of an accelerator.
    """

    flops: float
    launch: float
    passes: float = 0.0
    accumulating: float = 1.0
    program: float = 0.8
    branch: float = 0.4
    usual: int = MEMBERS
    lanes: int = 1
    branching: bool = True
    cores: int = 1


CPU = Machine(flops=2.2e11, launch=6e-6, cores=2)  # measured
# From what XLA compiles for an H100 (benchmarks/compiled.py), not timed: a step is 22 to 36 kernels, and moves 32 bytes
# a parameter, 42 where gradients are added up, at 2.5 TB/s; `flops` is the rate at which what is between the layers
# moves, 0.08 bytes an operation, since arithmetic is faster; a program takes 3 s to compile on two cores, and tuning.
ACCELERATOR = Machine(
    3e13, launch=1e-4, passes=1.3e-11, accumulating=1.3, program=4.0, branch=0.0, usual=4096, branching=False
)


@dataclasses.dataclass(frozen=True)
class Cost:
    """The estimated cost of a plan.

    Attributes:
        plan: its name.
        programs: number of programs that it compiles.
        flops: its operations, padding included.
        compile_seconds, train_seconds: estimates, with nothing compiled yet.
    """

    plan: str
    programs: int
    flops: float
    compile_seconds: float
    train_seconds: float

    @property
    def seconds(self) -> float:
        """Seconds of compiling and training."""
        return self.compile_seconds + self.train_seconds


@dataclasses.dataclass(frozen=True)
class Work:
    """The cost of training members of a task in a space.

    Attributes:
        widths: the dynamic hyperparameters that change only how wide the layers are.
        epochs: of every member.
        machine: the kind of device that trains.
        branches: the hyperparameters that may branch, and their values.
        speed: this device's speed relative to `machine`; no rule may depend on it.
    """

    task: Task
    space: Space
    widths: tuple[str, ...]
    epochs: int
    machine: Machine
    branches: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    speed: float = 1.0

    @property
    def known(self) -> bool:
        """True if the task gives its operations and updates (Hints.flops, Hints.updates)."""
        return self.task.hints.flops is not None and self.task.hints.updates is not None

    @property
    def parted(self) -> frozenset[str]:
        """The names that a program's members share under plan "widths": `branches`, or none if branches are real."""
        return frozenset() if self.machine.branching else frozenset(self.branches)

    def caps(self) -> list[Caps]:
        """The width caps that pay in a run of the usual length, ascending; empty if the cost is not known."""
        if not self.known:
            return []
        usual, each = dataclasses.replace(self, epochs=EPOCHS), self.machine.usual // MEMBERS
        programs = math.prod(len(self.branches[name]) for name in self.parted)
        seconds = lambda points, caps: usual.padded(points, caps, each, self.parted)[1]
        return choose(self.space, self.widths, seconds, programs * self.compiling(self.parted))

    def compiling(self, shared: Set[str] = frozenset()) -> float:
        """Seconds to compile one program with members that share the hyperparameters `shared` and branch in others."""
        branches = math.prod(len(values) for name, values in self.branches.items() if name not in shared)
        return self.machine.program + self.machine.branch * branches

    def padded(self, points: Points, caps: Caps, each: int = 1, shared: Set[str] = frozenset()) -> tuple[float, float]:
        """(operations, seconds) of training `each` members per point in one program with the room of `caps`.

        The program's members share the values of the hyperparameters `shared`.
        """
        hints = self.task.hints
        assert hints.flops is not None
        assert hints.updates is not None
        trials = len(next(iter(points.values())))
        computed = dict(points) | {name: np.full(trials, units) for name, units in caps.items()}
        stepped = dict(points)
        for name in {*hints.shapes, *hints.branches} - shared:
            if self.machine.branching or name not in points or not self.space[name].numeric:
                continue
            if name in hints.branches:
                stepped[name] = np.full(trials, self.space[name].low)
            else:
                computed[name] = np.full(trials, self.space[name].high)
        machine, members = self.machine, trials * each
        repeats = self.epochs * each * in_lanes(members, machine.lanes) / members
        flops = repeats * float(np.sum(self._hinted(hints.flops, computed, shared)))
        updates = self._hinted(hints.updates, stepped, shared)
        parameters = self._hinted(hints.parameters, computed, shared) if hints.parameters else 0
        moved = repeats * float(np.sum(updates * parameters))
        steps = self.epochs * float(np.mean(updates)) * -(-members // machine.lanes)
        passes = machine.passes * (machine.accumulating if self.branches.keys() - shared else 1)
        return flops, flops / machine.flops + steps * machine.launch + moved * passes

    def _hinted(self, hint: Callable[..., Any], points: Points, shared: Set[str]) -> np.ndarray:
        """(trials,): what a hint gives; texts and values that are shared are Python values, as in a program."""
        trials = len(next(iter(points.values())))
        names = [name for name in points if name in shared or not self.space[name].numeric]
        hinted = np.zeros(trials)
        for values, rows in group([points[name].tolist() for name in names], trials).items():
            columns = {name: column[rows] for name, column in points.items()}
            hinted[rows] = hint(columns | dict(zip(names, values, strict=True)))
        return hinted

    def costs(self, points: Points, each: int = 1) -> list[Cost]:
        """The cost of every plan for these points, plan "one" first; empty if the cost is not known."""
        if not self.known:
            return []
        trials = len(next(iter(points.values())))
        full = {name: self.space[name].high for name in self.widths}
        caps = self.caps() or [full]
        level = levels(points, caps).tolist()
        shapes = frozenset(name for name in self.task.hints.shapes if name in points)
        columns = lambda names: [points[name].tolist() for name in sorted(names)]
        programs: dict[str, tuple[Set[str], list[tuple[np.ndarray, Caps]]]] = {
            "one": (frozenset(), [(np.arange(trials), full)]),
            "widths": (
                self.parted,
                [(rows, caps[own[0]]) for own, rows in group([level, *columns(self.parted)], trials).items()],
            ),
            "buckets": (shapes, [(rows, full) for rows in group(columns(shapes), trials).values()]),
        }
        costs = []
        for plan, (shared, parts) in programs.items():
            each_part = [self.padded(take(points, rows), widest, each, shared) for rows, widest in parts]
            flops, seconds = map(sum, zip(*each_part, strict=True))
            costs.append(Cost(plan, len(parts), flops, len(parts) * self.compiling(shared), seconds / self.speed))
        return costs


def in_lanes(members: int, lanes: int) -> int:
    """The members that are computed for so many: whole chunks of lanes, or as many lanes as a small bucket gets."""
    return min(lanes, lanes_of_few(members)) if members < lanes else -(-members // lanes) * lanes


def lanes_of_few(members: int) -> int:
    """The lanes of a small bucket: in powers of two, so that later rounds reuse programs."""
    return 1 << (members - 1).bit_length()


def cheapest(costs: list[Cost]) -> str:
    """The plan for "auto": "one", or the fastest plan if that saves at least a tenth of the time of "one"."""
    if not costs:
        return "one"
    single, best = costs[0], min(costs, key=lambda cost: cost.seconds)
    return best.plan if best.seconds <= WORTH * single.seconds else "one"


def explanation(costs: list[Cost], members: int, exact: float, chosen: str) -> str:
    """The text that --explain prints; `exact`: the operations without padding."""
    lines = [f"members: {members}"]
    for cost in costs:
        share = 1 - exact / cost.flops if cost.flops else 0.0
        programs = plural(cost.programs, "program")
        seconds = f"compiling {cost.compile_seconds:.1f} s, training {cost.train_seconds:.1f} s"
        lines.append(f"plan {cost.plan}: {programs}, {share:.0%} of the arithmetic is padding, about {seconds}")
    if not costs:
        lines.append("without Hints.flops and Hints.updates costs are unknown, so there is one program")
    return "\n".join([*lines, f"chosen: {chosen}"])
