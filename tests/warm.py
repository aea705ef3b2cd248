"""Processes forked from one that has imported the libraries, which is most of a short command's time."""

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import flax.nnx  # noqa: F401
import jax  # noqa: F401
import optax  # noqa: F401
import pyarrow.parquet  # noqa: F401
import sklearn.datasets
import sklearn.model_selection  # noqa: F401
import tyro  # noqa: F401

CACHE = {"JAX_COMPILATION_CACHE_DIR": os.path.join(tempfile.gettempdir(), f"popjax-test-cache-{os.getuid()}")}


def python(code: str, *arguments, cwd: Path, environment: dict[str, str], timeout: float = 300):
    """What `python -c code arguments` does in a directory, in a process of its own; gives the finished process."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["warm"])
    with tempfile.TemporaryDirectory() as place:
        said = Path(place, "stdout"), Path(place, "stderr")
        process = server.Process(target=child, args=(code, list(map(str, arguments)), cwd, environment, said))
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            raise subprocess.TimeoutExpired(code, timeout)
        return subprocess.CompletedProcess(code, process.exitcode, *(file.read_text() for file in said))


def command(name: str, *arguments, **where):
    """What `python -m popjax.name arguments` does."""
    return python(f"import runpy; runpy.run_module('popjax.{name}', None, '__main__', True)", *arguments, **where)


def child(code: str, arguments: list[str], cwd: Path, environment: dict[str, str], said: tuple[Path, Path]) -> None:
    """The forked process: what it says goes into files; SIGINT is heard, which a background job of a shell ignores."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for descriptor, file in enumerate(said, 1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    os.environ.update(environment)
    os.chdir(cwd)
    sys.path.insert(0, str(cwd))
    sys.argv = ["-c", *arguments]
    exec(code, {"__name__": "__main__"})
