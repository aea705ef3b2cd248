"""Atomic writes to disk and directory locks: a file is the old one or the new one, never a part of it."""

import contextlib
import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

LOCK = ".lock"
ATTEMPTS, PAUSE = 10, 0.02  # seconds
UNFINISHED: set[str] = set()  # temporary files being written


class Corrupt(ValueError):
    """Raised for a directory that does not hold the files that were written."""


class InUse(Exception):
    """Raised for a directory that another process writes to."""


def sha256(content: bytes) -> str:
    """SHA-256 as hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def write_atomic(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that a crash at any instant leaves the old file or the new one.

    Raises OSError and then leaves no temporary file behind.
    """
    try:
        with written_atomically(path) as file:
            file.write(content)
    except OSError as error:
        if error.filename is not None:  # of a directory or a name, not of what is written
            raise
        what = f"{error.strerror}: {len(content)} bytes needed"
        raise OSError(error.errno, what, str(path)) from None


@contextlib.contextmanager
def written_atomically(path: Path) -> Iterator[IO[bytes]]:
    """Context: a temporary file beside `path`, renamed over it at the end, so that a crash leaves the old or the new.

    It is flushed to disk before, and the directory after. Where an error ends the context nothing is left behind.
    """
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    UNFINISHED.add(temporary)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), 0o644)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    finally:
        UNFINISHED.discard(temporary)
    flush_directory(path.parent)


def leave_nothing_unfinished() -> None:
    """Remove the temporary files being written, when the process ends in the middle of a write."""
    for temporary in list(UNFINISHED):
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def flush_directory(path: Path) -> None:
    """Make the names in a directory durable (fsync)."""
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def keeps_name(path: Path, file: IO[str]) -> bool:
    """True if `path` still names the open file: the next process looks for it by this name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def taken(file: IO[str]) -> bool:
    """Take the lock of a file; False if another process keeps it. One that only asks for it has it for an instant."""
    for _ in range(ATTEMPTS):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(PAUSE)
    return False


def in_use(directory: Path) -> bool:
    """True if a process holds the lock of a directory."""
    try:
        handle = os.open(directory / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    with os.fdopen(handle) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the lock of a directory as the only process that writes to it; create the directory if missing.

    The system releases the lock when the process ends, however it ends. A directory created here is removed on exit
    if nothing was written to it.

    Raises InUse naming the other process, and Corrupt if the lock file is a link.
    """
    new = [path for path in (directory, *directory.parents) if not path.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    if (directory / LOCK).is_symlink():
        raise Corrupt(f"{str(directory / LOCK)!r} is a link; remove it")
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(directory / LOCK, flags, 0o644), "r+") as file:
        if not taken(file):
            other = file.read(20).strip() or "another"
            raise InUse(f"{str(directory)!r} is in use by process {other}; wait, or choose another") from None
        if not keeps_name(directory / LOCK, file):
            raise InUse(f"{str(directory)!r} was just released by another process; try again")
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            if new and directory.exists() and os.listdir(directory) == [LOCK]:  # nothing was written
                with contextlib.suppress(OSError):  # another process has written beside it
                    os.unlink(directory / LOCK)
                    for path in new:
                        os.rmdir(path)


def why_unwritable(place: Path) -> str:
    """Why a directory cannot be written to, in words; empty if it can."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place) as file:
            file.write(b"popjax")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return f"cannot write to {str(place)!r}: {error.strerror}"
    return ""
