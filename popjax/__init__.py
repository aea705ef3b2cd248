"""popjax: random search over small models as one compiled computation.

>>> import popjax as pj
>>> pj.log_uniform(1e-4, 1)
LogUniform(low=0.0001, high=1, static=False)
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "Choice": "scales",
    "Constant": "scales",
    "Dataset": "data",
    "HParams": "task",
    "Results": "results",
    "Session": "session",
    "Space": "space",
    "Task": "task",
    "choice": "scales",
    "integers": "scales",
    "load_best": "winner",
    "log_integers": "scales",
    "log_uniform": "scales",
    "objective": "task",
    "default_space": "defaults",
    "one_minus_log_uniform": "scales",
    "refine": "zoom",
    "replay": "driver",
    "search": "driver",
    "supervised": "supervision",
    "uniform": "scales",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562), so that no command pays for what it does not use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'popjax' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"popjax.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return __all__
