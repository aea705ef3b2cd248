"""The metrics that members have reported so far, epoch by epoch. No JAX here."""

import functools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from popjax.core.fixed import read_only
from popjax.engine.numbering import Numbering
from popjax.rule import Rule
from popjax.rules.checking import loss_of, proven_rule
from popjax.scheduler import NONE, Trials
from popjax.space.space import Points
from popjax.store.counted import BestSoFar, Counted
from popjax.store.records import mean_member, values_after


class Curves:
    """The curves of all members: metric -> (trials, folds, repeats, epochs).

    Args:
        metrics: their names.
        numbering: of the members.
        epochs: number of epochs to make room for at first.
        dtype: of the values.
        rule: which epoch of a member counts.

    Attributes:
        metrics: metric -> (trials, folds, repeats, epochs); NaN where nothing is reported, and from divergence on.
        epochs: int (trials, folds, repeats), the epochs that each member has finished; a resting member is advanced to
            the epoch that its trial is to reach.
        lineage: int (trials, epochs), the trial as which a trial's state was trained in each epoch; None before the
            first copy, and where the rule chooses no best epoch.
        so_far: the best epoch so far (members,); None if the rule does not ask for it.
        not_finite: the metrics with which members diverged in this process.
    """

    def __init__(self, metrics: Iterable[str], numbering: Numbering, epochs: int, dtype: np.dtype, rule: Rule) -> None:
        self.metrics = {name: np.full((0, *numbering, epochs), np.nan, dtype) for name in metrics}
        self.epochs = np.zeros((0, *numbering), np.int64)
        self.numbering = numbering
        self.rule = rule
        self.lineage: np.ndarray | None = None
        self.not_finite: set[str] = set()
        improvement = rule.improvement if rule.metric else None
        self.so_far = None if improvement is None else BestSoFar(improvement, (0,))

    def grow(self, trials: int) -> None:
        """Append trials, which have reported nothing."""
        if self.lineage is not None:
            self.lineage = np.concatenate([self.lineage, own_lineage(len(self.lineage), trials, self.lineage.shape[1])])
        if self.so_far is not None:
            self.so_far.grow(trials * self.numbering.each)
        for name, values in self.metrics.items():
            self.metrics[name] = np.concatenate([values, np.full((trials, *values.shape[1:]), np.nan, values.dtype)])
        self.epochs = np.concatenate([self.epochs, np.zeros((trials, *self.epochs.shape[1:]), np.int64)])

    def reach(self, epochs: int) -> None:
        """Make room for at least `epochs`; for twice as many where there is no room, so that it is rarely done."""
        for name, values in self.metrics.items():
            if epochs > values.shape[-1]:
                more = np.full((*values.shape[:-1], 2 * epochs - values.shape[-1]), np.nan, values.dtype)
                self.metrics[name] = np.concatenate([values, more], -1)
        if self.lineage is not None and epochs > self.lineage.shape[1]:
            more = own_lineage(0, len(self.lineage), 2 * epochs - self.lineage.shape[1])
            self.lineage = np.concatenate([self.lineage, more], 1)

    def flat(self, name: str) -> np.ndarray:
        """A metric as (members, epochs), a view of the same memory."""
        values = self.metrics[name]
        return values.reshape(self.epochs.size, values.shape[-1])

    def of(self, members: np.ndarray, epoch: int) -> dict[str, np.ndarray]:
        """Metric -> (members, epoch): what these members reported in their first `epoch` epochs."""
        return {name: self.flat(name)[members, :epoch] for name in self.metrics}

    def add(self, members: np.ndarray, epoch: int, metrics: Mapping[str, np.ndarray]) -> None:
        """Add the metrics (members,) of one epoch, from 0; all are NaN for a member with one that is not finite."""
        known = {name: np.isfinite(values) for name, values in metrics.items()}
        alive = functools.reduce(np.logical_and, known.values())
        if not alive.all():
            before = alive | (epoch == 0 or np.isfinite(self.flat(next(iter(known)))[members, epoch - 1]))
            self.not_finite |= {name for name, own in known.items() if (before & ~own).any()}
        finite = {name: np.where(alive, values, np.nan) for name, values in metrics.items()}
        for name, values in finite.items():
            self.flat(name)[members, epoch] = values
        if self.so_far is not None:
            if epoch == 0:
                self.so_far.begin(members)
            self.so_far.add(members, finite)
        self.stand(members, epoch + 1)

    def stand(self, members: np.ndarray, epoch: int) -> None:
        """Set the number of epochs that members have finished."""
        self.epochs.reshape(-1)[members] = epoch

    def return_to(self, members: np.ndarray, epoch: int) -> None:
        """Set the epochs that members have finished; where the best epoch is kept, drop what they reported after it.

        They report those epochs again, since training failed.
        """
        if self.so_far is not None and (self.epochs.reshape(-1)[members] != epoch).any():
            self.cut(members, epoch)
            self.recount()
        self.stand(members, epoch)

    def load(self, members: np.ndarray, epoch: int, curves: Mapping[str, np.ndarray]) -> None:
        """Load the curves, metric -> (members, epoch), of these members, and drop what they reported after them."""
        for name, values in curves.items():
            self.flat(name)[members, :epoch] = values
        self.cut(members, epoch)

    def cut(self, members: np.ndarray, epoch: int) -> None:
        """Drop what members reported after their first `epoch` epochs, which are those that they have finished."""
        for name in self.metrics:
            self.flat(name)[members, epoch:] = np.nan
        self.stand(members, epoch)

    def descend(self, targets: Sequence[int], sources: Sequence[int], epochs: np.ndarray) -> None:
        """Make the trials `targets` (n,) descend from `sources` (n,) up to `epochs` (n,), if a best epoch is chosen."""
        if self.so_far is None or not targets:
            return
        if self.lineage is None:
            self.lineage = own_lineage(0, len(self.epochs), next(iter(self.metrics.values())).shape[-1])
        before = np.arange(self.lineage.shape[1]) < epochs[:, None]
        self.lineage[targets] = np.where(before, self.lineage[sources], self.lineage[targets])
        self.so_far.copy(self.numbering.members(targets), self.numbering.members(sources))

    def recount(self) -> None:
        """Compute the best epochs so far again from the curves, as after loading or dropping some."""
        if self.so_far is not None:
            self.so_far = BestSoFar(self.so_far.improvement, (self.epochs.size,))
            records = self.counted().records
            for epoch in range(int(self.epochs.max(initial=0))):
                self.so_far.add(..., {name: values[..., epoch].ravel() for name, values in records.items()})

    @property
    def patient(self) -> bool:
        """True if members may run out of patience."""
        return self.so_far is not None and self.so_far.improvement.patience is not None

    @property
    def resting(self) -> np.ndarray:
        """Bool (trials, folds, repeats): out of patience."""
        return self.rests(np.arange(self.epochs.size)).reshape(self.epochs.shape)

    def rests(self, members: np.ndarray) -> np.ndarray:
        """Bool (members,): out of patience."""
        return np.zeros(len(members), bool) if self.so_far is None else self.so_far.rests(members)

    def counted(self, trials: np.ndarray | None = None) -> Counted:
        """The records of the `trials`, int (n,), as they count under the rule; of all trials if None."""
        some = lambda rows: rows if trials is None or rows is None else rows[trials]
        records = {name: some(values) for name, values in self.metrics.items()}
        return Counted(self.rule, records, some(self.lineage), self.metrics)

    def means(self) -> dict[str, np.ndarray]:
        """Metric -> (trials, epochs), the mean over a trial's members; a resting member counts with its last record."""
        return {name: mean_member(values) for name, values in self.counted().present.items()}

    @property
    def done(self) -> np.ndarray:
        """Int (trials,): the epochs that all members of a trial have finished."""
        return self.epochs.min((1, 2))


