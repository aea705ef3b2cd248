"""Random search over small models as one compiled computation.

Tasks         supervised (rows) -> Supervised, objective (a function), Task with Hints, HParams; Transform; Dataset,
              DataWarning; rewrite (a model of a custom Task)
Spaces        Space: uniform, log_uniform, one_minus_log_uniform, integers, log_integers, choice, Choice, Constant;
              default_space; custom: Scale
Search        search -> Results; refine (a space), near (earlier results), replay (a trial), simulate (a scheduler)
Backends      Local (this process), Remote (an executor)
Rules         best, one_se, together, pareto; custom: Rule, Finished, Metric
Schedulers    halving, hyperband, pbt, rounds; custom: Scheduler, Problem, Trials, Decision
Layers        layers (for models of your own)
By hand       Session; live (the page)
Callbacks     Callback; tracking (TensorBoard, MLflow, W&B, Trackio)
Prediction    load_best, predictor, ensemble, refit (on all rows) -> Predictor; PopulationClassifier and
              PopulationRegressor for scikit-learn
Display       plot (a figure of the report), write_report, as_html (what a notebook shows)

>>> import popjax as pj
>>> pj.log_uniform(1e-4, 1)
LogUniform(low=0.0001, high=1, static=False)
"""

from importlib import import_module
from typing import Any

_PUBLIC: dict[str, dict[str, str | None]] = {  # section of the reference -> name -> its module; None: a package
    "Tasks": {
        "supervised": "supervision.supervised",
        "Supervised": "supervision.problem",
        "objective": "task",
        "Task": "task",
        "Hints": "task",
        "HParams": "task",
        "Transform": "data.transforms.transform",
        "Dataset": "data.dataset",
        "DataWarning": "core.doubt",
        "rewrite": "rewriting.rewrite",
    },
    "Spaces": {
        "Space": "space.space",
        "Scale": "space.scales",
        "uniform": "space.scales",
        "log_uniform": "space.scales",
        "one_minus_log_uniform": "space.scales",
        "integers": "space.scales",
        "log_integers": "space.scales",
        "choice": "space.scales",
        "Choice": "space.scales",
        "Constant": "space.scales",
        "default_space": "supervision.spaces",
    },
    "Search": {
        "search": "study.search",
        "Results": "store.results",
        "refine": "tuning.zoom",
        "near": "tuning.earlier",
        "replay": "study.replay",
        "simulate": "tuning.simulate",
    },
    "Backends": {
        "Local": "executors.backend",
        "Remote": "executors.backend",
    },
    "Rules": {
        "best": "rules.best",
        "one_se": "rules.best",
        "together": "rules.best",
        "pareto": "rules.pareto",
        "Rule": "rule",
        "Finished": "rule",
        "Metric": "metric",
    },
    "Schedulers": {
        "halving": "tuning.schedulers.halving",
        "hyperband": "tuning.schedulers.hyperband",
        "pbt": "tuning.schedulers.pbt",
        "rounds": "tuning.schedulers.rounds",
        "Scheduler": "scheduler",
        "Problem": "scheduler",
        "Trials": "scheduler",
        "Decision": "scheduler",
    },
    "Layers": {
        "layers": None,
    },
    "By hand": {
        "Session": "study.session",
        "live": None,
    },
    "Callbacks": {
        "Callback": "tuning.callbacks.callback",
        "tracking": None,
    },
    "Prediction": {
        "load_best": "supervision.loading",
        "predictor": "supervision.loading",
        "Predictor": "supervision.predictor",
        "ensemble": "supervision.ensemble",
        "refit": "study.refit",
        "PopulationClassifier": "study.estimators",
        "PopulationRegressor": "study.estimators",
    },
    "Display": {
        "plot": "pages.plots",
        "write_report": "pages.page",
        "as_html": "pages.notebook",
    },
}
_HOMES = {name: home for section in _PUBLIC.values() for name, home in section.items()}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562), so that no command pays for unused imports."""
    if name == "__version__":
        return _version()
    if name not in _HOMES:
        raise AttributeError(f"module 'popjax' has no attribute {name!r}")
    home = import_module(f"popjax.{_HOMES[name] or name}")
    value = globals()[name] = getattr(home, name) if _HOMES[name] else home
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
