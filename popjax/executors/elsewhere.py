"""The backend of an executor, as a population asks for it."""

from typing import TYPE_CHECKING, Any

from popjax.engine.backends.door import Door
from popjax.executors.named import executor_of

if TYPE_CHECKING:
    from popjax.engine.population import Elsewhere


def elsewhere(executor: Any, retries: int, mixed: bool) -> "Elsewhere | None":
    """What trains a population on an executor, given as `pj.search` takes it; None for this process's own devices.

    Raises ValueError for what is no executor.
    """
    given = executor_of(executor) if isinstance(executor, str) else executor
    if given is None:
        return None
    Door(given)  # refuses what is none before anything is checked or compiled
    from popjax.engine.backends.remote import Remote

    return lambda roster, context: Remote(roster, context, given, retries, mixed)
