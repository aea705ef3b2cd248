"""Members -> buckets -> lanes, by rule and never timed, so that no result depends on noise.

Trials that share their static hyperparameters form a bucket, one set of programs. Plan "one"
makes static only what must be, plan "buckets" also what the task lists as `shapes`, and plan
"widths" splits trials by the room that their layers need, and under vmap, where branches are not
real, by the values of what may branch.
"""

import dataclasses

import jax
import numpy as np

from popjax.core.machine import cores
from popjax.core.trees import abstract
from popjax.engine.caps import Caps, levels
from popjax.engine.cost import ACCELERATOR, CPU, Work, cheapest, lanes_of_few
from popjax.engine.member import MemberFunctions
from popjax.engine.memory import KEPT_FREE, total
from popjax.engine.tracer import Tracer
from popjax.rewriting.target import on_cpu
from popjax.space.space import Points, group

PLANS = ("auto", "one", "widths", "buckets")
BATCH = 16  # members that a worker takes at once, where they advance one by one
BATCH_BYTES = 2**25  # bound on the state of such a batch, which a commit has to write
ACCELERATOR_LANES = 4096


@dataclasses.dataclass(frozen=True, eq=False)
class Bucket:
    """The trials that share their static hyperparameters.

    Attributes:
        functions: those of one member.
        rows: int (n,), row numbers of the trials' points, ascending.
    """

    functions: MemberFunctions
    rows: np.ndarray


