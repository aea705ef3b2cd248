"""Errors of code that a user wrote, as one line with the method, the file and the line. No JAX here."""

import contextlib
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path

from popjax.core.text import failure

OWN = str(Path(__file__).parents[1])
LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})


@contextlib.contextmanager
def calling(what: str, *said: type[Exception]) -> Iterator[None]:
    """Context of a call of a user's code: an exception becomes a ValueError of one line, which begins with `what`.

    ValueErrors of popjax itself, such as of a function that the user's code calls, pass unchanged, as do MemoryError
    and the types `said`, by which the contract lets the code refuse what it is given.

    >>> with calling("the rule Cheapest: winner"):
    ...     {}["val_los"]
    Traceback (most recent call last):
    ValueError: the rule Cheapest: winner raised KeyError: 'val_los' (<doctest popjax.core.faults.calling[0]>, line 2)
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, (MemoryError, *said)) or (isinstance(error, ValueError) and of_popjax(error)):
            raise
        raise ValueError(fault(what, error)) from error


def fault(what: str, error: BaseException) -> str:
    """An exception of a user's code on one line: `what` raised it, the exception, its file and line."""
    return f"{what} raised {failure(error)}{line_of_fault(error)}"


def line_of_fault(error: BaseException) -> str:
    """The file and line of a user's code that raised an exception, in parentheses after a space; empty if unknown.

    That is the last frame that lies neither in popjax nor in a library; without one, the last frame.
    """
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith((OWN, *LIBRARIES))]
    found = (own or frames)[-1:]
    return "".join(f" ({frame.filename}, line {frame.lineno})" for frame in found)


def of_popjax(error: BaseException) -> bool:
    """True if popjax's own code raised an exception."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and frames[-1].filename.startswith(OWN)
