"""An ONNX graph while it is written."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from popjax.exporting.rows import Array, Size

OPSET = 18  # of 2022, which all runtimes know
IR = 8  # the version of the file's format that came with it


class Graph:
    """Nodes and constants; a value is named by a text.

    Attributes:
        rows: the name of the number of rows (1,), int64.
    """

    rows: str

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.inputs: list[Any] = []
        self.constants: dict[str, Any] = {}
        self._known: dict[Any, str] = {}

    def input(self, name: str, array: Array) -> str:
        """Declare an input; the number of rows is that of the first one."""
        self.inputs.append(described(name, array))
        if len(self.inputs) == 1:
            self.rows = self.add("Shape", name, start=0, end=1)
        return name

    def add(self, operator: str, *inputs: Any, **attributes: Any) -> str:
        """Append a node with one output, and return its name; inputs are names or arrays."""
        name = f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(operator, [self.name(operand) for operand in inputs], [name], name, **attributes)
        )
        return name

    def name(self, value: Any) -> str:
        """The name of a value: itself, or that of a constant."""
        if isinstance(value, str):
            return value
        array = np.asarray(value)
        key = array.dtype, array.shape, array.tobytes()
        if key not in self._known:
            self._known[key] = name = f"constant_{len(self.constants)}"
            self.constants[name] = numpy_helper.from_array(array, name)
        return self._known[key]

    def sizes(self, sizes: Sequence[Any]) -> str:
        """The name of sizes (n,), int64."""
        if not any(isinstance(size, Size) for size in sizes):
            return self.name(np.array(sizes, np.int64))
        return self.add("Concat", *map(self.size, sizes), axis=0)

    def size(self, size: Any) -> str:
        """The name of a size (1,), int64."""
        if not isinstance(size, Size):
            return self.name(np.array([size], np.int64))
        grown = self.rows if size.each == 1 else self.add("Mul", self.rows, np.array([size.each]))
        return grown if size.fixed == 0 else self.add("Add", grown, np.array([size.fixed]))

    def number(self, size: Size, dtype: Any) -> str:
        """The name of a size (), of this dtype."""
        return self.cast(self.add("Squeeze", self.size(size), np.array([0])), dtype)

    def cast(self, value: Any, dtype: Any) -> str:
        """The value in another dtype."""
        return self.add("Cast", value, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def serialized(self, output: str, name: str, array: Array, notes: dict[str, str]) -> bytes:
        """The file's content; `output` gets a name, and `notes` are its metadata."""
        self.nodes.append(helper.make_node("Identity", [output], [name], name))
        constants = list(self.constants.values())
        graph = helper.make_graph(self.nodes, "popjax", self.inputs, [described(name, array)], constants)
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=IR, producer_name="popjax")
        helper.set_model_props(model, notes)
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString())


def described(name: str, array: Array) -> Any:
    """An input or an output: its name, its dtype and its shape."""
    shape = ["rows" if isinstance(size, Size) else size for size in array.shape]
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(array.dtype)), shape)
