"""How each operation of JAX is written as ONNX nodes. To add one, add a function and a line to OPERATIONS.

Each function takes the graph, the Equation, and its inputs (names, or arrays that are known), and returns the name of
its output.
"""

import string
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jax import lax

from popjax.exporting.graph import Graph
from popjax.exporting.rows import Array, Equation, Size


def same(graph: Graph, equation: Equation, *inputs: Any) -> Any:
    """The inputs."""
    return inputs[0] if len(inputs) == 1 else list(inputs)


def node(operator: str) -> Callable[..., str]:
    """The node of an operator that does the same."""
    return lambda graph, equation, *inputs: graph.add(operator, *inputs)


def one(equation: Equation) -> np.ndarray:
    """1 in the dtype of the first input."""
    return np.asarray(1, equation.takes[0].dtype)


def logic(for_truth: str, for_bits: str) -> Callable[..., str]:
    """An operator for truth values, and another for numbers."""
    return lambda graph, equation, *inputs: graph.add(
        for_truth if equation.takes[0].dtype == bool else for_bits, *inputs
    )


def exp2(graph: Graph, equation: Equation, x: Any) -> str:
    return graph.add("Pow", np.asarray(2, equation.takes[0].dtype), x)


def expm1(graph: Graph, equation: Equation, x: Any) -> str:
    return graph.add("Sub", graph.add("Exp", x), one(equation))


def log1p(graph: Graph, equation: Equation, x: Any) -> str:
    return graph.add("Log", graph.add("Add", x, one(equation)))


def erfc(graph: Graph, equation: Equation, x: Any) -> str:
    return graph.add("Sub", one(equation), graph.add("Erf", x))


def rsqrt(graph: Graph, equation: Equation, x: Any) -> str:
    return graph.add("Reciprocal", graph.add("Sqrt", x))


def not_equal(graph: Graph, equation: Equation, *inputs: Any) -> str:
    return graph.add("Not", graph.add("Equal", *inputs))


def remainder(graph: Graph, equation: Equation, *inputs: Any) -> str:
    return graph.add("Mod", *inputs, fmod=1)


def integer_pow(graph: Graph, equation: Equation, x: Any) -> str:
    return graph.add("Pow", x, np.asarray(equation.params["y"], equation.takes[0].dtype))


def square(graph: Graph, equation: Equation, x: Any) -> str:
    return graph.add("Mul", x, x)


def is_finite(graph: Graph, equation: Equation, x: Any) -> str:
    return graph.add("Not", graph.add("Or", graph.add("IsNaN", x), graph.add("IsInf", x)))


def round_(graph: Graph, equation: Equation, x: Any) -> str:
    if equation.params["rounding_method"] != lax.RoundingMethod.TO_NEAREST_EVEN:
        raise ValueError("it rounds halves away from zero, which ONNX does not; round to even, as jnp.round")
    return graph.add("Round", x)


def clamp(graph: Graph, equation: Equation, low: Any, x: Any, high: Any) -> str:
    return graph.add("Min", graph.add("Max", x, low), high)


def convert(graph: Graph, equation: Equation, x: Any) -> str:
    return graph.cast(x, equation.gives[0].dtype)


def select(graph: Graph, equation: Equation, which: Any, *cases: Any) -> str:
    """The case of a number, the last for all greater ones. ONNX takes no truth values: they are numbers meanwhile."""
    if np.issubdtype(equation.gives[0].dtype, np.bool_):
        plain = equation._replace(gives=[Array(equation.gives[0].shape, np.dtype(np.int32))])
        return graph.cast(select(graph, plain, which, *(graph.cast(case, np.int32) for case in cases)), bool)
    if np.issubdtype(equation.takes[0].dtype, np.bool_):
        return graph.add("Where", which, *reversed(cases))
    selected = cases[-1]
    for at, case in reversed([*enumerate(cases[:-1])]):
        here = graph.add("Equal", which, np.asarray(at, equation.takes[0].dtype))
        selected = graph.add("Where", here, case, selected)
    return str(selected)


def reshape(graph: Graph, equation: Equation, x: Any) -> str:
    return reshaped(graph, x, equation.gives[0].shape)


def reshaped(graph: Graph, x: Any, shape: Any) -> str:
    """In another shape; one size that follows the rows is what remains."""
    free = [at for at, size in enumerate(shape) if isinstance(size, Size)]
    return graph.add("Reshape", x, graph.sizes([-1 if free == [at] else size for at, size in enumerate(shape)]))


