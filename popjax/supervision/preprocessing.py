"""Preprocessing: raw rows -> a model's inputs, fold by fold, and its outputs -> predictions."""

import dataclasses
import functools
import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np

from popjax.core.calls import name_of
from popjax.data.columns import Levels, apart, one_hot
from popjax.data.dataset import Dataset
from popjax.data.dates import NO_DATES, Dates
from popjax.data.inputs import Inputs, entries, mapped, taken
from popjax.data.splits import Split
from popjax.data.transforms.applying import applied, fitted, looking, shaped
from popjax.data.transforms.by_feature import Unchanged, moments
from popjax.data.transforms.probing import check_still, probed
from popjax.data.transforms.writing import read_transforms, written_transforms
from popjax.models.built_in import MODELS
from popjax.models.network import Network
from popjax.models.networks import bind
from popjax.rewriting.rewrite import rewrite
from popjax.supervision.encoding import encoded
from popjax.supervision.kinds.kind import Kind
from popjax.supervision.kinds.named_kinds import kind_named, kind_of, kind_read
from popjax.supervision.prepared import Data, prepared
from popjax.task import HParams


class Code(NamedTuple):
    """The custom code that was passed to `supervised` and is not stored: a model, a transform and a loss."""

    model: Callable[..., Any] | None = None
    transform: Any = None
    loss: Callable[..., Any] | None = None


NO_CODE = Code()
FIRST = 64  # rows on which transforms are tried; transformed, they identify them


