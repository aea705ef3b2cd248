"""Types of options that may be left out, as the help shows them. No JAX here."""

from typing import Annotated, Literal

import tyro


def usual(default: str) -> str:
    """The end of an option's help: its default, unless there is none or the help says what it is.

    >>> usual("20"), usual("None")
    ('(default: 20)', '')
    """
    return "" if default == "None" else f"(default: {default})"


Text = Annotated[str | None, tyro.conf.arg(metavar="STR", help_behavior_hint=usual)]
Whole = Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint=usual)]
Number = Annotated[float | None, tyro.conf.arg(metavar="FLOAT", help_behavior_hint=usual)]
Weights = Annotated[Literal["balanced"] | None, tyro.conf.arg(metavar="{balanced}", help_behavior_hint=usual)]
Rewrite = Annotated[Literal["fast", "none"] | None, tyro.conf.arg(metavar="{fast,none}", help_behavior_hint=usual)]
Switch = Annotated[bool | None, tyro.conf.arg(metavar="{True,False}", help_behavior_hint=usual)]
Missing = Annotated[
    Literal["error", "drop", "median", "auto"] | None,
    tyro.conf.arg(metavar="{error,drop,median,auto}", help_behavior_hint=usual),
]
