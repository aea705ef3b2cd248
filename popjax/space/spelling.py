"""Reading and writing scales as text: calls such as `uniform(0, 1)`, which are parsed and never evaluated."""

import ast
import re
from collections.abc import Mapping
from typing import Any

from popjax.core.text import short
from popjax.space.beliefs import NEAR
from popjax.space.scales import SCALES, Choice, Constant, Entry, Scale
from popjax.space.values import WHEN

VALUE = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^\s|'"=,]+)"""
VALUES = rf"({VALUE}(?:\s*\|\s*{VALUE})*)"
CLAUSE = rf"([^\W\d]\w*)\s*=\s*{VALUES}"
OPTION = r"(width|share)\s*=\s*([^\s,]+)"
CONDITION, BELIEF = rf"{CLAUSE}(?:\s+and\s+{CLAUSE})*", rf"{VALUES}(?:\s*,\s*{OPTION})*"


def read_scale(entry: Any) -> Scale | Entry:
    """The scale of an entry: a str for `parse_scale`, a list of choices, a plain value, or a mapping {scale, when}.

    Raises ValueError for anything else.

    >>> print(read_scale({"scale": "uniform(0, 1)", "when": {"depth": [3, 4]}}))
    uniform(0, 1) when depth=3|4
    """
    if isinstance(entry, Mapping):
        if set(entry) != {"scale", "when"} or not isinstance(entry["when"], Mapping):
            raise ValueError(f'{str(dict(entry))[:80]}: write {{scale = "...", when = {{parent = value}}}}')
        scale = read_scale(entry["scale"])
        return scale.when(**{str(parent): values for parent, values in entry["when"].items()})
    if isinstance(entry, str):
        return parse_scale(entry)
    if isinstance(entry, list):
        return Choice(*entry)
    return entry if isinstance(entry, Scale | Entry) else Constant(entry)


def parse_scale(text: str) -> Scale | Entry:
    """The scale that `text` spells: a call such as `log_uniform(1e-4, 1)`, a number, or a word.

    Text after "when" is a condition: `uniform(0, 0.5) when depth=3|4 and optimizer=sgd`. Text after "near", before
    it, is a belief: `log_uniform(1e-4, 1) near 0.01|0.1, width=0.05, share=0.9`.
    The text is parsed, never evaluated. Raises ValueError for anything else.

    >>> print(parse_scale("choice('relu', 'tanh')"))
    choice('relu', 'tanh')
    """
    for mark, form, added, example in (
        (WHEN, CONDITION, with_condition, "a condition such as: when optimizer=sgd, or depth=3|4"),
        (NEAR, BELIEF, with_belief, "a belief such as: near 0.01|0.1, share=0.9"),
    ):
        ends = [match.start() for match in re.finditer(mark, text)]
        for end in ends:
            if re.fullmatch(form, tail := text[end + len(mark) :].strip()):  # else within a quoted str
                return added(parse_scale(text[:end]), tail)
        if ends and not {"'", '"'} & set(text):
            raise ValueError(f"cannot read {short(text, 100)}; write {example}")
    return parse_plain(text)


def parse_plain(text: str) -> Scale:
    """The scale that a text without condition and belief spells; raises ValueError."""
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
        raise ValueError(f"cannot read {short(text, 100)}; write {forms}") from None


def with_condition(scale: Scale | Entry, text: str) -> Entry:
    """The scale with the condition that a text spells."""
    clauses = re.findall(CLAUSE, text)
    parents = {parent: read_values(values) for parent, values in clauses}
    if len(parents) < len(clauses):
        twice = next(parent for parent in parents if [parent for parent, _ in clauses].count(parent) > 1)
        either = "|".join(values for parent, values in clauses if parent == twice)
        raise ValueError(f"{short(text, 100)}: {twice} twice; write {twice}={either}")
    return scale.when(**parents)


def with_belief(scale: Scale | Entry, text: str) -> Entry:
    """The scale with the belief that a text spells."""
    values = re.match(VALUES, text)
    assert values is not None
    options = [(name, read_value(value)) for name, value in re.findall(OPTION, text[values.end() :])]
    if len(dict(options)) < len(options) or (isinstance(scale, Entry) and scale.belief is not None):
        raise ValueError(f"{short(text, 100)}: near, width or share twice; write all values behind one near")
    return scale.near(*read_values(values[0]), **dict(options))


def read_values(text: str) -> tuple[Any, ...]:
    """The values of a text with | between them."""
    return tuple(map(read_value, re.findall(VALUE, text)))


def read_value(text: str) -> Any:
    """The value of a condition that a text spells: a number, a bool, a quoted str, or a word."""
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return text


def _call(tree: ast.Call, text: str) -> Scale:
    name = tree.func.id if isinstance(tree.func, ast.Name) else ""
    if name not in SCALES:
        raise ValueError(f"unknown scale in {short(text, 100)}; the scales are {', '.join(SCALES)}")
    try:
        values = [a.id if isinstance(a, ast.Name) else ast.literal_eval(a) for a in tree.args]
        named = {k.arg or "**": ast.literal_eval(k.value) for k in tree.keywords}
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        raise ValueError(f"cannot read {short(text, 100)}; a scale takes plain numbers and texts") from None
    try:
        return SCALES[name](*values, **named)
    except TypeError as error:
        what = str(error).partition("__init__() ")[2] or str(error)
        raise ValueError(f"cannot read {short(text, 100)}: {name} {what}") from None


def written_scale(scale: Scale | Entry) -> Any:
    """The str or value that `read_scale` reads back as this scale."""
    return scale.value if isinstance(scale, Constant) and not isinstance(scale.value, str) else str(scale)
