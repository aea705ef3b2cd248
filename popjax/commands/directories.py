"""The directory that a command writes its results to. No JAX here."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from popjax.core.storage import LOCK, locked


@contextlib.contextmanager
def open_directory(out: str | None, stem: str, resume: bool = False) -> Iterator[Path]:
    """Context: the results directory, --out or a new one under runs/, which is removed if nothing is written there.

    Raises ValueError if it holds a run, except on resume.
    """
    if out == "":
        raise ValueError("--out '': name a directory")
    directory = checked_directory(new_directory(stem) if out is None else Path(out), resume)
    try:
        yield directory
    finally:
        if out is None:
            remove_empty(directory)


def checked_directory(directory: Path, resume: bool) -> Path:
    """The directory; raises ValueError if results cannot be written to it."""
    from popjax.store.files import check_directory

    try:
        check_directory(directory, "run" if resume else None)
    except ValueError as error:
        raise ValueError(f"--out {error}") from None
    if directory.is_dir():
        with locked(directory):
            pass
    return directory


def new_directory(stem: str) -> Path:
    """A new directory under runs/, with the time in its name, of this process alone."""
    import datetime
    import itertools

    stem = f"{stem}-{datetime.datetime.now():%Y%m%d-%H%M%S}"
    for serial in itertools.count():
        directory = Path("runs") / (f"{stem}-{serial}" if serial else stem)
        try:
            directory.mkdir(parents=True)
        except OSError:
            if os.path.lexists(directory):  # of another process, too
                continue
            return directory  # an error which `check_directory` words
        return directory
    raise AssertionError("numbers do not end")


def remove_empty(directory: Path) -> None:
    """Remove a directory in which nothing was written, and the one around it if that is all."""
    with contextlib.suppress(OSError):
        if os.listdir(directory) == [LOCK]:
            (directory / LOCK).unlink()
        directory.rmdir()
        directory.parent.rmdir()
