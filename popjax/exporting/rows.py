"""A function of JAX for any number of rows: what its programs for a few numbers of rows have in common.

So code that reads a number of rows, such as `x.reshape(len(x), -1)`, needs no symbol for it.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

ROWS = (5, 6, 9)  # traced: two tell how a size follows the rows, the third checks it


class Size(NamedTuple):
    """A size that follows the number of rows: fixed + each * rows."""

    fixed: int
    each: int


class Array(NamedTuple):
    """The shape and the dtype of an array; sizes are int or Size."""

    shape: tuple[Any, ...]
    dtype: np.dtype

    @property
    def empty(self) -> bool:
        """True if it holds no numbers, however many rows there are."""
        return any(size == 0 for size in self.shape if not isinstance(size, Size))


class Equation(NamedTuple):
    """One operation.

    Attributes:
        primitive: the operation, of JAX.
        inputs: variables, arrays, or a Size, for a number that follows the number of rows.
        outputs: variables.
        takes, gives: the arrays of inputs and outputs.
        params: its parameters; sizes are int or Size, inner programs are Function.
        plain: its parameters as JAX has them for the first of ROWS.
    """

    primitive: Any
    inputs: list[Any]
    outputs: list[Any]
    takes: list[Array]
    gives: list[Array]
    params: dict[str, Any]
    plain: dict[str, Any]

    @property
    def certain(self) -> bool:
        """True if no size follows the number of rows."""
        return not any(isinstance(part, Size) for part in sizes_in([self.takes, self.gives, self.params]))


class Function(NamedTuple):
    """Operations in order.

    Attributes:
        inputs: variables.
        constants: variable -> array.
        equations: the operations.
        outputs: as inputs of an Equation.
        takes, gives: the arrays of inputs and outputs.
    """

    inputs: list[Any]
    constants: dict[Any, Any]
    equations: list[Equation]
    outputs: list[Any]
    takes: list[Array]
    gives: list[Array]


def traced(function: Callable[..., Any], arguments: Callable[[int], Sequence[Any]]) -> Function:
    """The operations of `function(*arguments(rows))`; raises ValueError if they follow the number of rows otherwise.

    Args:
        arguments: rows -> pytrees of abstract arrays.
    """
    return function_of([jax.make_jaxpr(function)(*arguments(rows)) for rows in ROWS])


def function_of(programs: Sequence[ClosedJaxpr | Jaxpr]) -> Function:
    """What programs for the numbers ROWS have in common; raises ValueError for others."""
    bodies: list[Any] = [getattr(program, "jaxpr", program) for program in programs]
    first = bodies[0]
    if len({tuple(equation.primitive.name for equation in body.eqns) for body in bodies}) > 1:
        raise ValueError("its operations are others for other numbers of rows; let them be the same")
    consts = zip(*(getattr(program, "consts", ()) for program in programs), strict=True)
    return Function(
        list(first.invars),
        dict(zip(first.constvars, (common(each) for each in consts), strict=True)),
        [equation_of(each) for each in zip(*(body.eqns for body in bodies), strict=True)],
        [operand(each) for each in zip(*(body.outvars for body in bodies), strict=True)],
        [array(each) for each in zip(*(body.invars for body in bodies), strict=True)],
        [array(each) for each in zip(*(body.outvars for body in bodies), strict=True)],
    )


def equation_of(each: Sequence[Any]) -> Equation:
    """The operation that several programs have in common."""
    first = each[0]
    takes = [array(variables) for variables in zip(*(equation.invars for equation in each), strict=True)]
    gives = [array(variables) for variables in zip(*(equation.outvars for equation in each), strict=True)]
    inputs = [operand(variables) for variables in zip(*(equation.invars for equation in each), strict=True)]
    params = {name: common([equation.params[name] for equation in each]) for name in first.params}
    return Equation(first.primitive, inputs, list(first.outvars), takes, gives, params, first.params)


def operand(each: Sequence[Any]) -> Any:
    """A variable, or the value of a literal: an array, or a Size if it follows the number of rows."""
    if not isinstance(each[0], Literal):
        return each[0]
    values = [np.asarray(one.val, one.aval.dtype) for one in each]
    counts = [int(value) for value in values if value.dtype.kind in "iuf" and float(value).is_integer()]
    size = common(counts) if len(counts) == len(values) else None
    return size if isinstance(size, Size) else common(values)


def array(each: Sequence[Any]) -> Array:
    """The array that variables of several programs stand for."""
    return Array(common([tuple(one.aval.shape) for one in each]), each[0].aval.dtype)


def common(each: Sequence[Any]) -> Any:
    """What values for the numbers ROWS have in common; raises ValueError for numbers that follow them otherwise."""
    first = each[0]
    if isinstance(first, Jaxpr | ClosedJaxpr):
        return function_of(each)
    if isinstance(first, jax.Array | np.ndarray | np.generic | float):
        if all(one is first or np.array_equal(one, first, equal_nan=True) for one in each):
            return first
        raise ValueError("it has a constant that is another for other numbers of rows")
    if isinstance(first, int) and not isinstance(first, bool) and len(set(each)) > 1:
        step, rest = divmod(each[1] - first, ROWS[1] - ROWS[0])
        size = Size(first - step * ROWS[0], step)
        if rest or each[2] != size.fixed + size.each * ROWS[2]:
            raise ValueError(f"a size is {each[0]}, {each[1]} and {each[2]} for {ROWS} rows; let it grow evenly")
        return size
    if type(first) in (tuple, list) and all(len(one) == len(first) for one in each):
        return type(first)(common(one) for one in zip(*each, strict=True))
    return first


def sizes_in(value: Any) -> list[Any]:
    """All values in nested lists, tuples and dicts, a Size as one of them."""
    if isinstance(value, Size) or not isinstance(value, tuple | list | dict):
        return [value]
    return [size for part in (value.values() if isinstance(value, dict) else value) for size in sizes_in(part)]
