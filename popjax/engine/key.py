"""The key of what a member computes: equal for equal work, also in another process, so that it is compiled once.

It is made from the traced functions, before anything is lowered. A lowered module without its locations would serve
as well, but takes 0.2 s for the default MLP, and this 0.02 s.
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from popjax.core.storage import sha256
from popjax.core.trees import to_words

ADDRESS = re.compile(r"0x[0-9a-f]+")
UNUSED = {"name", "jvp_jaxpr_fun", "fwd_jaxpr_thunk", "bwd", "out_trees"}  # labels, and what only derivatives call


class Key(NamedTuple):
    """The identity of what functions compute.

    Attributes:
        digest: SHA-256 of their operations, their constants, and the pytrees that they return.
        structure: of these pytrees, since different classes may have equal names, and of those that they take.
        objects: what no text describes, such as a host callback; with any, keys are equal only within this process.
    """

    digest: str
    structure: Any
    objects: tuple[Any, ...]


def key_of(functions: Sequence[ClosedJaxpr], trees: Any, arguments: Sequence[Any] = ()) -> Key:
    """The key of traced functions that return these pytrees, and take arguments of these structures.

    >>> key = lambda f: key_of([jax.make_jaxpr(f)(1.0)], ())
    >>> key(lambda x: 2 * x) == key(lambda y: 2 * y), key(lambda x: 2 * x) == key(lambda x: 3 * x)
    (True, False)
    """
    returned, content = jax.tree.structure(trees), Content()
    content.words.append(ADDRESS.sub("", str(returned)))
    for function in functions:
        content.add_function(function)
    digest = sha256("\n".join(content.words).encode())
    return Key(digest, (returned, *arguments), tuple(content.objects))


class Content:
    """The content of traced functions as words, different for any two that differ.

    Attributes:
        words: the text, in order.
        objects: values that the text does not describe.
    """

    def __init__(self) -> None:
        self.words: list[str] = []
        self.objects: list[Any] = []
        self._numbers: dict[int, int] = {}  # id of an added function -> its number

    def add_function(self, function: ClosedJaxpr | Jaxpr) -> None:
        """Append a function's operations, or its number if it was added before."""
        jaxpr: Any = getattr(function, "jaxpr", function)
        if id(jaxpr) in self._numbers:
            self.words.append(f"again {self._numbers[id(jaxpr)]}")
            return
        self._numbers[id(jaxpr)] = len(self._numbers)
        for constant in getattr(function, "consts", ()):
            self.add(constant)
        variables = {variable: at for at, variable in enumerate([*jaxpr.constvars, *jaxpr.invars])}
        self.words += [str(variable.aval) for variable in variables]
        for equation in jaxpr.eqns:
            self.words.append(equation.primitive.name)
            self._add_operands(equation.invars, variables)
            for name, value in equation.params.items():
                if name not in UNUSED:
                    self.add(value)
            variables |= {variable: len(variables) + at for at, variable in enumerate(equation.outvars)}
        self._add_operands(jaxpr.outvars, variables)

    def _add_operands(self, operands: Sequence[Any], variables: dict[Any, int]) -> None:
        for operand in operands:
            if isinstance(operand, Literal):
                self.words.append(str(operand.aval))
                self.add(operand.val)
            else:
                self.words.append(str(variables[operand]))

    def add(self, value: Any) -> None:
        """Append a constant or a parameter of an operation."""
        if isinstance(value, ClosedJaxpr | Jaxpr):
            self.add_function(value)
        elif isinstance(value, tuple | list):
            self.words.append(f"{type(value).__name__} {len(value)}")
            for item in value:
                self.add(item)
        elif isinstance(value, np.ndarray | jax.Array):
            array = np.asarray(to_words(value))
            self.words += [f"{array.dtype} {array.shape}", sha256(array.tobytes())]
        else:
            text = name_in_jax(value) or repr(value)
            self.words.append(ADDRESS.sub("", text))
            if ADDRESS.search(text) or holds_a_function(value):
                self.objects.append(value)


def holds_a_function(value: Any) -> bool:
    """True for what calls a user's function, as JAX's host callbacks: NumPy shortens arrays in its text."""
    return dataclasses.is_dataclass(value) and callable(value) and not isinstance(value, type)


def name_in_jax(value: Any) -> str | None:
    """The name of a module-level function of JAX, such as one of a random key implementation; None for the rest."""
    home, name = (str(getattr(value, attribute, "")) for attribute in ("__module__", "__qualname__"))
    return f"{home}.{name}" if home.partition(".")[0] == "jax" and name and "<locals>" not in name else None
