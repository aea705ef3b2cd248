"""The request of a search, checked before anything is trained."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from popjax.core.faults import calling
from popjax.core.fingerprint import fingerprint, home_of
from popjax.core.text import short
from popjax.engine.caps import Caps
from popjax.engine.hints import check_settings_of, counts_of, the_task
from popjax.engine.memory import host_total
from popjax.engine.traced_task import Config, TracedTask
from popjax.executors.backend import Local, Remote
from popjax.rule import COSTS, Rule
from popjax.rules.entering import rule_for
from popjax.scheduler import Problem
from popjax.space.samplers import SAMPLERS
from popjax.space.space import Points, Space
from popjax.task import Task, unknown_metric
from popjax.tuning.by_optuna import OptunaSampler
from popjax.tuning.proposals import (
    BATCH,
    BESIDE,
    PRUNED,
    Accepting,
    Learning,
    check_sampler,
    default_ends,
    design,
    learning,
    learns,
    proposals,
)
from popjax.tuning.schedulers.asking import CheckedScheduler, checked, made_for
from popjax.tuning.schedulers.bounds import Bounds
from popjax.tuning.schedulers.halving import takes_batches
from popjax.tuning.schedulers.plain import plain
from popjax.tuning.schedulers.rounds import Rounds, even
from popjax.tuning.search_options import SearchOptions
from popjax.tuning.start import beginning_with, start_points

CURVE_BYTES = 32  # per epoch of a member: four metrics in float64


@dataclasses.dataclass(frozen=True, eq=False)
class SearchRequest:
    """Everything that determines the results of a search.

    Attributes:
        task: the task in `options.folds` folds.
        space: the space of hyperparameters.
        options: checked options, with the metric, its mode and the last epoch filled in.
        ends: cumulative number of trials at the end of each round.
        lanes, plan: as requested, or the recorded ones on resume.
        caps: the recorded caps on resume under the plan "widths"; else None.
        beside: True if the scheduler adds each round while earlier ones train on.
    """

    task: Task
    space: Space
    options: SearchOptions
    ends: tuple[int, ...]
    lanes: int | None = None
    plan: str = "auto"
    caps: list[Caps] | None = None
    beside: bool = False

    @classmethod
    def of(
        cls, task: Task, space: Space | Mapping[str, Any] | None, options: SearchOptions, backend: Local | Remote
    ) -> Self:
        """Check a request. Raises ValueError, in one line, for what cannot be trained; nothing is compiled."""
        if not isinstance(task, Task):
            what = "give a popjax.Task, such as popjax.supervised((x, y)) or popjax.objective(function)"
            raise ValueError(f"the task is a {type(task).__name__}; {what}")
        check_settings_of(task)
        check_sampler(options.sampler)
        options = options.checked()
        space = space_asked(task, space, options.folds)
        space.check_conditions()
        options = dataclasses.replace(options, epochs=min(options.epochs, task.hints.epochs or options.epochs))
        check_curves(options)
        options = dataclasses.replace(options, rank=what_ranks(task, space, options))
        task = folded(task, options.folds)
        accepting = accepted_costs(task, space, options.rank)
        if options.start is not None:
            accepts = None if accepting is None else accepting.accepts
            start = start_points(options.start, space, options.seed, options.trials, accepts)
            options = dataclasses.replace(options, start=start)
        beside = trains_beside(options)
        return cls(task, space, options, ends_asked(options, space), backend.lanes, backend.plan, beside=beside)

    @property
    def config(self) -> Config:
        """The training configuration of the population."""
        known = {name: getattr(self.options, name) for name in ("epochs", "seed", "repeats", "folds")}
        return Config(rule=self.options.rank, lanes=self.lanes, plan=self.plan, caps=self.caps, **known)

    @property
    def deciders(self) -> dict[str, str]:
        """The fingerprints of a scheduler and of a sampler that are not popjax's."""
        given: dict[str, Any] = {"scheduler": self.options.inner, "sampler": self.options.sampler}
        if isinstance(name := given["sampler"], str):
            given["sampler"] = getattr(learning(name), "ask", None) if learns(name) else SAMPLERS[name]
        own = {what: made for what, made in given.items() if made and not home_of(made).startswith("popjax.")}
        return {what: fingerprint(made) for what, made in own.items()}

    def scheduler(self) -> CheckedScheduler:
        """The scheduler for this problem, in rounds if there are several; raises ValueError if it is no Scheduler."""
        options = self.options
        bounds, learning = Bounds(self.space, options.trials), learns(options.sampler)
        propose = bounds.proposing(self._propose())
        problem = Problem(self.space, options.trials, options.epochs, options.seed, options.rank, propose, learning)
        make = options.inner or plain
        if len(self.ends) == 1:
            return made_for(make, problem, bounds)
        if self.beside:
            batches = np.diff([0, *self.ends]).tolist()
            return made_for(make, problem._replace(batches=tuple(batches)), bounds)
        return checked(Rounds(problem, self.ends, make).scheduler(), "the scheduler rounds", bounds)

    def _propose(self) -> Any:
        """The function `Problem.propose`: the points to start with, then those of the sampler."""
        options, first = self.options, self.options.start or []
        accepting = accepted_costs(self.task, self.space, options.rank)
        known: Any = {"seed": options.seed, "before": len(first), "accepting": accepting}
        if learns(options.sampler):
            known |= {"epochs": options.epochs, "ends": self.ends, "rule": options.rank}
            propose = proposals(options.sampler, self.space, **known)
        else:
            propose = design(options.sampler, self.space, **known)
        return beginning_with(first, self.space, propose) if first else propose


