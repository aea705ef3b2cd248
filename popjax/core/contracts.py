"""Checks of a class that a user wrote against its contract: misspelt names, arguments. No JAX here."""

import inspect
import re
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

from popjax.core.calls import check_called

RENAME = "Else begin it with _"
FEWEST = 3  # letters of a name that may be a typo


def check_contract(what: str, kind: type, contract: type) -> None:
    """Raise ValueError unless the names of a user's class are those of its contract, or helpers of its own.

    A name one edit from one of the contract's, or one of these behind "on_", would be ignored: it is taken for a typo,
    unless the class or one that extends it has the right name, too, or it uses the name itself. A method must take the
    contract's arguments, and be a plain function. Classes that do not extend the contract, such as mixins, have helpers
    alone.

    Args:
        what: of the error message, such as "the rule Cheapest".
        kind: the user's class.
        contract: the class that it extends, or an interface.

    >>> class Greeting:
    ...     def greet(self, name): ...
    >>> class Loud(Greeting):
    ...     def greets(self, name): ...
    >>> check_contract("the greeting Loud", Loud, Greeting)
    Traceback (most recent call last):
    ValueError: the greeting Loud: greets is no name that popjax looks for; did you mean greet? Else begin it with _
    """
    known = contract_names(contract)
    parents = [parent for parent in kind.__mro__ if parent not in contract.__mro__]
    used = {name for parent in parents for value in vars(parent).values() for name in names_in(value)}
    above: set[str] = set()
    for parent in parents:
        own = attributes(parent)
        above |= own.keys()
        extends = contract in parent.__mro__ or contract not in kind.__mro__
        for name in [name for name in own if extends and name not in known | used and len(name) >= FEWEST]:
            for meant in sorted(known - above):
                if misspelt(name, meant) and could_be(own[name], getattr(contract, meant, None)):
                    raise ValueError(f"{what}: {name} is no name that popjax looks for; did you mean {meant}? {RENAME}")
        for name in [name for name in own if name in known and hasattr(contract, name)]:
            check_attribute(f"{what}: {name}", own[name], inspect.getattr_static(contract, name))


def contract_names(contract: type) -> set[str]:
    """The public names of a contract, and `__call__`, without those of Python's own classes that it extends."""
    parents = [parent for parent in contract.__mro__ if parent.__module__ != "builtins"]
    named = {name for parent in parents for name in (*inspect.get_annotations(parent), *vars(parent))}
    return {name for name in named if not name.startswith("_") or name == "__call__"}


def attributes(kind: type) -> dict[str, Any]:
    """The public names of a class alone, and `__call__`, with their values; None for a field without a default."""
    declared = dict.fromkeys(inspect.get_annotations(kind)) | dict(vars(kind))
    return {name: value for name, value in declared.items() if not name.startswith("_") or name == "__call__"}


def check_written(what: str, kind: type, contract: type, *names: str) -> None:
    """Raise ValueError if a class leaves one of these methods to its contract, which has none."""
    for name in names:
        if not overrides(kind, contract, name):
            raise ValueError(f"{what} has no {name}; write it, as {contract.__module__}.{contract.__name__} says")


def overrides(kind: type, contract: type, name: str) -> bool:
    """True if a class has an attribute of its own in the place of the contract's."""
    return inspect.getattr_static(kind, name) is not inspect.getattr_static(contract, name)


def names_in(value: Any) -> Iterator[str]:
    """The names that a function, a method of a class or a property looks up, and the functions within it."""
    function = getattr(value, "fget", None) or getattr(value, "func", None) or getattr(value, "__func__", value)
    left = [getattr(function, "__code__", None)]
    while left:
        if isinstance(code := left.pop(), CodeType):
            yield from code.co_names
            left += code.co_consts


def misspelt(name: str, right: str) -> bool:
    """True if a name is one edit from the right one, or that behind "on_", also in other than small letters.

    >>> [misspelt(name, "winner") for name in ("winer", "wnner", "winnre", "Winner", "on_winner", "losses", "winner")]
    [True, True, True, True, True, False, False]
    >>> misspelt("on_epoch_end", "epoch"), misspelt("onEpoch", "epoch")
    (True, True)
    """
    if f"{snake(name)}_".startswith(f"on_{right}_"):
        return True
    if name == right or abs(len(name) - len(right)) > 1:
        return False
    at = next((at for at, pair in enumerate(zip(name, right, strict=False)) if pair[0] != pair[1]), len(name))
    one, other = name[at:], right[at:]
    swapped = one[:2] == other[:2][::-1] and one[2:] == other[2:]
    return one[1:] == other[1:] or one[1:] == other or one == other[1:] or swapped


def snake(name: str) -> str:
    """A name in small letters, with an underscore in the place of a capital's beginning.

    >>> snake("onEpochEnd")
    'on_epoch_end'
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def could_be(value: Any, right: Any) -> bool:
    """True if an attribute could stand for one of the contract: for a method only one that can be called."""
    return not inspect.isroutine(right) or is_method(value)


def is_method(value: Any) -> bool:
    """True for a function or a method in a class's body."""
    return callable(value) or isinstance(value, classmethod | staticmethod)


def check_attribute(what: str, value: Any, right: Any) -> None:
    """Raise ValueError for a function in the place of a value, and for a method without the contract's arguments."""
    if not is_method(right):
        if inspect.isfunction(value):
            raise ValueError(f"{what} is a function; write a value, or @property above it")
    elif not is_method(value):
        given = "a property" if isinstance(value, property) else f"a {type(value).__name__}"
        raise ValueError(f"{what} is {given}; write a method")
    elif inspect.isfunction(function := getattr(value, "__func__", value)):
        arguments = arguments_of(getattr(right, "__func__", right))
        check_called(what, function, *(arguments[1:] if isinstance(value, staticmethod) else arguments))
        if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
            raise ValueError(f"{what} is run only by await or a loop, and popjax calls it; write a plain function")


def arguments_of(function: Callable[..., Any]) -> list[str]:
    """The names of a function's positional arguments."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [parameter.name for parameter in inspect.signature(function).parameters.values() if parameter.kind in kinds]
