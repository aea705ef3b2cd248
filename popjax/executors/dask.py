"""A running Dask cluster, by its scheduler's address."""

import re
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from popjax.core.text import check_installed

TIMEOUT = 30.0  # seconds to wait for a scheduler


def dask(address: str) -> Callable[[], Any]:
    """A function that connects to a scheduler at an address such as tcp://host:8786.

    Raises ValueError for what is no address, or if distributed is not installed.
    """
    check_installed("executor 'dask'", "distributed")
    if not re.fullmatch(r"\w+://[^/\s]+:\d+", address):
        raise ValueError(f"executor 'dask:{address}' needs the scheduler's address: dask:tcp://host:8786")
    return lambda: Dask(address)


class Dask:
    """The `concurrent.futures` executor of a Dask client of its own. `address` may be a cluster object."""

    def __init__(self, address: Any) -> None:
        """Raises ValueError if no scheduler answers."""
        from distributed import Client

        try:
            self._client = Client(address, set_as_default=False, timeout=TIMEOUT)
        except OSError as error:
            raise ValueError(f"executor 'dask:{address}': {error}; start a scheduler there") from None
        self._executor = self._client.get_executor(retries=0, pure=False)

    def submit(self, fn: Callable[..., Any], *args: Any) -> "Future[Any]":
        """Submit through the client; without retries."""
        future: Future[Any] = self._executor.submit(fn, *args)
        return future

    def shutdown(self, wait: bool = True) -> None:
        """Wait for pending work if `wait`, else cancel it, and leave the cluster."""
        self._executor.shutdown(wait=wait)
        self._client.close()
