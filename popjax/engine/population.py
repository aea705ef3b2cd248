"""Given points, planned and trained: what searches, rounds and re-tests are made of."""

import dataclasses
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from typing import Any

import jax
import numpy as np

from popjax.core.clock import Clock
from popjax.core.trees import abstract, digest, to_words, unnamed
from popjax.engine.backend import Order, Part, Report, RollCall, Stand, execute, threads
from popjax.engine.caps import Caps
from popjax.engine.checkpoint import Checkpoint
from popjax.engine.collect import Collector
from popjax.engine.compiler import COMPILER
from popjax.engine.member import Members, Programs, on_devices
from popjax.engine.memory import OutOfMemory
from popjax.engine.plan import (
    Bucket,
    Plan,
    Width,
    check_memory,
    checker_for,
    default_width,
    make_plan,
    part_size,
    rows_of,
    spread,
)
from popjax.engine.tracer import Checker, check_read
from popjax.space.space import RESERVED, Space
from popjax.store.commits import Commits
from popjax.store.results import Results
from popjax.task import Task
from popjax.tuning.progress import Quiet


@dataclasses.dataclass(frozen=True)
class Config:
    """All that determines the results, beside the task and the points.

    `caps` are those of plan "widths" where they are known, as those of a run that goes on.
    """

    epochs: int
    seed: int
    metric: str
    mode: str
    sampler: str = "random"
    repeats: int = 1
    folds: int = 1
    rounds: int = 1
    choose: str = "best"
    lanes: int | None = None
    plan: str = "auto"
    keep: int = 1
    caps: list[Caps] | None = None


def check_numbers(counts: Mapping[str, Any], seed: Any = 0) -> None:
    """Raise ValueError unless these are whole numbers of at least 1, and `seed` is one that a key can be made of."""
    for name, value in [*counts.items(), ("seed", seed)]:
        low = 0 if name == "seed" else 1
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < low:
            raise ValueError(f"{name}={value!r}: give a whole number of at least {low}")
    if seed >= 2**32:
        raise ValueError(f"seed={seed}: choose 0 <= seed < 2**32")


class Watch:
    """A search's seconds and updates, and what stops it at the end of an epoch."""

    def __init__(self, stop: threading.Event | None = None) -> None:
        self.begin = time.perf_counter()
        self.compiling = Clock()
        self.training = Clock()
        self.stop = stop or threading.Event()
        self.steps_run: int | None = 0

    def count(self, before: int | None, after: int | None) -> None:
        """Add a round's optimizer updates: those made until now, less those made before this process."""
        known = None not in (before, after, self.steps_run)
        self.steps_run = self.steps_run + after - before if known else None  # type: ignore[operator]

    def seconds(self) -> dict[str, float]:
        """The figures of the summary."""
        wall = time.perf_counter() - self.begin
        clocks = {"compile_seconds": self.compiling.seconds, "train_seconds": self.training.seconds}
        return {"wall_seconds": wall} | clocks


def prepare(
    task: Task,
    space: Space,
    points: Mapping[str, np.ndarray],
    config: Config,
    ids: np.ndarray | None = None,
) -> "Run":
    """Check everything and plan; nothing is compiled yet.

    `ids` (trials,) are the trials' numbers, from which their keys are made; 0, 1, ... if not given.
    A hyperparameter that nothing reads is refused where the points have every static value, of which
    one may decide what is read: not in a few trials of a search.
    """
    check_sizes(space)
    checker, lanes = checker_for(task, space, points, config.epochs, config.lanes)
    first = checker.member(0, checker.settle(set()))
    check_memory(first)
    width, each = default_width(first, lanes), config.folds * config.repeats
    plan = make_plan(checker, config.plan, width, each, config.caps)
    if all(len(set(points[name].tolist())) == space[name].levels for name in plan.static):
        check_read(space, plan.reads)
    metrics = plan.buckets[0].member.trace(abstract(task.data)).metrics
    if config.metric not in metrics:
        raise ValueError(f"unknown metric {config.metric!r}; the task reports {', '.join(metrics)}")
    if config.mode not in ("min", "max"):
        raise ValueError(f"unknown mode {config.mode!r}; choose min or max")
    for name in space:
        if name in metrics or name.removesuffix("_se") in metrics:
            raise ValueError(f"{name!r} names a hyperparameter and a metric; rename one")
    for name in metrics:
        if name in RESERVED or (name.endswith("_se") and name.removesuffix("_se") in metrics):
            raise ValueError(f"{name!r} is a reserved name; call the metric something else")
    if config.folds > 1 and "fold" not in plan.reads:
        raise ValueError(f"folds={config.folds}: the task does not read hparams['fold']; use folds=1")
    ids = rows_of(points) if ids is None else ids
    return Run(checker, config, plan, tuple(metrics), on_devices(task.data, plan.width.devices), ids)


