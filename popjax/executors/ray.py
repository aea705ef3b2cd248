"""A running Ray cluster, by its address, or "auto"."""

import logging
import os
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from popjax.core.text import check_installed, first_line


def ray(address: str) -> Callable[[], Any]:
    """A function that connects to a cluster, such as auto or ray://host:10001; raises ValueError if ray is missing."""
    check_installed("executor 'ray'", "ray")
    return lambda: Ray(address or "auto")


class Ray:
    """Ray's tasks as futures. A task takes a CPU, and a GPU where the cluster has some."""

    def __init__(self, address: str) -> None:
        """Raises ValueError if no cluster answers."""
        os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # workers have popjax and need no environment built
        import ray

        self._own, self._open = not ray.is_initialized(), set[Any]()
        if self._own:
            try:
                ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
            except ConnectionError as error:
                raise ValueError(f"executor 'ray:{address}': {first_line(error)}; start it: ray start --head") from None
        gpus = 1 if ray.cluster_resources().get("GPU") else 0
        self._call = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)(run_by_ray)

    def submit(self, fn: Callable[..., Any], *args: Any) -> "Future[Any]":
        """Submit as a task that Ray does not retry."""
        task = self._call.remote(fn, *args)
        self._open.add(task)
        future: Future[Any] = task.future()
        future.add_done_callback(lambda _: self._open.discard(task))
        return future

    def shutdown(self, wait: bool = True) -> None:
        """Leave the cluster, which ends the tasks of this search; only end them if the user had connected to it."""
        import ray

        if self._own:
            ray.shutdown()
            return
        for task in list(self._open):
            ray.cancel(task)


def run_by_ray(fn: Callable[..., Any], *args: Any) -> Any:
    """The function that Ray runs: calls `fn`."""
    return fn(*args)
