"""An executor as the engine uses it: made again after it breaks, if there is a function that makes it."""

import dataclasses
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future
from typing import Any


@dataclasses.dataclass(frozen=True)
class Traits:
    """Properties that an executor may have, as its attribute `traits`.

    Attributes:
        seconds: the work in a unit, by the cost model.
        keeps: True if a worker may train several units, and keeps their task.
        patience: seconds without an answer after which a unit is given to another worker; if None, ten minutes,
            or a day if the cost of the task is not known.
    """

    seconds: float = 2.0
    keeps: bool = True
    patience: float | None = None


class Door:
    """An executor, or a function without arguments that makes one.

    Attributes:
        executor: the current one; None until it is made, and after it is closed.
    """

    def __init__(self, given: Any) -> None:
        known = hasattr(given, "submit")
        self.make: Callable[[], Any] | None = None if known else given
        self.executor: Any = given if known else None

    def open(self) -> Any:
        """The executor, made if there is none."""
        if self.executor is None:
            assert self.make is not None
            self.executor = self.make()
        return self.executor

    @property
    def traits(self) -> Traits:
        """The executor's traits; the defaults if it has none."""
        found: Traits = getattr(self.open(), "traits", Traits())
        return found

    def submit(self, fn: Callable[..., Any], *args: Any) -> "Future[Any]":
        """A future of `fn(*args)`; raises what the executor raises."""
        future: Future[Any] = self.open().submit(fn, *args)
        return future

    def renew(self, broken: Any) -> bool:
        """Close the executor `broken`, so that another is made on the next use; True if there is a function for it."""
        if self.make is not None and self.executor is broken:
            self.close()
        return self.make is not None

    def close(self) -> None:
        """Shut down an executor that was made here, without waiting; one that was given belongs to its owner."""
        if self.make is not None and self.executor is not None:
            self.executor.shutdown(wait=False)
            self.executor = None


def breaks(error: BaseException) -> bool:
    """True if an executor that raised this takes no more work."""
    return isinstance(error, BrokenExecutor) or (isinstance(error, RuntimeError) and "shutdown" in str(error))
