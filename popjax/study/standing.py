"""Snapshot of a session's members: the task's states, and measurements of them."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from popjax.core.trees import from_host, to_words, unnamed
from popjax.engine.measure import rebuilt
from popjax.engine.population import Population
from popjax.store.cohort import Cohort, of_members, state_in


class Standing(NamedTuple):
    """A population, with the state of each member on the host.

    Attributes:
        cohorts: the cohorts of all members.
    """

    population: Population
    cohorts: list[Cohort]

    def cohort(self, trial: int | None = None) -> Cohort:
        """The members of a trial, or of all trials if they share a bucket, in order of their numbers."""
        trials = range(len(self.population.roster)) if trial is None else [trial]
        return of_members(self.cohorts, self.population.config.numbering.members(trials))

    def state(self, trial: int | None = None) -> Any:
        """The task's state (members, ...) of a trial, or of all trials, stacked."""
        cohort = self.cohort(trial)
        like = jax.eval_shape(to_words, self.population.roster.abstract(cohort.bucket).state)
        return unnamed(like, state_in(cohort.arrays()))

    def measured(self, function: Callable[..., Any], programs: dict[Any, Any]) -> dict[str, Any]:
        """`function(state, hparams, data) -> dict` of the first member; `programs` caches what is compiled."""
        roster = self.population.roster
        bucket = int(roster.bucket[0])
        first = jax.tree.map(lambda leaf: leaf[0], self.state(0))
        state = from_host(roster.abstract(bucket).state, first)
        if function not in programs:
            functions = roster.buckets[bucket]
            programs[function] = jax.jit(lambda state, given, data: function(state, functions.hparams(given), data))
        data = jax.tree.map(lambda array: array.addressable_data(0), roster.data)
        found: Mapping[str, Any] = programs[function](state, roster.member(bucket, 0), data)
        return jax.tree.map(np.asarray, dict(found))

    def arrays(self, trial: int) -> tuple[dict[str, np.ndarray], dict[str, Any] | None]:
        """Name -> array (members, ...) of a trial, and what rebuilds its predictor, or None without a recipe."""
        return state_in(self.cohort(trial).arrays()), rebuilt(self.population.roster, [trial])[trial]
