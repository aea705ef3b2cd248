"""What a process runs that is forked from one with the libraries imported: most of a short command's time."""

import os
import sys
from pathlib import Path

import flax.nnx  # noqa: F401
import jax  # noqa: F401
import optax  # noqa: F401
import pyarrow.parquet  # noqa: F401
import sklearn.datasets
import sklearn.model_selection  # noqa: F401
import tyro  # noqa: F401


def run(code: str, arguments: list[str], directory: Path, environment: dict[str, str], said: tuple[Path, Path]) -> None:
    """What `python -c code arguments` does in a directory, its output and errors into files."""
    for descriptor, file in enumerate(said, 1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    os.environ.update(environment)
    os.chdir(directory)
    sys.path.insert(0, str(directory))
    sys.argv = ["-c", *arguments]
    exec(code, {"__name__": "__main__"})
