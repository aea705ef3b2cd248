"""What each plan would cost, in closed form: no stopwatch, so the choice is the same on every machine of a kind.

Seconds = arithmetic / rate + steps * launch + what the programs take to compile. With one lane,
depth and batch size are real branches, and only the padded width is wasted; under vmap every
member pays for the deepest, and steps in micro-batches of the smallest size.
"""

import dataclasses

import numpy as np

from popjax.caps import WORTH, Caps, choose, levels
from popjax.space import Points, Space, group, take
from popjax.task import Task

PROGRAM, BRANCH = 0.8, 0.4  # seconds to trace and compile, while others train: what every program takes, and a branch
EPOCHS = 20  # of a run of the usual length


@dataclasses.dataclass(frozen=True)
class Machine:
    """What a kind of device is good for on small models: measured once, rounded, and then fixed.

    Attributes:
        flops: operations a second.
        launch: seconds that a step of the optimizer takes beside its arithmetic.
        lanes: members that advance together; 1 where branches are real.
    """

    flops: float
    launch: float
    lanes: int = 1


CPU = Machine(flops=2.2e11, launch=6e-6)  # of two cores
ACCELERATOR = Machine(flops=5e12, launch=1.5e-4)


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a plan would cost.

    Attributes:
        plan: its name.
        programs: how many programs it compiles.
        flops: its arithmetic, padding included.
        compile_seconds, train_seconds: estimates, if nothing is compiled yet.
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


@dataclasses.dataclass(frozen=True)
class Work:
    """What members of a task cost in a space.

    Attributes:
        widths: the dynamic hyperparameters that change nothing but how wide the layers are.
        epochs: of every member.
        machine: the kind of what trains.
        branches: of a program that holds all batch sizes.
        speed: how many times as fast this one is; no rule may depend on it.
    """

    task: Task
    space: Space
    widths: tuple[str, ...]
    epochs: int
    machine: Machine
    branches: int = 1
    speed: float = 1.0

    @property
    def known(self) -> bool:
        """Whether the task says how much it computes."""
        return self.task.flops is not None and self.task.updates is not None

    def caps(self) -> list[Caps]:
        """The width caps that pay, ascending, in a run of the usual length; empty where nobody knows."""
        if not self.known:
            return []
        usual = dataclasses.replace(self, epochs=EPOCHS)
        return choose(self.space, self.widths, lambda points, caps: usual.padded(points, caps)[1], self.compiling())

    def compiling(self, exact: bool = False) -> float:
        """Seconds of compiling one program; one of exact shapes has no branches."""
        return PROGRAM + BRANCH * (1 if exact else self.branches)

    def padded(self, points: Points, room: Caps, each: int = 1, exact: bool = False) -> tuple[float, float]:
        """Operations, and seconds, of training `each` members a point in one program with that room.

        `exact` is whether all share their depth and batch size.
        """
        assert self.task.flops is not None
        assert self.task.updates is not None
        trials = len(next(iter(points.values())))
        computed = dict(points) | {name: np.full(trials, units) for name, units in room.items()}
        stepped = dict(points)
        if self.machine.lanes > 1 and not exact:
            computed |= {"depth": np.full(trials, self.space["depth"].high)} if "depth" in points else {}
            smallest = self.space["batch_size"].low if "batch_size" in points else 0
            stepped |= {"batch_size": np.full(trials, smallest)} if smallest else {}
        flops = self.epochs * each * float(np.sum(np.broadcast_to(self.task.flops(computed), trials)))
        updates = float(np.mean(np.broadcast_to(self.task.updates(stepped), trials)))
        steps = self.epochs * updates * -(-trials * each // self.machine.lanes)
        return flops, flops / self.machine.flops + steps * self.machine.launch

    def costs(self, points: Points, each: int = 1) -> list[Cost]:
        """What every plan would cost for these points; empty for a task that does not say how much it computes."""
        if not self.known:
            return []
        trials = len(next(iter(points.values())))
        full = {name: self.space[name].high for name in self.widths}
        caps = self.caps() or [full]
        level = levels(points, caps).tolist()
        shapes = [points[name].tolist() for name in self.task.shapes if name in points]
        programs: dict[str, list[tuple[np.ndarray, Caps]]] = {
            "one": [(np.arange(trials), full)],
            "widths": [(rows, caps[own]) for (own,), rows in group([level], trials).items()],
            "buckets": [(rows, full) for rows in group(shapes, trials).values()],
        }
        found = []
        for plan, parts in programs.items():
            each_part = [self.padded(take(points, rows), room, each, plan == "buckets") for rows, room in parts]
            flops, seconds = map(sum, zip(*each_part, strict=True))
            compiling = len(parts) * self.compiling(plan == "buckets")
            found.append(Cost(plan, len(parts), flops, compiling, seconds / self.speed))
        return found


def cheapest(found: list[Cost]) -> str:
    """The plan for "auto": one program, unless another plan saves a tenth."""
    if not found:
        return "one"
    one, best = found[0], min(found, key=lambda cost: cost.seconds)
    return best.plan if best.seconds <= WORTH * one.seconds else "one"


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
