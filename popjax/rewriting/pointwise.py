"""Operations on each number of an array by itself, which can be done anew with some of the numbers only."""

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, jaxpr_as_fun
from jax.extend.core.primitives import broadcast_in_dim_p, custom_jvp_call_p, select_n_p

CHEAP = frozenset(
    [
        *("abs", "add", "and", "cbrt", "ceil", "clamp", "convert_element_type", "div", "eq", "floor", "ge", "gt"),
        *("integer_pow", "is_finite", "le", "lt", "max", "min", "mul", "ne", "neg", "not", "or", "round", "rsqrt"),
        *("sign", "sqrt", "square", "sub", "xor"),
    ]
)
COSTLY = frozenset(
    ["cos", "erf", "erfc", "exp", "exp2", "expm1", "log", "log1p", "logistic", "pow", "sin", "tan", "tanh"]
)
LONGEST = 100  # chain of operations that is kept
LABELS = re.compile(r"\b(name|jvp)=\S+")


@dataclass(frozen=True, eq=False)
class Pointwise:
    """The result of operations on each number.

    Attributes:
        value: the array.
        operation: the last one.
        inputs: its, arrays and other results.
        leaves: the arrays from which all is computed, by their `id`.
        depth: operations of the longest chain.
        costly: True if one of them is a function such as an exponential.
    """

    value: jax.Array
    operation: Callable[..., jax.Array]
    inputs: Sequence[Any]
    leaves: dict[int, Any]
    depth: int
    costly: bool = False

    def anew(self, arrays: dict[int, Any]) -> jax.Array:
        """The value for other leaves, by the `id` of those that they replace; results are added to them."""
        if id(self) not in arrays:
            operands = [
                source.anew(arrays) if isinstance(source, Pointwise) else arrays.get(id(source), source)
                for source in self.inputs
            ]
            arrays[id(self)] = self.operation(*operands)
        array: jax.Array = arrays[id(self)]
        return array


def array_of(what: Any) -> Any:
    """The array."""
    return what.value if isinstance(what, Pointwise) else what


def as_result(array: jax.Array) -> Pointwise:
    """An array as the result of no operation."""
    return Pointwise(array, lambda array: array, [array], {id(array): array}, 0)


def pointwise(equation: Any, inputs: Sequence[Any], value: jax.Array) -> Any:
    """An equation's result as `Pointwise`, or as the array that it is if it is none of each number by itself."""
    operation = operation_of(equation)
    depth = 1 + max((source.depth for source in inputs if isinstance(source, Pointwise)), default=0)
    if operation is None or depth > LONGEST:
        return value
    costly = equation.primitive.name in COSTLY or any(
        source.costly for source in inputs if isinstance(source, Pointwise)
    )
    leaves: dict[int, Any] = {}
    for source in inputs:
        if isinstance(source, Pointwise):
            leaves |= source.leaves
        elif isinstance(source, jax.Array) or np.ndim(source):  # not a number that is written in the program
            leaves[id(source)] = source
    return Pointwise(value, operation, inputs, leaves, depth, costly)


def operation_of(equation: Any) -> Callable[..., jax.Array] | None:
    """What computes it from its inputs or parts of them; None if it is none of each number by itself."""
    primitive, params = equation.primitive, equation.params
    if primitive is select_n_p:
        return lambda *arrays: lax.select_n(*jnp.broadcast_arrays(*arrays))
    if primitive.name in CHEAP | COSTLY:
        return functools.partial(primitive.bind, **params)
    if primitive is custom_jvp_call_p and is_relu(equation):
        return jax.nn.relu
    if primitive is broadcast_in_dim_p and not equation.invars[0].aval.shape:
        return lambda number: number
    return None


def is_relu(equation: Any) -> bool:
    """True if a function with a derivative of its own is relu, and so is its derivative.

    A straight-through relu has the operations of relu, and another derivative.
    """
    operand, called = equation.invars[0], equation.params["call_jaxpr"]
    if len(equation.invars) > 1 or isinstance(operand, Literal) or not jnp.issubdtype(operand.aval.dtype, jnp.floating):
        return False
    own, derivative = relu_for(operand.aval)
    if text_of(called) != own:  # no derivative is asked of other functions: some have none
        return False
    alone = Jaxpr([], equation.invars, equation.outvars, [equation], debug_info=called.debug_info)
    return derivative_of(jaxpr_as_fun(ClosedJaxpr(alone, [])), operand.aval) == derivative


@functools.cache
def relu_for(aval: Any) -> tuple[str, str]:
    """The operations of JAX's relu of such an array, and those of its derivative, as text."""
    (equation,) = jax.make_jaxpr(jax.nn.relu)(aval).eqns
    return text_of(equation.params["call_jaxpr"]), derivative_of(jax.nn.relu, aval)


def derivative_of(function: Callable[..., Any], aval: Any) -> str:
    """The operations of the derivative of a function of one such array, as text."""
    derivative = lambda x, change: jax.tree.leaves(jax.jvp(function, (x,), (change,)))
    return text_of(jax.make_jaxpr(derivative)(aval, aval))


def text_of(program: Any) -> str:
    """A jaxpr as text, without the names of functions."""
    return LABELS.sub("", str(program))
