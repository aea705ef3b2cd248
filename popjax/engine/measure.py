"""What is asked of trained members: scores on untouched rows, sizes, updates, what rebuilds them."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from popjax.core.clock import Clock
from popjax.core.trees import unnamed
from popjax.engine.roster import Roster


def score(roster: Roster, trial: int, arrays: Mapping[str, np.ndarray], clock: Clock) -> dict[str, float]:
    """A trained trial's metrics on the untouched rows, the mean over its members; arrays (members, ...)."""
    if roster.task.score is None:
        return {}
    bucket = int(roster.bucket[trial])
    state = roster.abstract(bucket).state
    program = roster.programs(bucket, roster.lanes(bucket), clock).score.result()
    data = jax.tree.map(lambda array: array.addressable_data(0), roster.data)
    scores = []
    for at, member in enumerate(roster.config.numbering.members([trial]).tolist()):
        own = unnamed(state, {name: array[at] for name, array in arrays.items()})
        scores.append(program(own, roster.member(bucket, member), data))
    return {name: float(np.mean([score[name] for score in scores])) for name in scores[0]}


def rebuilt(roster: Roster, trials: Iterable[int]) -> dict[int, dict[str, Any] | None]:
    """Trial -> what rebuilds it as a predictor, which those of a bucket share; None for a task without a recipe."""
    recipe = roster.task.recipe
    described = None if recipe is None else recipe.describe()

    @functools.cache
    def of_bucket(bucket: int) -> dict[str, Any] | None:
        functions = roster.buckets[bucket]
        known = {"space": functions.scales.to_dict(), "static": list(functions.static), "epochs": functions.epochs}
        return None if described is None else described | known

    return {trial: of_bucket(int(roster.bucket[trial])) for trial in trials}


def parameter_counts(roster: Roster) -> np.ndarray:
    """How many trained parameters (trials,) each trial has."""
    counts = np.zeros(len(roster), np.int64)
    for number, (_, rows, values) in enumerate(roster.each_bucket()):
        count = roster.task.hints.parameters(values) if roster.task.hints.parameters else None
        if count is None:
            state = roster.abstract(number).state
            count = sum(leaf.size for leaf in jax.tree.leaves(getattr(state, "params", state)))
        counts[rows] = count
    return counts


def costs(roster: Roster, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Those of a trial's costs, "parameters" or "flops" of an epoch, (trials,) each.

    Raises ValueError where the task does not tell.
    """
    found = {}
    for name in names:
        if name == "flops" and roster.task.hints.flops is None:
            raise ValueError("rank by flops: the task does not tell them; give it hints=popjax.Hints(flops=...)")
        found[name] = parameter_counts(roster) if name == "parameters" else flops(roster)
    return found


def flops(roster: Roster) -> np.ndarray:
    """The operations (trials,) of one epoch of each trial."""
    count = roster.task.hints.flops
    assert count is not None
    counts = np.zeros(len(roster))
    for _, rows, values in roster.each_bucket():
        counts[rows] = count(values)
    return counts


def updates(roster: Roster, curves: np.ndarray, done: np.ndarray) -> int | None:
    """Optimizer updates over all members with these curves; one that diverged made them up to then."""
    if roster.task.hints.updates is None:
        return None
    finite = np.isfinite(curves).sum(-1)
    epochs = np.minimum(finite + 1, done).sum((1, 2))
    count = roster.task.hints.updates
    return int(sum((count(values) * epochs[rows]).sum() for _, rows, values in roster.each_bucket()))
