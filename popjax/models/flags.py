"""How a module is told that it trains: by the arguments of its `__call__` with certain names."""

import functools
import inspect
import logging
from collections.abc import Sequence
from typing import Any

LOG = logging.getLogger("popjax")
TRAINS, RESTS = ("train", "training", "is_train", "is_training"), ("deterministic", "use_running_average", "inference")
WORDS = ", ".join([*TRAINS, *RESTS[:-1]]) + f" or {RESTS[-1]}"
VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def flags(module: Any, training: bool, known: Sequence[str] = ()) -> dict[str, bool]:
    """The arguments of the module's `__call__` that set training or evaluation: name -> value.

    `known`: further arguments that it is called with. Warns of other boolean arguments. Raises ValueError for another
    required argument beside the input.
    """
    switches = {}
    for argument in list(inspect.signature(module.__call__).parameters.values())[1:]:
        if argument.name in known:
            continue
        if argument.name in (*TRAINS, *RESTS):
            switches[argument.name] = training == (argument.name in TRAINS)
        elif isinstance(argument.default, bool):
            warn_of_flag(type(module).__qualname__, argument.name)
        elif argument.default is argument.empty and argument.kind not in VARIABLE:
            what = f"{type(module).__qualname__}.__call__ requires {argument.name!r}, which popjax does not pass"
            raise ValueError(f"{what}; training mode is passed as {WORDS}; give other arguments a default")
    return switches


@functools.cache
def warn_of_flag(cls: str, name: str) -> None:
    """Warn, once per class and name, of a boolean argument of `__call__` that popjax does not set."""
    what = f"{cls}.__call__ has {name!r}, which popjax does not set"
    LOG.warning(f"{what}: training mode is passed as {WORDS}")