def own_lineage(first: int, trials: int, epochs: int) -> np.ndarray:
    """The lineage (trials, epochs) of trials first, first + 1, ..., that were not copied."""
    return np.tile(np.arange(first, first + trials)[:, None], epochs)


def trials_of(
    points: Points, curves: Curves, last: int | None = None, costs: Mapping[str, np.ndarray] = NONE
) -> Trials:
    """The Trials that a scheduler sees for these points and curves; `last`: the last epoch, None if there is none."""
    rule, counted, epochs = curves.rule, curves.counted(), curves.done
    means = {name: mean_member(values) for name, values in counted.present.items()}
    values = means
    if rule.improvement is not None:
        values = {name: mean_member(values) for name, values in counted.values.items()}
    now = values_after({name: values[name] for name in (rule.metrics if proven_rule(rule) else values)}, epochs)
    loss = np.where(epochs > 0, np.inf, np.nan).astype(means[rule.metric].dtype)
    alive = (epochs > 0) & np.isfinite([now[name] for name in rule.metrics]).all(0)
    loss[alive] = loss_of(rule, {name: column[alive] for name, column in (now | dict(costs)).items()})
    complete = counted.resting.all((1, 2)) | (epochs == last)
    shown = map(read_only, (means, values, costs))  # which may be the run's own memory
    curves_shown, values_shown, costs_shown = shown
    return Trials(points, epochs, loss, curves_shown, costs=costs_shown, values=values_shown, complete=complete)