@dataclasses.dataclass(frozen=True, eq=False)
class Recipe:
    """The preprocessing of raw rows into a model's inputs, and of its outputs into predictions.

    Attributes:
        model: the name of a built-in model; None for a custom one.
        kind: the kind of the targets.
        columns: the names of the columns of a table; else empty.
        inputs: the shape of a row of `Dataset.x`; for a dict of arrays, of each entry.
        types: the dtype of its numbers by name; for a dict, of each entry.
        split_digest, data_digest: SHA-256 of the split, and of rows and targets.
        transforms: of each fold: a Transform fitted to its training rows, or for a dict one for each entry.
        y_mean, y_scale: moments (folds, ...) of the training targets of a regression; else 0 and 1.
        levels: text column -> its texts.
        fill: the coded cells that replace missing ones; None if they are not replaced.
        called: the name of a custom model; else None.
        mirrored: True if the transformed features are the targets.
        apart: True if the model takes numbers and codes of texts apart (see `Model`).
        transform_digest: SHA-256 of the first rows after the transforms.
        rewrite: "fast" if convolutions, pools and products are rewritten, "none" if the model is traced as written.
        dates: date column -> its earliest day, since 1970; `columns` has its parts (see `popjax.data.dates`).
    """

    model: str | None
    kind: Kind
    columns: tuple[str, ...]
    inputs: Any
    types: Any
    split_digest: str
    data_digest: str
    transforms: tuple[Any, ...]
    y_mean: np.ndarray
    y_scale: np.ndarray
    levels: Levels = dataclasses.field(default_factory=dict)
    fill: np.ndarray | None = None
    called: str | None = None
    mirrored: bool = False
    apart: bool = False
    transform_digest: str = ""
    rewrite: str = "fast"
    dates: Dates = NO_DATES

    @classmethod
    def of(cls, dataset: Dataset, split: Split, options: Any) -> Self:
        """The recipe for the model of `ProblemOptions`, with transforms fitted to the training rows of each fold."""
        folds, model = len(split.train), options.model
        split_up = isinstance(model, str) and MODELS[model].apart
        x = seen(dataset.x, dataset.columns, dataset.levels, split_up)
        columns = [feature for feature in dataset.features if feature[1] is None or not split_up]
        own = looking(options.transform, x, np.delete(np.arange(len(dataset)), split.test))
        transforms, shown = fitted_by_fold(own, x, columns, split, options.transform)
        y_mean, y_scale = np.zeros(folds), np.ones(folds)
        if kind_named(dataset.kind).scaled:
            y_mean, y_scale = moments_of_folds(dataset.y, split)
        return cls(
            model=model if isinstance(model, str) else None,
            kind=kind_of(dataset, options.loss, y_scale),
            columns=dataset.columns,
            inputs=mapped(lambda x: x.shape[1:], dataset.x),
            types=mapped(lambda x: str(x.dtype), dataset.x),
            split_digest=split.digest,
            data_digest=dataset.digest,
            transforms=transforms,
            y_mean=y_mean,
            y_scale=y_scale,
            levels=dataset.levels,
            fill=dataset.fill,
            called=None if isinstance(model, str) else name_of(model),
            mirrored=dataset.mirrored,
            apart=split_up,
            transform_digest=digest_of(shown),
            rewrite=options.rewrite,
            dates=dataset.dates,
        )

    @property
    def identity(self) -> dict[str, Any]:
        """The identity of the data: digests of rows, split and transforms, columns, shapes, texts, kind of targets."""
        names: dict[str, Any] = {"columns": list(self.columns), "inputs": self.shapes}
        if self.levels:
            names["levels"] = {name: list(texts) for name, texts in self.levels.items()}
        targets = {name: value for name, value in self.kind.describe().items() if name != "units"}
        digests = {"data": self.data_digest, "split": self.split_digest, "transform": self.transform_digest}
        return {**digests, **names, **targets, "mirrored": self.mirrored}

    @property
    def shapes(self) -> Any:
        """`inputs` as JSON values."""
        return mapped(list, self.inputs)

    def describe(self) -> dict[str, Any]:
        """The recipe as JSON values, for `from_json`."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        fields |= {"inputs": self.shapes, "kind": self.kind.describe()}
        fields["transforms"] = [written_transforms(transform) for transform in self.transforms]
        if not self.dates:
            del fields["dates"]
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in fields.items()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any], own: Code = NO_CODE) -> Self:
        """The recipe from what `describe` returned; `own` is the custom code, which a directory does not store.

        Raises ValueError for a custom transform that is missing in `own`.
        """
        content = {"dates": {}, **content}
        fields = {field.name: content[field.name] for field in dataclasses.fields(cls)}
        arrays = ("y_mean", "y_scale", "fill")
        fields |= {name: np.asarray(fields[name], float) for name in arrays if fields[name] is not None}
        fields["columns"] = tuple(fields["columns"])
        fields["kind"] = kind_read(fields["kind"], own.loss)
        fields["inputs"] = mapped(tuple, fields["inputs"])
        fields["transforms"] = tuple(read_transforms(entry, own.transform) for entry in fields["transforms"])
        fields["levels"] = {name: tuple(texts) for name, texts in fields["levels"].items()}
        return cls(**fields)

    def takes_missing(self, entry: str | None = None) -> bool:
        """True if there are transforms other than "none" and all of them take missing cells: of the rows, or of an
        entry of a dict.
        """
        transforms = self.transforms[0] if entry is None else self.transforms[0][entry]
        changing = [each for each in entries(transforms) if not isinstance(each, Unchanged)]
        return bool(changing) and all(each.missing for each in changing)

    @property
    def folds(self) -> int:
        """The number of folds."""
        return len(self.transforms)

    @property
    def classes(self) -> tuple[Any, ...] | None:
        """The labels of a classification; else None."""
        return self.kind.classes

    @property
    def outputs(self) -> int:
        """The width of a model's output; 0 where only a custom loss knows it."""
        wide = isinstance(self.sees, tuple) and len(self.sees) == 1
        return int(self.sees[0] if self.mirrored and wide else self.kind.outputs)

    @property
    def width(self) -> int:
        """The numbers that a model puts out for a row; 1 where only a custom loss knows how many."""
        return math.prod(self.sees) if self.mirrored and isinstance(self.sees, tuple) else max(self.outputs, 1)

    @functools.cached_property
    def sees(self) -> Any:
        """The shape of a transformed row; for a dict of arrays, of each entry (see `Model` for `apart`)."""
        shapes = mapped(lambda x: x.shape[1:], self.example)
        counts = tuple(len(self.levels[name]) + 1 for name in self.columns if name in self.levels)
        return {"numbers": shapes["numbers"], "codes": counts} if self.apart else shapes

    @property
    def example(self) -> Any:
        """A transformed row of zeros (1, ...), as the model receives it; for a dict of arrays, a dict."""
        zeros = mapped(lambda shape, kind: np.zeros((1, *shape), kind), self.inputs, self.types)
        return shaped(self.transforms[0], self.seen(zeros))

    def network(self, model: str | Callable[..., Any]) -> Callable[..., Network]:
        """`(hparams, key) -> Network` of a built-in model by name, or of a custom model.

        Raises ValueError for a built-in model with a dict of arrays, or with targets of unknown width.
        """
        example = jax.tree.map(jnp.asarray, self.example)
        if isinstance(model, str):
            if not self.outputs or isinstance(self.inputs, Mapping):
                what = "a dict of arrays" if isinstance(self.inputs, Mapping) else "targets of such a shape"
                raise ValueError(f"the built-in model {model!r} does not take {what}; give a custom model")
            module = functools.partial(MODELS[model].module, self.sees, self.outputs)
            return functools.partial(bound, module, MODELS[model].images and self.rewrite == "fast", x=example)
        return functools.partial(bound, model, self.rewrite == "fast", x=example)

    def encoded(self, rows: Any) -> Any:
        """Raw rows as in `Dataset.x` (see `encoding.encoded`)."""
        return encoded(self, rows)

    def seen(self, x: Inputs) -> Inputs:
        """Encoded rows as the transforms take them: numbers and codes if `apart`, else texts one-hot."""
        return seen(x, self.columns, self.levels, self.apart)

    def features(self, x: Inputs, fold: int = 0) -> Any:
        """Encoded rows as a fold's model receives them, by the fold's fitted transform."""
        return applied(self.transforms[fold], self.seen(x))

    def prepare(self, dataset: Dataset, split: Split, weight: np.ndarray | None = None) -> Data:
        """The data of the programs; `weight` is that in the training loss (rows,) or (rows, labels)."""
        y = (self.y_mean, self.y_scale) if self.kind.scaled else None
        return prepared(dataset, self.seen(dataset.x), split, self.transforms, y, weight)