def broadcast(graph: Graph, equation: Equation, x: Any) -> str:
    before, shape, axes = equation.takes[0].shape, equation.gives[0].shape, equation.params["broadcast_dimensions"]
    room: list[Any] = [1] * len(shape)
    for axis, size in zip(axes, before, strict=True):
        room[axis] = size
    x = x if room == list(before) else reshaped(graph, x, room)
    return str(x) if room == list(shape) else graph.add("Expand", x, graph.sizes(shape))


def transpose(graph: Graph, equation: Equation, x: Any) -> str:
    return graph.add("Transpose", x, perm=list(equation.params["permutation"]))


def concatenate(graph: Graph, equation: Equation, *inputs: Any) -> str:
    some = [x for x, array in zip(inputs, equation.takes, strict=True) if not array.empty]
    return graph.add("Concat", *some, axis=equation.params["dimension"])


def slice_(graph: Graph, equation: Equation, x: Any) -> str:
    starts, limits, strides = (equation.params[name] for name in ("start_indices", "limit_indices", "strides"))
    return sliced(graph, x, equation.takes[0].shape, starts, limits, strides or (1,) * len(starts))


def sliced(graph: Graph, x: Any, shape: Any, starts: Any, limits: Any, strides: Any) -> str:
    """From `starts` to `limits`; axes that are whole are left out."""
    every = zip(starts, limits, strides, shape, strict=True)
    axes = [at for at, (start, limit, stride, size) in enumerate(every) if (start, limit, stride) != (0, size, 1)]
    if not axes:
        return str(graph.name(x))
    ends = [graph.sizes([each[at] for at in axes]) for each in (starts, limits)]
    return graph.add("Slice", x, *ends, np.array(axes), np.array([strides[at] for at in axes]))


def dynamic_slice(graph: Graph, equation: Equation, x: Any, *starts: Any) -> str:
    """At places that are known, on axes that are not whole."""
    shape, begin, ends = equation.takes[0].shape, list[Any](), list[Any]()
    for start, size, whole in zip(starts, equation.params["slice_sizes"], shape, strict=True):
        if size != whole and (isinstance(start, str) or isinstance(size, Size) or isinstance(whole, Size)):
            raise ValueError(
                "it takes a slice of some rows, or at a place that it computes, which has no ONNX operator here"
            )
        begin.append(0 if size == whole else int(np.clip(start, 0, whole - size)))
        ends.append(whole if size == whole else begin[-1] + size)
    return sliced(graph, x, shape, begin, ends, (1,) * len(begin))


def reverse(graph: Graph, equation: Equation, x: Any) -> str:
    axes = np.array(equation.params["dimensions"])
    least = np.full(len(axes), np.iinfo(np.int64).min)
    return graph.add("Slice", x, np.full(len(axes), -1), least, axes, np.full(len(axes), -1))


def pad(graph: Graph, equation: Equation, x: Any, value: Any) -> str:
    lows, highs, inside = zip(*equation.params["padding_config"], strict=True)
    if any(inside):
        raise ValueError("it pads between numbers (as a transposed convolution does), which has no ONNX operator here")
    return graph.add("Pad", x, np.array([*lows, *highs]), value)


def iota(graph: Graph, equation: Equation) -> str:
    """Numbers along an axis, in a shape that follows the rows."""
    shape, axis, dtype = equation.gives[0].shape, equation.params["dimension"], equation.gives[0].dtype
    end = graph.add("Squeeze", graph.size(shape[axis]), np.array([0]))
    numbers = graph.cast(graph.add("Range", np.array(0), end, np.array(1)), dtype)
    room = [-1 if at == axis else 1 for at in range(len(shape))]
    return graph.add("Expand", graph.add("Reshape", numbers, np.array(room)), graph.sizes(shape))


def reduced(operator: str) -> Callable[..., str]:
    """A reduction over axes."""

    def reduce(graph: Graph, equation: Equation, x: Any) -> str:
        return graph.add(operator, x, np.array(equation.params["axes"], np.int64), keepdims=0, noop_with_empty_axes=1)

    return reduce


def truth_reduced(operator: str) -> Callable[..., str]:
    """A reduction of truth values over axes, as numbers."""

    def reduce(graph: Graph, equation: Equation, x: Any) -> str:
        return graph.cast(reduced(operator)(graph, equation, graph.cast(x, np.int32)), bool)

    return reduce


def extreme(operator: str) -> Callable[..., str]:
    """The place of the largest or smallest number along an axis."""

    def find(graph: Graph, equation: Equation, x: Any) -> str:
        (axis,) = equation.params["axes"]
        return graph.cast(graph.add(operator, x, axis=axis, keepdims=0), equation.params["index_dtype"])

    return find


def cumulative_sum(graph: Graph, equation: Equation, x: Any) -> str:
    axis, reverse = equation.params["axis"], int(equation.params["reverse"])
    return graph.add("CumSum", x, np.array(axis), reverse=reverse)


