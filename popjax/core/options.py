"""Options of one kind as a dataclass: its arguments, what run.json records and what is compared follow from it.

No JAX here.
"""

import dataclasses
from types import MappingProxyType
from typing import Any, Self

FREE = MappingProxyType({"free": True})  # field metadata: no result depends on it, or run.json records it elsewhere


class Options:
    """Base of the dataclasses of options.

    run.json holds each option that is not `FREE`: its value, or what the function "text" in its field's metadata
    returns for it. On resume these must be the same.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Tea(Options):
    ...     minutes: int = 3
    ...     cup: str = dataclasses.field(default="blue", metadata=FREE)
    >>> Tea(cup="red").written(), Tea.usual()
    ({'minutes': 3}, {'minutes': 3, 'cup': 'blue'})
    """

    @classmethod
    def usual(cls) -> dict[str, Any]:
        """Option -> its default."""
        return {field.name: field.default for field in fields(cls)}

    @classmethod
    def given(cls, named: Any, **others: Any) -> Self:
        """Options from the attributes of `named` that have their names; `others` take precedence."""
        read = {name: getattr(named, name) for name in cls.usual() if hasattr(named, name)}
        return cls(**(read | others))

    def written(self) -> dict[str, Any]:
        """Option -> its value in run.json, without the `FREE` ones; compared on resume."""
        known = {field.name: field.metadata.get("text") for field in fields(type(self)) if "free" not in field.metadata}
        now = {name: getattr(self, name) for name in known}
        return {name: now[name] if text is None else text(now[name]) for name, text in known.items()}


def fields(options: Any) -> tuple[dataclasses.Field[Any], ...]:
    """The fields of a dataclass of options."""
    return dataclasses.fields(options)
