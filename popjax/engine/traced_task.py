"""A task over a space as JAX traces it, before any points are trained: what it reads and reports."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Self

import jax
import numpy as np

from popjax.core.faults import calling
from popjax.core.trees import abstract
from popjax.engine.caps import Caps
from popjax.engine.hints import the_task
from popjax.engine.member import MemberFunctions
from popjax.engine.numbering import Numbering
from popjax.engine.tracer import Tracer
from popjax.rewriting.target import on_cpu
from popjax.rule import Rule
from popjax.space.space import Space
from popjax.task import Task


@dataclasses.dataclass(frozen=True)
class Config:
    """The settings of a population's training, beside the task and the points.

    `epochs` is the last epoch, and the horizon of tasks that have one (`hparams["epochs"]`). `caps` are those of plan
    "widths" if they are known, as on resume; chosen by rule if None. `open_ended`: training may go on beyond `epochs`,
    and no state is given up.
    """

    epochs: int
    seed: int
    rule: Rule
    repeats: int = 1
    folds: int = 1
    lanes: int | None = None
    plan: str = "auto"
    caps: list[Caps] | None = None
    open_ended: bool = False

    @classmethod
    def of_run(cls, run: Mapping[str, Any], rule: Rule) -> Self:
        """The settings that run.json records, with a rule."""
        return cls(rule=rule, **{field.name: run[field.name] for field in dataclasses.fields(cls) if field.name in run})

    @property
    def last(self) -> int | None:
        """The last epoch, after which only the states of the best are kept; None if there is none."""
        return None if self.open_ended else self.epochs

    @property
    def numbering(self) -> Numbering:
        """The numbering of the members."""
        return Numbering(self.folds, self.repeats)


class TracedTask:
    """A task over a space.

    Args:
        task, space: the task, and the space of its hyperparameters.
        config: the settings of the training.

    Raises ValueError for data that JAX does not take, and where JAX is not to compile.
    """

    def __init__(self, task: Task, space: Space, config: Config) -> None:
        check_compiling()
        check_data(task.data)
        self.task = task
        self.space = space
        self.config = config

    @functools.cached_property
    def tracer(self) -> Tracer:
        """The tracer of the task on a random point; a tracer of other points shares what is traced.

        It branches only where branches are real: with one lane on a CPU, the default there. A run of one trial has one
        lane on an accelerator too, but may get more trials.
        """
        check_sizes(self.space)
        config, point = self.config, self.space.sample(1, self.config.seed)
        branching = on_cpu() and config.lanes in (None, 1)
        keeps_best = config.rule.at == "best"
        return Tracer(self.task, self.space, point, config.epochs, branching, keeps_best=keeps_best)

    @functools.cached_property
    def first(self) -> MemberFunctions:
        """A member's functions for the first random point, which identify the task whatever points are trained."""
        with calling(the_task(self.task), surely=False):
            return self.tracer.member(0, self.tracer.static_names(set()))

    @functools.cached_property
    def metrics(self) -> tuple[str, ...]:
        """The names of the task's metrics."""
        with calling(the_task(self.task), surely=False):
            return tuple(self.first.trace(abstract(self.task.data)).metrics)


def check_compiling() -> None:
    """Raise ValueError if the process has JAX compile nothing."""
    if jax.config.jax_disable_jit:
        setting = "jax_disable_jit is set, and popjax compiles what it trains"
        raise ValueError(f"{setting}: unset it (JAX_DISABLE_JIT), and to debug a task call its init and epoch yourself")


def check_data(data: Any) -> None:
    """Raise ValueError for arrays of objects, texts or times in the data, which JAX does not take."""
    for path, leaf in jax.tree_util.tree_flatten_with_path(data)[0]:
        dtype = getattr(leaf, "dtype", None) or np.asarray(leaf).dtype
        if isinstance(dtype, np.dtype) and dtype.kind in "OSUMm":
            name = jax.tree_util.keystr(path)
            raise ValueError(f"data{name} holds {dtype}, which JAX does not take; give numbers in its place")


def check_sizes(space: Space) -> None:
    """Raise ValueError for a scale with numbers that the dtypes of the programs cannot hold."""
    dtype = jax.dtypes.canonicalize_dtype(float)
    least, most = float(np.finfo(dtype).tiny), float(np.finfo(dtype).max)
    for name, scale in space.items():
        ends = [abs(end) for end in (scale.low, scale.high) if end] if scale.numeric and not scale.whole else []
        if ends and not least <= min(ends) <= max(ends) <= most:
            limits = f"in {dtype} a number is 0, or between {least:.2g} and {most:.2g}"
            raise ValueError(f"{name}={scale}: {limits}; choose such a range")
        if scale.whole and max(abs(scale.low), abs(scale.high)) >= 2**31:
            raise ValueError(f"{name}={scale}: whole numbers end at 2147483647; choose a smaller one, or a real number")
