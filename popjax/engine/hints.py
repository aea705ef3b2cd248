"""Checks of a task's hints on the points to train: numbers of the right shape, and parameters that its arrays have."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from popjax.core.contracts import misspelt
from popjax.core.faults import calling
from popjax.core.text import hparams_text, short
from popjax.core.trees import abstract, params_of
from popjax.engine.member import SEED, MemberFunctions
from popjax.engine.tracer import Tracer
from popjax.space.space import Points, Space, group
from popjax.task import Task

COUNTS = ("updates", "parameters", "flops")


def check_hints(functions: MemberFunctions, points: Points) -> None:
    """Raise ValueError for a hint that gives no number of at least 0 for each of the points of a bucket, and for a name
    in one that is a typo of a hyperparameter's.
    """
    hints = functions.task.hints
    for name, given in (("shapes", hints.shapes), ("branches", hints.branches)):
        for unknown in set(given) - set(points) - set(functions.static):
            if known := next((known for known in points if misspelt(unknown, known)), None):
                what = f"{the_task(functions.task)}: hints.{name}"
                raise ValueError(f"{what} has {unknown!r}, which is no hyperparameter; did you mean {known!r}?")
    columns: dict[str, Any] = {name: points[name].astype(kind) for name, kind in functions.dynamic.items()}
    for name in COUNTS:
        checked_count(functions.task, name, {**functions.static, **columns}, len(next(iter(points.values()))))


def check_parameters(tracer: Tracer) -> None:
    """Raise ValueError for a hint of other parameters than a state has at the ends of the ranges.

    A state that does not have its `params` apart may have more numbers than parameters.
    """
    for end in ("high", "low"):
        check_parameters_at(tracer, end)


def check_parameters_at(tracer: Tracer, end: str) -> None:
    """`check_parameters` where all hyperparameters have their "high" or "low" values.

    Those that are read as sizes are static, and so the shapes exact.
    """
    space, points = tracer.space, tracer.points
    ends = {n: np.array([getattr(scale, end) if scale.numeric else points[n][0]]) for n, scale in space.items()}
    static = tracer.static_names(set())
    functions = dataclasses.replace(tracer, points=ends).member(0, static | tracer.trace(static).sizes)
    values = functions.static | {name: ends[name].item() for name in functions.dynamic}
    count = checked_count(tracer.task, "parameters", values, 1)
    if count is None:
        return
    example, data = functions.example._replace(wanted=None), abstract(tracer.task.data)
    state = jax.eval_shape(functions.init, SEED, example, data).state
    params = params_of(state)
    size = sum(leaf.size for leaf in jax.tree.leaves(state if params is None else params))
    if count > size or (count < size and params is not None):
        what = f"{the_task(tracer.task)}: hints.parameters counts {count:,.0f}, the arrays have {size:,}"
        raise ValueError(f"{what}, with {hparams_text(values)}; count those in use")


def checked_count(task: Task, name: str, values: Mapping[str, Any], trials: int) -> Any:
    """The numbers that a hint gives, (trials,) or one for all; None if it gives none. Raises ValueError for others."""
    hint, what = getattr(task.hints, name), f"{the_task(task)}: hints.{name}"
    if hint is None:
        return None
    with calling(what):
        hinted = hint(values)
    if hinted is None and name == "parameters":
        return None
    numbers = np.asarray(hinted)
    if numbers.dtype.kind not in "biuf" or numbers.shape not in ((), (1,), (trials,)):
        raise ValueError(f"{what} returned {short(hinted)} for {trials} trials; return a number, or one for each")
    if not (np.isfinite(numbers) & (numbers >= 0)).all():
        raise ValueError(f"{what} returned {short(numbers.ravel()[0])}; return finite numbers of at least 0")
    return numbers if numbers.shape == (trials,) else numbers.reshape(-1)[0]


def counts_of(task: Task, space: Space, points: Points, name: str) -> np.ndarray:
    """Float (trials,): the "parameters" or the "flops" of points, columns (trials,), as the task's hint says.

    Raises ValueError if the hint gives none.
    """
    points = space.filled(points)
    static = [n for n, scale in space.items() if scale.static or not scale.numeric]
    numbers = {n: column.astype(int if space[n].whole else float) for n, column in points.items() if n not in static}
    buckets = group([points[n].tolist() for n in static], len(next(iter(points.values()))))
    counts = np.zeros(sum(map(len, buckets.values())))
    for values, rows in buckets.items():
        shared = dict(zip(static, values, strict=True))
        hparams = shared | {n: column[rows] for n, column in numbers.items()}
        active = {n: value for n, value in hparams.items() if n not in space.inactive(shared)}  # as in a program
        count = checked_count(task, name, active, len(rows))
        if count is None:
            uncounted = f"subject_to {name}: {the_task(task)} does not count its {name} before training"
            made = f"one that is made: task._replace(hints=task.hints._replace({name}=lambda hparams: ...))"
            raise ValueError(f"{uncounted}; give it hints=popjax.Hints({name}=...), {made}; or leave the limit out")
        counts[rows] = count
    return counts


def check_settings_of(task: Task) -> None:
    """Raise ValueError for settings that run.json cannot hold."""
    what = f"{the_task(task)}: settings"
    with calling(what):
        settings: Any = task.settings
    if not isinstance(settings, Mapping):
        raise ValueError(f"{what} are a {type(settings).__name__}; give a dict, name -> value")
    try:
        json.dumps(dict(settings), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} are no JSON values ({error}); give numbers, texts, lists and dicts of them") from None


def the_task(task: Task) -> str:
    """A task in the words of an error message."""
    return f"the task {type(task).__name__}"
