"""A command's options in a TOML file: each by the name of its flag, and the space as a table. No JAX here."""

import dataclasses
import json
from collections.abc import Mapping
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from popjax.commands.experiment import fits
from popjax.core.text import meant, short
from popjax.core.toml import read_toml, toml_value

if TYPE_CHECKING:
    from popjax.space.space import Space

NOT_IN_FILE = ("config", "print_config")  # flags that a file does not hold


def arguments_in[Arguments](path: str, cls: type[Arguments]) -> Arguments:
    """The options of a file, the others as by default; the space, if it is a table, is left out.

    Raises ValueError for a name that is no flag's, and a value of another type than the flag's.
    """
    hints = {name: hint for name, hint in get_type_hints(cls).items() if name not in NOT_IN_FILE}
    content = {
        name: value for name, value in read_toml(path, "config").items() if (name, type(value)) != ("space", dict)
    }
    named = {name.replace("-", "_"): value for name, value in content.items()}
    if len(named) < len(content):
        raise ValueError(f"config {path!r}: a name stands there with - and with _; write it once")
    for name in content:
        if name.replace("-", "_") not in hints:
            raise ValueError(f"config {path!r}: unknown option {short(name)}{meant(name, map(flag, hints))}")
    for name, value in named.items():
        if not fits(value, hints[name]):
            raise ValueError(f"config {path!r}: {flag(name)} is {short(value)}; give {kind_text(hints[name])}")
    lists = {name: tuple(value) if isinstance(value, list) else value for name, value in named.items()}
    return cls(**lists)


def space_in(path: str) -> "Space | None":
    """The space of the table in a file; None if it has none. Raises ValueError."""
    from popjax.space.space import Space

    content = read_toml(path, "config").get("space")
    try:
        return Space.from_dict(content) if isinstance(content, dict) else None
    except ValueError as error:
        raise ValueError(f"config {path!r}: space: {error}") from None


def flag(name: str) -> str:
    """The name of a field as its flag has it.

    >>> flag("track_top")
    'track-top'
    """
    return name.replace("_", "-")


def kind_text(hint: Any) -> str:
    """What values a field takes, for an error.

    >>> kind_text(float | None), kind_text(tuple[str, ...])
    ('a number', 'a list of texts')
    """
    kinds = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}
    if hint in kinds:
        return kinds[hint]
    first = next(kind for kind in get_args(hint) if kind is not NoneType)
    if Ellipsis in get_args(hint):
        return f"a list of {kind_text(first).removeprefix('a ')}s"
    return f"one of {', '.join(get_args(hint))}" if isinstance(first, str) else kind_text(first)


def toml_of(arguments: Any, space: Mapping[str, Any] | None) -> str:
    """The options as such a file, those without a value as comments; with the space as a table if it is not None."""
    lines = []
    for field in dataclasses.fields(arguments):
        value = getattr(arguments, field.name)
        if field.name in NOT_IN_FILE or (space is not None and field.name in ("space", "set")):
            continue
        name = flag(field.name)
        lines.append(f"# {name} =" if value is None else f"{name} = {toml_value(value)}")
    if space is not None:
        lines += ["", "[space]", *(f"{json.dumps(name)} = {toml_value(entry)}" for name, entry in space.items())]
    return "\n".join(lines)
