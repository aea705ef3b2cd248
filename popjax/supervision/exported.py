"""A predictor for use without popjax: as one function of JAX, as a program of `jax.export`, as an ONNX model."""

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from popjax.core.mixing import mixing
from popjax.core.text import check_installed, failure
from popjax.data.dates import day_text, part_names
from popjax.data.inputs import Inputs, mapped
from popjax.data.transforms.applying import the_transform
from popjax.data.transforms.transform import Transform
from popjax.models.network import Network
from popjax.rewriting.target import ANY, made_for
from popjax.supervision.encoding import with_fill
from popjax.supervision.prepared import per_row
from popjax.supervision.preprocessing import Recipe

PLATFORMS = ("cpu", "cuda", "tpu")
ROWS, PREDICTIONS = "rows", "predictions"  # the names of the only input, if it is no dict, and of the output


class TrainedModel(NamedTuple):
    """A trained model: its network and its arrays {"params", "variables"}, its fold, and its weight in the mean."""

    network: Network
    state: Mapping[str, Any]
    fold: int
    weight: float


def in_jax(recipe: Recipe, models: Sequence[TrainedModel]) -> Callable[[Inputs], jax.Array]:
    """A function of JAX that maps encoded rows to the mean prediction (see `Predictor.mean_of`).

    Models compute in the floats of this process, all else in those in which the function is traced.
    """
    outputs = functools.partial(outputs_of, bool(jax.config.jax_enable_x64))

    @mixing
    def predict(encoded: Inputs) -> jax.Array:
        features, total = features_of(recipe, encoded), jnp.zeros(())
        for model in models:
            values: Any = recipe.kind.predicted(outputs(model, features[model.fold]).astype(float))  # type: ignore[arg-type]
            if recipe.kind.scaled:
                values = values * per_row(recipe.y_scale[model.fold]) + per_row(recipe.y_mean[model.fold])
            total = total + model.weight * values
        return total

    return predict


def outputs_of(x64: bool, model: TrainedModel, x: Inputs) -> jax.Array:
    """The outputs of a model for features, computed with or without 64 bits."""
    with jax.enable_x64(x64):
        own = mapped(lambda one: one.astype(jax.dtypes.canonicalize_dtype(one.dtype)), x)
        outputs: jax.Array = model.network.apply(model.state["params"], model.state["variables"], own, None)[0]
        return outputs


def features_of(recipe: Recipe, encoded: Inputs) -> list[Inputs]:
    """Encoded rows as each fold's models receive them, in JAX; raises ValueError for a transform that needs NumPy."""
    seen = recipe.seen(encoded if recipe.fill is None else with_fill(encoded, recipe.fill))
    return [mapped(traced, seen, transforms) for transforms in recipe.transforms]


def traced(x: np.ndarray, transform: Transform) -> np.ndarray:
    """Transformed rows, in JAX; raises ValueError for a transform that needs NumPy."""
    try:
        return transform(x)
    except jax.errors.TracerArrayConversionError:
        what = f"{the_transform(transform)} computes with NumPy alone"
        raise ValueError(f"{what}; write one with the functions of x.__array_namespace__(), or use another") from None


def inputs_of(recipe: Recipe) -> dict[str, tuple[tuple[int, ...], Any]]:
    """The encoded rows: name -> the shape of a row, and the dtype; one named "rows" if they are no dict."""
    if isinstance(recipe.inputs, Mapping):
        return {name: (tuple(shape), np.dtype(recipe.types[name])) for name, shape in recipe.inputs.items()}
    return {ROWS: (tuple(recipe.inputs), np.dtype(recipe.types))}


def jax_program(recipe: Recipe, models: Sequence[TrainedModel]) -> bytes:
    """A serialized program of `jax.export`: encoded rows, an array or a dict of arrays -> predictions."""
    check_installed("Predictor.export", "flatbuffers")
    from jax import export

    count = export.symbolic_shape(ROWS)
    arrays = {
        name: jax.ShapeDtypeStruct((*count, *shape), jax.dtypes.canonicalize_dtype(dtype))
        for name, (shape, dtype) in inputs_of(recipe).items()
    }
    function = jax.jit(in_jax(recipe, models))
    try:
        with made_for(ANY):
            program = export.export(function, platforms=PLATFORMS)
            return bytes(program(arrays if isinstance(recipe.inputs, Mapping) else arrays[ROWS]).serialize())
    except ValueError:
        raise
    except Exception as error:  # of a model that needs to know the number of rows
        what = f"the model cannot be exported for any number of rows: {failure(error)}"
        raise ValueError(f"{what}; write x.shape[0] for len(x), and no choice that depends on it") from error


def onnx_file(recipe: Recipe, models: Sequence[TrainedModel]) -> bytes:
    """The content of an ONNX file, which keeps its `coding` as the text of its metadata "popjax"."""
    check_installed("to='onnx'", "onnx")
    from popjax.exporting.onnx_model import onnx_model

    function = in_jax(recipe, models)
    given = (lambda **each: function(each)) if isinstance(recipe.inputs, Mapping) else (lambda rows: function(rows))
    with jax.enable_x64(True), made_for("gpu"):  # slices and products, for which there are operators
        return onnx_model(given, inputs_of(recipe), PREDICTIONS, {"popjax": json.dumps(coding(recipe))})


def coding(recipe: Recipe) -> dict[str, Any]:
    """How a table's rows are written as numbers, and what the columns of predictions are, as JSON values.

    `columns` are those of the rows, in order; `levels` the texts of a column by their codes, from 0; `unknown` the code
    of any other text; `missing` what a missing cell is, None if none may be (a missing text is the level "" where there
    is one); `dates` the columns that a date becomes (year, month, weekday from Monday, 0, day of the year, days with
    their fraction since a day; UTC); `classes` or `outputs` the columns of the predictions.
    """
    return {
        "kind": recipe.kind.name,
        "columns": list(recipe.columns),
        "levels": {name: list(texts) for name, texts in recipe.levels.items()},
        "dates": {
            name: {"columns": part_names(name), "since": day_text(first)} for name, first in recipe.dates.items()
        },
        "unknown": -1,
        "missing": "nan" if recipe.fill is not None or recipe.takes_missing() else None,
        "classes": None if recipe.classes is None else list(recipe.classes),
        "outputs": list(recipe.kind.names),
    }


FORMATS: Mapping[str, Callable[[Recipe, Sequence[TrainedModel]], bytes]] = {"jax": jax_program, "onnx": onnx_file}
