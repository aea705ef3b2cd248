"""The trained states of the best trials."""

from collections.abc import Mapping

import numpy as np

from popjax.engine.curves import Curves
from popjax.engine.numbering import Numbering
from popjax.rule import Rule
from popjax.rules.checking import order_of
from popjax.store.cohort import Arrays, Cohort, counting_state
from popjax.store.records import mean_member


class Keeper:
    """The trained states of the best trials so far, and of trials with other members still in training.

    Args:
        numbering: of the members.
        rule: how trials are ordered, and the number of best trials to keep.

    Attributes:
        trained: bool (trials, members of a trial): trained to the last epoch, or resting.
        states: member -> name -> array, the task's own state at the epoch that counts.
    """

    def __init__(self, numbering: Numbering, rule: Rule) -> None:
        self.numbering = numbering
        self.rule = rule
        self.trained = np.zeros((0, numbering.each), bool)
        self.states: dict[int, Arrays] = {}

    def grow(self, trials: int) -> None:
        """Append trials, none of them trained."""
        self.trained = np.concatenate([self.trained, np.zeros((trials, self.numbering.each), bool)])

    def complete(self) -> dict[int, Arrays]:
        """Trial -> name -> array (members of a trial, ...), for trials with the states of all members."""
        trials = sorted({member // self.numbering.each for member in self.states})
        found = {trial: self.numbering.members([trial]).tolist() for trial in trials}
        whole = {trial: own for trial, own in found.items() if all(member in self.states for member in own)}
        return {
            trial: {name: np.stack([self.states[member][name] for member in own]) for name in self.states[own[0]]}
            for trial, own in whole.items()
        }

    def offer(self, cohort: Cohort, curves: Curves, costs: Mapping[str, np.ndarray]) -> None:
        """Keep states of members trained to the last epoch or resting: of the best trials, and of incomplete ones.

        States of trials that are no longer among the best are dropped.

        Args:
            cohort: the members, with a state.
            curves: of all members.
            costs: cost -> (trials,), those that the rule needs.
        """
        self.trained.reshape(-1)[cohort.members] = True
        owners = self.numbering.trials(cohort.members)
        candidates = np.array(sorted({*owners.tolist(), *(member // self.numbering.each for member in self.states)}))
        complete = self.trained[candidates].all(1)
        counted = curves.counted(candidates)
        last = {name: mean_member(values)[:, -1] for name, values in counted.values.items()}
        order = order_of(self.rule, last | {name: cost[candidates] for name, cost in costs.items()})
        finished = complete & np.isfinite(last[self.rule.metric])
        best = counted.different(order[finished[order]])[: self.rule.keep]
        kept = {*candidates[best].tolist(), *candidates[~complete].tolist()}
        self.states = {m: state for m, state in self.states.items() if m // self.numbering.each in kept}
        rows = [row for row, trial in enumerate(owners.tolist()) if trial in kept]
        arrays = counting_state(cohort.arrays()) if rows else {}
        for row in rows:
            self.states[int(cohort.members[row])] = {name: array[row].copy() for name, array in arrays.items()}
