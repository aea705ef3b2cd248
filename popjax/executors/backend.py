"""The backends of `popjax.search(backend=...)`: this process, or an executor. No JAX here."""

import dataclasses
from dataclasses import field
from typing import TYPE_CHECKING, Any

from popjax.core.calls import check_called
from popjax.core.counts import check_count
from popjax.core.options import FREE, Options
from popjax.executors.named_executors import THREADS, executor_of

if TYPE_CHECKING:
    from popjax.engine.backends.protocol import Backend, Context
    from popjax.engine.roster import Roster


@dataclasses.dataclass(frozen=True)
class Local(Options):
    """Train in this process, on all its devices.

    Args:
        lanes: members that advance together under vmap; if None, 1 on a CPU, else all of a device, at most 4,096.
        plan: "one": the fewest programs; "widths": trials split by capped widths; "buckets": a program for each exact
            depth and batch size; "auto": chosen by rule.

    Raises ValueError for lanes below 1. A resumed run keeps its lanes and its plan.

    >>> import popjax as pj
    >>> task = pj.objective(lambda key, hparams: {"loss": hparams["x"] ** 2})
    >>> results = pj.search(task, {"x": pj.uniform(-1, 1)}, trials=8, backend=pj.Local(lanes=4))
    >>> results.run["lanes"]
    4
    """

    lanes: int | None = None
    plan: str = "auto"

    def __post_init__(self) -> None:
        set_counts(self, "lanes")

    def made(self, roster: "Roster", context: "Context") -> "Backend":
        """The engine's backend of a population."""
        from popjax.engine.backends.local import LocalBackend

        return LocalBackend(roster, context)


@dataclasses.dataclass(frozen=True)
class Remote(Options):
    """Train on the workers of an executor; results have the same bits as with `Local`.

    Args:
        executor: an object with `submit(fn, *args) -> Future`, as those of `concurrent.futures`; a function without
            arguments that makes one, called again when one breaks; or a name: "processes:4", "dask:tcp://host:8786",
            "ray:auto", "slurm".
        retries: tries of a unit of work that fails by itself, before its trials are given up as stopped.
        mixed: accept workers with another version of jax, or another kind of CPU; bits may then differ.
        lanes, plan: as in `Local`.

    Raises ValueError for an unknown name of an executor, and for retries or lanes below 1.

    >>> import popjax as pj
    >>> pj.Remote("processes:4", retries=5).retries
    5
    """

    executor: Any = field(metadata=FREE)
    retries: int = field(default=3, metadata=FREE)
    mixed: bool = field(default=False, metadata=FREE)
    lanes: int | None = None
    plan: str = "auto"

    def __post_init__(self) -> None:
        set_counts(self, "lanes", "retries")
        if isinstance(self.executor, str) and executor_of(self.executor) is None:
            raise ValueError(f"executor {self.executor!r} is this process; give popjax.Local()")
        if not (isinstance(self.executor, str) or callable(self.executor) or hasattr(self.executor, "submit")):
            what = "give popjax.Local(), an executor with submit(fn, *args), a function that makes one, or a name"
            raise ValueError(f"backend is a {type(self.executor).__name__}; {what}")
        check_executor(self.executor)

    def made(self, roster: "Roster", context: "Context") -> "Backend":
        """The engine's backend of a population."""
        from popjax.engine.backends.remote import RemoteBackend

        executor = executor_of(self.executor) if isinstance(self.executor, str) else self.executor
        return RemoteBackend(roster, context, executor=executor, retries=self.retries, mixed=self.mixed)


def check_executor(executor: Any) -> None:
    """Raise ValueError for an executor whose submit takes other arguments, or a function that takes some itself."""
    if isinstance(executor, str):
        return
    if isinstance(executor, type) or not hasattr(executor, "submit"):
        check_called("the executor", executor)
    else:
        check_called(f"the executor {type(executor).__name__}: submit", executor.submit, "fn", "unit", "blob")


def backend_of(given: Any) -> Local | Remote:
    """The argument of `search(backend=...)` as a Local or a Remote; raises ValueError for anything else.

    >>> backend_of(None), backend_of("processes:2")
    (Local(lanes=None, plan='auto'), Remote(executor='processes:2', retries=3, mixed=False, lanes=None, plan='auto'))
    """
    if isinstance(given, Local | Remote):
        return given
    if given is None or (isinstance(given, str) and given == THREADS):
        return Local()
    if given is Local or given is Remote:
        raise ValueError(f"backend is the class {given.__name__}; call it: popjax.{given.__name__}(...)")
    return Remote(given)


def set_counts(options: Local | Remote, *names: str) -> None:
    """Set the named options to ints, except None; raises ValueError for what is no int of at least 1."""
    for name in names:
        if (value := getattr(options, name)) is not None:
            object.__setattr__(options, name, check_count(name, value))
