"""An executor as the engine uses it: made anew where it breaks, if it is known how."""

import dataclasses
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future
from typing import Any


@dataclasses.dataclass(frozen=True)
class Traits:
    """What an executor may say of itself, as its attribute `traits`.

    Attributes:
        seconds: how much work a unit is to be, by the cost model.
        keeps: whether a worker that has trained a unit may train others, and still has its task.
        patience: after how many seconds without an answer a unit is given to another worker; if None, ten minutes,
            or a day where the cost model does not know the task.
    """

    seconds: float = 2.0
    keeps: bool = True
    patience: float | None = None


class Door:
    """An executor, or a function without arguments that makes one.

    Attributes:
        executor: the one that is used now; None before the first unit.
    """

    def __init__(self, given: Any) -> None:
        """Raises ValueError for what is neither."""
        known = hasattr(given, "submit")
        if not known and not callable(given):
            raise ValueError(
                f"executor is a {type(given).__name__}; give one with submit(fn, *args), or a function that makes one"
            )
        self.make: Callable[[], Any] | None = None if known else given
        self.executor: Any = given if known else None

    def open(self) -> Any:
        """The executor."""
        if self.executor is None:
            assert self.make is not None
            self.executor = self.make()
        return self.executor

    @property
    def traits(self) -> Traits:
        """What the executor says of itself."""
        found: Traits = getattr(self.open(), "traits", Traits())
        return found

    def submit(self, fn: Callable[..., Any], *args: Any) -> "Future[Any]":
        """Raises whatever the engine raises."""
        future: Future[Any] = self.open().submit(fn, *args)
        return future

    def renew(self, broken: Any) -> bool:
        """Use another executor than this one, which broke; whether it is known how."""
        if self.make is not None and self.executor is broken:
            self.close()
        return self.make is not None

    def close(self) -> None:
        """End an executor that was made here; one that was given is its owner's."""
        if self.make is not None and self.executor is not None:
            self.executor.shutdown(wait=False)
            self.executor = None


def breaks(error: BaseException) -> bool:
    """Whether an executor that raised this takes no more work."""
    return isinstance(error, BrokenExecutor) or (isinstance(error, RuntimeError) and "shutdown" in str(error))
