"""All that is known of the members: their metrics, their cohorts, and the trained states of the best."""

from collections.abc import Iterable, Mapping

import numpy as np

from popjax.engine.curves import Curves
from popjax.engine.kept import Keeper
from popjax.engine.numbering import Numbering
from popjax.engine.waiting import Waiting
from popjax.store.cohort import Cohort


class TrialTable:
    """All that is known of trials and members, in one place for training, decisions and commits.

    Args:
        numbering: of the members.
        curves, waiting, kept: its parts, still without trials.
        last: the last epoch of the run, after which only the states of the best are kept; None if there is none.

    Attributes:
        needed: bool (trials,): the state is never given up, since it depends on copies or changes, so that training
            the trial again alone would not reproduce it, or since it is about to be copied or changed.
        stopped: bool (trials,): stopped by a person, or out of retries.
        named: bool (trials,): named by the last decision to train on.
        rounds: int (trials,), the round of each trial, from 0.
        targets: int (trials,), the epoch that each trial was last named to train to.
        costs: "parameters" or "flops" -> (trials,), those that the rule needs.
    """

    def __init__(self, numbering: Numbering, curves: Curves, waiting: Waiting, kept: Keeper, last: int | None) -> None:
        self.numbering = numbering
        self.curves = curves
        self.waiting = waiting
        self.kept = kept
        self.last = last
        self.needed, self.stopped, self.named = (np.zeros(0, bool) for _ in range(3))
        self.rounds, self.targets = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self.costs: Mapping[str, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.stopped)

    def add(self, buckets: np.ndarray, number: int) -> None:
        """Append trials before their first epoch, of these buckets (n,), in round `number`."""
        first, new = len(self), len(buckets)
        self.curves.grow(new)
        self.kept.grow(new)
        self.needed, self.stopped, self.named = (
            np.concatenate([column, np.zeros(new, bool)]) for column in (self.needed, self.stopped, self.named)
        )
        self.rounds = np.concatenate([self.rounds, np.full(new, number)])
        self.targets = np.concatenate([self.targets, np.zeros(new, np.int64)])
        for bucket in np.unique(buckets).tolist():
            members = self.numbering.members(first + np.flatnonzero(buckets == bucket))
            self.waiting.keep(Cohort(bucket, members))

    @property
    def ended(self) -> np.ndarray:
        """Bool (trials, members of a trial): at the last epoch, or out of patience."""
        curves = self.curves
        over = curves.resting if self.last is None else curves.resting | (curves.epochs == self.last)
        return over.reshape(len(self), self.numbering.each)

    def stand(self, cohort: Cohort) -> list[Cohort]:
        """Take a cohort back from training: at the last epoch it is offered to `kept`, else it waits.

        Returns the members that no longer wait: those of trials that are complete now, since members rest. They are
        offered to `kept`, too.
        """
        self.curves.return_to(cohort.members, cohort.epoch)
        trials = self.numbering.trials(cohort.members)
        if cohort.epoch == self.last:
            self.kept.offer(cohort, self.curves, self.costs)
        else:
            self.waiting.keep(cohort, bool(self.needed[trials].any() or self.curves.rests(cohort.members).any()))
        if self.last is None or not self.curves.patient:
            return []
        complete = trials[self.ended[trials].all(1)]
        found = self.waiting.take(self.numbering.members(np.unique(complete))) if len(complete) else []
        for one in found:
            self.kept.offer(one, self.curves, self.costs)
        return found

    def goals(self, until: Mapping[int, int]) -> np.ndarray:
        """Int (members,): the epoch to train to, from `until`, trial -> epoch; 0 if not named, stopped or resting."""
        goals = np.zeros(len(self), np.int64)
        goals[list(until)] = list(until.values())
        goals[self.stopped] = 0
        return np.where(self.curves.resting.ravel(), 0, goals.repeat(self.numbering.each))

    def fulfil(self) -> None:
        """Advance the finished epochs of resting members to the targets of their trials, except stopped trials."""
        epochs, targets = self.curves.epochs, self.targets[:, None, None]
        behind = self.curves.resting & (epochs < targets) & ~self.stopped[:, None, None]
        np.copyto(epochs, targets, where=behind)
        if behind.any():
            self.waiting.pass_by(np.where(behind, epochs, 0).ravel())

    def behind(self, trials: Iterable[int]) -> list[Cohort]:
        """Take out the waiting members of these trials that have no state: not begun, or given up."""
        return self.waiting.take(self.numbering.members(trials), lambda cohort: cohort.state is None)

    def copies(self, targets: Iterable[int], sources: Iterable[int]) -> list[Cohort]:
        """The states of the source trials (n,), as cohorts of the target trials (n,); see `Decision.copy`."""
        return self.waiting.copies(self.numbering.members(sources), self.numbering.members(targets))
