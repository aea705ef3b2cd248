"""The backend of an executor, as a population asks for it."""

import dataclasses
from typing import TYPE_CHECKING, Any

from popjax.engine.backends.door import Door
from popjax.executors.named import executor_of

if TYPE_CHECKING:
    from popjax.engine.backends.base import Backend, Context
    from popjax.engine.roster import Roster


@dataclasses.dataclass(frozen=True, eq=False)
class Elsewhere:
    """An executor for a population; see `popjax.engine.backends.remote.Remote`."""

    door: Door
    retries: int
    mixed: bool

    def __call__(self, roster: "Roster", context: "Context") -> "Backend":
        """The backend of a population."""
        from popjax.engine.backends.remote import Remote

        return Remote(roster, context, self.door, self.retries, self.mixed)

    def open(self) -> None:
        """Make the executor; raises ValueError where it does not answer."""
        self.door.open()

    def close(self) -> None:
        """End it, if it was made here."""
        self.door.close()


def elsewhere(executor: Any, retries: int, mixed: bool) -> Elsewhere | None:
    """What trains a population on an executor, given as `pj.search` takes it; None for this process's own devices.

    Raises ValueError for what is no executor.
    """
    given = executor_of(executor) if isinstance(executor, str) else executor
    return None if given is None else Elsewhere(Door(given), retries, mixed)
