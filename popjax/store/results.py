"""Results of a search: the table of trials, the curves, the winner. No JAX here."""

import dataclasses
import functools
import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from popjax.core.containers import filled, nested
from popjax.core.counts import check_count
from popjax.core.fixed import read_only
from popjax.core.text import check_installed, plural
from popjax.rule import Rule
from popjax.rules.named_rules import rule_of, written_rule
from popjax.space.values import absent
from popjax.store import run_files
from popjax.store.files import KeptTrial
from popjax.store.trial_columns import curves_table
from popjax.store.trial_records import TrialRecords, rule_among

if TYPE_CHECKING:
    import pyarrow as pa


OF_WINNER: tuple[str, ...] = ("best", "test", "test_value", "test_interval", "ensemble")  # entries of the summary
OF_WINNER += ("confusion", "confusions", "predicted", "predictions", "cut_short", "feasible")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Results(TrialRecords):
    """The outcome of a search. Its arrays cannot be written: copy one to change it.

    Attributes:
        states: trial -> name -> array (folds * repeats, ...), for the kept trials.
        recipes: trial -> JSON values that rebuild it as a predictor (None if the task has none), for the kept trials.
        trees: trial -> the containers of its state, see `core/containers.py`, for the kept trials.
        task: the trained task, in the process that trained it; else None.
        steered: bool (trials,): changed or stopped by a person; None if no trial was.
        ensemble: the trials that predict together, best first, each as often as it counts, if the rule chose them.

    The others are those of TrialRecords.

    >>> import numpy as np
    >>> import popjax as pj
    >>> loss = np.array([[3.0, 1.0], [3.0, 2.0]])[:, None, None]
    >>> results = pj.Results({"learning_rate": np.array([0.1, 0.2])}, {"loss": loss}, pj.Rule("loss"))
    >>> results.best
    Best(trial=0, hparams={'learning_rate': 0.1}, value=1.0)
    """

    states: dict[int, dict[str, np.ndarray]] = dataclasses.field(default_factory=dict)
    recipes: Mapping[int, Mapping[str, Any] | None] = dataclasses.field(default_factory=dict)
    trees: Mapping[int, Any] = dataclasses.field(default_factory=dict)
    task: Any = None
    steered: np.ndarray | None = None
    ensemble: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "steered", read_only(self.steered))

    def __repr__(self) -> str:
        trials, folds, repeats, epochs = self.members[self.metric].shape
        best = self.best or f"None: {self.no_winner}"
        return f"Results({trials=}, {folds=}, {repeats=}, {epochs=}, metric={self.metric!r}, best={best})"

    @property
    def no_winner(self) -> str:
        """Reason why there is no winner, in words; empty if there is one."""
        if len(self.order):
            return ""
        lost, left = int(self.diverged.sum()), int((self.stopped | self.pruned).sum())
        if left == 0:
            return all_diverged(lost, self.summary.get("not_finite", ()))
        what = "was trained to the end" if (self.epochs_run > 0).any() else "has finished an epoch"
        return f"no trial {what}: {left:,} were stopped before it, {lost:,} diverged"

    @functools.cached_property
    def trials(self) -> "pa.Table":
        """Arrow table, one row per trial: hyperparameters, status, epochs, values of the metrics, rank.

        If the best epoch counts also `best_epoch`, the mean over the trial's members.
        """
        return run_files.trials_table(self, self.steered)

    def params(self, trial: int) -> Any:
        """Trained arrays of a kept trial in the containers of the task's state: its "params", else all of it.

        With folds or repeats the arrays have a leading axis of members. Lists, tuples, NamedTuples and keys are those
        that the task made, also where the results were loaded; a node of another class is a dict of its attributes.
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
        tree = self.trees.get(trial)
        state = nested(arrays) if tree is None else filled(tree, arrays)
        if any(name.startswith("params.") for name in arrays):
            state = state["params"] if isinstance(state, dict) else state.params
        by_path = self.recipes.get(trial) is not None and isinstance(state, dict)  # of an equinox module
        return nested(state) if by_path and any("." in str(name) for name in state) else state

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
        recipe, tree = self.recipes.get(trial), self.trees.get(trial)
        return KeptTrial(trial, self.hparams(trial), self.states[trial], recipe, tree, history)

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
        predictions: np.ndarray = self._predictor.predict(rows)
        return predictions

    @functools.cached_property
    def _predictor(self) -> Any:
        """The predictor of `predict`, which keeps its compiled programs."""
        return self.predictor()

    def top(self, size: int = 10) -> Any:
        """The best trials, best first, one per row: a DataFrame if pandas is installed, else a pyarrow table.

        If no trial is complete, the best of the stopped ones, with the status "stopped". Raises ValueError for a
        `size` below 1.

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
        matter most, "predicted" of a regression, "front" of several objectives.

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

        >>> import tempfile
        >>> import popjax as pj
        >>> task = pj.objective(lambda key, hparams: {"loss": hparams["x"] ** 2})
        >>> results = pj.search(task, {"x": pj.uniform(0, 1)}, trials=8)
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

        Under another one they have no scores on test rows, as after `ranked`. Raises ValueError for a directory without
        results, and for a user-defined rule that is not passed as `rank`.

        >>> import tempfile
        >>> import popjax as pj
        >>> task = pj.objective(lambda key, hparams: {"loss": hparams["x"] ** 2})
        >>> results = pj.search(task, {"x": pj.uniform(0, 1)}, trials=8)
        >>> with tempfile.TemporaryDirectory() as place:
        ...     results.save(place)
        ...     pj.Results.load(place).best == results.best
        True
        """
        results = cls(**run_files.read_run(Path(directory), rank))
        recorded, now = results.run["rank"], written_rule(results.rule) or {}
        same = all(recorded.get(name) == value for name, value in now.items() if name not in ("keep", "units"))
        return results if same else without_scores(results)


def all_diverged(trials: int, metrics: Iterable[str]) -> str:
    """Text: all trials diverged, with the metrics that were not finite, if they are known."""
    names = ", ".join(metrics)
    return f"all {plural(trials, 'trial')} diverged" + (f" (not finite: {names})" if names else "")


def reranked[R: Results](results: R, rule: Rule) -> R:
    """See `Results.ranked`."""
    rule = rule_among(results, rule)
    other = without_scores(dataclasses.replace(results, rule=rule, improved=None))
    same = (results.counted.final == other.counted.final).all((1, 2))
    states = {trial: state for trial, state in results.states.items() if same[trial]}
    return dataclasses.replace(other, states=states, points=other.points_that_count)


def without_scores[R: Results](results: R) -> R:
    """Without what was measured of an earlier winner, and without its ensemble."""
    summary = {name: value for name, value in results.summary.items() if name not in OF_WINNER}
    summary["metric"] = results.metric
    if results.cut_short:  # by which `load` knows that there are contenders
        summary["cut_short"] = results.cut_short
    return dataclasses.replace(results, summary=summary, ensemble=())
