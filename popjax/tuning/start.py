"""The points that a search tries first, before those of its sampler. No JAX here."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from popjax.core.text import plural, tell
from popjax.space.scales import Entry
from popjax.space.space import Points, Space, take
from popjax.space.values import absent, python_value
from popjax.store.decisions import column_of
from popjax.store.results import Results

type Point = dict[str, Any]
type Accepts = Callable[[Points], np.ndarray]
DRAWS = 10_000  # of what a point leaves out, until it may be trained
BEST = 10  # trials of another search
STREAM = 7  # of random numbers, apart from that of the sampler


def start_points(
    given: Any, space: Space, seed: int, trials: int = BEST, accepts: Accepts | None = None
) -> list[Point]:
    """The points as complete mappings, without inactive hyperparameters.

    Args:
        given: a sequence of mappings, whose missing hyperparameters are drawn from the space; Results or a directory of
            them, whose ten best trials that lie in the space are taken, and those that do not are said.
        space: the space of the search.
        seed: what is drawn depends on it and on the mapping's number alone.
        trials: the most points, of which Results give as many.
        accepts: bool (n,) of columns (n,): which points may be trained; None: those that satisfy the space's
            constraints.

    Raises ValueError for anything else, for a mapping outside the space, and for more mappings than trials.

    >>> from popjax.space.scales import uniform
    >>> start_points([{"x": 0.5, "y": 1}, {"x": 0.25}], Space(x=uniform(0, 1), y=uniform(1, 1)), 0)
    [{'x': 0.5, 'y': 1.0}, {'x': 0.25, 'y': 1.0}]
    """
    if isinstance(given, str | Path):
        given = Results.load(given)
    if isinstance(given, Results):
        given = best_within(given, space, seed, min(BEST, trials), accepts)
    what = "give a list of mappings, as [{'learning_rate': 0.1}], or Results"
    if isinstance(given, Mapping) or not isinstance(given, Iterable):
        raise ValueError(f"start is a {type(given).__name__}; {what}")
    points = list(given)
    for number, point in enumerate(points):
        if not isinstance(point, Mapping):
            raise ValueError(f"start: point {number} is a {type(point).__name__}; {what}")
        if wrong := outside(point, space):
            raise ValueError(f"start: point {number}: {wrong}")
    if not points:
        raise ValueError(f"start is empty; {what}, or leave it out")
    if len(points) > trials:
        raise ValueError(f"start has {len(points)} points, trials={trials}; raise trials, or leave some out")
    completed = []
    for number, point in enumerate(points):
        try:
            completed.append(complete_point(number, point, space, seed, accepts))
        except ValueError as error:
            raise ValueError(f"start: point {number}: {error}") from None
    return completed


def best_within(results: Results, space: Space, seed: int, most: int, accepts: Accepts | None) -> list[Point]:
    """The hyperparameters of the `most` best trials that lie in a space. Raises ValueError if there are none."""
    points: list[Point] = []
    others: dict[int, str] = {}
    for trial in results.order.tolist():
        hparams = results.hparams(trial)
        point = {name: value for name, value in hparams.items() if name in space}
        try:
            if wrong := outside(point, space):
                raise ValueError(wrong)
            points.append(complete_point(len(points), point, space, seed, accepts))
        except ValueError as error:
            others[trial] = str(error)
        if len(points) == most:
            break
    if not points:
        why = f"trial {next(iter(others))}: {next(iter(others.values()))}" if others else "no trial was ranked"
        raise ValueError(f"start: none of the {plural(len(results.diverged), 'trial')} lies in the space; {why}")
    if others:
        first = next(iter(others))
        tell(f"popjax: start: {plural(len(others), 'better trial')} left out; trial {first}: {others[first]}")
    if unknown := [name for name in results.points if name not in space]:
        tell(f"popjax: start: {', '.join(unknown)} left out, which this space does not have")
    return points


def outside(point: Mapping[str, Any], space: Space) -> str:
    """What of a mapping does not lie in a space, and the remedy; empty if all of it does."""
    for name, value in point.items():
        if name not in space:
            return f"{name} is no hyperparameter of the space; there are {', '.join(space)}"
        if not space[name].has(python_value(value)):
            return f"{name}={value!r} is not in {space[name]}; give a value within it, or a wider space"
    for name, condition in space.inactive({name: python_value(value) for name, value in point.items()}).items():
        if name in point:
            return f"{name}={point[name]!r} does not exist beside the others, it needs {condition}; leave one out"
    return ""


def complete_point(number: int, point: Mapping[str, Any], space: Space, seed: int, accepts: Accepts | None) -> Point:
    """A mapping with what it leaves out drawn from the space, so that all that it names exists.

    Raises ValueError if that is impossible, or such a point may not be trained.
    """
    own = int(np.random.SeedSequence([seed, STREAM, number]).generate_state(1)[0])
    named = with_parents(point, space, np.random.default_rng(own))
    # without conditions: what is named may make others exist
    every = Space(**{name: Entry(scale, {}, space.beliefs.get(name)) for name, scale in space.items()})
    free = (accepts is not None or space.constraints) and not set(every) <= named.keys()
    count = DRAWS if free else 1
    drawn = every.sample(count, own) | {n: column_of(space, n, [python_value(v)] * count) for n, v in named.items()}
    exist = space.active(drawn)
    if lost := [name for name in point if name in exist and not exist[name].any()]:
        raise ValueError(f"{', '.join(lost)} cannot exist beside the others; leave some of {', '.join(point)} out")
    rows = space.masked(drawn)
    good = space.good(rows, accepts)
    if not good.any():
        broken = [str(constraint) for constraint in space.constraints if not constraint.holds(rows).any()]
        what = f"violates {' and '.join(broken)}" if broken else "costs more than the rule allows"
        raise ValueError(f"{what}; change it, or leave it out")
    row = take(rows, np.flatnonzero(good)[:1])
    return {name: column.tolist()[0] for name, column in row.items() if not absent(column.tolist()[0])}


def with_parents(point: Mapping[str, Any], space: Space, rng: np.random.Generator) -> Point:
    """A mapping with values of the hyperparameters on which those that it names depend, drawn from the allowed ones."""
    allowed, waiting = dict[str, list[Any]](), list(point)
    while waiting:
        for parent, values in space.conditions.get(waiting.pop(), {}).items():
            if parent not in allowed:
                waiting.append(parent)
            allowed[parent] = [value for value in allowed.get(parent, values) if value in values]
    drawn = {parent: values for parent, values in allowed.items() if parent not in point and values}
    return dict(point) | {parent: values[int(rng.integers(len(values)))] for parent, values in drawn.items()}


def beginning_with(points: list[Point], space: Space, propose: Callable[..., Points]) -> Callable[..., Points]:
    """`Problem.propose` that gives these points first, and after them those of `propose`."""
    columns = {name: column_of(space, name, [point.get(name) for point in points]) for name in space}

    def proposed(n: int, trials: Any = None, space: Space | None = None) -> Points:
        begin = 0 if trials is None else len(trials.epochs)
        first = take(columns, np.arange(begin, min(begin + n, len(points))))
        count = len(next(iter(first.values())))
        if count == n:
            return first
        others = propose(n - count, trials, space)
        return {name: np.concatenate([first[name], others[name]]) for name in others}

    return proposed
