"""What turns raw rows into a model's input, fold by fold, and its outputs into predictions."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from popjax.core.text import plural
from popjax.data.columns import MEDIAN, Levels, cells_of, encode, numeric, place, recoded, some
from popjax.data.dataset import Dataset
from popjax.data.inputs import mapped, taken
from popjax.data.splits import Split
from popjax.data.transforms.affine import moments
from popjax.data.transforms.applying import applied, fitted, read, written
from popjax.models.built_in import MODELS
from popjax.models.convolution import by_patches
from popjax.models.networks import Network, bind
from popjax.supervision.prepared import Data, prepared
from popjax.task import HParams


@dataclasses.dataclass(frozen=True, eq=False)
class Recipe:
    """What turns raw rows into a model's input, and its outputs into predictions.

    Attributes:
        inputs: the shape of a row, as it is encoded; of a dict of arrays, of each entry.
        transforms: of each fold: a Transform fitted to its training rows, or of a dict one for each entry.
        y_mean, y_scale: of a regression's targets (folds,); else 0 and 1.
        levels: of each text column, the texts that have a feature of their own.
        fill: what stands in for a missing cell, coded; None if none may be missing.
        called: the name of a model of one's own.
    """

    model: str | None
    classes: tuple[Any, ...] | None
    columns: tuple[str, ...]
    inputs: Any
    split_digest: str
    data_digest: str
    transforms: tuple[Any, ...]
    y_mean: np.ndarray
    y_scale: np.ndarray
    levels: Levels = dataclasses.field(default_factory=dict)
    fill: np.ndarray | None = None
    called: str | None = None

    @classmethod
    def of(cls, dataset: Dataset, split: Split, model: str | Callable[..., Any], transform: Any) -> Self:
        """The recipe for a model on the training rows of every fold, to each of which the transform is fitted."""
        folds = range(len(split.train))
        y_mean, y_scale = np.zeros(len(folds)), np.ones(len(folds))
        if dataset.classes is None:
            y_mean, y_scale = moments_of_folds(dataset.y, split)
        return cls(
            model=model if isinstance(model, str) else None,
            classes=dataset.classes,
            columns=dataset.columns,
            inputs=mapped(lambda x: x.shape[1:], dataset.x),
            split_digest=split.digest,
            data_digest=dataset.digest,
            transforms=tuple(fitted(transform, taken(dataset.x, rows), dataset.features) for rows in split.train),
            y_mean=y_mean,
            y_scale=y_scale,
            levels=dataset.levels,
            fill=dataset.fill,
            called=None if isinstance(model, str) else called(model),
        )

    @property
    def identity(self) -> dict[str, Any]:
        """What tells the data from other data: SHA-256 of rows and split, columns, shapes, classes, texts."""
        names: dict[str, Any] = {"columns": list(self.columns), "inputs": list(self.inputs)}
        if self.levels:
            names["levels"] = {name: list(texts) for name, texts in self.levels.items()}
        classes = None if self.classes is None else list(self.classes)
        return {"data": self.data_digest, "split": self.split_digest, **names, "classes": classes}

    def describe(self) -> dict[str, Any]:
        """The recipe as JSON values, for `from_json`."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        fields["transforms"] = [written(one, self.inputs) for one in self.transforms]
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in fields.items()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any], transform: Any = None) -> Self:
        """The recipe that `describe` described; `transform` is that of one's own. Raises ValueError if it is needed."""
        fields = {field.name: content[field.name] for field in dataclasses.fields(cls)}
        arrays = ("y_mean", "y_scale", "fill")
        fields |= {name: np.asarray(fields[name], float) for name in arrays if fields[name] is not None}
        fields |= {name: tuple(fields[name]) for name in ("columns", "classes") if fields[name] is not None}
        fields["inputs"] = tuple(fields["inputs"])
        fields["transforms"] = tuple(read(one, fields["inputs"], transform) for one in fields["transforms"])
        fields["levels"] = {name: tuple(texts) for name, texts in fields["levels"].items()}
        return cls(**fields)

    @property
    def folds(self) -> int:
        """How many there are."""
        return len(self.transforms)

    @property
    def outputs(self) -> int:
        """The width of the model's output."""
        return 1 if self.classes is None else len(self.classes)

    @functools.cached_property
    def sees(self) -> Any:
        """The shape of a row as the model gets it, transformed; of a dict of arrays, of each entry."""
        return mapped(lambda x: x.shape[1:], self.example)

    @property
    def example(self) -> Any:
        """A row of zeros, transformed."""
        return applied(self.transforms[0], mapped(lambda shape: np.zeros((1, *shape)), self.inputs))

    def network(self, model: str | Callable[..., Any]) -> Callable[..., Network]:
        """`(hparams, key) -> Network` of a built-in model or the user's own."""
        example = jax.tree.map(jnp.asarray, self.example)
        if isinstance(model, str):
            module = functools.partial(MODELS[model].module, self.sees, self.outputs)
            return functools.partial(bind, module, x=example)
        return functools.partial(own, model, x=example)

    def encoded(self, rows: Any) -> np.ndarray:
        """Raw rows as the model's features (rows, ...), before they are standardized.

        Args:
            rows: a DataFrame with the training data's columns, in any order; an array of them
                (rows, columns), in order; or rows that are encoded already, as `Dataset.x` is.

        A text that no training row had is all zeros; a missing cell is filled in as it was
        with missing="median". Raises ValueError for rows that do not fit, and for a missing
        cell if the training data was not filled in.
        """
        cells = self._cells(rows)
        if cells is not None:
            named = zip(self.columns, cells, strict=True)
            coded = np.column_stack([recoded(name, each, self.levels.get(name)) for name, each in named])
            return encode(self._filled(coded, self.fill), self.columns, self.levels).reshape(len(coded), *self.inputs)
        try:
            x = np.asarray(rows, float)
        except (ValueError, TypeError):
            what = "a DataFrame (of one row, df.iloc[[0]]) or an array (rows, columns)"
            raise ValueError(f"the rows are no table of cells, but a {type(rows).__name__}; give {what}") from None
        flat, gray = (math.prod(self.inputs),), tuple(self.inputs[:-1])
        if x.shape[1:] == flat or (x.shape[1:] == gray and self.inputs[-1:] == (1,)):
            x = x.reshape(len(x), *self.inputs)
        if x.shape[1:] != tuple(self.inputs):
            raise ValueError(f"rows of shape {x.shape} do not fit; give {self._wanted()}")
        return self._filled(x, None if self.levels else self.fill)

    def _wanted(self) -> str:
        """What rows are, as an error says it."""
        if not self.columns or len(self.inputs) > 1:  # images
            return str(("rows", *self.inputs))
        texts = f", with text in {some(list(self.levels))}" if self.levels else ""
        return f"a DataFrame, or an array, of the {plural(len(self.columns), 'column')} {some(self.columns)}{texts}"

    def _cells(self, rows: Any) -> list[np.ndarray] | None:
        """The cells (rows,) of every column where the rows are a table, with names or in Python values."""
        if hasattr(rows, "columns") and self.columns:
            names = [str(name) for name in rows.columns]
            for name in self.columns:
                if name not in names:
                    raise ValueError(f"the rows lack the column {name!r}; give all of the training data's")
            series = {name: rows.iloc[:, names.index(name)] for name in self.columns}
            numbers = [name for name in self.columns if name not in self.levels and numeric(series[name])]
            return [s.to_numpy(float, na_value=np.nan) if n in numbers else cells_of(s) for n, s in series.items()]
        table = rows if isinstance(rows, np.ndarray) else np.asarray(rows, object)
        is_table = table.dtype.kind in "OUS" and self.columns and table.shape[1:] == (len(self.columns),)
        return list(table.astype(object).T) if is_table else None

    def _filled(self, x: np.ndarray, fill: np.ndarray | None) -> np.ndarray:
        names = self.columns if x.shape[1:] == (len(self.columns),) else ()
        if np.isinf(x).any():
            raise ValueError(f"a cell is infinite, {place(np.isinf(x), names)}; give a finite number")
        lost = np.isnan(x)
        if not lost.any():
            return x
        if fill is None:
            raise ValueError(f"a cell is missing, {place(lost, names)}; give one, or train with {MEDIAN}")
        return np.where(lost, fill.reshape(x.shape[1:]), x)

    def features(self, x: np.ndarray, fold: int = 0) -> np.ndarray:
        """Encoded rows as a fold's model gets them, transformed as its training rows are."""
        return applied(self.transforms[fold], x)

    def prepare(self, dataset: Dataset, split: Split, weight: np.ndarray | None = None) -> Data:
        """The rows, as the programs take them; `weight` (rows,) is how much each counts."""
        y = (self.y_mean, self.y_scale) if self.classes is None else None
        return prepared(dataset, split, self.transforms, y, weight)


def called(choice: str | Callable[..., Any] | None) -> str | None:
    """What a model, an optimizer or a loss is called."""
    return choice if isinstance(choice, str | None) else getattr(choice, "__qualname__", type(choice).__name__)


def own(model: Callable[..., Any], hparams: HParams, key: jax.Array, x: jax.Array) -> Network:
    """A user's own model for rows such as `x`, with fast convolutions."""
    network = bind(model, hparams, key, x)
    return network._replace(apply=by_patches(network.apply))


def moments_of_folds(values: np.ndarray, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Mean and scale (folds, ...) of every fold's training rows."""
    means, scales = zip(*(moments(values[rows]) for rows in split.train), strict=True)
    return np.array(means), np.array(scales)
