"""What turns raw rows into a model's input, fold by fold, and its outputs into predictions."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Self

import jax.numpy as jnp
import numpy as np

from popjax.data import Dataset
from popjax.models import MODELS
from popjax.networks import Network, bind
from popjax.splits import Split, standardize


class Rows(NamedTuple):
    """Features (rows, ...) and targets (rows,)."""

    x: Any
    y: Any


class Fold(NamedTuple):
    """One fold, or with a leading axis all of them: row numbers, and what standardizes its rows.

    The statistics are those of the fold's training rows, in the units of `Data.rows`.
    """

    train: Any
    validation: Any
    mean: Any
    scale: Any
    y_mean: Any
    y_scale: Any


class Data(NamedTuple):
    """What the programs take: every row once, standardized over all that some fold trains on.

    Attributes:
        rows: the rows that train or validate.
        test: the rows that no trial sees.
        folds: a leading axis of folds; with one fold the statistics are 0 and 1.
        y_unit: the unit of the targets.
    """

    rows: Rows
    test: Rows
    folds: Fold
    y_unit: Any


@dataclasses.dataclass(frozen=True, eq=False)
class Recipe:
    """What turns raw rows into a model's input, and its outputs into predictions.

    Attributes:
        mean, scale: of the features, for each fold's training rows (folds, ...).
        y_mean, y_scale: of a regression's targets (folds,); else 0 and 1.
    """

    model: str | None
    classes: tuple[Any, ...] | None
    columns: tuple[str, ...]
    inputs: tuple[int, ...]
    split_digest: str
    data_digest: str
    mean: np.ndarray
    scale: np.ndarray
    y_mean: np.ndarray
    y_scale: np.ndarray

    @classmethod
    def of(cls, dataset: Dataset, split: Split, model: str | Callable[..., Any]) -> Self:
        """The recipe for a model on the training rows of every fold."""
        mean, scale = standardize_folds(dataset.x, split)
        y_mean, y_scale = standardize_folds(dataset.y, split)
        if dataset.classes is not None:
            y_mean, y_scale = np.zeros_like(y_mean, float), np.ones_like(y_scale, float)
        return cls(
            model=model if isinstance(model, str) else None,
            classes=dataset.classes,
            columns=dataset.columns,
            inputs=dataset.x.shape[1:],
            split_digest=split.digest,
            data_digest=dataset.digest,
            mean=mean,
            scale=scale,
            y_mean=y_mean,
            y_scale=y_scale,
        )

    @property
    def identity(self) -> dict[str, Any]:
        """What tells the data from other data: SHA-256 of the rows and of the split, columns, shapes, classes."""
        names = {"columns": list(self.columns), "inputs": list(self.inputs)}
        classes = None if self.classes is None else list(self.classes)
        return {"data": self.data_digest, "split": self.split_digest, **names, "classes": classes}

    def describe(self) -> dict[str, Any]:
        """The recipe as JSON values, for `from_json`."""
        fields = dataclasses.asdict(self)
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in fields.items()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The recipe that `describe` described."""
        fields = {field.name: content[field.name] for field in dataclasses.fields(cls)}
        fields |= {name: np.asarray(fields[name], float) for name in ("mean", "scale", "y_mean", "y_scale")}
        fields |= {name: tuple(fields[name]) for name in ("columns", "inputs", "classes") if fields[name] is not None}
        return cls(**fields)

    @property
    def outputs(self) -> int:
        """The width of the model's output."""
        return 1 if self.classes is None else len(self.classes)

    def network(self, model: str | Callable[..., Any]) -> Callable[..., Network]:
        """`(hparams, key) -> Network` of a built-in model or the user's own."""
        if isinstance(model, str):
            model = functools.partial(MODELS[model], self.inputs, self.outputs)
        return lambda hparams, key: bind(model, hparams, key, jnp.zeros((1, *self.inputs)))

    def features(self, x: np.ndarray, fold: int = 0) -> np.ndarray:
        """Raw rows, standardized as the training rows of a fold are."""
        return (x - self.mean[fold]) / self.scale[fold]

    def prepare(self, dataset: Dataset, split: Split) -> Data:
        """The rows, as the programs take them."""
        kept = np.delete(np.arange(len(dataset.y)), split.test)
        seen = split.train[0] if len(split.train) == 1 else kept
        mean, scale = standardize(dataset.x[seen])
        y_mean, y_unit = standardize(dataset.y[seen])
        if self.classes is not None:
            y_mean, y_unit = np.zeros(()), np.ones(())
        x = (dataset.x - mean) / scale
        y = dataset.y if self.classes else (dataset.y - y_mean) / y_unit
        folds = Fold(
            np.searchsorted(kept, split.train).astype(np.int32),
            np.searchsorted(kept, split.validation).astype(np.int32),
            (self.mean - mean) / scale,
            self.scale / scale,
            (self.y_mean - y_mean) / y_unit,
            self.y_scale / y_unit,
        )
        return Data(Rows(x[kept], y[kept]), Rows(x[split.test], y[split.test]), folds, np.asarray(y_unit))


def standardize_folds(values: np.ndarray, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Mean and scale (folds, ...) of every fold's training rows."""
    means, scales = zip(*(standardize(values[rows]) for rows in split.train), strict=True)
    return np.array(means), np.array(scales)
