"""The built-in models by name. To add one, add a file here and a line to MODELS."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from flax import nnx

from popjax.core.calls import check_called
from popjax.core.text import meant, registered, short
from popjax.models import cnn, mlp, tabular
from popjax.space.defaults import DEFAULTS
from popjax.space.scales import Scale

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Model(NamedTuple):
    """A built-in model. `shape` is the shape of one transformed row, `outputs` the width of the output.

    Attributes:
        module: `(shape, outputs, hparams, rngs) -> nnx.Module`, which maps (rows, *shape) to (rows, outputs).
        transform: the default transform of its features: a name or a Transform; None for "standardize", or "global"
            for rows with several axes.
        space: name -> Scale of the hyperparameters it reads; part of its default space.
        parameters: `(shape, outputs, hparams)` -> number of weights and biases in use.
        operations: `(shape, outputs, hparams)` -> floating-point operations of one row's forward pass.
        untuned: its default values where they differ from `popjax.space.defaults.DEFAULTS`.
        optimizer, schedule: those that train it by default.
        training: name -> Scale of hyperparameters of the training, in its default space with this optimizer.
        batch: rows -> its batch size for a table of so many; None if its default space has several.
        images: True if it takes only rows (rows, height, width, channels).
        apart: True if it takes {"numbers": (rows, columns), "codes": (rows, columns)}: the transformed numeric columns
            of a table, and the int32 codes of its text columns, 0 for a missing cell or an unknown text. Then `shape`
            has the shape of a row under "numbers", and under "codes" the number of codes of each text column.
        missing: what is done with missing cells by default (see `popjax.supervised`).

    `parameters` and `operations` return arrays (trials,) where `hparams` holds arrays (trials,).
    """

    module: Callable[..., nnx.Module]
    transform: Any
    space: Mapping[str, Scale]
    parameters: Callable[[Any, int, Mapping[str, Any]], Any]
    operations: Callable[[Any, int, Mapping[str, Any]], Any]
    untuned: Mapping[str, Any] = NOTHING
    optimizer: str = "sgd"
    schedule: str = "inverse"
    training: Mapping[str, Scale] = NOTHING
    batch: Callable[[int], int] | None = None
    images: bool = False
    apart: bool = False
    missing: str = "error"


MODELS: Mapping[str, Model] = {
    "mlp": Model(mlp.MLP, None, mlp.SPACE, mlp.parameters, mlp.operations),
    "cnn": Model(
        cnn.CNN,
        "global",
        cnn.SPACE,
        cnn.parameters,
        cnn.operations,
        cnn.UNTUNED,
        optimizer="adamw",
        schedule="flat",
        training=cnn.TRAINING,
        batch=cnn.batch,
        images=True,
    ),
    "tabular": Model(
        tabular.Tabular,
        "robust",
        tabular.SPACE,
        tabular.parameters,
        tabular.operations,
        tabular.UNTUNED,
        optimizer="adamw",
        schedule="flat",
        training=tabular.TRAINING,
        batch=tabular.batch,
        apart=True,
        missing="auto",
    ),
}
PROVEN = ("mlp", "cnn", "tabular")  # by tests; a line of a user's own is none of them


def model_named(name: str) -> Model:
    """The built-in model of a name; raises ValueError for an unknown one, and for an entry that is written wrongly."""
    entry = registered(MODELS, "model", name, Model)
    if name not in PROVEN:
        check_entry(f"the model {name!r}", entry)
    return entry


def check_entry(what: str, entry: Model) -> None:
    """Raise ValueError for functions with other arguments, what is no Scale, and defaults that nothing reads."""
    check_called(f"{what}: module", entry.module, "shape", "outputs", "hparams", "rngs")
    for name in ("parameters", "operations"):
        check_called(f"{what}: {name}", getattr(entry, name), "shape", "outputs", "hparams")
    if entry.batch is not None:
        check_called(f"{what}: batch", entry.batch, "rows")
    for table in ("space", "training"):
        for name, scale in getattr(entry, table).items():
            if not isinstance(scale, Scale):
                raise ValueError(f"{what}: {table}[{name!r}] is {short(scale)}; give a scale, as popjax.uniform(0, 1)")
    for name in entry.untuned:
        if name not in (known := {*DEFAULTS, *entry.space, *entry.training}):
            raise ValueError(f"{what}: untuned has {name!r}, which is not in space or training{meant(name, known)}")
