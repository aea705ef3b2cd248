"""An executor as the engine uses it: made again after it breaks, if there is a function that makes it."""

import dataclasses
import inspect
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future
from typing import Any

import numpy as np

from popjax.core.calls import name_of
from popjax.core.contracts import misspelt
from popjax.core.faults import calling, fault
from popjax.core.text import short, tell


@dataclasses.dataclass(frozen=True)
class Traits:
    """Properties that an executor may have, as its attribute `traits`.

    Attributes:
        seconds: the work in a unit, by the cost model.
        keeps: True if a worker may train several units, and keeps their task.
        patience: seconds without an answer after which a unit is given to another worker; if None, ten minutes,
            or a day if the cost of the task is not known.

    Raises ValueError for seconds that are no number above 0.
    """

    seconds: float = 2.0
    keeps: bool = True
    patience: float | None = None

    def __post_init__(self) -> None:
        for name in ("seconds", "patience"):
            value: Any = getattr(self, name)
            known = isinstance(value, int | float | np.number) and not isinstance(value, bool)
            if not (value is None and name == "patience") and not (known and value > 0):
                raise ValueError(f"traits: {name}={short(value)}; give a number of seconds above 0")
        if not isinstance(self.keeps, bool):
            raise ValueError(f"traits: keeps={short(self.keeps)}; give True or False")


class NoFuture(ValueError):
    """Raised for an executor whose `submit` returns no future."""


class RenewableExecutor:
    """An executor, or a function without arguments that makes one.

    Attributes:
        current: the executor; None until it is made, and after it is closed.
    """

    def __init__(self, executor: Any) -> None:
        known = hasattr(executor, "submit") and not isinstance(executor, type)
        self.make: Callable[[], Any] | None = None if known else executor
        self.current: Any = executor if known else None

    def open(self) -> Any:
        """The executor, made if there is none; raises ValueError if what is made is none."""
        if self.current is None:
            assert self.make is not None
            with calling(f"the executor {name_of(self.make)}"):
                self.current = self.make()
            for name in ("submit", "shutdown"):
                if not callable(getattr(self.current, name, None)):
                    what = f"{self.called} has no {name}"
                    self.current = None
                    raise ValueError(f"{what}; give what has submit(fn, *args) and shutdown()")
        return self.current

    @property
    def called(self) -> str:
        """The executor in the words of an error message."""
        return f"the executor {type(self.current).__name__}"

    @property
    def traits(self) -> Traits:
        """The executor's traits, the defaults if it has none; raises ValueError for anything else."""
        executor = self.open()
        for name in (*vars(type(executor)), *getattr(executor, "__dict__", ())):
            if misspelt(name, "traits"):
                raise ValueError(f"{self.called}: {name} is no name that popjax looks for; did you mean traits?")
        traits: Any = getattr(executor, "traits", Traits())
        if not isinstance(traits, Traits):
            raise ValueError(f"{self.called}: traits is a {type(traits).__name__}; give a {Traits.__module__}.Traits")
        return traits

    def submit(self, fn: Callable[..., Any], *args: Any) -> "Future[Any]":
        """A future of `fn(*args)`; raises what the executor raises, and NoFuture if it returns anything else."""
        future: Any = self.open().submit(fn, *args)
        if not all(callable(getattr(future, name, None)) for name in ("add_done_callback", "result", "cancel")):
            what = f"{self.called}: submit returned a {type(future).__name__}"
            raise NoFuture(f"{what}; return a concurrent.futures.Future")
        return future

    def renew(self, broken: Any) -> bool:
        """Close the executor `broken`, so that another is made on the next use; True if there is a function for it."""
        if self.make is not None and self.current is broken:
            self.close()
        return self.make is not None

    def close(self) -> None:
        """Shut down an executor that was made here, without waiting; one that was given belongs to its owner."""
        if self.make is None or self.current is None:
            return
        called, shutdown, self.current = self.called, self.current.shutdown, None
        try:
            shutdown(**({"wait": False} if takes(shutdown, "wait") else {}))
        except Exception as error:  # what is trained is not lost for that
            tell(f"popjax: {fault(f'{called}: shutdown', error)}; the run goes on")


def takes(function: Callable[..., Any], name: str) -> bool:
    """True if a function has an argument of this name, or takes any."""
    parameters = inspect.signature(function).parameters
    return name in parameters or any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())


def breaks(error: BaseException) -> bool:
    """True if an executor that raised this takes no more work."""
    return isinstance(error, BrokenExecutor) or (isinstance(error, RuntimeError) and "shutdown" in str(error))
