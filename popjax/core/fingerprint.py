"""The fingerprint of a user's function: the same in another process, another where its code is. No JAX here."""

import functools
import sys
from collections.abc import Mapping
from types import CellType, CodeType, FunctionType, MethodType
from typing import Any

import numpy as np

from popjax.core.storage import sha256

PLAIN = (int, float, complex, str, bytes, type(None), type(...), np.generic)
CONTAINERS = (set, frozenset, list, tuple, Mapping)


def fingerprint(function: Any) -> str:
    """SHA-256 of the code of a function or a class, of its closure and defaults, and of what it uses of its own module.

    What stands in other modules counts by its name, and so does all of popjax.

    >>> one, other, third = (functools.partial(max, number) for number in (2, 2, 3))
    >>> fingerprint(one) == fingerprint(other), fingerprint(one) == fingerprint(third)
    (True, False)
    """
    words = [f"{sys.version_info.major}.{sys.version_info.minor}"]  # whose bytecode it is
    add_words(words, function, home_of(function), {})
    return sha256("\n".join(words).encode())


def home_of(value: Any) -> str:
    """The module of a function or a class, and of another object that of its class."""
    value = value.func if isinstance(value, functools.partial) else value
    return str(getattr(value if isinstance(value, FunctionType | type) else type(value), "__module__", ""))


def add_words(words: list[str], value: Any, home: str, known: dict[int, tuple[int, Any]]) -> None:
    """Append what tells a value from others.

    Args:
        home: the module that counts by its code.
        known: id -> number and value, of those so far but containers; a further mention is the number alone.
    """
    if isinstance(value, PLAIN):
        words.append(repr(value))
    elif id(value) in known:
        words.append(f"again {known[id(value)][0]}")
    else:
        if not isinstance(value, CONTAINERS):
            known[id(value)] = len(known), value
        parts = parts_of(value, home)
        words.append(f"{type(value).__qualname__} {len(parts)}")
        for part in parts:
            add_words(words, part, home, known)


def parts_of(value: Any, home: str) -> list[Any]:
    """The parts of a value, which tell it from others: of what stands in another module than `home` its name alone."""
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, Mapping):
        return [part for pair in value.items() for part in pair]
    if isinstance(value, np.ndarray):
        return [str(value.dtype), value.shape, value.tolist() if value.dtype == object else value.tobytes()]
    if isinstance(value, functools.partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, staticmethod | classmethod | property):
        return [value.fget if isinstance(value, property) else value.__func__]
    if isinstance(value, CodeType):
        return [value.co_code, value.co_consts, value.co_names]
    name = f"{home_of(value)}.{getattr(value, '__qualname__', type(value).__qualname__)}"
    if home_of(value) != home or name.startswith("popjax."):
        return [name]
    if isinstance(value, FunctionType):
        used = {n: value.__globals__[n] for n in names_in(value.__code__) if n in value.__globals__}
        closed = [cell.cell_contents for cell in value.__closure__ or () if cell != CellType()]
        return [value.__code__, closed, value.__defaults__, value.__kwdefaults__, used]
    attributes: dict[str, Any] = dict(getattr(value, "__dict__", {}))
    kept = {n: part for n, part in attributes.items() if callable(part) or not n.startswith("__")}
    return [name, kept, *([] if isinstance(value, type) else [type(value)])]


def names_in(code: CodeType) -> list[str]:
    """The names that a function's code reads of its module or as attributes, and those of the functions within it."""
    inner = [names_in(part) for part in code.co_consts if isinstance(part, CodeType)]
    return sorted({*code.co_names, *(name for names in inner for name in names)})
