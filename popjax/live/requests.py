"""Parsing of a page's JSON requests into changes, with one-line errors."""

import json
from typing import NoReturn

from popjax.core.text import short
from popjax.space.values import finite
from popjax.tuning.person import Change

KEYS = {"verb": str, "trial": int, "source": int, "values": dict, "epochs": int}
MOST = 50  # hyperparameters in one change
LONGEST = 200  # characters of a name


def change_requested(body: bytes, verbs: tuple[str, ...]) -> Change:
    """The change in the body of a request, of one of `verbs`. Raises ValueError for anything else.

    >>> change_requested(b'{"verb": "set", "trial": 3, "values": {"rate": 0.1}}', ("set",))
    Change(verb='set', trial=3, source=None, values={'rate': 0.1}, epochs=None)
    """
    try:
        asked = json.loads(body, parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        raise ValueError("this is no JSON") from None
    if not isinstance(asked, dict) or not asked.keys() <= KEYS.keys():
        raise ValueError(f"give an object with {', '.join(KEYS)}")
    for name, value in asked.items():
        if not isinstance(value, KEYS[name]) or isinstance(value, bool):
            raise ValueError(f"{name}: give a {KEYS[name].__name__}")
    verb, values = asked.get("verb"), asked.get("values", {})
    if verb not in verbs:
        raise ValueError(f"unknown verb {short(verb)}; there are {', '.join(verbs)}")
    if verb == "clone" and "source" not in asked:
        raise ValueError("clone: name its source")
    if any(not 0 <= asked.get(name, 0) < 2**31 for name in ("trial", "source")):
        raise ValueError(f"there is no such trial: {short(asked.get('trial'))}")
    if len(values) > MOST:
        raise ValueError(f"values: give at most {MOST}")
    for name, value in values.items():
        if not name.isidentifier() or len(name) > LONGEST:
            raise ValueError(f"{short(name)} is no name of a hyperparameter")
        if not finite(value):
            raise ValueError(f"{name}: give a number")
    if not 1 <= asked.get("epochs", 1) < 2**31:
        raise ValueError(f"epochs {short(asked['epochs'])}: give a whole number of at least 1")
    return Change(verb, asked.get("trial", 0), asked.get("source"), values, asked.get("epochs"))


def refuse_constant(constant: str) -> NoReturn:
    """Raise ValueError for NaN and Infinity, which are not JSON."""
    raise ValueError(constant)
