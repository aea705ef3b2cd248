"""Options of one kind of thing as a dataclass: its arguments, what is written and what is compared follow from it.

No JAX here.
"""

import dataclasses
from types import MappingProxyType
from typing import Any, Self

FREE = MappingProxyType({"free": True})  # the metadata of a field on which no result depends, or that others tell


class Options:
    """What the dataclasses of options have in common.

    run.json has each option, or what the function "text" of its field's metadata makes of it, and a run that is
    resumed is asked the same; but for those that are `FREE`.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Tea(Options):
    ...     minutes: int = 3
    ...     cup: str = dataclasses.field(default="blue", metadata=FREE)
    >>> Tea(cup="red").written(), Tea.usual()
    ({'minutes': 3}, {'minutes': 3, 'cup': 'blue'})
    """

    @classmethod
    def usual(cls) -> dict[str, Any]:
        """Option -> what it is where nothing is said."""
        return {field.name: field.default for field in fields(cls)}

    @classmethod
    def given(cls, named: Any, **others: Any) -> Self:
        """The options that an object has as attributes of the same names, and others, which come first."""
        found = {name: getattr(named, name) for name in cls.usual() if hasattr(named, name)}
        return cls(**(found | others))

    def written(self) -> dict[str, Any]:
        """Option -> what run.json has of it, of those of which a resumed run is asked the same."""
        known = {field.name: field.metadata.get("text") for field in fields(type(self)) if "free" not in field.metadata}
        now = {name: getattr(self, name) for name in known}
        return {name: now[name] if text is None else text(now[name]) for name, text in known.items()}


def fields(options: Any) -> tuple[dataclasses.Field[Any], ...]:
    """The fields of a class of options."""
    return dataclasses.fields(options)
