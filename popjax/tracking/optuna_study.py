"""A finished search as an Optuna study, for its dashboard, plots and importances. No JAX here."""

import datetime
from pathlib import Path
from typing import Any

import numpy as np

from popjax.core.text import check_installed
from popjax.space.scales import Choice, LogIntegers, LogUniform, Scale
from popjax.space.values import absent
from popjax.store.results import Results

DATABASES = (".db", ".sqlite", ".sqlite3")


def write_study(results: Results, path: Path, name: str) -> None:
    """Write all trials into a journal file, or into SQLite if the path ends with one of DATABASES.

    Values are the real ones. A 1-β scale is a linear range, since Optuna has no such scale: the study's user attribute
    "scales" has all scales as popjax writes them. A trial that diverged or was stopped is FAIL, a pruned one PRUNED;
    the intermediate values are the curve of the metric that ranks, unless there are several objectives, of which Optuna
    has none. Limits of the rule are constraints, whose values are
    above 0 where they are violated; the user attribute "subject_to" names them in this order.

    Raises ValueError if optuna is not installed, or the file exists.
    """
    check_installed("export --to optuna", "optuna")
    if path.exists():
        raise ValueError(f"--out {str(path)!r} exists; name another, or remove it")
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    objectives = results.rule.objectives
    known = optuna.study.StudyDirection
    directions = [known.MAXIMIZE if objective.mode == "max" else known.MINIMIZE for objective in objectives]
    storage = storage_in(path)
    study = optuna.create_study(storage=storage, study_name=name, directions=directions)
    study.set_user_attr("metric", results.metric)
    if len(objectives) > 1:
        study.set_user_attr("objectives", list(map(str, objectives)))
    study.set_user_attr("scales", {name: str(scale) for name, scale in results.space.items()})
    if results.rule.limits:
        study.set_user_attr("subject_to", list(results.rule.subject_to))
    columns = {name: results.points[name].tolist() for name in results.space.searched}
    ranges = {name: optuna_distribution(results.space[name], column) for name, column in columns.items()}
    study.add_trials([trial(results, row, columns, ranges) for row in range(len(results.diverged))])
    storage.remove_session()
    if isinstance(storage, optuna.storages.RDBStorage):
        storage.engine.dispose()


def storage_in(path: Path) -> Any:
    """Optuna's storage in a file: SQLite or a journal, by its suffix."""
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    if path.suffix in DATABASES:
        return RDBStorage(f"sqlite:///{path}")
    return JournalStorage(JournalFileBackend(str(path)))


def optuna_distribution(scale: Scale, column: list[Any]) -> Any:
    """The Optuna distribution of a scale, wide enough for values in the column that were set beyond it."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    values = [value for value in column if not absent(value)]
    if isinstance(scale, Choice):
        return CategoricalDistribution(list(dict.fromkeys([*scale.values, *values])))
    low, high = min([scale.low, *values]), max([scale.high, *values])
    log = isinstance(scale, LogUniform | LogIntegers) and low > 0  # a person may have set 0
    return IntDistribution(low, high, log=log) if scale.whole else FloatDistribution(low, high, log=log)


def trial(results: Results, row: int, columns: dict[str, list[Any]], ranges: dict[str, Any]) -> Any:
    """A trial as Optuna's frozen trial."""
    from optuna.trial import TrialState, create_trial

    params = {name: column[row] for name, column in columns.items() if not absent(column[row])}
    curve = results.curves[results.metric][row]
    known = {epoch + 1: float(curve[epoch]) for epoch in np.flatnonzero(np.isfinite(curve)).tolist()}
    status = results.trials["status"][row].as_py()
    state = {"ok": TrialState.COMPLETE, "pruned": TrialState.PRUNED}.get(status, TrialState.FAIL)
    objectives, outcomes = results.rule.objectives, results.values | dict(results.costs)
    values = [float(outcomes[objective][row]) for objective in objectives] if state == TrialState.COMPLETE else None
    frozen = create_trial(
        state=state,
        values=values,
        params=params,
        distributions={name: ranges[name] for name in params},
        user_attrs={"status": status, "trial": row},
        system_attrs=constraints(results, row),
        intermediate_values=known if len(objectives) == 1 else {},
    )
    frozen.datetime_start = frozen.datetime_complete = datetime.datetime.now()
    return frozen


def constraints(results: Results, row: int) -> dict[str, list[float]]:
    """The system attribute by which Optuna knows how far a trial is from each limit; empty before its first epoch."""
    known = results.values | dict(results.costs)
    beyond = [limit.sign * (float(known[limit.name][row]) - limit.bound) for limit in results.rule.limits]
    return {"constraints": beyond} if beyond and np.isfinite(beyond).all() else {}
