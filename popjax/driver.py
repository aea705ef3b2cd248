"""The driver: sample, plan, execute, collect."""

import dataclasses
import os
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from popjax.clock import Clock
from popjax.collect import Collector
from popjax.compiler import COMPILER
from popjax.executor import Part, cores, execute, threads
from popjax.plan import Bucket, Plan, make_plan, member_bytes, part_size, room, rows_of
from popjax.population import Members, abstract
from popjax.progress import Quiet
from popjax.results import Results, check_directory
from popjax.space import Space
from popjax.task import Task

CURVE_BYTES = 32  # four metrics in float64


def search(
    task: Task,
    space: Space | Mapping[str, Any],
    trials: int = 512,
    epochs: int = 20,
    seed: int = 0,
    sampler: str = "random",
    repeats: int = 1,
    folds: int = 1,
    metric: str | None = None,
    mode: str | None = None,
    out: Any = None,
    resume: bool = False,
    lanes: int | None = None,
    plan: str = "auto",
    keep: int = 1,
    progress: Any = False,
) -> Results:
    """Train `space.sample(trials, seed, sampler)`, all at once, and rank the trials.

    Args:
        task: how one trial is trained.
        space: the hyperparameters; plain values are constants.
        trials: how many points to sample.
        epochs: units of budget of every member (an objective has 1).
        seed: of the points and of every member's key.
        sampler: "random", "sobol" or "grid".
        repeats, folds: members of a trial; it ranks by their mean.
        metric, mode: what ranks, "min" or "max"; the task's own if not given.
        out: a directory to write the results to; it must not hold a run.
        resume: go on where `out` stands; not yet available for a directory that holds a run.
        lanes: members that advance together under vmap; chosen by rule if not given.
        plan: "one", "buckets" or "auto".
        keep: of how many of the best trials to keep the trained arrays.
        progress: True for a bar, or an object as in `popjax.progress`.

    Returns:
        Results. `.best` is None when all trials diverged.

    Raises:
        ValueError: for anything that cannot be trained, in one line, before compiling.

    >>> from popjax.scales import log_uniform
    >>> from popjax.task import objective
    >>> task = objective(lambda key, hparams: {"loss": (jnp.log10(hparams["x"]) + 2) ** 2})
    >>> results = search(task, Space(x=log_uniform(1e-4, 1)), trials=64)
    >>> 0.005 < results.best.hparams["x"] < 0.02
    True
    """
    space = space if isinstance(space, Space) else Space(**space)
    for name, value in {"trials": trials, "epochs": epochs, "repeats": repeats, "folds": folds, "keep": keep}.items():
        whole(name, value, 1)
    if lanes is not None:
        whole("lanes", lanes, 1)
    whole("seed", seed, 0)
    if seed >= 2**32:
        raise ValueError(f"seed={seed}: choose 0 <= seed < 2**32")
    check_curves(trials, min(epochs, task.epochs or epochs) * repeats * folds)
    points = space.sample(trials, seed, sampler)
    config = Config(
        epochs=min(epochs, task.epochs or epochs),
        seed=seed,
        sampler=sampler,
        repeats=repeats,
        folds=folds,
        metric=metric or task.metric,
        mode=mode or task.mode,
        lanes=lanes,
        plan=plan,
        keep=keep,
    )
    if out is not None:
        check_directory(Path(out), resume)
    results = prepare(task, space, points, config).train(progress)
    if out is not None:
        results.save(out)
    return results


def whole(name: str, value: Any, low: int) -> None:
    """Raise ValueError unless `value` is a whole number of at least `low`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < low:
        raise ValueError(f"{name}={value!r}: give a whole number of at least {low}")


def memory() -> int:
    """The machine's memory in bytes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def check_curves(trials: int, records: int) -> None:
    """Raise ValueError if the curves of so many records a trial could not be held."""
    needed = trials * records * CURVE_BYTES
    if needed > memory():
        what = f"{trials} trials of {records} epochs need {needed / 2**30:.3g} GiB for their curves alone"
        raise ValueError(f"{what}, this machine has {memory() / 2**30:.3g}; lower trials or epochs")