@dataclasses.dataclass
class Lanes:
    """The number of members that train at once; shared by a whole run, since it narrows when memory runs out.

    Attributes:
        count: members per device that advance together under vmap.
        capacity: the most members per device of a batch, a multiple of `count`.
        devices: number of devices over which a batch is spread.
        narrowed: number of times that memory ran out.
        shrinks: True if a small bucket gets fewer lanes: where bits may depend on the lanes, and an
            idle lane costs as much as a busy one.
    """

    count: int
    capacity: int
    devices: int = 1
    narrowed: int = 0
    shrinks: bool = False

    def of(self, members: int) -> "Lanes":
        """The lanes of a bucket of so many members."""
        needed = lanes_of_few(-(-members // self.devices))
        if not self.shrinks or needed >= self.count:
            return self
        return dataclasses.replace(self, count=needed, capacity=needed)

    def narrow(self, needed: int | None) -> None:
        """Halve the capacity; raises MemoryError if one member alone, of `needed` bytes, does not fit."""
        if self.count == self.capacity == 1:
            what = "" if needed is None else f" of {needed} bytes"
            raise MemoryError(f"a single model in training{what} does not fit in the device's memory")
        if self.capacity == self.count:
            self.count = self.capacity = self.count // 2
        else:  # fewer members in the same lanes: their bits stay
            self.capacity = max(1, self.capacity // 2 // self.count) * self.count
        self.narrowed += 1


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """How points are executed.

    Attributes:
        name: "one", "widths" or "buckets".
        buckets: in the order in which they run.
        static: the names of the static hyperparameters.
        lanes: the number of members that train at once.
        reads: the names that the task reads.
        caps: of plan "widths", ascending; else empty.
    """

    name: str
    buckets: list[Bucket]
    static: tuple[str, ...]
    lanes: Lanes
    reads: frozenset[str]
    caps: list[Caps]


def make_plan(tracer: Tracer, plan: str, lanes: Lanes, each: int = 1, caps: list[Caps] | None = None) -> Plan:
    """Check the task, choose what is static and group the points, `each` members per point; nothing is compiled.

    The caps of plan "widths" are chosen by rule if None.
    Raises ValueError for an unknown plan, for a hyperparameter that is to be marked static, and for one that the
    task reads and the space does not name.
    """
    if plan not in PLANS:
        raise ValueError(f"unknown plan {plan!r}; there are {', '.join(PLANS)}")
    task, space, points = tracer.task, tracer.space, tracer.points
    trials = len(rows_of(points))
    work = work_of(tracer, lanes)
    name = choose_plan(work, points, each) if plan == "auto" else plan
    shared = {"one": (), "widths": work.parted, "buckets": task.hints.shapes}[name]
    static = tracer.static_names(set(shared) & set(space))
    caps = [] if name != "widths" else work.caps() if caps is None else caps
    capped = dataclasses.replace(tracer, caps=caps)
    columns = [levels(points, capped.caps).tolist(), *(points[key].tolist() for key in space if key in static)]
    groups = sorted(group(columns, trials).items(), key=lambda item: -item[0][0])  # the widest, so the longest, first
    buckets = [Bucket(capped.member(rows[0], static), rows) for _, rows in groups]
    reads = tracer.read_by([bucket.functions for bucket in buckets])
    return Plan(name, buckets, tuple(key for key in space if key in static), lanes, frozenset(reads), caps)


def work_of(tracer: Tracer, lanes: Lanes) -> Work:
    """The cost model of a checked task's members on this machine."""
    cpu = on_cpu()
    together = 1 if lanes.count == 1 else lanes.count * lanes.devices
    machine = dataclasses.replace(CPU if cpu else ACCELERATOR, lanes=together, branching=tracer.branching)
    member = tracer.trace(tracer.static_names(set()))
    widths = tuple(name for name in member.dynamic if name in member.sizes and name not in tracer.task.hints.shapes)
    speed = cores() / machine.cores if cpu else 1.0
    branches = tracer.branches(member.static.keys())
    return Work(tracer.task, tracer.space, widths, tracer.epochs, machine, branches, speed)


def choose_plan(work: Work, points: Points, each: int) -> str:
    """The plan for "auto".

    On a CPU by the space alone, so that no member's bits depend on the others; on an accelerator the cheapest.
    """
    if on_cpu():
        return "widths" if len(work.caps()) > 1 else "one"
    return cheapest(work.costs(points, each))


def rows_of(points: Points) -> np.ndarray:
    """Int (trials,), the row numbers of a table of points."""
    return np.arange(len(next(iter(points.values()))))


def default_lanes(platform: str, trials: int, devices: int = 1) -> int:
    """Lanes per device: 1 on a CPU, where a member stays in the cache; up to ACCELERATOR_LANES elsewhere."""
    return 1 if platform == "cpu" else min(-(-trials // devices), ACCELERATOR_LANES)


def lanes_for(functions: MemberFunctions, count: int) -> Lanes:
    """The Lanes with `count` lanes: a batch has one chunk, or up to BATCH members if their states are small.

    They depend on the task alone, so populations of all sizes share one executable.
    """
    capacity = count * max(1, min(BATCH, BATCH_BYTES // max(member_bytes(functions), 1)) // count)
    return Lanes(count, capacity, jax.local_device_count(), shrinks=not on_cpu())


def member_bytes(functions: MemberFunctions) -> int:
    """The bytes of one member's training state."""
    leaves = jax.tree.leaves(functions.trace(abstract(functions.task.data)).training)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)


def check_memory(functions: MemberFunctions) -> None:
    """Raise MemoryError if a state, and as much again for an update, do not fit in memory, as far as it is known."""
    needed, there = 2 * member_bytes(functions), total()
    if there is not None and needed > there:
        raise MemoryError(f"one model in training takes {needed} bytes, this machine has {there}")


def members_that_fit(functions: MemberFunctions) -> int | None:
    """The number of members that can train here at the same time, with a fifth of the memory left free.

    None if it is not known how much memory there is.
    """
    there = total()
    return None if there is None else int((1 - KEPT_FREE) * there / (2 * max(member_bytes(functions), 1)))


def members_a_batch(members: int, lanes: Lanes, threads: int) -> int:
    """The size of a batch: a multiple of the lanes, at most the capacity, and few enough to occupy every thread."""
    share = -(-members // threads)
    together = lanes.count * lanes.devices
    return min(lanes.capacity * lanes.devices, -(-share // together) * together)


def places_of(members: int, lanes: Lanes) -> tuple[np.ndarray, np.ndarray]:
    """Places (members,) of a batch's members in its stacked arrays, and int32 (devices,), members on each device."""
    share = -(-members // (lanes.devices * lanes.count)) * lanes.count
    number = np.arange(members)
    counts = np.minimum(np.maximum(members - share * np.arange(lanes.devices), 0), share)
    return number // share * lanes.capacity + number % share, counts.astype(np.int32)
