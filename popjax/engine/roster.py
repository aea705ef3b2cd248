"""The members of a population: their hyperparameters, keys, buckets and programs."""

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from popjax.core.clock import Clock
from popjax.core.faults import calling
from popjax.core.text import hparams_text, short
from popjax.core.trees import abstract, named_leaves
from popjax.engine.best_epoch import Training, Wanted
from popjax.engine.compiler import COMPILER
from popjax.engine.hints import check_hints, check_parameters, the_task
from popjax.engine.member import MemberFunctions, Members, Programs, on_devices
from popjax.engine.plan import (
    Lanes,
    Plan,
    check_memory,
    default_lanes,
    lanes_for,
    make_plan,
    rows_of,
)
from popjax.engine.traced_task import Config, TracedTask, check_sizes
from popjax.engine.tracer import Tracer, check_read
from popjax.rewriting.target import target
from popjax.rules.entering import check_on_metrics
from popjax.scheduler import Decision
from popjax.space.points import check_points
from popjax.space.scales import Constant
from popjax.space.space import RESERVED, Points, Space, take
from popjax.store.history import alter
from popjax.task import Task, unknown_metric


class Roster:
    """The trials of a population, to which more may be added, with the programs that train them.

    Args:
        traced: the task.
        points: of the first trials, name -> (trials,).
        numbers: int (trials,), those from which the keys of the first trials are made; 0, 1, ... if None.

    Attributes:
        points: name -> (trials,), the current hyperparameters; see `Space.filled` for inactive ones.
        bucket: int (trials,), the bucket of each trial.
        buckets: the functions of a member of each bucket.
        numbers: int (trials,), the number of each trial, from which its key is made.
        plan: how they are executed.

    Raises ValueError or MemoryError for points that cannot be trained; nothing is compiled.
    """

    def __init__(self, traced: TracedTask, points: Points, numbers: np.ndarray | None = None) -> None:
        self.traced = traced
        self.task, self.space, self.config = traced.task, traced.space, traced.config
        self.points: dict[str, np.ndarray] = {}
        self.bucket = np.zeros(0, np.int64)
        self.buckets: list[MemberFunctions] = []
        self.numbers = np.zeros(0, np.int64) if numbers is None else np.asarray(numbers)
        check_points(self.space, points)
        with calling(the_task(self.task), surely=False):
            self.plan = first_plan(self._tracer(points), self.config)
        self._append(points, self._checked(points, self.plan))

    def __len__(self) -> int:
        return len(self.bucket)

    @functools.cached_property
    def data(self) -> Any:
        """The task's data, replicated on the devices."""
        return on_devices(self.task.data, self.plan.lanes.devices)

    @property
    def settable(self) -> tuple[str, ...]:
        """The hyperparameters that may change in every trial: they fix no shape of a state, and epoch reads them."""
        free = set(self.task.hints.branches)
        fixed = {name for member in self.buckets for name in [*member.static, *(member.sizes - free), *member.of_init]}
        return tuple(name for name in self.space if name not in fixed)

    def planned(self, points: Points) -> Plan:
        """The plan of further trials, uncompiled. Raises ValueError or MemoryError for those that cannot be trained."""
        with calling(the_task(self.task), surely=False):
            plan = make_plan(self._tracer(points), self.plan.name, self.plan.lanes, caps=self.plan.caps)
        return self._checked(points, plan)

    def add(self, points: Points) -> None:
        """Append trials, numbered after the others; raises as `planned`."""
        self._append(points, self.planned(points))

    def _tracer(self, points: Points) -> Tracer:
        return dataclasses.replace(self.traced.tracer, points=points)

    def _checked(self, points: Points, plan: Plan) -> Plan:
        """The plan itself. Raises ValueError if metrics, parameters, sizes or hints contradict the traced task."""
        with calling(the_task(self.task), surely=False):
            check_metrics([bucket.functions for bucket in plan.buckets])
            if "parameters" in self.config.rule.costs:
                check_parameters(self._tracer(points))
        for bucket in plan.buckets:
            own = take(self.space.filled(points), bucket.rows)
            check_room(bucket.functions, own)
            check_hints(bucket.functions, own)
        return plan

    def _append(self, points: Points, plan: Plan) -> None:
        number = np.zeros(len(next(iter(points.values()))), np.int64)
        for bucket in plan.buckets:
            if bucket.functions not in self.buckets:
                self.buckets.append(bucket.functions)
            number[bucket.rows] = self.buckets.index(bucket.functions)
        points = self.space.filled(points)
        known = self.points or {name: column[:0] for name, column in points.items()}
        self.points = {name: np.concatenate([column, points[name]]) for name, column in known.items()}
        self.bucket = np.concatenate([self.bucket, number])
        rows = np.arange(len(self.numbers), len(self))
        self.numbers = np.concatenate([self.numbers, rows])

    def alter(self, decision: Decision) -> None:
        """Copy and set the hyperparameters of trials, as a decision says."""
        alter(decision, self.points)
        changed = list(decision.set)
        for name, column in self.space.filled(take(self.points, np.array(changed, int))).items():
            self.points[name][changed] = column

    def check_set(self, trial: int, name: str, value: Any) -> None:
        """Raise ValueError unless a trial's hyperparameter may become `value`; new numbers are traced with the task."""
        functions = self.buckets[self.bucket[trial]]
        if name not in self.points:
            raise ValueError(f"{name} is no hyperparameter here; there are {', '.join(self.points)}")
        if name in functions.inactive:
            raise ValueError(f"{name} exists only when {functions.inactive[name]}; set it only there")
        if name not in functions.dynamic:
            raise ValueError(f"{name} fixes a shape or code of the program; start a new run with another {name}")
        try:
            scale = Constant(value)
            check_sizes(Space(**{name: scale}))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        if not scale.numeric:
            raise ValueError(f"{name}={value!r}: give a number")
        if name in functions.of_init:
            raise ValueError(f"{name} is read by init alone, so a change has no effect; start a new run with another")
        if functions.dynamic[name] is int and not scale.whole:
            raise ValueError(f"{name}={value!r}: it started as a whole number; give one, or start with {name}=1.0")
        traced = functions.scales[name]
        if value not in (known := functions.branches.get(name, (value,))):
            raise ValueError(f"{name}={value}: the program branches for {', '.join(map(str, known))}; set one of them")
        if name in functions.sizes:
            if not traced.low <= value <= traced.high or traced.from_unit(traced.to_unit(value)) != value:
                raise ValueError(f"{name}={value}: the program was made for {traced}")
            return
        if traced.numeric and traced.low <= value <= traced.high:  # the task was traced with these
            return
        scales = functions.scales.replace(**{name: scale})
        probe = MemberFunctions(functions.task, functions.static, functions.dynamic, scales, functions.epochs)
        jax.eval_shape(probe.init, np.uint32(0), probe.example, abstract(self.task.data))

    def lanes(self, bucket: int) -> Lanes:
        """A copy of the lanes of a bucket, as memory allows now."""
        lanes = self.plan.lanes.of(int((self.bucket == bucket).sum()) * self.config.numbering.each)
        return dataclasses.replace(lanes)

    def programs(self, bucket: int, lanes: Lanes, clock: Clock, tuning: Path | None = None) -> Programs:
        """Futures of a bucket's programs with these lanes; see `Compiler.programs`."""
        member, data = self.buckets[bucket], abstract(self.task.data)
        self.check_reported(bucket, member.trace(data).metrics)
        return COMPILER.programs(member, data, lanes.capacity, lanes.count, clock, lanes.devices, tuning)

    def check_reported(self, bucket: int, metrics: Iterable[str]) -> None:
        """Raise ValueError unless a bucket reports the metrics of the first one."""
        for name in sorted(set(self.traced.metrics) ^ set(metrics)):
            one, other = (self.traced.first, self.buckets[bucket])[:: 1 if name in self.traced.metrics else -1]
            raise reported_by_some(self.task, name, one.static, other.static)

    def members(self, bucket: int, index: np.ndarray) -> Members:
        """The arrays (n,) of members of one bucket; `index`, int (n,): their numbers in the population."""
        row, fold, repeat = self.config.numbering.places(index)
        functions = self.buckets[bucket]
        values = {name: self.points[name][row].astype(functions.dtype(name)) for name in functions.dynamic}
        indices = [numbers.astype(np.int32) for numbers in (self.numbers[row], fold, repeat)]
        return Members(indices[0], indices[1], indices[2], values, self._wanted(len(index)))

    def _wanted(self, members: int) -> Wanted | None:
        """Wanted with arrays (members, ...); None if the rule does not choose the best epoch."""
        improvement = self.config.rule.improvement
        if improvement is None:
            return None
        wanted = Wanted.of(improvement, self.traced.metrics)
        return Wanted(*(np.broadcast_to(array, (members, *array.shape)) for array in wanted))

    def member(self, bucket: int, number: int) -> Members:
        """The arrays of one member, 0-d."""
        one: Members = jax.tree.map(lambda column: column[0], self.members(bucket, np.array([number])))
        return one

    def abstract(self, bucket: int) -> Training:
        """The abstract training state of one member of a bucket."""
        training: Training = self.buckets[bucket].trace(abstract(self.task.data)).training
        return training

    def each_bucket(self) -> Iterable[tuple[MemberFunctions, np.ndarray, dict[str, Any]]]:
        """For each bucket: a member's functions, its trials (n,), and name -> column (n,) or static Python value."""
        for number, member in enumerate(self.buckets):
            rows = np.flatnonzero(self.bucket == number)
            columns: dict[str, Any] = {n: self.points[n][rows].astype(kind) for n, kind in member.dynamic.items()}
            yield member, rows, {**member.static, **columns}