def accepted_costs(task: Task, space: Space, rule: Rule) -> Accepting | None:
    """Which points the rule's limits on costs accept, before they are trained; None without such limits.

    Raises ValueError for a task that does not count these costs before training.
    """
    limits = [limit for limit in rule.limits if limit.name in COSTS]
    if not limits:
        return None

    def accepts(points: Points) -> np.ndarray:
        violated = [limit.violation(counts_of(task, space, points, limit.name)) > 0 for limit in limits]
        return ~np.logical_or.reduce(violated)

    accepts(space.sample(1))
    return Accepting(accepts, tuple(map(str, limits)))


def space_asked(task: Task, space: Space | Mapping[str, Any] | None, folds: int) -> Space:
    """The given space, or the task's own in `folds` folds. Raises ValueError if there is neither."""
    if space is not None:
        return as_space(space)
    with calling(f"{the_task(task)}: space", surely=False):
        own: Any = folded(task, folds).space
    if own is None:
        what = "this task has no space of its own; give one, such as {'learning_rate': log_uniform(1e-4, 1)}"
        raise ValueError(f"{what}, or --set 'learning_rate=log_uniform(1e-4,1)'")
    return as_space(own)


def as_space(given: Any) -> Space:
    """A Space as it is, and of a mapping; raises ValueError for anything else."""
    if not isinstance(given, Mapping):
        what = f"the space is {short(given)}"
        raise ValueError(f"{what}; give names with scales: {{'learning_rate': log_uniform(1e-4, 1)}}")
    return given if isinstance(given, Space) else Space(**given)


def folded(task: Task, folds: int) -> Task:
    """`Task.in_folds`; raises ValueError for a user's own that returns no task, or one with a recipe that is none."""
    with calling(f"{the_task(task)}: in_folds", surely=False):
        folded: Any = task.in_folds(folds)
    if not isinstance(folded, Task):
        raise ValueError(f"{the_task(task)}: in_folds returned {short(folded)}; return a popjax.Task")
    if not all(folded.recipe is None or hasattr(folded.recipe, name) for name in ("inputs", "identity", "describe")):
        raise ValueError(f"{the_task(task)}: recipe is {short(folded.recipe)}; give what popjax.task.Rebuilds says")
    return folded


def check_curves(options: SearchOptions) -> None:
    """Raise ValueError if the learning curves exceed this machine's memory."""
    records = options.epochs * options.repeats * options.folds
    needed = options.trials * records * CURVE_BYTES
    if needed > host_total():
        what = f"{options.trials} trials of {records} epochs need {needed / 2**30:.3g} GiB for their curves alone"
        raise ValueError(f"{what}, this machine has {host_total() / 2**30:.3g}; lower trials or epochs")


def what_ranks(task: Task, space: Space, options: SearchOptions) -> Rule:
    """The rule with its metric and mode. Raises ValueError: for an unknown metric before a missing mode."""
    rule: Rule = options.rank
    try:
        return rule_for(rule, task)
    except ValueError:
        known = TracedTask(task, space, Config(options.epochs, 0, Rule(task.metric))).metrics
        if rule.metric is not None and rule.metric not in known:
            raise unknown_metric(task, rule.metric, known) from None
        raise


def trains_beside(options: SearchOptions) -> bool:
    """True if the scheduler adds each round of a sampler that learns while earlier ones train on."""
    alone = options.rounds is None and takes_batches(options.inner)
    return alone and learns(options.sampler) and isinstance(learning(options.sampler), Learning)


def ends_asked(options: SearchOptions, space: Space) -> tuple[int, ...]:
    """Cumulative number of trials at the end of each round."""
    learner = learning(options.sampler) if learns(options.sampler) else None
    if isinstance(learner, OptunaSampler) and options.rounds is None:
        own = BATCH if learner.round_size is None else learner.round_size(len(space.searched))
        size = own if options.inner is None else PRUNED
        return even(options.trials, -(-options.trials // size))
    if learner is not None and options.rounds is None:
        size = BESIDE if trains_beside(options) else BATCH if options.inner is None else PRUNED
        return default_ends(options.trials, size)
    return even(options.trials, options.rounds or 1)
