"""What members have reported so far: their metrics, epoch by epoch. No JAX here."""

import functools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from popjax.engine.numbering import Numbering
from popjax.rule import Rule
from popjax.scheduler import NONE, Trials
from popjax.space.space import Points
from popjax.store.counted import BestSoFar, Counted
from popjax.store.records import mean_member, values_after


class Curves:
    """Metric -> (trials, folds, repeats, epochs); NaN where there is none, and from divergence on.

    Args:
        metrics: their names.
        numbering: of the members.
        epochs: places for so many, at first.
        dtype: of the values.
        rule: which epoch of a member counts.

    Attributes:
        metrics: the curves.
        epochs: how many epochs (trials, folds, repeats) each member has finished; one that rests is taken along to
            the epoch that its trial is to reach.
        lineage: int (trials, epochs), as which trial a trial's state was trained in each epoch; None before a copy.
        so_far: the best epoch (members,) so far, where the rule asks for it.
    """

    def __init__(self, metrics: Iterable[str], numbering: Numbering, epochs: int, dtype: np.dtype, rule: Rule) -> None:
        self.metrics = {name: np.full((0, *numbering, epochs), np.nan, dtype) for name in metrics}
        self.epochs = np.zeros((0, *numbering), np.int64)
        self.numbering = numbering
        self.rule = rule
        self.lineage: np.ndarray | None = None
        improvement = rule.improvement if rule.metric else None
        self.so_far = None if improvement is None else BestSoFar(improvement, (0,))

    def grow(self, trials: int) -> None:
        """Make place for so many trials more."""
        if self.lineage is not None:
            self.lineage = np.concatenate([self.lineage, own_lineage(len(self.lineage), trials, self.lineage.shape[1])])
        if self.so_far is not None:
            self.so_far.grow(trials * self.numbering.each)
        for name, values in self.metrics.items():
            self.metrics[name] = np.concatenate([values, np.full((trials, *values.shape[1:]), np.nan, values.dtype)])
        self.epochs = np.concatenate([self.epochs, np.zeros((trials, *self.epochs.shape[1:]), np.int64)])

    def reach(self, epochs: int) -> None:
        """Make place for so many epochs, and for as many again, so that it need not be made each time."""
        for name, values in self.metrics.items():
            if epochs > values.shape[-1]:
                more = np.full((*values.shape[:-1], 2 * epochs - values.shape[-1]), np.nan, values.dtype)
                self.metrics[name] = np.concatenate([values, more], -1)
        if self.lineage is not None and epochs > self.lineage.shape[1]:
            more = own_lineage(0, len(self.lineage), 2 * epochs - self.lineage.shape[1])
            self.lineage = np.concatenate([self.lineage, more], 1)

    def flat(self, name: str) -> np.ndarray:
        """A metric as (members, epochs), the same memory."""
        values = self.metrics[name]
        return values.reshape(self.epochs.size, values.shape[-1])

    def of(self, members: np.ndarray, epoch: int) -> dict[str, np.ndarray]:
        """Metric -> (members, epoch), what members reported up to an epoch."""
        return {name: self.flat(name)[members, :epoch] for name in self.metrics}

    def add(self, members: np.ndarray, epoch: int, metrics: Mapping[str, np.ndarray]) -> None:
        """Take one epoch, from 0, of some members."""
        alive = functools.reduce(np.logical_and, map(np.isfinite, metrics.values()))
        finite = {name: np.where(alive, values, np.nan) for name, values in metrics.items()}
        for name, values in finite.items():
            self.flat(name)[members, epoch] = values
        if self.so_far is not None:
            if epoch == 0:
                self.so_far.begin(members)
            self.so_far.add(members, finite)
        self.stand(members, epoch + 1)

    def stand(self, members: np.ndarray, epoch: int) -> None:
        """Let members have finished so many epochs."""
        self.epochs.reshape(-1)[members] = epoch

    def return_to(self, members: np.ndarray, epoch: int) -> None:
        """Let members stand at an epoch; what they reported after it is forgotten where the best epoch is kept.

        So where training failed, and they are to report it again.
        """
        if self.so_far is not None and (self.epochs.reshape(-1)[members] != epoch).any():
            self.cut(members, epoch)
            self.recount()
        self.stand(members, epoch)

    def load(self, members: np.ndarray, epoch: int, curves: Mapping[str, np.ndarray]) -> None:
        """Take what members had done before: curves (members, epoch), and nothing after them."""
        for name, values in curves.items():
            self.flat(name)[members, :epoch] = values
        self.cut(members, epoch)

    def cut(self, members: np.ndarray, epoch: int) -> None:
        """Forget what members reported after an epoch."""
        for name in self.metrics:
            self.flat(name)[members, epoch:] = np.nan
        self.stand(members, epoch)

    def descend(self, targets: Sequence[int], sources: Sequence[int], epochs: np.ndarray) -> None:
        """Let trials (n,) descend from others (n,) up to these epochs (n,), where a best one is chosen."""
        if self.so_far is None or not targets:
            return
        if self.lineage is None:
            self.lineage = own_lineage(0, len(self.epochs), next(iter(self.metrics.values())).shape[-1])
        before = np.arange(self.lineage.shape[1]) < epochs[:, None]
        self.lineage[targets] = np.where(before, self.lineage[sources], self.lineage[targets])
        self.so_far.copy(self.numbering.members(targets), self.numbering.members(sources))

    def recount(self) -> None:
        """Find the best epochs anew, of curves that were loaded."""
        if self.so_far is not None:
            self.so_far = BestSoFar(self.so_far.improvement, (self.epochs.size,))
            records = self.counted().records
            for epoch in range(int(self.epochs.max(initial=0))):
                self.so_far.add(..., {name: values[..., epoch].ravel() for name, values in records.items()})

    @property
    def patient(self) -> bool:
        """Whether members may run out of patience."""
        return self.so_far is not None and self.so_far.improvement.patience is not None

    @property
    def resting(self) -> np.ndarray:
        """Bool (trials, folds, repeats): out of patience."""
        return self.rests(np.arange(self.epochs.size)).reshape(self.epochs.shape)

    def rests(self, members: np.ndarray) -> np.ndarray:
        """Bool (members,): which of these members are out of patience."""
        return np.zeros(len(members), bool) if self.so_far is None else self.so_far.rests(members)

    def counted(self, trials: np.ndarray | None = None) -> Counted:
        """What the records of all trials, or of some, are worth."""
        some = lambda rows: rows if trials is None or rows is None else rows[trials]
        records = {name: some(values) for name, values in self.metrics.items()}
        return Counted(self.rule, records, some(self.lineage), self.metrics)

    def means(self) -> dict[str, np.ndarray]:
        """Metric -> (trials, epochs), the mean over a trial's members; one that rests counts with its last record."""
        return {name: mean_member(values) for name, values in self.counted().present.items()}

    @property
    def done(self) -> np.ndarray:
        """How many epochs (trials,) all members of a trial have finished."""
        return self.epochs.min((1, 2))


def own_lineage(first: int, trials: int, epochs: int) -> np.ndarray:
    """The lineage (trials, epochs) of trials that were not copied."""
    return np.tile(np.arange(first, first + trials)[:, None], epochs)


def trials_of(
    points: Points, curves: Curves, last: int | None = None, costs: Mapping[str, np.ndarray] = NONE
) -> Trials:
    """What a scheduler sees of trials with these points and curves; `last`: the last epoch, if there is one."""
    rule, counted, epochs = curves.rule, curves.counted(), curves.done
    means = {name: mean_member(values) for name, values in counted.present.items()}
    values = means
    if rule.improvement is not None:
        values = {name: mean_member(values) for name, values in counted.values.items()}
    now = values_after({name: values[name] for name in rule.metrics}, epochs)
    loss = np.where(epochs > 0, np.inf, np.nan).astype(means[rule.metric].dtype)
    alive = (epochs > 0) & np.isfinite(list(now.values())).all(0)
    loss[alive] = rule.loss({name: column[alive] for name, column in (now | dict(costs)).items()})
    complete = counted.resting.all((1, 2)) | (epochs == last)
    return Trials(points, epochs, loss, means, costs=costs, values=values, complete=complete)
