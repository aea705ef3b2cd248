"""A Dask cluster that runs, by its scheduler's address."""

import re
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from popjax.core.text import check_installed

TIMEOUT = 30.0  # seconds in which a scheduler is to answer


def dask(address: str) -> Callable[[], Any]:
    """A function that connects to a scheduler, such as tcp://host:8786; raises ValueError."""
    check_installed("executor 'dask'", "distributed")
    if not re.fullmatch(r"\w+://[^/\s]+:\d+", address):
        raise ValueError(f"executor 'dask:{address}' needs the scheduler's address: dask:tcp://host:8786")
    return lambda: Dask(address)


class Dask:
    """A client of its own, with its door of the standard library's kind. `address` may be a cluster object."""

    def __init__(self, address: Any) -> None:
        """Raises ValueError where nobody answers."""
        from distributed import Client

        try:
            self._client = Client(address, set_as_default=False, timeout=TIMEOUT)
        except OSError as error:
            raise ValueError(f"executor 'dask:{address}': {error}; start a scheduler there") from None
        self._executor = self._client.get_executor(retries=0, pure=False)

    def submit(self, fn: Callable[..., Any], *args: Any) -> "Future[Any]":
        """By the client."""
        future: Future[Any] = self._executor.submit(fn, *args)
        return future

    def shutdown(self, wait: bool = True) -> None:
        """Cancel what is not done, and leave the cluster."""
        self._executor.shutdown(wait=wait)
        self._client.close()
