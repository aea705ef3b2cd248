"""Slurm jobs, by submitit: one job per unit, so units take minutes and each job is sent its task."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from popjax.core.storage import sha256, write_atomic
from popjax.core.text import check_installed
from popjax.engine.backends.renewable_executor import Traits

FOLDER = "slurm-jobs"  # on a disk that all nodes see
MINUTES = 60  # time limit of a job
POLL = 1.0  # seconds between two looks at the jobs
FAILURES = 10  # looks at a job that may fail in a row: Slurm's commands fail while its controller is busy


def slurm(folder: str) -> Callable[[], Any]:
    """A function that makes an executor with its jobs' files in a folder; raises ValueError if submitit is missing."""
    check_installed("executor 'slurm'", "submitit")

    def make() -> "Slurm":
        import submitit

        jobs = submitit.AutoExecutor(folder or FOLDER)
        jobs.update_parameters(timeout_min=MINUTES, cpus_per_task=1, name="popjax")
        return Slurm(jobs)

    return make


class Slurm:
    """Jobs of a submitit executor as futures; Slurm ends a job that hangs."""

    traits = Traits(seconds=300.0, keeps=False, patience=float("inf"))

    def __init__(self, jobs: Any) -> None:
        self._jobs = jobs
        self._open: list[tuple[Any, Future[Any]]] = []
        self._over = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def submit(self, fn: Callable[..., Any], *args: Any) -> "Future[Any]":
        """Submit as a job; bytes, such as a task that many jobs need, are passed as a file that all of them read."""
        future: Future[Any] = Future()
        job = self._jobs.submit(
            run_job, fn, *(self._filed(argument) if isinstance(argument, bytes) else argument for argument in args)
        )
        self._open.append((job, future))
        return future

    def shutdown(self, wait: bool = True) -> None:
        """Cancel the unfinished jobs."""
        self._over.set()
        for job, _ in list(self._open):  # from which the watching thread removes some
            job.cancel()

    def _filed(self, content: bytes) -> Path:
        path = Path(self._jobs.folder).absolute() / f"task-{sha256(content)}"
        if not path.exists():
            write_atomic(path, content)
        return path

    def _watch(self) -> None:
        failures: Counter[Future[Any]] = Counter()
        while not self._over.is_set():
            for job, future in list(self._open):
                try:
                    open_still = look_at(job, future)
                    failures[future] = 0
                except Exception as error:
                    failures[future] += 1
                    open_still = failures[future] < FAILURES
                    if not open_still and (future.running() or future.set_running_or_notify_cancel()):
                        future.set_exception(error)
                if not open_still:
                    self._open.remove((job, future))
                    del failures[future]
            time.sleep(POLL)


def look_at(job: Any, future: "Future[Any]") -> bool:
    """Pass on that a job runs, or its end, or that its future was cancelled; False if there is nothing to wait for."""
    done = job.done()
    if not done and (job.state != "RUNNING" or future.running()):
        return True
    runs = future.running() or future.set_running_or_notify_cancel()
    if not runs:
        job.cancel()
    elif done:
        end(job, future)
    return runs and not done


def end(job: Any, future: "Future[Any]") -> None:
    """Give a job's result, or its error, to its future."""
    try:
        future.set_result(job.result())
    except Exception as error:
        future.set_exception(error)


def run_job(fn: Callable[..., Any], *args: Any) -> Any:
    """The function that a job runs: calls `fn`, with the contents of paths in their place."""
    return fn(*(argument.read_bytes() if isinstance(argument, Path) else argument for argument in args))
