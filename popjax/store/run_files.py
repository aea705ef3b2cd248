"""Write a finished run to its directory in a fixed order, and read it with its digests verified. No JAX here."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from popjax.core.storage import Corrupt
from popjax.rule import Rule
from popjax.rules.named_rules import read_rule
from popjax.scheduler import Status
from popjax.space.space import Space
from popjax.store.files import (
    FORMAT,
    HOLDS,
    SUMMARY,
    KeptTrial,
    check_format,
    load_best_files,
    load_ensemble_files,
    read_json,
    read_table,
    write_best,
    write_json,
    write_table,
)
from popjax.store.history import History
from popjax.store.records import finite_epochs, mean_member
from popjax.store.trial_columns import arrow, sampled
from popjax.store.trial_records import TrialRecords, cost_name

if TYPE_CHECKING:
    import pyarrow as pa

TRIALS, CURVES, HISTORY = "trials.parquet", "curves.parquet", "history.parquet"


class Winner(NamedTuple):
    """Content of best/: the winner, its value, and the trials of the ensemble."""

    kept: KeptTrial
    value: float
    together: Sequence[KeptTrial] = ()


def write_run(
    directory: Path,
    run: Mapping[str, Any],
    tables: Mapping[str, "pa.Table"],
    best: Winner | None,
    summary: Mapping[str, Any],
) -> None:
    """Write all files of a run; summary.json, with the digests of run.json and of the tables, comes last."""
    directory.mkdir(parents=True, exist_ok=True)
    files = {HOLDS["run"]: write_json(directory / HOLDS["run"], {**run, "format": FORMAT})}
    files |= {name: write_table(directory / name, table) for name, table in tables.items()}
    if best is not None:
        write_best(directory, best.kept, best.value, best.together)
    elif (directory / "best").is_dir() and not (directory / "best").is_symlink():
        shutil.rmtree(directory / "best")  # from an earlier winner
    write_json(directory / SUMMARY, {**summary, "files": files})


def read_run(directory: Path, rule: Rule | None = None) -> dict[str, Any]:
    """Fields of the written Results; raises ValueError for a directory without a run, Corrupt for a damaged one."""
    run = read_json(directory / "run.json")
    check_format(directory, run)
    summary = read_json(directory / SUMMARY)
    written = summary.pop("files", None)
    files = written if isinstance(written, dict) else {}
    table, curves = (read_table(directory / name, files.get(name)) for name in (TRIALS, CURVES))
    changes = read_table(directory / HISTORY, files[HISTORY]) if HISTORY in files else None
    try:
        space = Space.from_dict(run["space"])
        if wrong := contradiction(run, table, curves):
            raise Corrupt(f"cannot read the run in {str(directory)!r}: {wrong}")
        fields: dict[str, Any] = {"run": run, "summary": summary}
        fields |= fields_of(read_rule(run["rank"], rule), space, table, curves, changes, run)
        fields |= {"contenders": ranked_in(table)} if "cut_short" in summary else {}
        return fields | read_kept(directory / "best")
    except (KeyError, TypeError, IndexError) as error:
        raise Corrupt(f"cannot read the run in {str(directory)!r}: {error} is missing or wrong") from None


def shape_of(curves: "pa.Table") -> list[int]:
    """Number of trials, folds, repeats and epochs in a table of curves."""
    return [int(curves[axis].to_numpy().max(initial=-1)) + 1 for axis in ("trial", "fold", "repeat", "epoch")]


def contradiction(run: Mapping[str, Any], table: "pa.Table", curves: "pa.Table") -> str | None:
    """The first contradiction between the files of a run, in words; None if they agree."""
    shape = shape_of(curves)
    if len(curves) != np.prod(shape) or len(table) != shape[0] or len(table) == 0:
        return f"{len(table)} trials with {len(curves)} records do not belong together"
    if run["rank"]["metric"] not in curves.column_names[4:]:
        return f"there are no records of {run['rank']['metric']!r}"
    return None


def fields_of(
    rule: Rule,
    space: Space,
    table: "pa.Table",
    curves: "pa.Table",
    changes: "pa.Table | None",
    run: Mapping[str, Any],
) -> dict[str, Any]:
    """Fields of the Results that come from the configuration and the tables."""
    shape = shape_of(curves)
    costs = {name: cost_name(name, run) for name in rule.costs}
    for name in [name for name in costs if costs[name] not in table.column_names][:1]:
        raise ValueError(f"rank {rule.name}: the run does not know the {name} of its trials; give a rule without it")
    members = {name: curves[name].to_numpy().reshape(shape) for name in curves.column_names[4:]}
    status = np.array([Status.of_word(word) for word in table["status"].to_pylist()], np.int8)
    short = np.isin(status, (Status.STOPPED, Status.PRUNED))[:, None, None]
    return {
        "points": {name: sampled(table[name], scale) for name, scale in space.items()},
        "members": members,
        "rule": rule,
        "rounds": table["round"].to_numpy(),
        "done": np.where(short, finite_epochs(members[rule.metric]), shape[3]),
        "status": status,
        "costs": {name: table[column].to_numpy() for name, column in costs.items()},
        "history": None if changes is None else History.of_table(changes, space, shape[0], shape[3]),
        "steered": np.array(table["steered"].to_pylist()) if "steered" in table.column_names else None,
    }


def ranked_in(table: "pa.Table") -> np.ndarray:
    """Bool (trials,): the trials that have a rank."""
    return np.asarray(table["rank"].is_valid().to_numpy(zero_copy_only=False))


def read_kept(best: Path) -> dict[str, Any]:
    """Fields of the Results that come from best/: states, recipes and trees of the kept trials, and the ensemble."""
    together = load_ensemble_files(best) if best.is_dir() else []
    kept = [load_best_files(best), *together] if best.is_dir() else []
    return {
        "ensemble": tuple(trial.trial for trial in together),
        "states": {trial.trial: dict(trial.arrays) for trial in kept},
        "recipes": {trial.trial: trial.recipe for trial in kept},
        "trees": {trial.trial: trial.tree for trial in kept},
    }


def trials_table(results: TrialRecords, steered: np.ndarray | None) -> "pa.Table":
    """See `Results.trials`."""
    import pyarrow as pa

    count = len(results.diverged)
    rank = np.full(count, -1)
    rank[results.order] = np.arange(1, len(results.order) + 1)
    columns: dict[str, Any] = {"trial": np.arange(count), "round": results.rounds}
    columns |= {name: arrow(values, results.space.get(name)) for name, values in results.points.items()}
    columns |= {"status": [Status(status).word for status in results.status.tolist()], "epochs": results.epochs_run}
    if results.best_epochs is not None:
        columns["best_epoch"] = mean_member(results.best_epochs[..., None])[:, 0]
    columns |= {name: pa.array(values, mask=np.isnan(values)) for name, values in results.values.items()}
    columns |= {f"{name}_se": pa.array(e, mask=np.isnan(e)) for name, e in results.errors.items()}
    columns |= {cost_name(name, results.run): cost for name, cost in results.costs.items()}
    if results.rule.limits:
        columns["feasible"] = pa.array(results.feasible, mask=results.epochs_run == 0)
    columns["rank"] = pa.array(rank, mask=rank < 0)
    columns |= {} if steered is None else {"steered": steered}
    return pa.table(columns)
