"""Constraints on a space: comparisons between its own numbers, which are parsed and never evaluated as Python."""

import ast
import dataclasses
import keyword
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from popjax.core.text import short
from popjax.space.values import finite, present

LONGEST = 300  # characters of a constraint, so that none is nested too deeply
MOST = 100  # constraints of a space
FORM = "write a comparison of numbers and hyperparameters, such as hidden * depth <= 300"

ARITHMETIC: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
COMPARISONS: dict[type, Callable[..., Any]] = {
    ast.LtE: operator.le,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.Gt: operator.gt,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


@dataclasses.dataclass(frozen=True)
class Constraint:
    """A comparison of expressions in hyperparameters, which the points of a space satisfy.

    An expression has numbers, names, parentheses and + - * / // % **, computed in float64; a comparison has <= >= < >
    == or !=, also several of them, as in `100 <= hidden * depth <= 300`.

    Raises ValueError for any other text, for one that names no hyperparameter, and above 300 characters.

    >>> constraint = Constraint("hidden * depth <= 300")
    >>> constraint.names
    ('depth', 'hidden')
    >>> constraint.holds({"hidden": np.array([50, 100]), "depth": np.array([6, 4])}).tolist()
    [True, False]
    """

    text: str
    tree: ast.Compare = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise ValueError(f"where {short(self.text)}: {FORM}")
        if len(self.text) > LONGEST:
            raise ValueError(f"where {short(self.text)}: {len(self.text):,} characters; give at most {LONGEST:,}")
        try:
            tree = ast.parse(self.text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            if reserved := next(filter(keyword.iskeyword, re.findall(r"\w+", self.text)), None):
                what = f"{reserved!r} is a word of Python's, which cannot stand in a constraint"
                raise ValueError(f"where {short(self.text)}: {what}; name the hyperparameter otherwise") from None
            raise ValueError(f"where {short(self.text)}: cannot be read; {FORM}") from None
        if not isinstance(tree, ast.Compare):
            raise ValueError(f"where {short(self.text)}: compares nothing; {FORM}")
        object.__setattr__(self, "text", ast.unparse(tree))
        if len(self.text) > LONGEST:
            raise ValueError(f"where {short(self.text)}: {len(self.text):,} characters; give at most {LONGEST:,}")
        object.__setattr__(self, "tree", tree)
        for node in (tree.left, *tree.comparators):
            self._check(node)
        for comparison in tree.ops:
            if type(comparison) not in COMPARISONS:
                raise ValueError(f"where {short(self.text)}: has a comparison other than <= >= < > == !=; {FORM}")
        if not self.names:
            raise ValueError(f"where {short(self.text)}: names no hyperparameter; {FORM}")

    def _check(self, node: ast.AST) -> None:
        """Raise ValueError for what is no number, name or arithmetic."""
        if isinstance(node, ast.BinOp | ast.UnaryOp) and type(node.op) in ARITHMETIC:
            operands = (node.left, node.right) if isinstance(node, ast.BinOp) else (node.operand,)
            for operand in operands:
                self._check(operand)
        elif isinstance(node, ast.Constant) and finite(node.value):
            return
        elif not isinstance(node, ast.Name):
            raise ValueError(f"where {short(self.text)}: cannot use {short(ast.unparse(node), 40)}; {FORM}")

    def __str__(self) -> str:
        return self.text

    @property
    def names(self) -> tuple[str, ...]:
        """The hyperparameters that it reads, in alphabetical order."""
        return tuple(sorted({node.id for node in ast.walk(self.tree) if isinstance(node, ast.Name)}))

    def holds(self, points: Mapping[str, np.ndarray]) -> np.ndarray:
        """bool (trials,): the points, columns (trials,), satisfy it, or one of its hyperparameters has no value."""
        there = np.logical_and.reduce([present(np.asarray(points[name])) for name in self.names])
        columns = {name: np.where(there, points[name], np.nan).astype(float) for name in self.names}
        with np.errstate(all="ignore"):
            sides = [computed(side, columns) for side in (self.tree.left, *self.tree.comparators)]
            pairs = zip(self.tree.ops, sides, sides[1:], strict=False)
            satisfied = there.copy()
            for comparison, left, other in pairs:
                satisfied &= COMPARISONS[type(comparison)](left, other) & ~(np.isnan(left) | np.isnan(other))
        return satisfied | ~there


def computed(node: ast.AST, columns: Mapping[str, np.ndarray]) -> Any:
    """The value of an expression: float64 (trials,), or () without a name."""
    if isinstance(node, ast.Name):
        return columns[node.id]
    if isinstance(node, ast.Constant):
        return np.float64(node.value)  # type: ignore[arg-type]  # a number, as checked
    if isinstance(node, ast.UnaryOp):
        return ARITHMETIC[type(node.op)](computed(node.operand, columns))
    assert isinstance(node, ast.BinOp)
    return ARITHMETIC[type(node.op)](computed(node.left, columns), computed(node.right, columns))


def constraints_of(texts: Any) -> tuple[Constraint, ...]:
    """The constraints of a text, or of several, each once; raises ValueError for more than 100 and for an invalid one.

    >>> [str(one) for one in constraints_of(["a<=b", "a <= b", "a + 1 > 0"])]
    ['a <= b', 'a + 1 > 0']
    """
    several = [texts] if isinstance(texts, str | Constraint) or not isinstance(texts, list | tuple) else texts
    if len(several) > MOST:
        raise ValueError(f"where: {len(several):,} constraints; give at most {MOST}")
    return tuple(
        dict.fromkeys(
            constraint if isinstance(constraint, Constraint) else Constraint(constraint) for constraint in several
        )
    )
