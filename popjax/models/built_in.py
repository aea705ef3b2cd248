"""The models that have a name. A new one is a file beside this one, and a line in MODELS."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from flax import nnx

from popjax.models import cnn, mlp
from popjax.space.scales import Scale

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Model(NamedTuple):
    """A built-in model. `shape` is that of one row as the transform leaves it, `outputs` the width of the output.

    Attributes:
        module: `(shape, outputs, hparams, rngs) -> nnx.Module`, which maps (rows, *shape) to (rows, outputs).
        transform: of its features where none is asked for: a name or a Transform; None for "standardize", or "global"
            of rows with several axes.
        space: name -> Scale of what it reads, which its default space holds beside what the optimizer reads.
        parameters: `(shape, outputs, hparams)` -> how many weights and biases are in use.
        operations: `(shape, outputs, hparams)` -> floating-point operations of one row's way forward.
        untuned: what it reads where it is not tuned, other than `popjax.space.defaults.DEFAULTS`.
        images: it takes rows (rows, height, width, channels) alone.
        apart: it takes {"numbers": (rows, columns), "codes": (rows, columns)}: the numeric columns of a table, which
            are transformed, and the codes of those of texts, int32: 0 for one that is missing or that no training row
            had. Then `shape` has the number of numeric columns under "numbers", and under "codes" how many codes each
            of the others has.

    Where `hparams` holds arrays (trials,), so do the counts.
    """

    module: Callable[..., nnx.Module]
    transform: Any
    space: Mapping[str, Scale]
    parameters: Callable[[Any, int, Mapping[str, Any]], Any]
    operations: Callable[[Any, int, Mapping[str, Any]], Any]
    untuned: Mapping[str, Any] = NOTHING
    images: bool = False
    apart: bool = False


MODELS: Mapping[str, Model] = {
    "mlp": Model(mlp.MLP, None, mlp.SPACE, mlp.parameters, mlp.operations),
    "cnn": Model(cnn.CNN, "global", cnn.SPACE, cnn.parameters, cnn.operations, {"hidden": cnn.CHANNELS}, images=True),
}
