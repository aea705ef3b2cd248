"""A function of JAX as an ONNX model.

Loops of known length are written out, and what does not depend on the inputs is computed here.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Var
from onnx.checker import ValidationError
from onnx.shape_inference import InferenceError

from popjax.exporting.graph import Graph
from popjax.exporting.operations import OPERATIONS, select
from popjax.exporting.rows import Array, Equation, Function, Size, traced

INNER = ("jaxpr", "call_jaxpr", "fun_jaxpr")  # parameters of operations that call a program
MOST = 1000  # steps of a loop that is written out


def onnx_model(
    function: Callable[..., jax.Array],
    inputs: Mapping[str, tuple[tuple[int, ...], Any]],
    output: str,
    notes: Mapping[str, str] | None = None,
) -> bytes:
    """The content of an ONNX file that computes `function` for any number of rows.

    Args:
        function: takes the inputs by their names, arrays (rows, ...), and returns an array (rows, ...).
        inputs: name -> the shape of a row, and the dtype.
        output: the name of what it returns.
        notes: texts that the file also keeps.

    Raises ValueError for a function with an operation that is not written as ONNX.
    """

    def arguments(rows: int) -> tuple[Any]:
        return ({name: jax.ShapeDtypeStruct((rows, *shape), dtype) for name, (shape, dtype) in inputs.items()},)

    graph = Graph()
    try:
        program = traced(lambda given: function(**given), arguments)
        rows = {name: Array((Size(0, 1), *shape), dtype) for name, (shape, dtype) in sorted(inputs.items())}
        (predictions,) = written(graph, program, [graph.input(name, array) for name, array in rows.items()])
        return graph.serialized(graph.name(predictions), output, program.gives[0], dict(notes or {}))
    except (ValueError, ValidationError, InferenceError) as error:
        raise ValueError(f"this cannot be written as ONNX: {error}") from None


def written(graph: Graph, program: Function, given: Sequence[Any]) -> list[Any]:
    """Write a program's operations; its outputs, names or arrays that are known, for such inputs."""
    values = program.constants | dict(zip(program.inputs, given, strict=True))

    def read(operands: Sequence[Any], arrays: Sequence[Array]) -> list[Any]:
        own = [
            graph.number(one, to.dtype) if isinstance(one, Size) else one
            for one, to in zip(operands, arrays, strict=True)
        ]
        return [values[one] if isinstance(one, Var) else one for one in own]

    for equation in program.equations:
        results = step(graph, equation, read(equation.inputs, equation.takes))
        values |= dict(zip(equation.outputs, results, strict=True))
    return read(program.outputs, program.gives)


def step(graph: Graph, equation: Equation, inputs: list[Any]) -> list[Any]:
    """Write an operation, or compute it if all is known; its outputs."""
    name, params = equation.primitive.name, equation.params
    if all(array.empty for array in equation.gives):
        return [None for _ in equation.gives]  # as JAX makes them where it pads by nothing
    if any(operand is None for operand in inputs) and name != "concatenate":
        raise ValueError(f"it computes {name!r} of an array without numbers, which has no ONNX operator here")
    if inner := [params[one] for one in INNER if isinstance(params.get(one), Function)]:
        return looped(graph, equation, inputs) if name == "scan" else written(graph, inner[0], inputs)
    if name == "cond":
        return chosen(graph, equation, inputs)
    if equation.certain and not any(operand is None or isinstance(operand, str) for operand in inputs):
        results = equation.primitive.bind(*map(jnp.asarray, inputs), **equation.plain)
    elif name in OPERATIONS:
        results = OPERATIONS[name](graph, equation, *inputs)
    else:
        raise ValueError(f"it computes {name!r}, for which popjax has no ONNX operator")
    return list(results) if isinstance(results, list | tuple) else [results]


def looped(graph: Graph, equation: Equation, inputs: list[Any]) -> list[Any]:
    """A loop of known length, written out."""
    params, body = equation.params, equation.params["jaxpr"]
    length, carried = params["length"], same_rank(equation.gives, body.gives)
    last = same_rank(equation.takes, body.takes)
    first = last - carried
    if isinstance(length, Size) or length > MOST:
        what = "over its rows" if isinstance(length, Size) else f"of {length} steps"
        raise ValueError(f"it has a loop {what}; at most {MOST} steps are written out")
    constants, carry, over = inputs[:first], inputs[first:last], inputs[last:]
    by_step: dict[int, list[Any]] = {}
    for at in reversed(range(length)) if params["reverse"] else range(length):
        own = [graph.add("Gather", one, np.array(at), axis=0) if isinstance(one, str) else one[at] for one in over]
        outputs = written(graph, body, [*constants, *carry, *own])
        carry, by_step[at] = outputs[: len(carry)], outputs[len(carry) :]
    return carry + [stacked(graph, each) for each in zip(*(by_step[at] for at in range(length)), strict=True)]


def same_rank(outer: Sequence[Array], inner: Sequence[Array]) -> int:
    """How many arrays of a loop are passed on whole, which come before those that have an axis for its steps."""
    return sum(len(one.shape) == len(other.shape) for one, other in zip(outer, inner, strict=True))


def stacked(graph: Graph, values: Sequence[Any]) -> Any:
    """Values, one after the other along a new first axis."""
    if not any(isinstance(one, str) for one in values):
        return jnp.stack(values)
    return graph.add("Concat", *(graph.add("Unsqueeze", one, np.array([0])) for one in values), axis=0)


def chosen(graph: Graph, equation: Equation, inputs: list[Any]) -> list[Any]:
    """The branch that is taken, if that is known; else all are computed, and the outputs of one are taken."""
    branches, (which, *operands) = equation.params["branches"], inputs
    if not isinstance(which, str):
        return written(graph, branches[int(np.clip(which, 0, len(branches) - 1))], operands)
    each = zip(*(written(graph, branch, operands) for branch in branches), strict=True)
    outputs = zip(equation.gives, each, strict=True)
    return [select(graph, equation._replace(gives=[array]), which, *cases) for array, cases in outputs]
