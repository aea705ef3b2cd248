"""Executors by name, as on a command line: `processes:4`, `dask:tcp://host:8786`."""

from collections.abc import Callable
from typing import Any

from popjax.core.faults import calling
from popjax.core.text import short
from popjax.executors.dask import dask
from popjax.executors.processes import processes
from popjax.executors.ray import ray
from popjax.executors.slurm import slurm

EXECUTORS: dict[str, Callable[[str], Callable[[], Any]]] = {
    "processes": processes,
    "dask": dask,
    "ray": ray,
    "slurm": slurm,
}
THREADS = "threads"  # this process, on its own devices: no executor


def executor_of(text: str) -> Callable[[], Any] | None:
    """A function that makes the executor of a name, with its argument after a colon; None for "threads".

    Raises ValueError for any other text, and if a package that it needs is not installed.

    >>> executor_of("threads") is None
    True
    """
    name, _, rest = text.partition(":")
    if text == THREADS:
        return None
    if name not in EXECUTORS:
        raise ValueError(f"unknown executor {text!r}; there are {', '.join([THREADS, *EXECUTORS])}, as processes:4")
    with calling(what := f"the executor {name!r}", ValueError):
        made: Any = EXECUTORS[name](rest)
    if not (callable(made) or hasattr(made, "submit")):
        raise ValueError(f"{what}: its entry returned {short(made)}; return a function that makes an executor")
    return made