def first_plan(tracer: Tracer, config: Config) -> Plan:
    """Check the task, its points and metrics, and plan; nothing is compiled yet.

    Raises MemoryError if no member fits, and ValueError for what cannot be trained.
    """
    task, space, points = tracer.task, tracer.space, tracer.points
    count = config.lanes
    if count is None:
        count = default_lanes(target(), len(rows_of(points)), jax.local_device_count())
    first = tracer.member(0, tracer.static_names(set()))
    check_memory(first)
    plan = make_plan(tracer, config.plan, lanes_for(first, count), config.numbering.each, config.caps)
    check_all_read(tracer, plan)
    traced = plan.buckets[0].functions.trace(abstract(task.data))
    named_leaves(traced.training)  # no two arrays of a state have one name
    metrics = traced.metrics
    for metric in config.rule.metrics:
        if metric not in metrics:
            raise unknown_metric(task, metric, metrics)
    check_on_metrics(config.rule, list(metrics), config.numbering.each)
    for name in space:
        if name in metrics or name.removesuffix("_se") in metrics:
            raise ValueError(f"{name!r} names a hyperparameter and a metric; rename one")
    for name in metrics:
        if name in RESERVED or (name.endswith("_se") and name.removesuffix("_se") in metrics):
            raise ValueError(f"{name!r} is a reserved name; call the metric something else")
    if config.folds > 1 and "fold" not in plan.reads:
        raise ValueError(f"folds={config.folds}: the task does not read hparams['fold']; use folds=1")
    return plan


