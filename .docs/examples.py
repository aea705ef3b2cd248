"""Extensions of Griffe: examples in docstrings become blocks of code, and `folds, repeats: ...` two arguments; what
`popjax.core.fixed.fixed` decorates is a property.
"""

import re
from typing import Any

import griffe


def fenced(text: str) -> str:
    """The text with each example in a fence.

    >>> fenced("Half of it.\\n\\n>>> 1 / 2\\n0.5").splitlines()
    ['Half of it.', '', '```pycon', '>>> 1 / 2', '0.5', '```']
    """
    lines, inside = list[str](), False
    for line in text.splitlines():
        begins, ends = line.startswith(">>>") and not inside, inside and not line.strip()
        lines += ["```pycon", line] if begins else ["```", line] if ends else [line]
        inside = (inside or begins) and not ends
    return "\n".join([*lines, "```"] if inside else lines)


def apart(text: str) -> str:
    """The text with an entry for each of several arguments that are described together, the last with the words.

    >>> print(apart("Args:\\n    low, high: the ends."))
    Args:
        low: see `high`.
        high: the ends.
    """

    def entries(found: re.Match[str]) -> str:
        *others, last = found[1].split(", ")
        return "".join(f"    {name}: see `{last}`.\n" for name in others) + f"    {last}:"

    return re.sub(r"^    (\w+(?:, \w+)+):", entries, text, flags=re.MULTILINE)


class Examples(griffe.Extension):
    """Rewrites all docstrings."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = fenced(apart(obj.docstring.value))


class Properties(griffe.Extension):
    """Shows methods that are decorated with `fixed` as the cached properties that they are."""

    def on_function_instance(self, *, func: griffe.Function, **kwargs: Any) -> None:
        if any(decorator.callable_path == "popjax.core.fixed.fixed" for decorator in func.decorators):
            known = griffe.Attribute(func.name, lineno=func.lineno, endlineno=func.endlineno, annotation=func.returns)
            known.docstring, known.labels = func.docstring, {"cached", "property"}
            func.parent.set_member(func.name, known)
