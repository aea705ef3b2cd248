"""Functions that a user gives. No JAX here."""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any


def check_called(what: str, function: Any, *arguments: str) -> None:
    """Raise ValueError unless a function can be called with so many arguments.

    >>> check_called("the model", lambda hparams, rngs: None, "hparams", "rngs")
    """
    named = f"({', '.join(arguments)})"
    if not callable(function):
        raise ValueError(f"{what} is a {type(function).__name__}; give a function of {named}")
    made = isinstance(function, type)  # a metaclass, such as that of nnx, hides what the class itself takes
    try:
        inspect.signature(function.__init__ if made else function).bind(*(["self"] if made else []), *arguments)
    except TypeError as error:
        raise ValueError(f"{what} cannot be called with {named}: {error}; give it these arguments") from None
    except ValueError:  # of a built-in that has no signature
        return


def name_of(given: Any) -> Any:
    """A text or None as it is; of a function or a class its qualified name, of another object its class's.

    >>> name_of("adam"), name_of(name_of), name_of(3.5)
    ('adam', 'name_of', 'float')
    """
    return given if isinstance(given, str | None) else getattr(given, "__qualname__", type(given).__name__)


def refuse_gone(function: str, given: Iterable[str], gone: Mapping[str, str]) -> None:
    """Raise ValueError for an argument of an earlier version, with what says the same now, and TypeError for others.

    >>> refuse_gone("search", [], {"lanes": "backend=popjax.Local(lanes=4)"})
    """
    for name in given:
        if name in gone:
            raise ValueError(f"{function}({name}=...) is gone: write {gone[name]}")
        raise TypeError(f"{function}() got an unexpected keyword argument {name!r}")