def check_metrics(members: Sequence[MemberFunctions]) -> None:
    """Raise ValueError for a metric that a task reports with some texts of its static hyperparameters only."""
    texts = lambda member: {name: value for name, value in member.static.items() if isinstance(value, str)}
    different = list({tuple(texts(member).items()): member for member in members[::-1]}.values())[::-1]
    reported = [set(member.trace(abstract(member.task.data)).metrics) for member in different]
    for member, metrics in zip(different, reported, strict=True):
        for name in sorted(reported[0] ^ metrics):
            one, other = (different[0], member) if name in reported[0] else (member, different[0])
            raise reported_by_some(member.task, name, texts(one), texts(other))


def reported_by_some(task: Task, metric: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> ValueError:
    """The error of a metric that is reported with some static hyperparameters, and not with others."""
    what = f"{the_task(task)} reports the metric {metric!r} with {hparams_text(one)}, not with {hparams_text(other)}"
    return ValueError(f"{what}; report the same ones with all")


def check_room(functions: MemberFunctions, points: Points) -> None:
    """Raise ValueError for a size beyond those that the shapes of a bucket's program were made for."""
    for name in sorted(functions.sizes & functions.dynamic.keys() & points.keys()):
        scale, values = functions.scales[name], points[name]
        outside = (values < scale.low) | (values > scale.high)
        if outside.any():
            what = f"the program has room for {scale}"
            raise ValueError(f"add: {name}={short(values[outside][0])}: {what}; give a value within it")


def check_all_read(tracer: Tracer, plan: Plan) -> None:
    """Raise ValueError for a hyperparameter that no trial reads, nor the first under other static values."""
    reads, members = set(plan.reads), [bucket.functions for bucket in plan.buckets]
    if not reads >= set(tracer.space):
        others = tracer.others(set(plan.static))
        reads, members = reads | tracer.read_by(others), [*members, *others]
    check_read(tracer.space, reads, {name for member in members for name in (*member.static, *member.dynamic)})
