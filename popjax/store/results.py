"""Results of a search: the table of trials, the curves, the winner. No JAX here."""

import dataclasses
import functools
import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from popjax.core.counts import check_count
from popjax.core.fixed import fixed, read_only
from popjax.core.text import check_installed, plural
from popjax.rule import Finished, Rule
from popjax.rules.checking import front_of, order_of, winner_of
from popjax.rules.entering import check_members
from popjax.rules.named_rules import rule_of
from popjax.rules.together import TOGETHER
from popjax.scheduler import Status
from popjax.space.space import Space
from popjax.space.values import absent
from popjax.store import run_files
from popjax.store.counted import Counted, records_along
from popjax.store.files import KeptTrial
from popjax.store.history import History
from popjax.store.records import mean_member, values_after
from popjax.store.trial_columns import arrow, curves_table
from popjax.task import Metric

if TYPE_CHECKING:
    import pyarrow as pa


OF_WINNER = (
    "best",
    "test",
    "test_value",
    "test_interval",
    "ensemble",
    "confusion",
    "confusions",
    "predicted",
    "predictions",
)


class Best(NamedTuple):
    """The winner: trial, hyperparameters, value of the metric that ranks."""

    trial: int
    hparams: dict[str, Any]
    value: float


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Results:
    """The outcome of a search. Its arrays cannot be written: copy one to change it.

    Attributes:
        points: hyperparameter -> column (trials,).
        members: metric -> (trials, folds, repeats, epochs); NaN from divergence on.
        rule: how the trials are ordered, and which one wins.
        run: the configuration, for run.json.
        summary: the summary, for summary.json.
        states: trial -> name -> array (folds * repeats, ...), for the kept trials.
        recipes: trial -> JSON values that rebuild it as a predictor (None if the task has none), for the kept trials.
        rounds: int (trials,), the round of each trial, from 0.
        done: int (trials, folds, repeats), number of finished epochs; fewer if the trial was stopped or pruned. For a
            resting member the epochs of its trial; its own are in `trained`.
        status: int8 (trials,), see `popjax.scheduler.Status`, never WAITING; as the records say if None.
        improved: bool (trials, folds, repeats, epochs), the epochs that became a member's best, as its program reported
            them; None where they are compared again: of loaded and re-ranked results, and if the last epoch counts.
        task: the trained task, in the process that trained it; else None.
        costs: "parameters" (trained ones) or "flops" (per epoch) -> (trials,), where the rule needs them.
        history: hyperparameters of each trial by epoch, if they changed; `points` are those of the epoch that counts.
        steered: bool (trials,): changed or stopped by a person; None if no trial was.
        ensemble: the trials that predict together, best first, each as often as it counts, if the rule chose them.

    >>> loss = np.array([[3.0, 1.0], [3.0, 2.0]])[:, None, None]
    >>> results = Results({"learning_rate": np.array([0.1, 0.2])}, {"loss": loss}, Rule("loss"))
    >>> results.best
    Best(trial=0, hparams={'learning_rate': 0.1}, value=1.0)
    """

    points: dict[str, np.ndarray]
    members: dict[str, np.ndarray]
    rule: Rule
    run: dict[str, Any] = dataclasses.field(default_factory=dict)
    summary: dict[str, Any] = dataclasses.field(default_factory=dict)
    states: dict[int, dict[str, np.ndarray]] = dataclasses.field(default_factory=dict)
    recipes: Mapping[int, Mapping[str, Any] | None] = dataclasses.field(default_factory=dict)
    rounds: np.ndarray = None  # type: ignore[assignment]
    done: np.ndarray = None  # type: ignore[assignment]
    status: np.ndarray = None  # type: ignore[assignment]
    improved: np.ndarray | None = None
    task: Any = None
    costs: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    history: History | None = None
    steered: np.ndarray | None = None
    ensemble: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        trials, *each, epochs = self.members[self.metric].shape
        absent = {"rounds": np.zeros(trials, np.int64), "done": np.full((trials, *each), epochs)}
        for name in ("points", "members", "rounds", "done", "improved", "costs", "steered"):
            value = absent.get(name) if getattr(self, name) is None else getattr(self, name)
            object.__setattr__(self, name, read_only(value))
        status = status_of(self.counted, self.done, epochs) if self.status is None else self.status
        object.__setattr__(self, "status", read_only(status))

    def __repr__(self) -> str:
        trials, folds, repeats, epochs = self.members[self.metric].shape
        best = self.best or f"None: {self.no_winner}"
        return f"Results({trials=}, {folds=}, {repeats=}, {epochs=}, metric={self.metric!r}, best={best})"

    @property
    def metric(self) -> Metric:
        """The metric that ranks."""
        return self.rule.metric

    @property
    def parameters(self) -> np.ndarray | None:
        """Number of trained parameters (trials,) of each trial; None if the rule does not need it."""
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
        """Metric -> (trials,): mean over members at the epoch that counts; NaN if there is none.

        That is the last epoch with finite metrics, or under at="best" each member's best.
        """
        if self.rule.improvement is None:
            return values_after(self.curves, self.epochs_run)
        return {name: values.mean((1, 2), dtype=np.float64) for name, values in self.of_members.items()}

    @fixed
    def errors(self) -> dict[str, np.ndarray]:
        """Metric -> (trials,): standard error of `values` over folds and repeats; empty with one member per trial."""
        shape = self.members[self.metric].shape
        count = shape[1] * shape[2]
        if count == 1:
            return {}
        last = {n: v.reshape(len(v), count).astype(np.float64) for n, v in self.of_members.items()}
        return {name: values.std(1, ddof=1) / np.sqrt(count) for name, values in last.items()}

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
        count = self.members[self.metric].shape[-1] if self.best_epochs is None else int(ends.max())
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
        """int (n,): the complete trials that did not diverge, best first."""
        return self._best_first(np.flatnonzero(self.status == Status.COMPLETE))

    @fixed
    def leaders(self) -> np.ndarray:
        """int (n,): `order`, or if it is empty the stopped trials by their values so far, best first."""
        return self.order if len(self.order) else self._best_first(np.flatnonzero(self.stopped & (self.epochs_run > 0)))

    def _best_first(self, rows: np.ndarray) -> np.ndarray:
        return rows[order_of(self.rule, self._values(rows))]

    def _values(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Metric or cost -> (rows,): the values that the rule orders by."""
        return {name: values[rows] for name, values in (self.values | dict(self.costs)).items()}

    @property
    def no_winner(self) -> str:
        """Reason why there is no winner, in words; empty if there is one."""
        if len(self.order):
            return ""
        lost, left = int(self.diverged.sum()), int((self.stopped | self.pruned).sum())
        if left == 0:
            return all_diverged(lost, self.summary.get("not_finite", ()))
        return f"no trial was trained to the end: {left:,} were stopped before it, {lost:,} diverged"

    @property
    def best(self) -> Best | None:
        """The winner by the rule; None if no trial is complete without having diverged."""
        order = self.order
        if len(order) == 0:
            return None
        errors = {name: values[order] for name, values in self.errors.items()}
        row = int(order[winner_of(self.rule, Finished(self._values(order), errors))])
        return Best(row, self.hparams(row), float(self.values[self.metric][row]))

    def front(self) -> list[int]:
        """Trials that no other beats in all objectives, best first by the first one; with one objective, those with its
        best value.

        >>> import popjax as pj
        >>> cost = lambda key, hparams: {"loss": hparams["x"], "error": 1 - hparams["x"]}
        >>> rank = pj.pareto("loss", "error")
        >>> results = pj.search(pj.objective(cost), {"x": pj.uniform(0, 1)}, trials=8, rank=rank)
        >>> results.front() == np.argsort(results.points["x"]).tolist()
        True
        """
        return self.order[front_of(self.rule, self._values(self.order))].tolist() if len(self.order) else []

    def hparams(self, trial: int) -> dict[str, Any]:
        """Hyperparameters of a trial as Python values, without inactive ones.

        >>> import popjax as pj
        >>> task = pj.objective(lambda key, hparams: {"loss": hparams["x"] ** 2})
        >>> results = pj.search(task, {"x": pj.uniform(0, 1)}, trials=8)
        >>> results.hparams(results.best.trial) == results.best.hparams
        True
        """
        values = {name: column[[trial]].tolist()[0] for name, column in self.points.items()}
        values = {name: value for name, value in values.items() if not absent(value)}
        whole = {name for name, scale in self.space.items() if scale.whole and name in self.space.conditions}
        return {name: int(value) if name in whole else value for name, value in values.items()}

    @functools.cached_property
    def space(self) -> Space:
        """The searched space; empty if the run does not record it."""
        return Space.from_dict(self.run.get("space", {}))

    @functools.cached_property
    def trials(self) -> "pa.Table":
        """Arrow table, one row per trial: hyperparameters, status, epochs, values of the metrics, rank.

        If the best epoch counts also `best_epoch`, the mean over the trial's members.
        """
        return trials_table(self)

    def params(self, trial: int) -> dict[Any, Any]:
        """Trained arrays of a kept trial, nested as the model is; with folds or repeats, a leading axis of members.

        With one member, `nnx.update(module, results.params(trial))` and linen's `apply({"params": ...}, x)` take them.
        Batch statistics are not included: `results.predictor(trial).module()` has them too.

        Raises ValueError for a trial that was not kept.

        >>> import popjax as pj
        >>> results = pj.search(pj.supervised("wine"), {"learning_rate": 0.1, "hidden": 8}, trials=2, epochs=10)
        >>> results.params(results.best.trial)["hidden"][0]["kernel"].shape
        (13, 8)
        """
        self._check_kept(trial)
        arrays = {name: array if len(array) > 1 else array[0] for name, array in self.states[trial].items()}
        params = {name.removeprefix("params."): a for name, a in arrays.items() if name.startswith("params.")}
        return nested(params or arrays)

    def _check_kept(self, trial: int) -> None:
        if trial not in self.states:
            kept = ", ".join(map(str, self.states)) or "none"
            remedy = "search with a rank that keeps more, such as popjax.best(keep=25)"
            if trial in np.flatnonzero(self.stopped).tolist():
                remedy = "it was stopped, and only a search with out=DIR can be resumed"
            elif self.task is None:
                remedy = "a directory keeps the winner, and with rank=popjax.together() the best 25"
            raise ValueError(f"trial {trial} was not kept ({kept} is); {remedy}")

    @property
    def winner(self) -> Mapping[str, Any] | None:
        """JSON values that rebuild the winner as a predictor; None if there are none."""
        return None if self.best is None else self.recipes.get(self.best.trial)

    def kept(self, trial: int) -> KeptTrial:
        """The kept trial of this number; raises ValueError if it was not kept."""
        self._check_kept(trial)
        changed = {} if self.history is None else self.history.of(trial)
        history = {n: [None if absent(value) else value for value in column.tolist()] for n, column in changed.items()}
        return KeptTrial(trial, self.hparams(trial), self.states[trial], self.recipes.get(trial), history)

    def best_trials(self, size: int = TOGETHER) -> list[int]:
        """The best `size` complete trials, or all if there are fewer, best first; copies of one state count once.

        >>> import popjax as pj
        >>> task = pj.objective(lambda key, hparams: {"loss": hparams["x"] ** 2})
        >>> results = pj.search(task, {"x": pj.uniform(0, 1)}, trials=8)
        >>> results.best_trials(3)[0] == results.best.trial
        True
        """
        return self.counted.different(self.order)[:size].tolist()

    def ranked(self, rank: Rule | str) -> Self:
        """The same trials under another rule: another order, another winner, without the scores on test rows.

        The test rows were scored for the earlier winner, and must not choose one. States that were kept stay kept if
        the same epochs count.

        Raises ValueError for a metric that was not reported, for one member per trial if the rule needs an error, for
        costs that the run does not have, and if another patience, or patience by another metric, would have trained
        other epochs.

        >>> import popjax as pj
        >>> task = pj.objective(lambda key, hparams: {"loss": hparams["x"], "accuracy": hparams["x"]})
        >>> results = pj.search(task, {"x": pj.uniform(0, 1)}, trials=8)
        >>> again = results.ranked("accuracy")
        >>> again.best.trial == results.order[-1].item()
        True
        """
        return reranked(self, rule_of(rank))

    def predictor(self, trial: int | None = None) -> Any:
        """Predictor of a kept trial; for None of the winner, or of the ensemble if the rule chose one.

        Raises ValueError for a trial that was not kept, and if only the task's own code could predict.

        >>> import popjax as pj
        >>> results = pj.search(pj.supervised("wine"), {"learning_rate": 0.1, "hidden": 8}, trials=2, epochs=10)
        >>> results.predictor().predict_proba([[13.0] * 13]).shape
        (1, 3)
        """
        import popjax as pj

        if trial is None and self.rule.together:
            return pj.ensemble(self)
        return pj.predictor(self, trial)

    def predict(self, rows: Any) -> np.ndarray:
        """Predictions of the winner, or of the chosen ensemble, for raw rows: `predictor().predict(rows)`.

        Raises ValueError as `predictor` does, and for rows that do not fit.

        >>> import popjax as pj
        >>> results = pj.search(pj.supervised("wine"), {"learning_rate": 0.1, "hidden": 8}, trials=2, epochs=10)
        >>> results.predict([[13.0] * 13]).item()
        'class_0'
        """
        found: np.ndarray = self.predictor().predict(rows)
        return found

    def top(self, size: int = 10) -> Any:
        """The best trials, best first, one per row: a DataFrame if pandas is installed, else a pyarrow table.

        If no trial is complete, the best of the stopped ones, with the status "stopped".

        >>> import popjax as pj
        >>> task = pj.objective(lambda key, hparams: {"loss": hparams["x"] ** 2})
        >>> results = pj.search(task, {"x": pj.uniform(0, 1)}, trials=8)
        >>> list(results.top(3).columns)
        ['trial', 'round', 'x', 'status', 'epochs', 'loss', 'rank']
        """
        table = self.trials.take(self.leaders[: check_count("top", size)])
        return table.to_pandas() if importlib.util.find_spec("pandas") else table

    def plot(self, name: str = "curves") -> Any:
        """Plotly figure of the report: "curves", a metric, "expected", a hyperparameter, "interaction" of the two that
        matter most, "predicted" of a regression.

        If hyperparameters changed during training also "tree", and "learning_rate by epoch". Raises ValueError
        for another name.

        >>> import popjax as pj
        >>> task = pj.objective(lambda key, hparams: {"loss": hparams["x"] ** 2})
        >>> results = pj.search(task, {"x": pj.uniform(0, 1)}, trials=8)
        >>> len(results.plot("x").data[0].x)
        8
        """
        import popjax as pj

        return pj.plot(self, name)

    def report(self, path: str | Path) -> Path:
        """Write the report to a file, as a search with `out` does in its directory; returns its path.

        >>> import popjax as pj
        >>> task = pj.objective(lambda key, hparams: {"loss": hparams["x"] ** 2})
        >>> results = pj.search(task, {"x": pj.uniform(0, 1)}, trials=8)
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     results.report(f"{place}/page.html").stat().st_size > 1_000_000
        True
        """
        import popjax as pj

        written: Path = pj.write_report(self, path)
        return written

    def _repr_html_(self) -> str:
        import popjax as pj

        return str(pj.as_html(self))

    def replay(self, trial: int) -> dict[str, np.ndarray]:
        """Train one trial again, alone: `popjax.replay` with the task of the search that gave these results.

        Raises ValueError for a trial that does not exist, and for loaded results: a directory holds no code, so
        pass the task to `popjax.replay`.
        """
        import popjax as pj

        if self.task is None:
            raise ValueError("the results were loaded, so give the task: popjax.replay(results, trial, task)")
        return pj.replay(self, trial, self.task)

    def to_pandas(self) -> Any:
        """The table of trials as a DataFrame. Raises ValueError if pandas is not installed."""
        check_installed("to_pandas()", "pandas")
        return self.trials.to_pandas()

    def save(self, directory: str | Path) -> None:
        """Write run.json, trials.parquet, curves.parquet, history.parquet if hyperparameters changed, best/ and
        summary.json, in this order.
        """
        tables = {run_files.TRIALS: self.trials, run_files.CURVES: curves_table(self.members)}
        tables |= {} if self.history is None else {run_files.HISTORY: self.history.table()}
        best, winner = self.best, None
        if best is not None and best.trial in self.states:
            together = [self.kept(trial) for trial in self.ensemble if trial in self.states]
            winner = run_files.Winner(self.kept(best.trial), best.value, together)
        run_files.write_run(Path(directory), self.run | {"rank": self.rule.written()}, tables, winner, self.summary)

    @classmethod
    def load(cls, directory: str | Path, rank: Rule | None = None) -> Self:
        """The results that `save` wrote, under their rule, or another one by the same metric.

        Raises ValueError for a directory without results, and for a user-defined rule that is not passed as `rank`.

        >>> import popjax as pj
        >>> task = pj.objective(lambda key, hparams: {"loss": hparams["x"] ** 2})
        >>> results = pj.search(task, {"x": pj.uniform(0, 1)}, trials=8)
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     results.save(place)
        ...     Results.load(place).best == results.best
        True
        """
        return cls(**run_files.read_run(Path(directory), rank))


def all_diverged(trials: int, metrics: Iterable[str]) -> str:
    """Text: all trials diverged, with the metrics that were not finite, if they are known."""
    names = ", ".join(metrics)
    return f"all {plural(trials, 'trial')} diverged" + (f" (not finite: {names})" if names else "")


def trials_table(results: Results) -> "pa.Table":
    """See `Results.trials`."""
    import pyarrow as pa

    count = len(results.diverged)
    rank = np.full(count, -1)
    rank[results.order] = np.arange(1, len(results.order) + 1)
    columns: dict[str, Any] = {"trial": np.arange(count), "round": results.rounds}
    columns |= {name: arrow(values, results.space.get(name)) for name, values in results.points.items()}
    columns |= {"status": [Status(one).word for one in results.status.tolist()], "epochs": results.epochs_run}
    if results.best_epochs is not None:
        columns["best_epoch"] = mean_member(results.best_epochs[..., None])[:, 0]
    columns |= {name: pa.array(values, mask=np.isnan(values)) for name, values in results.values.items()}
    columns |= {f"{name}_se": pa.array(e, mask=np.isnan(e)) for name, e in results.errors.items()}
    columns |= results.costs
    columns["rank"] = pa.array(rank, mask=rank < 0)
    columns |= {} if results.steered is None else {"steered": results.steered}
    return pa.table(columns)


def reranked[R: Results](results: R, rule: Rule) -> R:
    """See `Results.ranked`."""
    if rule.metric is None:
        rule = dataclasses.replace(rule, metric=results.metric, mode=rule.mode or results.metric.mode)
    for metric in rule.metrics:
        if metric not in results.members:
            raise ValueError(f"unknown metric {str(metric)!r}; the trials have {', '.join(results.members)}")
    rule = dataclasses.replace(rule, mode=rule.metric.mode)
    check_patience("ranked", results.rule, rule)
    check_members(rule, results.members[rule.metric].shape[1] * results.members[rule.metric].shape[2])
    for name in [name for name in rule.needs if name not in results.costs]:
        what = f"the run does not know the {name} of its trials"
        raise ValueError(f"rank {rule.name}: {what}; search with rank={rule!r}")
    summary = {name: value for name, value in results.summary.items() if name not in OF_WINNER}
    summary |= {"metric": rule.metric}
    other = dataclasses.replace(results, rule=rule, improved=None, summary=summary)
    same = (results.counted.final == other.counted.final).all((1, 2))
    states = {trial: state for trial, state in results.states.items() if same[trial]}
    return dataclasses.replace(other, states=states, points=other.points_that_count, ensemble=())


def status_of(counted: Counted, done: np.ndarray, epochs: int) -> np.ndarray:
    """The status (trials,) that records say, with `done` (trials, folds, repeats) finished of so many epochs."""
    lost = ((counted.trained < done) & ~counted.resting).any((1, 2))
    below = ((done < epochs) & ~counted.resting).any((1, 2))
    return np.select([lost, below], [Status.DIVERGED, Status.STOPPED], Status.COMPLETE).astype(np.int8)


def check_patience(what: str, trained: Rule, asked: Rule) -> None:
    """Raise ValueError if trials trained under one rule would have rested at other epochs under another."""
    then, now = (None if rule.patience is None else rule.improvement for rule in (trained, asked))
    if then != now:
        raise ValueError(f"{what}: the trials were trained under {trained}, and would rest otherwise; search again")


def nested(arrays: Mapping[str, np.ndarray]) -> dict[Any, Any]:
    """Nested dicts of arrays by dotted paths; numeric parts of a path become integer keys.

    >>> nested({"hidden.0.bias": 1, "hidden.1.bias": 2, "out": 3})
    {'hidden': {0: {'bias': 1}, 1: {'bias': 2}}, 'out': 3}
    """
    found: dict[Any, Any] = {}
    for path, array in arrays.items():
        *above, last = (int(part) if part.isdecimal() else part for part in path.split("."))
        inner = found
        for part in above:
            inner = inner.setdefault(part, {})
        inner[last] = array
    return found
