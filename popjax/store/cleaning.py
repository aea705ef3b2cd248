"""Drop what a finished run needs only to be resumed: a directory says that it was cleaned before anything goes.

So a process that is killed in between leaves a run that says so, and that is cleaned to its end by the next. No JAX
here.
"""

import os
import shutil
from pathlib import Path

from popjax.core.storage import Corrupt, locked, write_atomic
from popjax.store.files import HOLDS, STATE, TUNING
from popjax.store.listing import CLEANED, FINISHED, files_of_run, state_in_files


def check_not_cleaned(directory: Path) -> None:
    """Raise ValueError if a run was cleaned, and can no longer be resumed."""
    if (directory / STATE / CLEANED).exists():
        what = "it was cleaned: what resuming, more trials and more epochs need is gone"
        raise ValueError(f"{str(directory)!r} cannot be resumed: {what}; start a new run in another directory")


def check_finished(directory: Path) -> None:
    """Raise ValueError unless a directory holds a finished run."""
    name = str(directory)
    if not (directory / HOLDS["run"]).exists():
        raise ValueError(f"{name!r} holds no run of a search; name the directory of one")
    state = state_in_files(directory, *files_of_run(directory))
    if state != FINISHED:
        raise ValueError(f"{name!r} is not finished ({state}), and needs all its files to be resumed; leave it out")


def droppable(directory: Path) -> list[Path]:
    """The files and folders that only resuming needs; raises Corrupt if their folder is a link."""
    for place in (directory / STATE, directory / TUNING):
        if place.is_symlink():
            raise Corrupt(f"{str(place)!r} is a link; remove it")
    kept = directory / STATE / CLEANED
    paths = [path for path in (directory / STATE).glob("*") if path != kept]
    return [*paths, *(path for path in (directory / TUNING,) if path.exists())]


def bytes_in(paths: list[Path]) -> int:
    """Bytes of all files there, and in folders there."""
    inner = [Path(place, name) for path in paths for place, _, names in os.walk(path) for name in names]
    return sum(path.lstat().st_size for path in [*paths, *inner] if path.is_symlink() or path.is_file())


def clean(directory: Path) -> int:
    """Drop them, of a finished run; returns their bytes. Raises as `check_finished`, and InUse."""
    with locked(directory):
        check_finished(directory)
        paths = droppable(directory)
        freed = bytes_in(paths)
        (directory / STATE).mkdir(exist_ok=True)
        write_atomic(directory / STATE / CLEANED, b"")
        for path in paths:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    return freed
