"""The models that have a name. A new one is a file beside this one, and a line in MODELS."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from flax import nnx

from popjax.models import cnn, mlp


class Model(NamedTuple):
    """A built-in model, for rows (rows, *shape); `shape` is that of one row, `outputs` the width of the output.

    Attributes:
        module: `(shape, outputs, hparams, rngs) -> nnx.Module`, which maps (rows, *shape) to (rows, outputs).
        parameters: `(shape, outputs, hparams)` -> how many weights and biases are in use.
        operations: `(shape, outputs, hparams)` -> floating-point operations of one row's way forward.
        images: whether it takes rows (rows, height, width, channels) alone.

    Where `hparams` holds arrays (trials,), so do the counts.
    """

    module: Callable[..., nnx.Module]
    parameters: Callable[[tuple[int, ...], int, Mapping[str, Any]], Any]
    operations: Callable[[tuple[int, ...], int, Mapping[str, Any]], Any]
    images: bool = False


MODELS: Mapping[str, Model] = {
    "mlp": Model(mlp.MLP, mlp.parameters, mlp.operations),
    "cnn": Model(cnn.CNN, cnn.parameters, cnn.operations, images=True),
}