def dot_general(graph: Graph, equation: Equation, x: Any, y: Any) -> str:
    """A plain product of matrices where it is one, else a sum of products by letters."""
    (left, right), (left_batch, right_batch) = equation.params["dimension_numbers"]
    (a, b), dtype = equation.takes, equation.gives[0].dtype
    x, y = (operand if array.dtype == dtype else graph.cast(operand, dtype) for operand, array in ((x, a), (y, b)))
    if not left_batch and len(b.shape) == 2 and tuple(right) == (0,) and tuple(left) == (len(a.shape) - 1,):
        return graph.add("MatMul", x, y)
    letters = iter(string.ascii_letters)
    first = [next(letters) for _ in a.shape]
    second = [next(letters) for _ in b.shape]
    for at, other in zip([*left, *left_batch], [*right, *right_batch], strict=True):
        second[other] = first[at]
    free = [first[at] for at in range(len(first)) if at not in left and at not in left_batch]
    free += [second[at] for at in range(len(second)) if at not in right and at not in right_batch]
    result = "".join([*(first[at] for at in left_batch), *free])
    return graph.add("Einsum", x, y, equation=f"{''.join(first)},{''.join(second)}->{result}")


def convolution(graph: Graph, equation: Equation, x: Any, kernel: Any) -> str:
    params = equation.params
    if params["batch_group_count"] != 1 or set(params["lhs_dilation"]) != {1}:
        raise ValueError("it has a transposed convolution, which has no ONNX operator here")
    numbers = params["dimension_numbers"]
    lows, highs = zip(*params["padding"], strict=True)
    convolved = graph.add(
        "Conv",
        graph.add("Transpose", x, perm=list(numbers.lhs_spec)),
        graph.add("Transpose", kernel, perm=list(numbers.rhs_spec)),
        strides=list(params["window_strides"]),
        dilations=list(params["rhs_dilation"]),
        group=params["feature_group_count"],
        pads=[*lows, *highs],
    )
    return graph.add("Transpose", convolved, perm=np.argsort(numbers.out_spec).tolist())


def gather(graph: Graph, equation: Equation, x: Any, places: Any) -> str:
    """Whole slices at places along one axis."""
    numbers, (x_array, places_array) = equation.params["dimension_numbers"], equation.takes
    axis, rank, count = numbers.start_index_map[0], len(x_array.shape), len(places_array.shape) - 1
    whole = [1 if at == axis else size for at, size in enumerate(x_array.shape)]
    alone = tuple(numbers.start_index_map) == tuple(numbers.collapsed_slice_dims) == (axis,)
    if (
        not alone
        or numbers.operand_batching_dims
        or list(equation.params["slice_sizes"]) != whole
        or isinstance(x_array.shape[axis], Size)
    ):
        raise ValueError("it takes numbers at computed places of several axes, which has no ONNX operator here")
    places = graph.cast(reshaped(graph, places, places_array.shape[:-1]), np.int64)
    inside = clamp(graph, equation, np.array(0), places, np.array(x_array.shape[axis] - 1))
    gathered = graph.add("Gather", x, inside, axis=axis)  # with the axes of places in the place of `axis`
    kept = iter(at if at < axis else at + count - 1 for at in range(rank) if at != axis)
    new = iter(range(axis, axis + count))
    order = [next(kept if at in numbers.offset_dims else new) for at in range(rank - 1 + count)]
    gathered = gathered if order == sorted(order) else graph.add("Transpose", gathered, perm=order)
    if equation.params["mode"] != lax.GatherScatterMode.FILL_OR_DROP:
        return gathered
    return taken_or_filled(graph, equation, gathered, graph.add("Equal", places, inside))


def taken_or_filled(graph: Graph, equation: Equation, taken: str, there: str) -> str:
    """What was taken, and where a place is not `there` what JAX fills in."""
    dtype, offset = equation.gives[0].dtype, equation.params["dimension_numbers"].offset_dims
    fill = equation.params["fill_value"]
    there = graph.add("Unsqueeze", there, np.array(offset)) if offset else there
    if np.issubdtype(dtype, np.bool_):
        return graph.add("And", taken, there) if fill is False else graph.add("Or", taken, graph.add("Not", there))
    usual = np.nan if np.issubdtype(dtype, np.inexact) else np.iinfo(dtype).min
    return graph.add("Where", there, taken, np.asarray(usual if fill is None else fill, dtype))


