"""Measures of members: their states, scores on untouched rows, costs, updates, and what rebuilds them."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from popjax.core.clock import Clock
from popjax.core.containers import containers
from popjax.core.trees import from_host, params_of, to_words, unnamed
from popjax.engine.roster import Roster
from popjax.store.cohort import Cohort, state_in


def score(roster: Roster, trial: int, arrays: Mapping[str, np.ndarray], clock: Clock) -> dict[str, float]:
    """A trained trial's metrics on the untouched rows, the mean over its members; empty for a task without a score.

    `arrays`: name -> (members of the trial, ...), the task's own state.
    """
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
    """Trial -> what rebuilds it as a predictor, one object per bucket; None for a task without a recipe."""
    recipe = roster.task.recipe
    described = None if recipe is None else recipe.describe()

    @functools.cache
    def of_bucket(bucket: int) -> dict[str, Any] | None:
        functions = roster.buckets[bucket]
        known = {"space": functions.scales.to_dict(), "static": list(functions.static), "epochs": functions.epochs}
        return None if described is None else described | known

    return {trial: of_bucket(int(roster.bucket[trial])) for trial in trials}


def trees(roster: Roster, trials: Iterable[int]) -> dict[int, Any]:
    """Trial -> the containers of its state, one object per bucket; see `core/containers.py`."""
    of_bucket = functools.cache(lambda bucket: containers(roster.abstract(bucket).state))
    return {trial: of_bucket(int(roster.bucket[trial])) for trial in trials}


def state_of(roster: Roster, cohort: Cohort) -> Any:
    """The task's state (members, ...) of a cohort, on the host."""
    like = jax.eval_shape(to_words, roster.abstract(cohort.bucket).state)
    return unnamed(like, state_in(cohort.arrays()))


def watched(roster: Roster, cohort: Cohort, function: Callable[..., Any], programs: dict[Any, Any]) -> dict[str, Any]:
    """`function(state, hparams, data) -> dict` of a cohort's first member; `programs` caches what is compiled."""
    bucket, first = cohort.bucket, jax.tree.map(lambda leaf: leaf[0], state_of(roster, cohort))
    state = from_host(roster.abstract(bucket).state, first)
    if function not in programs:
        functions = roster.buckets[bucket]
        programs[function] = jax.jit(lambda state, given, data: function(state, functions.hparams(given), data))
    data = jax.tree.map(lambda array: array.addressable_data(0), roster.data)
    values: Mapping[str, Any] = programs[function](state, roster.member(bucket, int(cohort.members[0])), data)
    return jax.tree.map(np.asarray, dict(values))


def parameter_counts(roster: Roster) -> np.ndarray:
    """Int (trials,): the number of trained parameters of each trial; of its whole state, where the task names none."""
    counts = np.zeros(len(roster), np.int64)
    for number, (_, rows, values) in enumerate(roster.each_bucket()):
        count = roster.task.hints.parameters(values) if roster.task.hints.parameters else None
        if count is None:
            state = roster.abstract(number).state
            params = params_of(state)
            count = sum(leaf.size for leaf in jax.tree.leaves(state if params is None else params))
        counts[rows] = count
    return counts


def counts_states(roster: Roster) -> bool:
    """True if the rule needs parameters and the task names none: neither as "params" in its state nor by a hint."""
    hint = roster.task.hints.parameters
    if "parameters" not in roster.config.rule.costs or params_of(roster.abstract(0).state) is not None:
        return False
    return hint is None or any(hint(values) is None for _, _, values in roster.each_bucket())


def costs(roster: Roster, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The costs `names`: "parameters", or "flops" of an epoch -> (trials,).

    Raises ValueError for flops of a task that does not give them.
    """
    measured = {}
    for name in names:
        if name == "flops" and roster.task.hints.flops is None:
            raise ValueError("rank by flops: the task does not define them; give it hints=popjax.Hints(flops=...)")
        measured[name] = parameter_counts(roster) if name == "parameters" else flops(roster)
    return measured


def flops(roster: Roster) -> np.ndarray:
    """Float (trials,): the operations of one epoch of each trial."""
    count = roster.task.hints.flops
    assert count is not None
    counts = np.zeros(len(roster))
    for _, rows, values in roster.each_bucket():
        counts[rows] = count(values)
    return counts


def updates(roster: Roster, curves: np.ndarray, done: np.ndarray) -> int | None:
    """Optimizer updates over all members, those that diverged counted up to then; None if the task gives none.

    Args:
        curves: float (trials, folds, repeats, epochs), of one metric.
        done: int (trials, folds, repeats), the epochs that were trained.
    """
    if roster.task.hints.updates is None:
        return None
    finite = np.isfinite(curves).sum(-1)
    epochs = np.minimum(finite + 1, done).sum((1, 2))
    count = roster.task.hints.updates
    return int(sum((count(values) * epochs[rows]).sum() for _, rows, values in roster.each_bucket()))
