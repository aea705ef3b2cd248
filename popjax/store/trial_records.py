"""The records of trials: what each member reported, what counts of it, and how the trials rank. No JAX here."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from popjax.core.counts import check_number
from popjax.core.fixed import fixed, read_only
from popjax.core.text import plural
from popjax.metric import Metric
from popjax.rule import Finished, Rule
from popjax.rules.best import TOGETHER
from popjax.rules.checking import front_of, order_of, winner_of
from popjax.rules.entering import check_members, check_patience
from popjax.scheduler import Status
from popjax.space.space import Space
from popjax.space.values import absent
from popjax.store.counted import Counted, records_along
from popjax.store.history import History
from popjax.store.records import error_of_mean, mean_member, values_after


class Best(NamedTuple):
    """The winner: trial, hyperparameters, value of the metric that ranks."""

    trial: int
    hparams: dict[str, Any]
    value: float


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class TrialRecords:
    """The records of trials under a rule; the arrays cannot be written.

    Attributes:
        points: hyperparameter -> column (trials,).
        members: metric -> (trials, folds, repeats, epochs); NaN from divergence on.
        rule: how the trials are ordered, and which one wins.
        run: the configuration, for run.json.
        summary: the summary, for summary.json.
        rounds: int (trials,), the round of each trial, from 0.
        done: int (trials, folds, repeats), number of finished epochs; fewer if the trial was stopped or pruned. For a
            resting member the epochs of its trial; its own are in `trained`.
        status: int8 (trials,), see `popjax.scheduler.Status`, never WAITING; as the records say if None.
        contenders: bool (trials,), the trials that rank where a budget or an interrupt ended the run: see `cut_short`;
            None if it was not, and the complete ones rank.
        improved: bool (trials, folds, repeats, epochs), the epochs that became a member's best, as its program reported
            them; None where they are compared again: of loaded and re-ranked results, and if the last epoch counts.
        costs: "parameters" (trained ones) or "flops" (per epoch) -> (trials,), where the rule needs them.
        history: hyperparameters of each trial by epoch, if they changed; `points` are those of the epoch that counts.
    """

    points: dict[str, np.ndarray]
    members: dict[str, np.ndarray]
    rule: Rule
    run: dict[str, Any] = dataclasses.field(default_factory=dict)
    summary: dict[str, Any] = dataclasses.field(default_factory=dict)
    rounds: np.ndarray = None  # type: ignore[assignment]
    done: np.ndarray = None  # type: ignore[assignment]
    status: np.ndarray = None  # type: ignore[assignment]
    contenders: np.ndarray | None = None
    improved: np.ndarray | None = None
    costs: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    history: History | None = None

    def __post_init__(self) -> None:
        trials, *each, epochs = self.members[self.metric].shape
        absent = {"rounds": np.zeros(trials, np.int64), "done": np.full((trials, *each), epochs)}
        for name in ("points", "members", "rounds", "done", "contenders", "improved", "costs"):
            value = absent.get(name) if getattr(self, name) is None else getattr(self, name)
            object.__setattr__(self, name, read_only(value))
        status = status_of(self.counted, self.done, epochs) if self.status is None else self.status
        object.__setattr__(self, "status", read_only(np.asarray(status, np.int8)))

    @property
    def metric(self) -> Metric:
        """The metric that ranks."""
        return self.rule.metric

    @property
    def parameters(self) -> np.ndarray | None:
        """Number of trained parameters (trials,) of each trial; None if the rule does not need it.

        Where the task names none, all numbers of its state: see `cost_name`.
        """
        return self.costs.get("parameters")

    @property
    def curves(self) -> dict[str, np.ndarray]:
        """Metric -> (trials, epochs): mean over folds and repeats; NaN from divergence on, and after all rest."""
        if not self.counted.resting.any():
            return read_only({name: mean_member(values) for name, values in self.members.items()})
        over = np.arange(self.members[self.metric].shape[-1]) >= self.epochs_run[:, None]
        present = {name: mean_member(values) for name, values in self.counted.present.items()}
        return {name: np.where(over, np.nan, values) for name, values in present.items()}

    @functools.cached_property
    def counted(self) -> Counted:
        """Which epoch of each member counts, and its value."""
        lineage, improved = None if self.history is None else self.history.lineages, self.improved
        if lineage is not None and improved is not None:
            improved = records_along({"": improved}, lineage)[""]
        return Counted(self.rule, self.members, improved, lineage)

    @fixed
    def epochs_run(self) -> np.ndarray:
        """int (trials,): number of epochs that all members of a trial finished with finite metrics.

        Resting members are left out; if all rest, the last epoch that any of them trained.
        """
        trained, resting = self.counted.trained, self.counted.resting
        going = np.where(resting, self.members[self.metric].shape[-1], trained).min((1, 2))
        return np.where(resting.all((1, 2)), trained.max((1, 2)), going)

    @fixed
    def values(self) -> dict[str, np.ndarray]:
        """Metric -> (trials,): mean over members at the epoch that counts; NaN if there is none, and if it diverged.

        That is the last epoch that was trained, or under at="best" each member's best. Values of trials that were not
        trained equally far tell little of each other: see `places`.
        """
        if self.rule.improvement is None:
            values = values_after(self.curves, self.epochs_run)
        else:
            values = {name: values.mean((1, 2), dtype=np.float64) for name, values in self.of_members.items()}
        return self._unless_diverged(values)

    @fixed
    def errors(self) -> dict[str, np.ndarray]:
        """Metric -> (trials,): standard error of `values` over folds, of one over its repeats; empty for one member."""
        _, folds, repeats, _ = self.members[self.metric].shape
        if folds * repeats == 1:
            return {}
        return self._unless_diverged({name: error_of_mean(last) for name, last in self.of_members.items()})

    def _unless_diverged(self, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Metric -> (trials,), with NaN for diverged trials."""
        return {name: np.where(self.diverged, np.nan, column) for name, column in values.items()}

    @fixed
    def of_members(self) -> dict[str, np.ndarray]:
        """Metric -> (trials, folds, repeats): the values at the epoch that counts."""
        if self.rule.improvement is None:
            return values_after(self.members, self.epochs_run)
        return self.counted.in_the_end

    @fixed
    def diverged(self) -> np.ndarray:
        """bool (trials,): a metric of some member was not finite."""
        return self.status == Status.DIVERGED

    @fixed
    def stopped(self) -> np.ndarray:
        """bool (trials,): stopped before the last epoch, by a person or with the run; neither diverged nor pruned."""
        return self.status == Status.STOPPED

    @fixed
    def pruned(self) -> np.ndarray:
        """bool (trials,): left by a scheduler before the last epoch; not diverged."""
        return self.status == Status.PRUNED

    @property
    def points_that_count(self) -> dict[str, np.ndarray]:
        """`points`; if they changed, those of the epoch that counts, the latest over a trial's members."""
        if self.history is None:
            return self.points
        begun = self.epochs_run > 0
        then = self.history.at(self.counted.final.max((1, 2)))
        return {name: np.where(begun, then[name], column) for name, column in self.points.items()}

    def records(self, trial: int) -> dict[str, np.ndarray]:
        """Metric -> (folds, repeats, epochs): a trial's records up to the epochs that count; NaN after each."""
        ends = self.counted.final[trial] + 1
        count = int(ends.max())
        over = np.arange(count) >= ends[..., None]
        return {
            name: np.where(over, np.nan, values[trial, ..., :count]) for name, values in self.counted.records.items()
        }

    @property
    def trained(self) -> np.ndarray:
        """int (trials, folds, repeats): number of epochs that each member was trained."""
        return np.where(self.counted.resting, self.counted.reported, self.done)

    @fixed
    def best_epochs(self) -> np.ndarray | None:
        """int (trials, folds, repeats): epoch of each member that counts, from 1; None if the rule counts the last."""
        return None if self.rule.improvement is None else self.counted.final + 1

    @fixed
    def order(self) -> np.ndarray:
        """int (n,): the complete trials, best first; of a run that was cut short its contenders."""
        rank = self.status == Status.COMPLETE if self.contenders is None else self.contenders
        return self._best_first(np.flatnonzero(rank))

    @fixed
    def leaders(self) -> np.ndarray:
        """int (n,): `order`, or if it is empty the stopped trials by their values so far, best first."""
        return self.order if len(self.order) else self._best_first(np.flatnonzero(self.stopped & (self.epochs_run > 0)))

    def _best_first(self, rows: np.ndarray) -> np.ndarray:
        return rows[order_of(self.rule, self._values(rows))]

    def _values(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Metric or cost -> (rows,): the values that the rule orders by."""
        return {name: values[rows] for name, values in (self.values | dict(self.costs)).items()}

    @fixed
    def feasible(self) -> np.ndarray:
        """bool (trials,): what counts violates no limit of the rule; under limits no diverged trial is feasible."""
        if not self.rule.limits:
            return np.ones(len(self.status), bool)
        return (self.rule.violation(self.values | dict(self.costs)) == 0) & ~self.diverged

    @fixed
    def eligible(self) -> np.ndarray:
        """int (n,): `order` without the trials that violate a limit of the rule; if all do, the one that does least."""
        feasible = self.order[self.feasible[self.order]] if self.rule.limits else self.order
        return feasible if len(feasible) else self.order[:1]

    @fixed
    def reached(self) -> np.ndarray:
        """int (trials,): the epoch up to which a trial was trained; the last one for those that rank."""
        ranks = np.isin(np.arange(len(self.status)), self.order)
        return np.where(ranks, self.members[self.metric].shape[-1], self.epochs_run)

    @fixed
    def comparable(self) -> np.ndarray:
        """bool (trials,): feasible and not diverged; if no trial is feasible, all that did not diverge."""
        feasible = ~self.diverged & self.feasible
        return feasible if feasible.any() else ~self.diverged

    @fixed
    def places(self) -> np.ndarray:
        """int (trials,): the number of distinct better outcomes, 0 for the best, by the metric that ranks.

        A trial that was trained further is better, whatever its value: a loss may rise in training. Those that are not
        `comparable` come last, with one place.

        >>> import numpy as np
        >>> import popjax as pj
        >>> curves = np.array([[3.0, 4.0], [2.0, 3.0], [1.0, np.nan]])[:, None, None]
        >>> done = np.array([2, 2, 1])[:, None, None]
        >>> pj.Results({"x": np.arange(3.0)}, {"loss": curves}, pj.best("loss", "min"), done=done).places.tolist()
        [1, 0, 2]
        """
        values = self.values[self.metric] * (1 if self.metric.mode == "min" else -1)
        outcomes = np.column_stack([-self.reached, np.nan_to_num(values, nan=np.inf)])
        distinct, places = np.unique(outcomes[self.comparable], axis=0, return_inverse=True)
        last = np.full(len(values), len(distinct))
        last[self.comparable] = places
        return last

    @property
    def infeasible(self) -> str:
        """How many of the trials that rank violate a limit of the rule, in words; empty if none does."""
        violating = int((~self.feasible[self.order]).sum())
        if not violating:
            return ""
        limits, count = " and ".join(self.rule.subject_to), len(self.order)
        if violating == count:
            return f"no trial of {count:,} satisfies {limits}: the one that violates it least wins"
        return f"{count - violating:,} of {count:,} trials satisfy {limits}"

    @property
    def cut_short(self) -> str:
        """How far the trials that rank were trained where a budget or an interrupt ended the run; else empty."""
        if self.contenders is None or not len(self.order):
            return ""
        what = f"stopped before its end: {len(self.order):,} of {plural(len(self.status), 'trial')} rank"
        if (self.status[self.order] == Status.COMPLETE).all():
            return f"{what}, those that were trained to the end"
        trained = self.trained[self.order].min((1, 2))
        first, last = trained.min(), trained.max()
        by = "" if self.best_epochs is None else ", each by its best epoch"
        last_of_all = self.members[self.metric].shape[-1]
        after = f"epoch {first} of {last_of_all}" if first == last else f"{first} to {last} of {last_of_all} epochs"
        return f"{what}{by}, after {after}"

    @property
    def best(self) -> Best | None:
        """The winner by the rule; None if no trial ranks."""
        order = self.order
        if len(order) == 0:
            return None
        errors = {name: values[order] for name, values in self.errors.items()}
        row = int(order[winner_of(self.rule, Finished(self._values(order), errors))])
        return Best(row, self.hparams(row), float(self.values[self.metric][row]))

    def front(self) -> list[int]:
        """Trials that no other beats in all objectives, best first by the first one; with one objective, those with its
        best value.

        >>> import numpy as np
        >>> import popjax as pj
        >>> cost = lambda key, hparams: {"loss": hparams["x"], "error": 1 - hparams["x"]}
        >>> rank = pj.pareto("loss", "error")
        >>> results = pj.search(pj.objective(cost), {"x": pj.uniform(0, 1)}, trials=8, rank=rank)
        >>> results.front() == np.argsort(results.points["x"]).tolist()
        True
        """
        return self.order[front_of(self.rule, self._values(self.order))].tolist() if len(self.order) else []

    def best_trials(self, size: int = TOGETHER) -> list[int]:
        """The best `size` complete trials, or all if there are fewer, best first; copies of one state count once.

        Those that violate a limit of the rule are left out; if all do, the one that does least remains.

        >>> import popjax as pj
        >>> task = pj.objective(lambda key, hparams: {"loss": hparams["x"] ** 2})
        >>> results = pj.search(task, {"x": pj.uniform(0, 1)}, trials=8)
        >>> results.best_trials(3)[0] == results.best.trial
        True
        """
        return self.counted.different(self.eligible)[:size].tolist()

    def hparams(self, trial: int) -> dict[str, Any]:
        """Hyperparameters of a trial as Python values, without inactive ones.

        Raises ValueError for a trial that there is not.

        >>> import popjax as pj
        >>> task = pj.objective(lambda key, hparams: {"loss": hparams["x"] ** 2})
        >>> results = pj.search(task, {"x": pj.uniform(0, 1)}, trials=8)
        >>> results.hparams(results.best.trial) == results.best.hparams
        True
        """
        check_number("there is no trial", trial, len(self.status))
        values = {name: column[[trial]].tolist()[0] for name, column in self.points.items()}
        values = {name: value for name, value in values.items() if not absent(value)}
        whole = {name for name, scale in self.space.items() if scale.whole and name in self.space.conditions}
        return {name: int(value) if name in whole else value for name, value in values.items()}

    @functools.cached_property
    def space(self) -> Space:
        """The searched space; empty if the run does not record it."""
        return Space.from_dict(self.run.get("space", {}))


def cost_name(name: str, run: Mapping[str, Any]) -> str:
    """The name of a cost in the tables and figures of a run, where "parameters" may be all numbers of a state.

    >>> cost_name("parameters", {}), cost_name("parameters", {"parameters": "of states"})
    ('parameters', 'numbers_in_state')
    """
    return "numbers_in_state" if name == "parameters" and run.get("parameters") == "of states" else name


def status_of(counted: Counted, done: np.ndarray, epochs: int) -> np.ndarray:
    """The status (trials,) that records say, with `done` (trials, folds, repeats) finished of so many epochs."""
    lost = ((counted.trained < done) & ~counted.resting).any((1, 2))
    below = ((done < epochs) & ~counted.resting).any((1, 2))
    return np.select([lost, below], [Status.DIVERGED, Status.STOPPED], Status.COMPLETE).astype(np.int8)


def rule_among(records: TrialRecords, rule: Rule) -> Rule:
    """A rule with a metric and mode under which trials can rank that were trained under another.

    Raises ValueError for a metric, an error or costs that they do not have, and if they would have rested otherwise.
    """
    if rule.metric is None:
        rule = dataclasses.replace(rule, metric=records.metric, mode=rule.mode or records.metric.mode)
    for metric in rule.metrics:
        if metric not in records.members:
            raise ValueError(f"unknown metric {str(metric)!r}; the trials have {', '.join(records.members)}")
    rule = dataclasses.replace(rule, mode=rule.metric.mode)
    check_patience("ranked", records.rule, rule)
    check_members(rule, records.members[rule.metric].shape[1] * records.members[rule.metric].shape[2])
    for name in [name for name in rule.costs if name not in records.costs]:
        what = f"the run does not know the {name} of its trials"
        raise ValueError(f"rank {rule.name}: {what}; search with rank={rule!r}")
    return rule
