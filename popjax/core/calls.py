"""Checks and names of the functions and arguments that a user passes. No JAX here."""

import inspect
from typing import Any


def check_called(what: str, function: Any, *arguments: str) -> None:
    """Raise ValueError unless `function` can be called with positional arguments of these names.

    >>> check_called("the model", lambda hparams, rngs: None, "hparams", "rngs")
    """
    named = f"({', '.join(arguments)})"
    if not callable(function):
        raise ValueError(f"{what} is a {type(function).__name__}; give a function of {named}")
    made = isinstance(function, type)  # a metaclass, such as nnx's, hides the signature of __init__
    try:
        inspect.signature(function.__init__ if made else function).bind(*(["self"] if made else []), *arguments)
    except TypeError as error:
        raise ValueError(f"{what} cannot be called with {named}: {error}; give it these arguments") from None
    except ValueError:  # a built-in without a signature
        return


def name_of(given: Any) -> Any:
    """A str or None unchanged; the qualified name of a function or class; the class name of any other object.

    >>> name_of("adam"), name_of(name_of), name_of(3.5)
    ('adam', 'name_of', 'float')
    """
    return given if isinstance(given, str | None) else getattr(given, "__qualname__", type(given).__name__)
