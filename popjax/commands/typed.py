"""Parsing of typed commands into changes. No JAX here."""

import operator
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from popjax.core.counts import check_text

if TYPE_CHECKING:
    from popjax.tuning.person import Change

HELP = """commands: go 5 | learning_rate=0.03 | learning_rate*=0.5 | back 5
          watch | save | help | quit; an empty line pauses, or resumes"""
SETTING = re.compile(r"(\w+)\s*([-+*/]?=)\s*(.+)")
OPERATORS = {"+=": operator.add, "-=": operator.sub, "*=": operator.mul, "/=": operator.truediv}
WORDS = {"quit": "end", "exit": "end", "": "pause"} | {word: word for word in ("pause", "watch", "save", "help")}


def change_typed(text: str, hparams: Mapping[str, Any]) -> "Change":
    """The change that a line requests, given the current hyperparameters. Raises ValueError for an unknown command.

    >>> change_typed("back 2", {}).epochs, change_typed("rate *= 0.5", {"rate": 0.2}).values
    (2, {'rate': 0.1})
    """
    from popjax.tuning.person import Change

    if match := SETTING.fullmatch(text):
        return Change("set", values=value_to_set(match[1], match[2], match[3], hparams))
    word, _, rest = text.partition(" ")
    if word in ("go", "back"):
        return Change(word, epochs=check_text(word, rest.strip() or "1"))
    if text not in WORDS:
        raise ValueError(f"unknown command {text!r}; help lists them, such as go 5")
    return Change(WORDS[text])


def value_to_set(name: str, how: str, text: str, hparams: Mapping[str, Any]) -> dict[str, Any]:
    """Name -> new value of a hyperparameter, also relative to its current one. Raises ValueError."""
    _, value = value_of(f"{name}={text}", "command")
    if how == "=":
        return {name: value}
    now = hparams.get(name)
    if not isinstance(now, int | float) or not isinstance(value, int | float):
        raise ValueError(f"{name}{how}{text}: {name} is {now!r}; write {name}=value")
    if how == "/=" and value == 0:
        raise ValueError(f"{name}/=0: divide by another number")
    return {name: OPERATORS[how](now, value)}


def value_of(text: str, where: str) -> tuple[str, Any]:
    """Name and value of `name=value`. Raises ValueError for a scale or malformed text."""
    from popjax.space.scales import Constant
    from popjax.space.space import setting as read_setting

    name, scale = read_setting(text, where)
    if not isinstance(scale, Constant):
        raise ValueError(f"{where} {text!r}: one model takes one value, such as {name}={getattr(scale, 'low', 1)}")
    return name, scale.value


def read_script(path: str) -> list[tuple[int, str]]:
    """The numbered commands of a file. Raises ValueError if it cannot be read."""
    try:
        return commands_in(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read the script {path!r}: {error}") from None


def commands_in(text: str) -> list[tuple[int, str]]:
    """Pairs (line number, command), without comments and empty lines."""
    commands = [line.partition("#")[0].strip() for line in text.splitlines()]
    return [(number, command) for number, command in enumerate(commands, 1) if command]