def check_sizes(space: Space) -> None:
    """Raise ValueError for a whole number that no program can hold."""
    for name, scale in space.items():
        if scale.whole and max(abs(scale.low), abs(scale.high)) >= 2**31:
            raise ValueError(f"{name}={scale}: whole numbers end at 2147483647; choose a smaller one, or a real number")


@dataclasses.dataclass(frozen=True)
class Config:
    """All that determines the results, beside the task and the points."""

    epochs: int
    seed: int
    sampler: str
    repeats: int
    folds: int
    metric: str
    mode: str
    lanes: int | None
    plan: str
    keep: int


def prepare(
    task: Task,
    space: Space,
    points: Mapping[str, np.ndarray],
    config: Config,
    ids: np.ndarray | None = None,
) -> "Run":
    """Check everything and plan; nothing is compiled yet.

    `ids` (trials,) are the trials' numbers, from which their keys are made; 0, 1, ... if not given.
    """
    if len(space) == 0:
        raise ValueError("the space is empty: name at least one hyperparameter")
    check_sizes(space)
    plan = make_plan(task, space, points, config.epochs, config.plan, config.lanes)
    largest = member_bytes(plan.buckets[0].member)
    if 2 * largest > memory():
        what = f"one model in training takes {largest / 2**30:.3g} GiB, this machine has {memory() / 2**30:.3g}"
        raise ValueError(f"{what}; choose smaller sizes")
    metrics = plan.buckets[0].member.trace(abstract(task.data)).metrics
    if config.metric not in metrics:
        raise ValueError(f"unknown metric {config.metric!r}; the task reports {', '.join(metrics)}")
    if config.mode not in ("min", "max"):
        raise ValueError(f"unknown mode {config.mode!r}; choose min or max")
    for name in space:
        if name in metrics:
            raise ValueError(f"{name!r} names a hyperparameter and a metric; rename one")
    if config.folds > 1 and "fold" not in plan.reads:
        raise ValueError(f"folds={config.folds}: the task does not read hparams['fold']; use folds=1")
    ids = rows_of(points) if ids is None else ids
    return Run(task, space, points, config, plan, tuple(metrics), ids)


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A planned search of given points.

    Attributes:
        metrics: the names of the task's metrics.
        ids: the trials' numbers (trials,), from which their keys are made.
    """

    task: Task
    space: Space
    points: Mapping[str, np.ndarray]
    config: Config
    plan: Plan
    metrics: tuple[str, ...]
    ids: np.ndarray

    @property
    def trials(self) -> int:
        """How many trials there are."""
        return len(rows_of(self.points))

    def train(self, progress: Any = False) -> Results:
        """Compile and train everything."""
        from popjax.progress import Bar

        show = Bar() if progress is True else progress or Quiet()
        begin = time.perf_counter()
        compiling, training = Clock(), Clock()
        data = jax.tree.map(jnp.asarray, self.task.data)
        show.compiling(len(self.plan.buckets))
        config = self.config
        shape = (self.trials, config.folds, config.repeats, config.epochs)
        collector = Collector(shape, self.metrics, config.metric, config.mode, config.keep)
        parts = (part for bucket in self.plan.buckets for part in self.parts(bucket, compiling))
        with closing(execute(parts, config.seed, data, config.epochs, training)) as reports, closing(show):
            for report in reports:
                collector.add(report)
                show.update(collector.done, collector.total, collector.best_so_far)
        results = collector.results(self.points)
        test = self.score(results, collector, data)
        seconds = {
            "wall_seconds": time.perf_counter() - begin,
            "compile_seconds": compiling.seconds,
            "train_seconds": training.seconds,
        }
        summary = self.summary(results, test, seconds)
        return dataclasses.replace(results, run=self.describe(), summary=summary, winner=self.winner(results))

    def parts(self, bucket: Bucket, clock: Clock) -> list[Part]:
        """A bucket's members in order of trial, fold and repeat, cut into parts; compiling begins."""
        folds, repeats = self.config.folds, self.config.repeats
        each = folds * repeats
        index = (bucket.rows[:, None] * each + np.arange(each)).ravel()
        places = room(bucket.member, self.plan.lanes)
        size = part_size(len(index), places, self.plan.lanes, threads())
        programs = COMPILER.programs(bucket.member, abstract(self.task.data), places, self.plan.lanes, clock)
        return [
            Part(index[at : at + size], self.members(bucket, index[at : at + size], places), programs)
            for at in range(0, len(index), size)
        ]

    def members(self, bucket: Bucket, index: np.ndarray, size: int) -> Members:
        """The arrays of some members, the last one again where there is room."""
        index = np.pad(index, (0, size - len(index)), mode="edge")
        row, fold, repeat = np.unravel_index(index, (self.trials, self.config.folds, self.config.repeats))
        values = {name: self.points[name][row].astype(bucket.member.dtype(name)) for name in bucket.member.dynamic}
        who = [numbers.astype(np.int32) for numbers in (self.ids[row], fold, repeat)]
        return Members(who[0], who[1], who[2], values)

    def score(self, results: Results, collector: Collector, data: Any) -> dict[str, float]:
        """The winner's metrics on the untouched rows, the mean over its members."""
        if results.best is None or self.task.score is None:
            return {}
        trial = results.best.trial
        scores = []
        for arrays, part, place in collector.keeper.states[trial]:
            who = jax.tree.map(lambda column, place=place: column[place], part.members)
            scores.append(part.programs.score.result()(arrays, who, data))
        return {name: float(np.mean([score[name] for score in scores])) for name in scores[0]}

    def describe(self) -> dict[str, Any]:
        """What determines the results, for run.json."""
        return {
            **{key: value for key, value in dataclasses.asdict(self.config).items() if key not in ("lanes", "plan")},
            "trials": self.trials,
            "space": self.space.to_dict(),
            "points": {name: column.tolist() for name, column in self.points.items()},
            "plan": self.plan.name,
            "static": list(self.plan.static),
            "buckets": len(self.plan.buckets),
            "lanes": self.plan.lanes,
            "cores": cores(),
            "device": device(),
            "versions": versions(),
            "data": getattr(self.task.recipe, "digests", None),
        }

    def summary(self, results: Results, test: dict[str, float], seconds: dict[str, float]) -> dict[str, Any]:
        """The figures of summary.json."""
        best = results.best
        steps = self.steps(results)
        test_name = self.config.metric.replace("val_", "test_", 1)
        return {
            "trials": self.trials,
            "epochs": self.config.epochs,
            "seed": self.config.seed,
            "metric": self.config.metric,
            "best": None if best is None else {"trial": best.trial, "value": best.value, "hparams": best.hparams},
            "test_value": finite(test.get(test_name)),
            "test": {name: finite(value) for name, value in test.items()},
            "diverged": int(results.diverged.sum()),
            **seconds,
            "model_steps": steps,
            "steps_run": steps,
            "buckets": len(self.plan.buckets),
            "lanes": self.plan.lanes,
            "device": device(),
            "popjax_version": versions()["popjax"],
            "jax_version": versions()["jax"],
        }

    def steps(self, results: Results) -> int | None:
        """Optimizer updates over all members; a member that diverged made them up to then."""
        if self.task.updates is None:
            return None
        finite_epochs = np.isfinite(results.members[self.config.metric]).sum(-1)
        epochs = np.minimum(finite_epochs + 1, self.config.epochs).sum((1, 2))
        total = 0
        for bucket in self.plan.buckets:
            values = {name: self.points[name][bucket.rows].astype(kind) for name, kind in bucket.member.dynamic.items()}
            total += int((self.task.updates({**bucket.member.static, **values}) * epochs[bucket.rows]).sum())
        return total

    def winner(self, results: Results) -> dict[str, Any] | None:
        """What rebuilds the winner as a predictor."""
        if results.best is None or self.task.recipe is None:
            return None
        static = [name for name in self.space if name in self.plan.static]
        return self.task.recipe.describe() | {"space": self.space.to_dict(), "static": static}


def finite(value: float | None) -> float | None:
    """A number for JSON."""
    return value if value is not None and np.isfinite(value) else None


def device() -> str:
    """The device in words."""
    found = jax.devices()
    if found[0].platform == "cpu":
        return f"CPU, {cores()} cores"
    return found[0].device_kind + (f" x {len(found)}" if len(found) > 1 else "")


def versions() -> dict[str, str]:
    """The versions of popjax and of what computes for it."""
    from importlib.metadata import version

    return {name: version(name) for name in ("popjax", "jax", "jaxlib", "flax", "optax", "numpy")}
