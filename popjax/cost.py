"""What each plan would cost, in closed form: no stopwatch, so the choice is the same on every machine of a kind.

Seconds = arithmetic / rate + steps * launch + programs * compile. With one lane, depth and
batch size are real branches, and only the padded width is wasted; under vmap every member
pays for the deepest, and steps in micro-batches of the smallest size.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from popjax.space import Space
from popjax.task import Task

COMPILE = 2.0  # seconds a program, about; two compile at a time


@dataclasses.dataclass(frozen=True)
class Machine:
    """What a kind of device is good for on small models: measured once, rounded, and then fixed.

    Attributes:
        flops: operations a second, over all cores.
        launch: seconds that a step of the optimizer takes beside its arithmetic, over all cores.
    """

    flops: float
    launch: float


CPU_CORE = Machine(flops=7e10, launch=8e-6)
ACCELERATOR = Machine(flops=5e12, launch=1.5e-4)


def cpu(cores: int) -> Machine:
    """All cores of a CPU."""
    return Machine(CPU_CORE.flops * cores, CPU_CORE.launch / cores)


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a plan would cost.

    Attributes:
        plan: its name.
        programs: how many programs it compiles.
        flops: its arithmetic, padding included.
        compile_seconds, train_seconds: estimates.
    """

    plan: str
    programs: int
    flops: float
    compile_seconds: float
    train_seconds: float

    @property
    def seconds(self) -> float:
        """Compiling and training."""
        return self.compile_seconds + self.train_seconds


def costs(
    task: Task, space: Space, points: Mapping[str, np.ndarray], epochs: int, each: int, lanes: int, machine: Machine
) -> list[Cost]:
    """What "one" and "buckets" would cost; empty for a task that does not say how much it computes.

    Args:
        points: one column (trials,) a hyperparameter.
        each: members of a trial.
        lanes: 1 where branches are real.
        machine: what trains.
    """
    if task.flops is None or task.updates is None:
        return []
    trials = len(next(iter(points.values())))
    shapes = [name for name in task.shapes if name in space.searched]
    buckets = len(set(zip(*(points[name].tolist() for name in shapes), strict=True))) if shapes else 1
    widths = {name: column for name, column in points.items() if name not in shapes}
    padded = dict(points) | {name: np.full(trials, space[name].high) for name in widths if name.startswith("hidden")}
    deepest = padded | {name: np.full(trials, space[name].high) for name in shapes if name == "depth"}
    chunks = {"one": -(-trials * each // lanes), "buckets": -(-trials * each // lanes) + (buckets if lanes > 1 else 0)}
    found = []
    for plan, programs in (("one", 1), ("buckets", buckets)):
        vmapped = plan == "one" and lanes > 1
        flops = epochs * each * float(np.sum(task.flops(deepest if vmapped else padded)))
        updates = np.broadcast_to(task.updates(smallest(points, space) if vmapped else points), trials)
        steps = epochs * chunks[plan] * float(updates.mean())
        train = flops / machine.flops + steps * machine.launch
        found.append(Cost(plan, programs, flops, COMPILE * (programs + programs % 2) / 2, train))
    return found


def smallest(points: Mapping[str, np.ndarray], space: Space) -> dict[str, Any]:
    """The points with the batch size by which a program of dynamic batches steps."""
    if "batch_size" not in points:
        return dict(points)
    return dict(points) | {"batch_size": np.full(len(points["batch_size"]), space["batch_size"].low)}


def cheaper(found: list[Cost]) -> str:
    """The plan for "auto": one program, unless buckets save a tenth."""
    by_name = {cost.plan: cost for cost in found}
    if not found or by_name["buckets"].seconds > 0.9 * by_name["one"].seconds:
        return "one"
    return "buckets"


def explanation(found: list[Cost], members: int, exact: float, chosen: str) -> str:
    """What --explain prints."""
    lines = [f"members: {members}"]
    for cost in found:
        share = 1 - exact / cost.flops if cost.flops else 0.0
        programs = "1 program" if cost.programs == 1 else f"{cost.programs} programs"
        seconds = f"compiling {cost.compile_seconds:.1f} s, training {cost.train_seconds:.1f} s"
        lines.append(f"plan {cost.plan}: {programs}, {share:.0%} of the arithmetic is padding, about {seconds}")
    if not found:
        lines.append("the task does not say how much it computes (Task.flops), so there is one program")
    return "\n".join([*lines, f"chosen: {chosen}"])