def check_sizes(space: Space) -> None:
    """Raise ValueError for a whole number that no program can hold."""
    for name, scale in space.items():
        if scale.whole and max(abs(scale.low), abs(scale.high)) >= 2**31:
            raise ValueError(f"{name}={scale}: whole numbers end at 2147483647; choose a smaller one, or a real number")


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """Planned points.

    Attributes:
        metrics: the names of the task's metrics.
        data: the task's data on the device.
        ids: the trials' numbers (trials,), from which their keys are made.
    """

    checker: Checker
    config: Config
    plan: Plan
    metrics: tuple[str, ...]
    data: Any
    ids: np.ndarray

    @property
    def task(self) -> Task:
        """How one trial is trained."""
        return self.checker.task

    @property
    def identity(self) -> dict[str, Any]:
        """What tells the data from other data."""
        recipe = self.task.recipe
        return {"arrays": digest(self.data)} if recipe is None else recipe.identity

    @property
    def points(self) -> Mapping[str, np.ndarray]:
        """One column (trials,) a hyperparameter."""
        return self.checker.points

    def at(self, points: Mapping[str, np.ndarray], ids: np.ndarray) -> "Run":
        """The run of other points of the same space, with the same programs and lanes."""
        checker = dataclasses.replace(self.checker, points=points)
        plan = make_plan(checker, self.plan.name, self.plan.width, caps=self.plan.caps)
        return dataclasses.replace(self, checker=checker, plan=plan, ids=ids)

    def train(self, watch: Watch | None = None, show: Quiet | None = None, commits: Commits | None = None) -> Results:
        """Compile and train everything that `commits` do not hold yet; the states of the best stay.

        Once `watch.stop` is set, training stops at the end of an epoch.
        """
        watch, show = watch or Watch(), show or Quiet()
        show.compiling(len(self.plan.buckets))
        config = self.config
        shape = (len(self.ids), config.folds, config.repeats, config.epochs)
        collector = Collector(shape, self.metrics, config.metric, config.mode, config.keep)
        saver = None if commits is None else self.checkpoint(commits)
        stands = self.stands() if saver is None else saver.restore(collector)
        before = self.steps(collector.members[config.metric], collector.epochs)
        with closing(show):
            while stands and not watch.stop.is_set():
                stands = self.advance(stands, collector, watch, show, saver)
        if saver is not None:
            saver.commit(collector)
        after = self.steps(collector.members[config.metric], collector.epochs)
        watch.count(before, after)
        results = dataclasses.replace(collector.results(self.points), choose=config.choose)
        return dataclasses.replace(results, parameters=self.parameters()) if config.choose != "best" else results

    def stands(self) -> list[Stand]:
        """All members before their first epoch, bucket by bucket, in order of trial, fold and repeat."""
        each = self.config.folds * self.config.repeats
        members = [(bucket.rows[:, None] * each + np.arange(each)).ravel() for bucket in self.plan.buckets]
        return [Stand(number, index) for number, index in enumerate(members)]

    def checkpoint(self, commits: Commits) -> Checkpoint:
        """What writes this round's progress; its trials are numbered in a row."""
        each = self.config.folds * self.config.repeats
        training = [bucket.member.trace(abstract(self.data)).training for bucket in self.plan.buckets]
        arrays = [jax.eval_shape(to_words, one) for one in training]
        numbers = np.zeros(len(self.ids), np.int64)
        for number, bucket in enumerate(self.plan.buckets):
            numbers[bucket.rows] = number
        return Checkpoint(commits, int(self.ids[0]) * each, arrays, numbers.repeat(each))

    def advance(
        self, stands: list[Stand], collector: Collector, watch: Watch, show: Quiet, saver: Checkpoint | None
    ) -> list[Stand]:
        """Train on from where members stand; what is left if memory ran out, after which all goes on narrower."""
        parts = (part for stand in stands for part in self.parts(stand, watch.compiling))
        calls = RollCall() if saver is None else saver.calls
        order = Order(self.config.seed, self.data, self.config.epochs, watch.training, watch.stop, calls)
        left = []
        try:
            with closing(execute(parts, order)) as heard:
                for messages in filter(None, heard):
                    self.take(messages, collector, show, saver)
                    left += [message for message in messages if isinstance(message, Stand)]
        except OutOfMemory as error:
            self.plan.width.narrow(error.needed)
        return left

    def take(self, messages: list[Report | Stand], collector: Collector, show: Quiet, saver: Checkpoint | None) -> None:
        """What the workers said, into the curves and towards the disk."""
        for message in messages:
            if isinstance(message, Report):
                collector.add(message)
                show.update(collector.done, collector.total, collector.best_so_far)
            if saver is not None:
                saver.take(message, collector)
        if saver is not None:
            saver.save(collector)

    def parts(self, stand: Stand, clock: Clock) -> list[Part]:
        """Members of one bucket, cut into parts; compiling begins."""
        bucket = self.plan.buckets[stand.bucket]
        width = self.width(bucket)
        programs = self.programs(bucket, clock)
        parts = []
        for piece in stand.cut(part_size(len(stand.index), width, threads())):
            places, counts = spread(len(piece.index), width)
            index = np.full(width.devices * width.part, piece.index[-1])
            index[places] = piece.index
            parts.append(Part(piece, places, self.members(bucket, index), counts, programs))
        return parts

    def width(self, bucket: Bucket) -> Width:
        """How many of a bucket's members train at once, as memory allows now."""
        return self.plan.width.of(len(bucket.rows) * self.config.folds * self.config.repeats)

    def programs(self, bucket: Bucket, clock: Clock) -> Programs:
        """Futures of a bucket's programs."""
        width = self.width(bucket)
        return COMPILER.programs(bucket.member, abstract(self.data), width.part, width.lanes, clock, width.devices)

    def members(self, bucket: Bucket, index: np.ndarray) -> Members:
        """The arrays of the members at these positions of the population."""
        row, fold, repeat = np.unravel_index(index, (len(self.ids), self.config.folds, self.config.repeats))
        values = {name: self.points[name][row].astype(bucket.member.dtype(name)) for name in bucket.member.dynamic}
        who = [numbers.astype(np.int32) for numbers in (self.ids[row], fold, repeat)]
        return Members(who[0], who[1], who[2], values)

    def score(self, row: int, arrays: Mapping[str, np.ndarray], watch: Watch) -> dict[str, float]:
        """A trained trial's metrics on the untouched rows, the mean over its members."""
        if self.task.score is None:
            return {}
        bucket = self.bucket(row)
        state = bucket.member.trace(abstract(self.data)).training.state
        program = self.programs(bucket, watch.compiling).score.result()
        data = jax.tree.map(lambda array: array.addressable_data(0), self.data)
        each = self.config.folds * self.config.repeats
        scores = []
        for member in range(each):
            who = jax.tree.map(lambda column: column[0], self.members(bucket, np.array([row * each + member])))
            own = unnamed(state, {name: array[member] for name, array in arrays.items()})
            scores.append(program(own, who, data))
        return {name: float(np.mean([score[name] for score in scores])) for name in scores[0]}

    def bucket(self, row: int) -> Bucket:
        """The bucket of a trial."""
        return next(bucket for bucket in self.plan.buckets if row in bucket.rows)

    def rebuilt(self, row: int) -> dict[str, Any] | None:
        """What rebuilds a trial as a predictor; None for a task without a recipe."""
        if self.task.recipe is None:
            return None
        room = Space(**self.bucket(row).member.scales)
        known = {"space": room.to_dict(), "static": list(self.plan.static), "epochs": self.config.epochs}
        return self.task.recipe.describe() | known

    def parameters(self) -> np.ndarray:
        """How many trained parameters (trials,) each trial has."""
        counts = np.zeros(len(self.ids), np.int64)
        for bucket in self.plan.buckets:
            count = self.task.parameters(self.values(bucket)) if self.task.parameters else None
            if count is None:
                state = bucket.member.trace(abstract(self.data)).training.state
                count = sum(leaf.size for leaf in jax.tree.leaves(getattr(state, "params", state)))
            counts[bucket.rows] = count
        return counts

    def steps(self, curves: np.ndarray, done: np.ndarray) -> int | None:
        """Optimizer updates over all members with these curves; one that diverged made them up to then."""
        if self.task.updates is None:
            return None
        finite = np.isfinite(curves).sum(-1)
        epochs = np.minimum(finite + 1, done).sum((1, 2))
        updates = [(self.task.updates(self.values(b)) * epochs[b.rows]).sum() for b in self.plan.buckets]
        return int(sum(updates))

    def values(self, bucket: Bucket) -> dict[str, Any]:
        """A bucket's hyperparameters: static ones as Python values, dynamic ones as columns."""
        columns = {name: self.points[name][bucket.rows].astype(kind) for name, kind in bucket.member.dynamic.items()}
        return {**bucket.member.static, **columns}