def pooling(graph: Graph, equation: Equation, x: Any) -> str:
    """The largest number of each window, along axes of pixels between the rows and the channels."""
    names = ("window_dimensions", "window_strides", "window_dilation", "base_dilation", "padding")
    axes = [*zip(*(equation.params[name] for name in names), strict=True)]
    alone, rank = (1, 1, 1, 1, (0, 0)), len(axes)
    if axes[0] != alone or axes[-1] != alone or any(base != 1 for _, _, _, base, _ in axes):
        raise ValueError("it has a pooling that is not over pixels alone, which has no ONNX operator here")
    sizes, strides, dilations, _, padding = zip(*axes[1:-1], strict=True)
    lows, highs = zip(*padding, strict=True)
    how = {"kernel_shape": sizes, "strides": strides, "dilations": dilations, "pads": (*lows, *highs)}
    pooled = graph.add("MaxPool", graph.add("Transpose", x, perm=[0, rank - 1, *range(1, rank - 1)]), **how)
    return graph.add("Transpose", pooled, perm=[0, *range(2, rank), 1])


def in_parts(graph: Graph, equation: Equation, x: Any) -> list[str]:
    axis = equation.params["axis"]
    ends = np.array([0, *np.cumsum(equation.params["sizes"])])
    return [
        graph.add("Slice", x, ends[at : at + 1], ends[at + 1 : at + 2], np.array([axis])) for at in range(len(ends) - 1)
    ]


def stack(graph: Graph, equation: Equation, *inputs: Any) -> str:
    axis = np.array([equation.params["axis"]])
    return graph.add("Concat", *(graph.add("Unsqueeze", operand, axis) for operand in inputs), axis=int(axis[0]))


def unstack(graph: Graph, equation: Equation, x: Any) -> list[str]:
    axis = equation.params["axis"]
    return [graph.add("Gather", x, np.array(at), axis=axis) for at in range(len(equation.gives))]


OPERATIONS: Mapping[str, Callable[..., Any]] = {
    **dict.fromkeys(("copy", "name", "optimization_barrier", "stop_gradient"), same),
    "abs": node("Abs"),
    "acos": node("Acos"),
    "acosh": node("Acosh"),
    "add": node("Add"),
    "and": logic("And", "BitwiseAnd"),
    "argmax": extreme("ArgMax"),
    "argmin": extreme("ArgMin"),
    "asin": node("Asin"),
    "asinh": node("Asinh"),
    "atan": node("Atan"),
    "atanh": node("Atanh"),
    "broadcast_in_dim": broadcast,
    "ceil": node("Ceil"),
    "clamp": clamp,
    "concatenate": concatenate,
    "conv_general_dilated": convolution,
    "convert_element_type": convert,
    "cos": node("Cos"),
    "cosh": node("Cosh"),
    "cumsum": cumulative_sum,
    "div": node("Div"),
    "dot_general": dot_general,
    "dynamic_slice": dynamic_slice,
    "eq": node("Equal"),
    "erf": node("Erf"),
    "erfc": erfc,
    "exp": node("Exp"),
    "exp2": exp2,
    "expm1": expm1,
    "floor": node("Floor"),
    "gather": gather,
    "ge": node("GreaterOrEqual"),
    "gt": node("Greater"),
    "integer_pow": integer_pow,
    "iota": iota,
    "is_finite": is_finite,
    "le": node("LessOrEqual"),
    "log": node("Log"),
    "log1p": log1p,
    "logistic": node("Sigmoid"),
    "lt": node("Less"),
    "max": logic("Or", "Max"),
    "min": logic("And", "Min"),
    "mul": node("Mul"),
    "ne": not_equal,
    "neg": node("Neg"),
    "not": logic("Not", "BitwiseNot"),
    "or": logic("Or", "BitwiseOr"),
    "pad": pad,
    "pow": node("Pow"),
    "reduce_and": truth_reduced("ReduceMin"),
    "reduce_max": reduced("ReduceMax"),
    "reduce_min": reduced("ReduceMin"),
    "reduce_or": truth_reduced("ReduceMax"),
    "reduce_prod": reduced("ReduceProd"),
    "reduce_sum": reduced("ReduceSum"),
    "reduce_window_max": pooling,
    "rem": remainder,
    "reshape": reshape,
    "rev": reverse,
    "round": round_,
    "rsqrt": rsqrt,
    "select_n": select,
    "sign": node("Sign"),
    "sin": node("Sin"),
    "sinh": node("Sinh"),
    "slice": slice_,
    "split": in_parts,
    "sqrt": node("Sqrt"),
    "stack": stack,
    "square": square,
    "squeeze": reshape,
    "sub": node("Sub"),
    "tan": node("Tan"),
    "tanh": node("Tanh"),
    "transpose": transpose,
    "unstack": unstack,
    "xor": logic("Xor", "BitwiseXor"),
}
