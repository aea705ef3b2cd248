"""The one door to the disk: a file is the old one or the new one, never a part of it."""

import contextlib
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

LOCK = ".lock"
UNFINISHED: set[str] = set()  # temporary files that are being written


class Corrupt(ValueError):
    """A directory whose files are not what was written."""


class InUse(Exception):
    """A directory that another process writes to."""


def sha256(content: bytes) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def write_atomic(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that a crash at any instant leaves the old file or the new.

    A temporary file beside it is written, flushed to the disk and renamed over it, and the
    directory is flushed in turn. Raises OSError, and then leaves no temporary file behind.
    """
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    UNFINISHED.add(temporary)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        os.unlink(temporary)
        if isinstance(error, OSError):
            what = f"{error.strerror}: {len(content)} bytes needed"
            raise OSError(error.errno, what, str(path)) from None
        raise
    finally:
        UNFINISHED.discard(temporary)
    flush_directory(path.parent)


def leave_nothing_unfinished() -> None:
    """Remove what is being written, where the process ends in the middle of it."""
    for temporary in list(UNFINISHED):
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def flush_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def keeps_name(path: Path, file: IO[str]) -> bool:
    """Whether an open file still has its name, by which the next process will look for it."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Be the only process that writes to a directory, which is made; raises InUse naming the other.

    The system gives the lock back when a process ends, however it ends.
    """
    new = [path for path in (directory, *directory.parents) if not path.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    if (directory / LOCK).is_symlink():
        raise Corrupt(f"{str(directory / LOCK)!r} is a link; remove it")
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(directory / LOCK, flags, 0o644), "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = file.read(20).strip() or "another"
            raise InUse(f"{str(directory)!r} is in use by process {other}; wait, or choose another") from None
        if not keeps_name(directory / LOCK, file):
            raise InUse(f"{str(directory)!r} was given up by another process just now; try again")
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            if new and directory.exists() and os.listdir(directory) == [LOCK]:  # nothing came of it
                os.unlink(directory / LOCK)
                for path in new:
                    os.rmdir(path)
