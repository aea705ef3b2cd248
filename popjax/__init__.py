"""Random search over small models as one compiled computation.

Tasks         supervised (rows) -> Supervised, objective (a function), Task with Hints, HParams; Transform; Dataset,
              DataWarning; rewrite (a model of a custom Task)
Spaces        Space: uniform, log_uniform, one_minus_log_uniform, integers, log_integers, choice, Choice, Constant;
              default_space
Search        search -> Results; refine (a space), near (earlier results), replay (a trial), simulate (a scheduler)
Backends      Local (this process), Remote (an executor)
Rules         best, one_se, together, pareto; custom: Rule, Metric
Schedulers    halving, hyperband, pbt, rounds; custom: Scheduler, Problem, Trials, Decision
By hand       Session; live (the page)
Callbacks     Callback; tracking (TensorBoard, MLflow, W&B, Trackio)
Prediction    load_best, predictor, ensemble; PopulationClassifier, PopulationRegressor for scikit-learn
Display       plot (a figure of the report), write_report, as_html (what a notebook shows)

>>> import popjax as pj
>>> pj.log_uniform(1e-4, 1)
LogUniform(low=0.0001, high=1, static=False)
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "Callback": "tuning.callbacks.callback",
    "Choice": "space.scales",
    "Constant": "space.scales",
    "DataWarning": "core.doubt",
    "Dataset": "data.dataset",
    "Decision": "scheduler",
    "HParams": "task",
    "Hints": "task",
    "PopulationClassifier": "study.estimators",
    "PopulationRegressor": "study.estimators",
    "Problem": "scheduler",
    "Results": "store.results",
    "Scheduler": "scheduler",
    "Session": "study.session",
    "Space": "space.space",
    "Supervised": "supervision.problem",
    "Task": "task",
    "Transform": "data.transforms.transform",
    "Trials": "scheduler",
    "Local": "executors.backend",
    "Metric": "task",
    "Remote": "executors.backend",
    "Rule": "rule",
    "as_html": "pages.notebook",
    "best": "rules.best",
    "choice": "space.scales",
    "ensemble": "supervision.ensemble",
    "halving": "tuning.schedulers.halving",
    "hyperband": "tuning.schedulers.hyperband",
    "integers": "space.scales",
    "load_best": "supervision.loading",
    "log_integers": "space.scales",
    "log_uniform": "space.scales",
    "near": "tuning.earlier",
    "objective": "task",
    "one_se": "rules.best",
    "default_space": "supervision.spaces",
    "pareto": "rules.pareto",
    "pbt": "tuning.schedulers.pbt",
    "plot": "pages.plots",
    "predictor": "supervision.loading",
    "one_minus_log_uniform": "space.scales",
    "refine": "tuning.zoom",
    "replay": "study.replay",
    "rewrite": "rewriting.rewrite",
    "rounds": "tuning.schedulers.rounds",
    "search": "study.search",
    "simulate": "tuning.simulate",
    "supervised": "supervision.supervised",
    "together": "rules.best",
    "uniform": "space.scales",
    "write_report": "pages.page",
}

_PACKAGES = ("live", "tracking")  # packages that are public as a whole

__all__ = sorted((*_HOMES, *_PACKAGES))


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562), so that no command pays for unused imports."""
    if name == "__version__":
        return _version()
    if name not in _HOMES and name not in _PACKAGES:
        raise AttributeError(f"module 'popjax' has no attribute {name!r}")
    home = import_module(f"popjax.{_HOMES.get(name, name)}")
    value = globals()[name] = home if name in _PACKAGES else getattr(home, name)
    return value


def _version() -> str:
    """The version of popjax; "unknown" if it is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("popjax")
    except PackageNotFoundError:
        return "unknown"


def __dir__() -> list[str]:
    return __all__
