"""What is known of a population's trials and members, as columns: the one record that training changes. No JAX here."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from popjax.core.fixed import read_only
from popjax.engine.numbering import Numbering
from popjax.rule import Rule
from popjax.rules.checking import loss_of, proven_rule
from popjax.scheduler import Status, Trials
from popjax.space.space import Points
from popjax.store.counted import Counted, records_along
from popjax.store.records import mean_member, values_after


class MemberTable:
    """The columns of trials and members.

    Args:
        metrics: their names.
        numbering: of the members.
        rule: which epoch of a member counts.
        dtype: of the metrics.
        epochs: number of epochs to make room for at first.
        last: the last epoch of the run, after which only the states of the best are kept; None if there is none.

    Attributes:
        metrics: metric -> (trials, folds, repeats, epochs); NaN where nothing is reported, and from divergence on.
        improved: bool (trials, folds, repeats, epochs), the epochs that became a member's best, as its program reports
            them; None if the rule keeps no best epoch.
        epochs: int (trials, folds, repeats), the epochs that each member has finished; a resting member is advanced to
            the target of its trial.
        since: int (trials, folds, repeats), the epochs that each was trained since its best one.
        status: int8 (trials,), see Status; PRUNED only at the scheduler's end.
        targets: int (trials,), the epoch that each trial was last named to train to.
        named: bool (trials,): the last decision names it to train on.
        given_up: bool (trials,): out of retries, so that it is trained no further, even if it diverged.
        rounds: int (trials,), the round of each trial, from 0.
        pinned: bool (trials,): its state cannot be trained again alone, since it depends on copies or changes, or is
            about to be copied or changed: it is never given up.
        lineage: int (trials, epochs), the trial as which a trial's state was trained in each epoch; None before the
            first copy, and where the rule keeps no best epoch.
        unfinished: training was stopped where it would have gone on.
        costs: "parameters" or "flops" -> (trials,), those that the rule needs.
        not_finite: the metrics with which members diverged in this process.
    """

    def __init__(
        self,
        metrics: Iterable[str],
        numbering: Numbering,
        rule: Rule,
        *,
        dtype: Any = float,
        epochs: int = 0,
        last: int | None = None,
    ) -> None:
        self.numbering = numbering
        self.rule = rule
        self.last = last
        self.metrics = {name: np.full((0, *numbering, epochs), np.nan, dtype) for name in metrics}
        keeps_best = bool(rule.metric) and rule.improvement is not None
        self.improved = np.zeros((0, *numbering, epochs), bool) if keeps_best else None
        self.epochs, self.since = (np.zeros((0, *numbering), np.int64) for _ in range(2))
        self.status = np.zeros(0, np.int8)
        self.targets, self.rounds = (np.zeros(0, np.int64) for _ in range(2))
        self.named, self.given_up, self.pinned = (np.zeros(0, bool) for _ in range(3))
        self.lineage: np.ndarray | None = None
        self.unfinished = False
        self.costs: Mapping[str, np.ndarray] = {}
        self.not_finite: set[str] = set()

    def __len__(self) -> int:
        return len(self.status)

    def grow(self, trials: int, number: int = 0) -> None:
        """Append trials before their first epoch, in round `number`."""
        if self.lineage is not None:
            self.lineage = np.concatenate([self.lineage, own_lineage(len(self), trials, self.lineage.shape[1])])
        self.metrics = {name: with_rows(values, trials, np.nan) for name, values in self.metrics.items()}
        self.improved = None if self.improved is None else with_rows(self.improved, trials, False)
        self.epochs, self.since = with_rows(self.epochs, trials, 0), with_rows(self.since, trials, 0)
        self.status = with_rows(self.status, trials, Status.WAITING)
        self.targets, self.rounds = with_rows(self.targets, trials, 0), with_rows(self.rounds, trials, number)
        self.named, self.given_up, self.pinned = (
            with_rows(column, trials, False) for column in (self.named, self.given_up, self.pinned)
        )

    def reach(self, epochs: int) -> None:
        """Make room for at least `epochs`; for twice as many where there is no room, so that it is rarely done."""
        for name, values in self.metrics.items():
            self.metrics[name] = longer(values, epochs, np.nan)
        self.improved = None if self.improved is None else longer(self.improved, epochs, False)
        if self.lineage is not None and epochs > self.lineage.shape[1]:
            more = own_lineage(0, len(self), 2 * epochs - self.lineage.shape[1])
            self.lineage = np.concatenate([self.lineage, more], 1)

    def flat(self, column: np.ndarray) -> np.ndarray:
        """A column of members as (members, ...), a view of the same memory."""
        return column.reshape(self.epochs.size, *column.shape[3:])

    def of(self, members: np.ndarray, epoch: int) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
        """Metric -> (members, epoch), and `improved`, of the first `epoch` epochs of these members."""
        curves = {name: self.flat(values)[members, :epoch] for name, values in self.metrics.items()}
        return curves, None if self.improved is None else self.flat(self.improved)[members, :epoch]

    def report(
        self, members: np.ndarray, epoch: int, metrics: Mapping[str, np.ndarray], improved: np.ndarray | None = None
    ) -> None:
        """Add what members (members,) report of one epoch, from 0.

        A metric that is not finite makes all of a member's NaN, and its trial diverged, unless it rests.
        """
        known = {name: np.isfinite(values) for name, values in metrics.items()}
        alive = functools.reduce(np.logical_and, known.values())
        if not alive.all():
            self._diverge(members[~alive & ~self.rests(members)])
            before = alive | (epoch == 0 or np.isfinite(self.flat(self.metrics[next(iter(known))])[members, epoch - 1]))
            self.not_finite |= {name for name, own in known.items() if (before & ~own).any()}
        for name, values in metrics.items():
            self.flat(self.metrics[name])[members, epoch] = np.where(alive, values, np.nan)
        if self.improved is not None:
            better, since = self.flat(self.improved), self.flat(self.since)
            better[members, epoch] = improved
            since[members] = np.where(better[members, epoch], 0, since[members] * (epoch > 0) + alive)
        self.stand(members, epoch + 1)

    def stand(self, members: np.ndarray, epoch: int) -> None:
        """Set the number of epochs that members have finished."""
        self.flat(self.epochs)[members] = epoch

    def end_segment(self, members: np.ndarray, epoch: int) -> np.ndarray:
        """Take members (members,) back from training at an epoch; returns their trials of which all members ended.

        What they reported after it is dropped: training failed, and they report it again.
        """
        trials = self.numbering.trials(members)
        if (self.flat(self.epochs)[members] != epoch).any():
            self.cut(members, epoch)
            self.recount()
            again = (self.status[trials] == Status.DIVERGED) & self.finite(trials).all((1, 2))
            self.status[trials[again]] = Status.WAITING
        if epoch == self.last and self.numbering.each == 1:
            over = trials  # each ends with its only member
        elif epoch == self.last or self.patience is not None:
            over = np.unique(trials[self.ended(trials)])
        else:
            return trials[:0]
        self.status[over[self.status[over] == Status.WAITING]] = Status.COMPLETE
        return over

    def load(
        self, members: np.ndarray, epoch: int, curves: Mapping[str, np.ndarray], improved: np.ndarray | None = None
    ) -> None:
        """Load curves, metric -> (members, epoch), and drop what these members reported after them; then `recount`."""
        for name, values in curves.items():
            self.flat(self.metrics[name])[members, :epoch] = values
        if self.improved is not None:
            self.flat(self.improved)[members, :epoch] = improved
        self.cut(members, epoch)

    def cut(self, members: np.ndarray, epoch: int) -> None:
        """Drop what members reported after their first `epoch` epochs, which are those that they have finished."""
        for values in self.metrics.values():
            self.flat(values)[members, epoch:] = np.nan
        if self.improved is not None:
            self.flat(self.improved)[members, epoch:] = False
        self.stand(members, epoch)

    def recount(self) -> None:
        """Count `since` anew, as after loading or dropping records."""
        if self.improved is not None:
            counted = self.counted()
            self.since = np.maximum(counted.trained - 1 - counted.final, 0)

    def judge(self, alive: np.ndarray) -> None:
        """Write the status of trials that were loaded: diverged, complete or waiting.

        `alive`: bool (members,), trains on or rests; see `finite` for members whose state does not tell.
        """
        self.status[:] = np.where(self.ended(), Status.COMPLETE, Status.WAITING)
        self._diverge(np.flatnonzero(~alive & ~self.flat(self.resting)))

    def finite(self, trials: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Bool (trials, folds, repeats): the last record of a member is finite, or it has none."""
        epochs = self.epochs[trials]
        records = self.counted(trials).records[self.rule.metric]
        last = np.take_along_axis(records, np.maximum(epochs - 1, 0)[..., None], -1)[..., 0]
        return np.isfinite(last) | (epochs == 0)

    def descend(self, targets: Sequence[int], sources: Sequence[int]) -> None:
        """Make the trials `targets` (n,) what the trials `sources` (n,) are at the epoch that these have reached."""
        if not targets:
            return
        lost = self.status[sources] == Status.DIVERGED
        self.status[targets] = np.where(lost, Status.DIVERGED, Status.WAITING)
        self.since[targets] = self.since[sources]
        if self.improved is None:
            return
        if self.lineage is None:
            self.lineage = own_lineage(0, len(self), self.improved.shape[-1])
        before = np.arange(self.lineage.shape[1]) < self.targets[sources][:, None]
        self.lineage[targets] = np.where(before, self.lineage[sources], self.lineage[targets])

    def aim(self, until: Mapping[int, int]) -> None:
        """Set what the last decision names: trial -> the epoch to train to."""
        self.named[:] = False
        self.named[list(until)] = True
        self.targets[list(until)] = list(until.values())

    def hold(self, stopped: Iterable[int], lifted: Iterable[int] = ()) -> None:
        """Stop trials that wait, and let those of `lifted` wait that are not among them."""
        for trials, before, after in (
            (lifted, Status.STOPPED, Status.WAITING),
            (stopped, Status.WAITING, Status.STOPPED),
        ):
            rows = np.array([*trials], np.int64)
            self.status[rows[self.status[rows] == before]] = after
        self.given_up[[*lifted]] = False

    def give_up(self, members: np.ndarray) -> None:
        """Stop the trials of members that are out of retries."""
        trials = self.numbering.trials(members)
        self.hold(trials.tolist())
        self.given_up[trials] = True

    def prune(self) -> None:
        """At the scheduler's end: what waits is pruned."""
        self.status[self.status == Status.WAITING] = Status.PRUNED
        self.named[:] = False

    def goals(self) -> np.ndarray:
        """Int (members,): the epoch to train to; 0 for a trial that is not named or is stopped, and where it rests."""
        going = self.named & ~self.given_up & (self.status != Status.STOPPED)
        goals = np.where(going, self.targets, 0).repeat(self.numbering.each)
        return np.where(self.flat(self.resting), 0, goals)

    def fulfil(self) -> np.ndarray:
        """Advance resting members to the targets of their trials, but for stopped ones; their epochs (members,) or 0.

        A resting member has reached what its trial is to reach.
        """
        targets = np.where(self.status == Status.STOPPED, 0, self.targets)[:, None, None]
        behind = self.resting & (self.epochs < targets)
        np.copyto(self.epochs, targets, where=behind)
        return self.flat(np.where(behind, self.epochs, 0))

    @property
    def patience(self) -> int | None:
        """The epochs without a better one after which a member rests; None: never."""
        return None if self.improved is None else self.rule.patience

    @property
    def resting(self) -> np.ndarray:
        """Bool (trials, folds, repeats): out of patience."""
        return np.zeros(self.since.shape, bool) if self.patience is None else self.since >= self.patience

    def rests(self, members: np.ndarray) -> np.ndarray:
        """Bool (members,): out of patience."""
        since = self.flat(self.since)[members]
        return np.zeros(len(members), bool) if self.patience is None else since >= self.patience

    def ended(self, trials: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Bool (trials,): each member is at the last epoch, or out of patience."""
        over = self.epochs[trials] == self.last
        if self.patience is not None:
            over |= self.since[trials] >= self.patience
        ended: np.ndarray = over.reshape(-1, self.numbering.each).all(1)
        return ended

    @property
    def done(self) -> np.ndarray:
        """Int (trials,): the epochs that all members of a trial have finished."""
        return self.epochs.min((1, 2))

    @property
    def trained(self) -> np.ndarray:
        """Int (trials,): the epochs to which a trial was trained, of resting members their own."""
        if self.improved is None:
            return self.done
        return np.where(self.resting, self.counted().trained, self.epochs).max((1, 2))

    def counted(self, trials: np.ndarray | slice = slice(None)) -> Counted:
        """The records of some trials as they count under the rule."""
        records = {name: values[trials] for name, values in self.metrics.items()}
        if self.lineage is None or self.improved is None:
            return Counted(self.rule, records, None if self.improved is None else self.improved[trials])
        lineage, (along,) = self.lineage[trials], records_along({"": self.improved}, self.lineage[trials]).values()
        return Counted(self.rule, records, along, lineage, self.metrics)

    def means(self) -> dict[str, np.ndarray]:
        """Metric -> (trials, epochs), the mean over a trial's members; a resting member counts with its last record."""
        return {name: mean_member(values) for name, values in self.counted().present.items()}

    def trials(self, points: Points) -> Trials:
        """The Trials that a scheduler sees, with these current hyperparameters; without buckets and `settable`."""
        rule, counted, epochs = self.rule, self.counted(), self.done
        means = {name: mean_member(values) for name, values in counted.present.items()}
        values = means
        if rule.improvement is not None:
            values = {name: mean_member(values) for name, values in counted.values.items()}
        now = values_after({name: values[name] for name in (rule.metrics if proven_rule(rule) else values)}, epochs)
        lost = self.status == Status.DIVERGED
        loss = np.where(lost, np.inf, np.nan).astype(means[rule.metric].dtype)
        known = ~lost & np.isfinite([now[name] for name in rule.metrics]).all(0)
        ranked = {name: column[known] for name, column in (now | dict(self.costs)).items()}
        loss[known], feasible = loss_of(rule, ranked), ~lost if rule.limits else np.ones(len(self), bool)
        feasible[known] = rule.violation(ranked) == 0
        shown = Trials(
            points,
            epochs,
            loss,
            means,
            (self.status == Status.STOPPED) | self.given_up,
            costs=self.costs,
            values=values,
            complete=self.ended(),
            feasible=feasible,
        )
        return shown._replace(**{name: read_only(column) for name, column in shown._asdict().items()})

    def _diverge(self, members: np.ndarray) -> None:
        """The trials of these members have diverged."""
        self.status[self.numbering.trials(members)] = Status.DIVERGED


def with_rows(column: np.ndarray, trials: int, value: object) -> np.ndarray:
    """A column with `trials` further rows of a value."""
    return np.concatenate([column, np.full((trials, *column.shape[1:]), value, column.dtype)])


def longer(column: np.ndarray, epochs: int, value: object) -> np.ndarray:
    """A column (..., epochs) with room for at least `epochs`, and then for twice as many."""
    if epochs <= column.shape[-1]:
        return column
    more = np.full((*column.shape[:-1], 2 * epochs - column.shape[-1]), value, column.dtype)
    return np.concatenate([column, more], -1)


def own_lineage(first: int, trials: int, epochs: int) -> np.ndarray:
    """The lineage (trials, epochs) of trials first, first + 1, ..., that were not copied."""
    return np.tile(np.arange(first, first + trials)[:, None], epochs)
