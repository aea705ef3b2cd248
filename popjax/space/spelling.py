"""How a scale is written and read: as a call in a text, which is parsed and never evaluated."""

import ast
import keyword
from typing import Any

from popjax.space.scales import SCALES, Constant, Scale


def parse_scale(text: str) -> Scale:
    """The scale that `text` writes: a call such as `log_uniform(1e-4, 1)`, a number, or a word.

    The text is parsed, never evaluated. Raises ValueError.

    >>> print(parse_scale("choice('relu', 'tanh')"))
    choice('relu', 'tanh')
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        tree = None
    if isinstance(tree, ast.Call):
        return _call(tree, text)
    if isinstance(tree, ast.Name):
        return Constant(text.strip())
    try:
        return Constant(ast.literal_eval(text.strip()))
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        forms = "a number, a word, or a scale such as uniform(0, 1)"
        raise ValueError(f"cannot read {short(text)}; write {forms}") from None


def short(text: str) -> str:
    """A text for a message."""
    return repr(text if len(text) < 100 else text[:80] + "...")


def _call(tree: ast.Call, text: str) -> Scale:
    name = tree.func.id if isinstance(tree.func, ast.Name) else ""
    if name not in SCALES:
        raise ValueError(f"unknown scale in {short(text)}; the scales are {', '.join(SCALES)}")
    try:
        values = [a.id if isinstance(a, ast.Name) else ast.literal_eval(a) for a in tree.args]
        named = {k.arg or "**": ast.literal_eval(k.value) for k in tree.keywords}
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        raise ValueError(f"cannot read {short(text)}; a scale takes plain numbers and texts") from None
    try:
        return SCALES[name](*values, **named)
    except TypeError as error:
        what = str(error).partition("__init__() ")[2] or str(error)
        raise ValueError(f"cannot read {short(text)}: {name} {what}") from None


def written(scale: Scale) -> Any:
    """The text or value that `parse_scale` reads back as this scale."""
    if not isinstance(scale, Constant):
        return str(scale)
    word = isinstance(scale.value, str) and scale.value.isidentifier() and not keyword.iskeyword(scale.value)
    return scale.value if word or not isinstance(scale.value, str) else repr(scale.value)
