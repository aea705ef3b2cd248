"""An extension of Griffe: examples of docstrings (`>>> ...`, to the next blank line) become blocks of code."""

from typing import Any

import griffe


def fenced(text: str) -> str:
    """The text with each example in a fence.

    >>> print(fenced("Half of it.\\n\\n>>> 1 / 2\\n0.5"))
    Half of it.
    <BLANKLINE>
    ```pycon
    >>> 1 / 2
    0.5
    ```
    """
    lines, inside = list[str](), False
    for line in text.splitlines():
        begins, ends = line.startswith(">>>") and not inside, inside and not line.strip()
        lines += ["```pycon", line] if begins else ["```", line] if ends else [line]
        inside = (inside or begins) and not ends
    return "\n".join([*lines, "```"] if inside else lines)


class Examples(griffe.Extension):
    """Fences the examples of all docstrings."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)
