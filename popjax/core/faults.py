"""Errors of code that a user wrote, as one line with the method, the file and the line. No JAX here."""

import contextlib
import os
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path

from popjax.core.text import failure

OWN = str(Path(__file__).parents[1]) + os.sep
STANDARD = sysconfig.get_path("stdlib") + os.sep
INSTALLED = tuple({sysconfig.get_path(name) + os.sep for name in ("purelib", "platlib")})
LIBRARIES = ("equinox", "flax", "jax", "jaxlib", "numpy", "optax", "pyarrow", "scipy", "sklearn")  # popjax calls them


@contextlib.contextmanager
def calling(what: str, *said: type[Exception], surely: bool = True) -> Iterator[None]:
    """Context of a call of a user's code: an exception becomes a ValueError of one line, which begins with `what`.

    ValueErrors of popjax itself, such as of a function that the user's code calls, pass unchanged, as do MemoryError
    and, in one line, the types `said`, by which the contract lets the code refuse what it is given. With `surely` False
    so do all that no line of a user's raised, such as those of popjax and JAX around it.

    >>> with calling("the rule Mine: order"):  # doctest: +ELLIPSIS
    ...     {}["val_los"]
    Traceback (most recent call last):
    ValueError: the rule Mine: order raised KeyError: 'val_los' (<doctest ...calling[0]>, line 2, in <module>)
    """
    try:
        yield
    except Exception as error:
        files = files_of(error)
        of_popjax = isinstance(error, ValueError) and files[-1].startswith(OWN)
        if isinstance(error, said) and "\n" in str(error):
            raise ValueError(" ".join(str(error).split())) from error
        if isinstance(error, (MemoryError, *said)) or of_popjax or not (surely or any(map(is_users, files))):
            raise
        raise ValueError(fault(what, error)) from error


def fault(what: str, error: BaseException) -> str:
    """An exception of a user's code on one line: `what` raised it, the exception, its file, line and function.

    That is the last frame of a file of the user's, else of an installed package that is no library of popjax's; without
    one, the last frame.
    """
    return f"{what} raised {failure(error)}{place_in(error)}"


def place_in(error: BaseException, surely: bool = False) -> str:
    """The place in brackets where a user's code raised an error (see `fault`): file, line and function.

    With `surely` empty where no file of a user's had a part in it.
    """
    frames = [(frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    own = [pair for pair in frames if is_users(pair[0].co_filename)]
    written = [pair for pair in own if not pair[0].co_filename.startswith(INSTALLED)]
    places = [
        f" ({code.co_filename}, line {line}, in {code.co_qualname})"
        for code, line in (written or own or ([] if surely else frames))
    ]
    return "".join(places[-1:])


def raised_in(error: BaseException, package: str) -> bool:
    """True if the last file of an error that is neither popjax's, nor Python's or JAX's, is in an installed package."""
    others = (OWN, STANDARD, "<frozen ", *(place + name + os.sep for place in INSTALLED for name in ("jax", "jaxlib")))
    left = [file for file in files_of(error) if not file.startswith(others)]
    return bool(left) and left[-1].startswith(tuple(place + package + os.sep for place in INSTALLED))


def files_of(error: BaseException) -> list[str]:
    """The files through which an exception came, the one that raised it last."""
    return [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]


def is_users(file: str) -> bool:
    """True for a file that is neither popjax's, nor of Python's or a library's that popjax calls."""
    if file.startswith(INSTALLED):
        package = next(file.removeprefix(place) for place in INSTALLED if file.startswith(place)).split(os.sep)[0]
        return package not in LIBRARIES and not file.startswith(OWN)
    return not file.startswith((OWN, STANDARD, "<frozen "))