def seen(x: Inputs, columns: Sequence[str], levels: Levels, split_up: bool) -> Inputs:
    """Rows as in `Dataset.x`, with texts one-hot; if `split_up`, as numbers and codes of texts."""
    return apart(x, columns, levels) if split_up else one_hot(x, columns, levels)


def fitted_by_fold(
    own: Any, x: Inputs, columns: Sequence[Any], split: Split, asked: Any
) -> tuple[tuple[Any, ...], list[Inputs]]:
    """Transforms fitted to the training rows of each fold, and the first rows as each of them gives them; checked."""
    first, transforms, shown = taken(x, slice(FIRST)), list[Any](), list[Inputs]()
    for rows in split.train:
        transforms.append(fitted(own, taken(x, rows), columns))
        shown.append(probed(transforms[-1], first, asked))
    for transform, before in zip(transforms[:-1], shown, strict=False):
        check_still(transform, first, before)
    return tuple(transforms), shown


def digest_of(transformed: Iterable[Inputs]) -> str:
    """SHA-256 of transformed rows, to four decimals, since machines round differently."""
    digest = hashlib.sha256()
    for inputs in transformed:
        for array in entries(inputs):
            digest.update(np.ascontiguousarray(np.round(array.astype(float), 4) + 0.0))  # 0.0 for -0.0
    return digest.hexdigest()


def bound(model: Callable[..., Any], fast: bool, hparams: HParams, key: jax.Array, x: jax.Array) -> Network:
    """The Network of a model for rows such as `x`; if `fast`, its convolutions, pools and products are rewritten."""
    network = bind(model, hparams, key, x)
    return network._replace(apply=rewrite(network.apply)) if fast else network


def moments_of_folds(values: np.ndarray, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard deviations (folds, ...) of each fold's training rows."""
    means, scales = zip(*(moments(values[rows]) for rows in split.train), strict=True)
    return np.array(means), np.array(scales)
