"""Text for people, in a terminal and on a page."""

import difflib
import importlib.util
import os
import sys
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any


def printable(text: str) -> str:
    """The text with control characters, which could steer a terminal, as escapes; newlines and tabs stay."""
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)


def cut(text: str, most: int = 18) -> str:
    """A text of at most `most` characters, cut with an ellipsis."""
    return text if len(text) <= most else text[: most - 1] + "…"


def cell(value: Any) -> str:
    """A value as a short str: a float in 4 significant digits, "-" for None."""
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def hparams_text(hparams: Mapping[str, Any]) -> str:
    """Names and values of hyperparameters on one line."""
    return printable(", ".join(f"{name} {cell(value)}" for name, value in hparams.items()))


def aligned(rows: Sequence[Sequence[str]], align: Callable[[str, int], str] = str.rjust) -> str:
    """Rows of texts as lines, each column as wide as its widest text, two spaces apart.

    >>> print(aligned([["rank", "loss"], ["1", "0.25"]]))
    rank  loss
       1  0.25
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(align(text, width) for text, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(map(str.rstrip, lines))


def lookup[T](table: Mapping[str, T], kind: str, name: Any) -> T:
    """The entry `name` of a table; raises ValueError listing the known names.

    >>> lookup({"sgd": 1, "adam": 2}, "optimizer", "adam")
    2
    """
    known = isinstance(name, Hashable) and name in table
    if not known:
        near = meant(name, map(str, table)) if isinstance(name, str) else ""
        raise ValueError(f"unknown {kind} {name!r}; there are {', '.join(table)}{near}")
    return table[name]


def registered[T](table: Mapping[str, T], kind: str, name: Any, wanted: type) -> T:
    """The entry `name` of a table of objects, or of classes; raises ValueError if it is no `wanted`, nor extends it.

    >>> registered({"adam": 2}, "optimizer", "adam", str)
    Traceback (most recent call last):
    ValueError: the optimizer 'adam' is 2; give what is, or extends, a builtins.str in its line
    """
    entry = lookup(table, kind, name)
    if not (issubclass(entry, wanted) if isinstance(entry, type) else isinstance(entry, wanted)):
        remedy = f"give what is, or extends, a {wanted.__module__}.{wanted.__name__} in its line"
        raise ValueError(f"the {kind} {name!r} is {short(entry)}; {remedy}")
    return entry


def registry[T](kind: str, entries: Iterable[T]) -> dict[str, T]:
    """Entries by their attribute `name`; raises ValueError for a name that two of them have.

    >>> from pathlib import Path
    >>> registry("path", [Path("a/x.py"), Path("b/x.py")])
    Traceback (most recent call last):
    ValueError: two of the name 'x.py' among what is called a path: a/x.py, b/x.py; give each its own
    """
    by_name: dict[str, T] = {}
    for entry in entries:
        name = entry.name  # type: ignore[attr-defined]
        if name in by_name:
            both = f"{by_name[name]}, {entry}"
            raise ValueError(f"two of the name {name!r} among what is called a {kind}: {both}; give each its own")
        by_name[name] = entry
    return by_name


def meant(name: str, known: Iterable[str], alike: float = 0.6) -> str:
    """The end of a message that suggests the most similar of the known names; empty if none is similar.

    >>> meant("hiden", ["depth", "hidden"]), meant("x", ["depth"])
    ('; did you mean hidden?', '')
    """
    near = difflib.get_close_matches(name, sorted(known), 1, alike)
    return f"; did you mean {near[0]}?" if near else ""


def check_installed(what: str, package: str, packages: str = "") -> None:
    """Raise ValueError if `package`, which `what` needs, is not installed; `packages`: all to install, if several."""
    if importlib.util.find_spec(package) is None:
        raise ValueError(f"{what} needs {package}, which is not installed: {install(packages or package)}")


def install(packages: str) -> str:
    """The command that adds packages to this Python: "uv pip" without pip, as in environments that uv creates.

    >>> install("optuna").removeprefix("uv ")
    'pip install optuna'
    """
    return f"{'pip' if importlib.util.find_spec('pip') else 'uv pip'} install {packages}"


def failure(error: BaseException) -> str:
    """An exception on one line: its type and the first line of its message.

    >>> failure(OSError("no route\\nto the host")), failure(KeyError())
    ('OSError: no route', 'KeyError')
    """
    lines = str(error).strip().splitlines()
    return printable(": ".join([type(error).__name__, *lines[:1]]))


def short(value: Any, most: int = 40) -> str:
    """The repr of a value for a message, in one line of at most `most` characters; an array by its dtype and shape.

    >>> import numpy as np
    >>> short("a" * 100, most=8), short(np.zeros((2, 3)))
    ("'aaaa...", 'float64[2, 3]')
    """
    if hasattr(value, "dtype") and len(getattr(value, "shape", ())):
        return f"{value.dtype}{list(value.shape)}"
    single = getattr(value, "ndim", None) == 0 and hasattr(value, "item")
    text = " ".join(repr(value.item() if single else value).split())  # NumPy scalars as Python values
    return text if len(text) <= most else text[: most - 3] + "..."


def first_line(error: BaseException) -> str:
    """The first line of an error's text; the name of its type if that is empty."""
    return (str(error).strip().splitlines() or [""])[0] or type(error).__name__


def plural(count: int, noun: str) -> str:
    """A count with its noun, in the plural if it is not 1.

    >>> plural(1, "trial"), plural(5000, "trial")
    ('1 trial', '5,000 trials')
    """
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def tell(line: str) -> None:
    """Print a line on standard error; if the pipe is broken, go on and discard further output."""
    try:
        print(line, file=sys.stderr, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
