"""What a search found: the table, the curves, the winner; saved and loaded. No JAX here."""

import dataclasses
import functools
import importlib.util
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from popjax.core.storage import Corrupt
from popjax.space.conditions import absent
from popjax.space.space import Space
from popjax.store import schedules
from popjax.store.columns import arrow, sampled
from popjax.store.files import (
    FORMAT,
    Kept,
    check_format,
    load_best_files,
    load_ensemble_files,
    read_json,
    read_table,
    write_best,
    write_json,
    write_table,
)

if TYPE_CHECKING:
    import pyarrow as pa

CHOICES = ("best", "one-se", "ensemble")
TOGETHER = 25  # trials of an ensemble
TIES = "val_loss"  # what decides between trials of equal rank, less is better


class Best(NamedTuple):
    """The winner."""

    trial: int
    hparams: dict[str, Any]
    value: float


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Results:
    """The outcome of a search.

    Attributes:
        points: one column (trials,) a hyperparameter.
        members: metric -> (trials, folds, repeats, epochs); NaN from divergence on.
        metric: the metric that ranks.
        mode: "min" or "max".
        run: the configuration, for run.json.
        summary: the summary, for summary.json.
        states: trial -> name -> array (folds * repeats, ...), for the kept trials.
        recipes: trial -> what rebuilds it as a predictor, for the kept trials of a task that knows it.
        rounds: the round (trials,) of each trial, from 0.
        done: the epochs (trials, folds, repeats) that were trained; fewer where the run was stopped, or a trial pruned.
        pruned: whether (trials,) a scheduler left the trial below the last epoch.
        task: what was trained, where this process trained it.
        choose: what wins: "best", "one-se" (see `best`), or "ensemble": the best together, of which the first wins.
        parameters: how many trained parameters (trials,) each trial has, where "one-se" asked.
        schedule: which hyperparameters each trial had in which epoch, where they changed; `points` are the last ones.
        steered: whether (trials,) a person changed or stopped the trial; None where nobody steered.

    >>> loss = np.array([[3.0, 1.0], [3.0, 2.0]])[:, None, None]
    >>> results = Results({"learning_rate": np.array([0.1, 0.2])}, {"loss": loss}, "loss", "min")
    >>> results.best
    Best(trial=0, hparams={'learning_rate': 0.1}, value=1.0)
    """

    points: dict[str, np.ndarray]
    members: dict[str, np.ndarray]
    metric: str
    mode: str
    run: dict[str, Any] = dataclasses.field(default_factory=dict)
    summary: dict[str, Any] = dataclasses.field(default_factory=dict)
    states: dict[int, dict[str, np.ndarray]] = dataclasses.field(default_factory=dict)
    recipes: Mapping[int, Mapping[str, Any] | None] = dataclasses.field(default_factory=dict)
    rounds: np.ndarray = None  # type: ignore[assignment]
    done: np.ndarray = None  # type: ignore[assignment]
    pruned: np.ndarray = None  # type: ignore[assignment]
    task: Any = None
    choose: str = "best"
    parameters: np.ndarray | None = None
    schedule: schedules.Schedule | None = None
    steered: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.rounds is None:
            object.__setattr__(self, "rounds", np.zeros(len(self.members[self.metric]), np.int64))
        if self.done is None:
            shape = self.members[self.metric].shape
            object.__setattr__(self, "done", np.full(shape[:3], shape[3]))
        if self.pruned is None:
            object.__setattr__(self, "pruned", np.zeros(len(self.members[self.metric]), bool))

    def __repr__(self) -> str:
        trials, folds, repeats, epochs = self.members[self.metric].shape
        return f"Results({trials=}, {folds=}, {repeats=}, {epochs=}, metric={self.metric!r}, best={self.best})"

    @property
    def curves(self) -> dict[str, np.ndarray]:
        """Metric -> (trials, epochs), the mean over folds and repeats; NaN from divergence on."""
        return {name: mean_member(values) for name, values in self.members.items()}

    @functools.cached_property
    def epochs_run(self) -> np.ndarray:
        """The epochs (trials,) up to the last that all members of a trial finished with finite metrics."""
        return self._finite.min((1, 2))

    @functools.cached_property
    def _finite(self) -> np.ndarray:
        """The epochs (trials, folds, repeats) up to the last finite record; a copy may leave a gap before it."""
        backwards = np.isfinite(self.members[self.metric])[..., ::-1]
        return np.where(backwards.any(-1), backwards.shape[-1] - backwards.argmax(-1), 0)

    @functools.cached_property
    def last(self) -> dict[str, np.ndarray]:
        """Metric -> (trials,), the last finite record; NaN where there is none."""
        at = self.epochs_run[:, None] - 1
        return {
            name: np.where(at[:, 0] >= 0, np.take_along_axis(curve, np.maximum(at, 0), 1)[:, 0], np.nan)
            for name, curve in self.curves.items()
        }

    @functools.cached_property
    def errors(self) -> dict[str, np.ndarray]:
        """Metric -> (trials,), the standard error of the last record over folds and repeats; empty for one member."""
        shape = self.members[self.metric].shape
        count = shape[1] * shape[2]
        if count == 1:
            return {}
        at = np.maximum(self.epochs_run - 1, 0)[:, None, None, None]
        errors = {}
        for name, values in self.members.items():
            last = np.take_along_axis(values, at, -1).reshape(len(values), count).astype(np.float64)
            errors[name] = last.std(1, ddof=1) / np.sqrt(count)
        return errors

    @functools.cached_property
    def diverged(self) -> np.ndarray:
        """Whether (trials,) any member of the trial had a metric that was not finite."""
        return (self._finite < self.done).any((1, 2))

    @functools.cached_property
    def stopped(self) -> np.ndarray:
        """Whether (trials,) the run, or a person, stopped the trial before its end."""
        below = (self.done < self.members[self.metric].shape[-1]).any((1, 2))
        return ~self.diverged & ~self.pruned & below

    @functools.cached_property
    def order(self) -> np.ndarray:
        """Row numbers of the trials that were trained to the end and did not diverge, best first."""
        rows = np.flatnonzero(~self.diverged & ~self.stopped & ~self.pruned)
        return rows[ranking({name: values[rows] for name, values in self.last.items()}, self.metric, self.mode)]

    @property
    def best(self) -> Best | None:
        """The winner, or None when every trial diverged.

        It is the trial of rank 1; or with "one-se" the trial with the fewest parameters of
        those within one standard error of it (Breiman et al. 1984, section 3.4.3).
        """
        if len(self.order) == 0:
            return None
        row = int(self.order[0])
        if self.choose == "one-se" and self.parameters is not None and self.errors:
            value, error = self.last[self.metric][self.order], self.errors[self.metric][row]
            near = self.order[abs(value - value[0]) <= error]
            row = int(near[np.argmin(self.parameters[near])])
        return Best(row, self.hparams(row), float(self.last[self.metric][row]))

    def hparams(self, trial: int) -> dict[str, Any]:
        """The hyperparameters of a trial as Python values, without those that are inactive."""
        values = {name: column[[trial]].tolist()[0] for name, column in self.points.items()}
        values = {name: value for name, value in values.items() if not absent(value)}
        whole = {name for name, scale in self.space.items() if scale.whole and name in self.space.conditions}
        return {name: int(value) if name in whole else value for name, value in values.items()}

    @functools.cached_property
    def space(self) -> Space:
        """The space that was searched; empty where the run does not say."""
        return Space.from_dict(self.run.get("space", {}))

    @functools.cached_property
    def trials(self) -> "pa.Table":
        """A row a trial: hyperparameters, status, epochs, the last finite metrics, rank."""
        import pyarrow as pa

        count = len(self.diverged)
        rank = np.full(count, -1)
        rank[self.order] = np.arange(1, len(self.order) + 1)
        columns: dict[str, Any] = {"trial": np.arange(count), "round": self.rounds}
        columns |= {name: arrow(values, self.space.get(name)) for name, values in self.points.items()}
        status = np.select([self.diverged, self.stopped, self.pruned], ["diverged", "stopped", "pruned"], "ok")
        columns |= {"status": status, "epochs": self.epochs_run}
        columns |= {name: pa.array(values, mask=np.isnan(values)) for name, values in self.last.items()}
        columns |= {f"{name}_se": pa.array(e, mask=np.isnan(e)) for name, e in self.errors.items()}
        columns |= {} if self.parameters is None else {"parameters": self.parameters}
        columns["rank"] = pa.array(rank, mask=rank < 0)
        columns |= {} if self.steered is None else {"steered": self.steered}
        return pa.table(columns)

    def curves_table(self) -> "pa.Table":
        """A row an epoch of a member: trial, fold, repeat, epoch, the metrics."""
        import pyarrow as pa

        shape = self.members[self.metric].shape
        index = np.indices(shape).reshape(4, -1)
        columns = dict(zip(("trial", "fold", "repeat", "epoch"), index, strict=True))
        return pa.table(columns | {name: values.ravel() for name, values in self.members.items()})

    def params(self, trial: int) -> dict[Any, Any]:
        """The trained arrays of a kept trial, nested as the model is; with folds or repeats, a leading axis of members.

        So `nnx.update(module, results.params(trial))` and linen's `apply({"params": ...}, x)` take them, where there is
        one member. Raises ValueError for a trial that was not kept.
        """
        self._check_kept(trial)
        arrays = {name: array if len(array) > 1 else array[0] for name, array in self.states[trial].items()}
        params = {name.removeprefix("params."): a for name, a in arrays.items() if name.startswith("params.")}
        return nested(params or arrays)

    def _check_kept(self, trial: int) -> None:
        if trial not in self.states:
            kept = ", ".join(map(str, self.states)) or "none"
            raise ValueError(f"trial {trial} was not kept ({kept} is); search with a larger keep=")

    @property
    def winner(self) -> Mapping[str, Any] | None:
        """What rebuilds the winner as a predictor, or None."""
        return None if self.best is None else self.recipes.get(self.best.trial)

    def kept(self, trial: int) -> Kept:
        """A kept trial; raises ValueError for one that was not kept."""
        self._check_kept(trial)
        changed = {} if self.schedule is None else self.schedule.of(trial)
        schedule = {name: values.tolist() for name, values in changed.items()}
        return Kept(trial, self.hparams(trial), self.states[trial], self.recipes.get(trial), schedule)

    def best_trials(self, size: int = TOGETHER) -> list[int]:
        """The best `size` trials that were trained to the end, or as many as there are, best first."""
        return self.order[:size].tolist()

    def predictor(self, trial: int | None = None) -> Any:
        """A kept trial as a predictor: the winner, or the ensemble that was chosen, if none is named.

        Raises ValueError for a trial that was not kept, and where only a task's own code could predict.
        """
        import popjax as pj

        if trial is None and self.choose == "ensemble":
            return pj.ensemble(self)
        return pj.predictor(self, trial)

    def predict(self, rows: Any) -> np.ndarray:
        """What the winner, or the ensemble that was chosen, predicts for raw rows: `predictor().predict(rows)`.

        Raises ValueError as `predictor` does, and for rows that do not fit.
        """
        found: np.ndarray = self.predictor().predict(rows)
        return found

    def top(self, size: int = 10) -> Any:
        """The best trials, best first, a row each: a DataFrame where pandas is installed, else a pyarrow table."""
        table = self.trials.take(self.order[:size])
        return table.to_pandas() if importlib.util.find_spec("pandas") else table

    def plot(self, name: str = "curves") -> Any:
        """A figure of the report as plotly's: "curves", a metric, "expected", a hyperparameter, or "tree".

        Raises ValueError for another name.
        """
        import popjax as pj

        return pj.plot(self, name)

    def report(self, path: str | Path) -> Path:
        """Write the report to a file, as a search with `out` writes it into its directory; returns its path."""
        import popjax as pj

        written: Path = pj.write_page(self, path)
        return written

    def _repr_html_(self) -> str:
        import popjax as pj

        return str(pj.as_html(self))

    def replay(self, trial: int) -> dict[str, np.ndarray]:
        """Train one trial again, alone: `popjax.replay` with the task of the search that gave these results.

        Raises ValueError for a trial that there is not, and for results that were loaded: a
        directory names no code, so there the task must be given.
        """
        import popjax as pj

        if self.task is None:
            raise ValueError("the results were loaded, so give the task: popjax.replay(results, trial, task)")
        return pj.replay(self, trial, self.task)

    def to_pandas(self) -> Any:
        """The table of trials as a DataFrame; needs pandas."""
        return self.trials.to_pandas()

    def save(self, directory: str | Path) -> None:
        """Write run.json, trials.parquet, curves.parquet, schedules.parquet where hyperparameters changed, best/ and
        summary.json, in this order."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        ranks = {"metric": self.metric, "mode": self.mode, "choose": self.choose}
        write_json(directory / "run.json", self.run | {"format": FORMAT} | ranks)
        tables = {"trials.parquet": self.trials, "curves.parquet": self.curves_table()}
        tables |= {} if self.schedule is None else {schedules.NAME: self.schedule.table()}
        files = {name: write_table(directory / name, table) for name, table in tables.items()}
        if self.best is not None and self.best.trial in self.states:
            together = [self.kept(trial) for trial in self.best_trials() if trial in self.states]
            write_best(
                directory, self.kept(self.best.trial), self.best.value, together if self.choose == "ensemble" else ()
            )
        elif (directory / "best").is_dir() and not (directory / "best").is_symlink():
            shutil.rmtree(directory / "best")  # an earlier winner's
        write_json(directory / "summary.json", self.summary | {"files": files})

    @classmethod
    def load(cls, directory: str | Path) -> Self:
        """The results that `save` wrote; raises ValueError for a directory that holds none."""
        directory = Path(directory)
        run = read_json(directory / "run.json")
        check_format(directory, run)
        summary = read_json(directory / "summary.json")
        written = summary.pop("files", None)
        files = written if isinstance(written, dict) else {}
        table, curves = (read_table(directory / name, files.get(name)) for name in ("trials.parquet", "curves.parquet"))
        changes = read_table(directory / schedules.NAME, files[schedules.NAME]) if schedules.NAME in files else None
        try:
            return cls._loaded(directory, run, summary, table, curves, changes)
        except (KeyError, TypeError, IndexError) as error:
            raise Corrupt(f"cannot read the run in {str(directory)!r}: {error} is missing or wrong") from None

    @classmethod
    def _loaded(
        cls, directory: Path, run: Any, summary: Any, table: "pa.Table", curves: "pa.Table", changes: "pa.Table | None"
    ) -> Self:
        shape = [int(curves[axis].to_numpy().max(initial=-1)) + 1 for axis in ("trial", "fold", "repeat", "epoch")]
        if len(curves) != np.prod(shape) or len(table) != shape[0] or len(table) == 0:
            what = f"{len(table)} trials with {len(curves)} records do not belong together"
            raise Corrupt(f"cannot read the run in {str(directory)!r}: {what}")
        members = {name: curves[name].to_numpy().reshape(shape) for name in curves.column_names[4:]}
        space = Space.from_dict(run["space"])
        points = {name: sampled(table[name], scale) for name, scale in space.items()}
        schedule = None
        if changes is not None:
            schedule = schedules.Schedule.of_table(changes, space, shape[0], shape[3])
        kept: list[Kept] = []
        if (directory / "best").is_dir():
            kept = [load_best_files(directory / "best"), *load_ensemble_files(directory / "best")]
        states = {one.trial: dict(one.arrays) for one in kept}
        recipes = {one.trial: one.recipe for one in kept}
        ranks = run["metric"], run["mode"]
        if ranks[0] not in members:
            raise Corrupt(f"cannot read the run in {str(directory)!r}: there are no records of {ranks[0]!r}")
        rounds, choose = table["round"].to_numpy(), run["choose"]
        parameters = table["parameters"].to_numpy() if choose == "one-se" else None
        status = np.asarray(table["status"].to_pylist())
        found = cls(points, members, *ranks, run, summary, states, recipes, rounds)
        done = np.where(np.isin(status, ("stopped", "pruned"))[:, None, None], found._finite, shape[3])
        pruned = status == "pruned"
        known = {"done": done, "pruned": pruned, "choose": choose, "parameters": parameters, "schedule": schedule}
        known["steered"] = np.array(table["steered"].to_pylist()) if "steered" in table.column_names else None
        return dataclasses.replace(found, **known)


def nested(arrays: Mapping[str, np.ndarray]) -> dict[Any, Any]:
    """Arrays by dotted paths as nested dicts; a number in a path is a place in a list.

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


def mean_member(values: np.ndarray) -> np.ndarray:
    """The mean of (trials, folds, repeats, epochs) over folds and repeats."""
    single = values.shape[1] * values.shape[2] == 1
    return values[:, 0, 0] if single else values.mean((1, 2), dtype=np.float64)


def ties(metrics: tuple[str, ...], metric: str) -> tuple[tuple[str, str], ...]:
    """The metrics, each with its mode, that decide between trials of equal `metric`."""
    return ((TIES, "min"),) if TIES in metrics and metric != TIES else ()


def ranking(values: Mapping[str, np.ndarray], metric: str, mode: str) -> np.ndarray:
    """Row numbers, best first; ties by validation loss, then by row."""
    key = values[metric] if mode == "min" else -values[metric]
    return np.lexsort((values.get(TIES, key), key))
