"""The importance of hyperparameters in results, by Optuna's PED-ANOVA. No JAX here."""

import importlib.util
import math
import threading
import warnings
from typing import TYPE_CHECKING

import numpy as np

from popjax.core.imports import import_all
from popjax.pages.axes import Axis, axes
from popjax.space.scales import Choice
from popjax.store.results import Results
from popjax.tuning.by_optuna import quiet

if TYPE_CHECKING:
    import optuna

MOST = 10_000


def importance(results: Results) -> dict[str, float] | None:
    """Name -> importance of each varied hyperparameter, in the order of the space; they sum to 1.

    PED-ANOVA (Watanabe et al. 2023) compares the distribution of the best tenth of the trials with that of all. It uses
    ranks, so a loss of 1e30 weighs no more than any other bad one, and no random forest, so it is fast and
    deterministic. Coordinates are those of the scales; a diverged trial counts as the worst. Of more than 10,000
    trials, 10,000 at even distances are used.

    Returns:
        None without optuna; an empty dict if there is nothing to compare.

    >>> import popjax as pj
    >>> from popjax.space.scales import log_uniform, uniform
    >>> from popjax.space.space import Space
    >>> space = Space(x=log_uniform(1e-4, 1), y=uniform(0, 1))
    >>> points = space.sample(200)
    >>> loss = (np.log10(points["x"]) + 2)[:, None, None, None] ** 2
    >>> shares = importance(Results(points, {"loss": loss}, pj.best("loss"), run={"space": space.to_dict()}))
    >>> shares is None or shares["x"] > 0.8
    True
    """
    if importlib.util.find_spec("optuna") is None:
        return None
    varied = [axis for axis in axes(results) if axis.varied]
    ranks = value_ranks(results)
    if not varied or len(np.unique(ranks)) < 2:
        return {}
    from optuna.importance import PedAnovaImportanceEvaluator

    rows = looked_at(ranks)
    with quiet():
        shares = PedAnovaImportanceEvaluator().evaluate(study(varied, ranks, rows))
    total = sum(shares.values())
    return {axis.name: shares.get(axis.name, 0.0) / total for axis in varied} if total > 0 else {}


def looked_at(ranks: np.ndarray) -> np.ndarray:
    """Numbers of the trials used for importance: all, or 10,000 at even distances."""
    return np.linspace(0, len(ranks) - 1, min(len(ranks), MOST)).astype(int)


def best_tenth(results: Results) -> tuple[int, int]:
    """Number of trials in PED-ANOVA's best tenth, including ties with its last one, and number of trials used."""
    ranks = value_ranks(results)
    ranks = ranks[looked_at(ranks)]
    last = np.sort(ranks)[math.ceil(len(ranks) / 10) - 1]
    return int((ranks <= last).sum()), len(ranks)


def import_later(seconds: float) -> threading.Timer:
    """A timer that imports what `importance` needs in the background, after `seconds`; the import takes two."""
    warnings.filterwarnings("ignore", "IProgress not found")  # what Optuna imports says so in a notebook
    timer = threading.Timer(seconds, import_all, ("optuna.importance",))
    timer.daemon = True
    if importlib.util.find_spec("optuna") is not None:
        timer.start()
    return timer


def value_ranks(results: Results) -> np.ndarray:
    """Number of distinct values better than a trial's (trials,); a diverged trial is worse than all others."""
    values = results.values[results.metric] * (1 if results.metric.mode == "min" else -1)
    distinct, ranks = np.unique(values[~results.diverged], return_inverse=True)
    places = np.full(len(values), len(distinct))
    places[~results.diverged] = ranks
    return places


def study(varied: list[Axis], ranks: np.ndarray, rows: np.ndarray) -> "optuna.Study":
    """The trials of these rows as an Optuna study, with their ranks as values."""
    import optuna

    distributions: dict[str, optuna.distributions.BaseDistribution] = {}
    columns = {}
    for axis in varied:
        named = isinstance(axis.scale, Choice) and not axis.scale.numeric
        choices = tuple(map(str, getattr(axis.scale, "values", ())))
        distributions[axis.name] = (
            optuna.distributions.CategoricalDistribution(choices)
            if named
            else optuna.distributions.FloatDistribution(0, 1)
        )
        units = axis.units[rows].tolist()
        texts = [str(axis.values[row]) if named else unit for row, unit in zip(rows, units, strict=True)]
        columns[axis.name] = [None if axis.values[row] is None else t for row, t in zip(rows, texts, strict=True)]
    made = optuna.create_study()
    table = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    params = [{name: value for name, value in row.items() if value is not None} for row in table]
    made.add_trials(
        [
            optuna.trial.create_trial(params=row, distributions={n: distributions[n] for n in row}, value=value)
            for row, value in zip(params, ranks[rows].tolist(), strict=True)
        ]
    )
    return made
