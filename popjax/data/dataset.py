"""Tables of rows: loaded and checked. No JAX here."""

import contextlib
import dataclasses
import hashlib
import io
import math
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from popjax.data.columns import (
    MAX_BYTES,
    MAX_CLASSES,
    Column,
    Levels,
    cells_of,
    check_names,
    check_size,
    check_target,
    encode,
    numeric,
    object_column,
    occurring,
    place,
    short,
    size,
)
from popjax.data.csv_table import read_csv
from popjax.data.parquet_table import read_parquet
from popjax.data.tables import BUILT_IN, table

MISSING = ("error", "drop", "median")
LARGEST = 1e100  # beyond it the variance of a column overflows


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Numeric rows and what is to be predicted.

    Attributes:
        x: features, float64 (rows, ...); of a text column, one feature for each of its levels.
        y: targets (rows,): indices into `classes`, or real values.
        classes: the labels of a classification, sorted; None for a regression.
        columns: the names of the columns, before text became one-hot, if they have any.
        name: where the rows come from.
        target: the target's name.
        levels: of each text column, its distinct texts, sorted.
        fill: what stands in for a missing cell, coded, (columns,) or in the shape of a row of
            `x`: None unless missing="median" was asked for.

    >>> dataset = load("wine")
    >>> dataset.x.shape, dataset.classes, dataset.columns[0]
    ((178, 13), ('class_0', 'class_1', 'class_2'), 'alcohol')
    """

    x: np.ndarray
    y: np.ndarray
    classes: tuple[Any, ...] | None
    columns: tuple[str, ...] = ()
    name: str = "data"
    target: str = "y"
    levels: Levels = dataclasses.field(default_factory=dict)
    fill: np.ndarray | None = None

    @property
    def kind(self) -> str:
        """What is predicted, in words."""
        return "regression" if self.classes is None else f"classification, {len(self.classes)} classes"

    @property
    def digest(self) -> str:
        """SHA-256 of rows and targets."""
        digest = hashlib.sha256(np.ascontiguousarray(self.x))
        digest.update(np.ascontiguousarray(self.y))
        return digest.hexdigest()


def load(source: str, target: str | None = None, missing: str = "error") -> Dataset:
    """A built-in dataset by name, or a CSV, Parquet or NPZ file; raises ValueError in one line.

    Text columns become one-hot. A missing cell is null, empty or "nan" in any case; by `missing`
    it is an "error", its row is left out ("drop"), or it becomes the median of its column, in a
    text column the most frequent text ("median").
    """
    if missing not in MISSING:
        raise ValueError(f"missing={missing!r}: choose one of {', '.join(MISSING)}")
    if source in BUILT_IN:
        if target is not None:
            raise ValueError(f"target {target!r}: the dataset {source} has its own target; leave it out")
        return built_in(source)
    suffix = Path(source).suffix.lower()
    if suffix not in (".csv", ".parquet", ".npz"):
        known = f"{', '.join(BUILT_IN)}, a .csv, a .parquet or a .npz file"
        raise ValueError(f"unknown dataset {source!r}; give one of {known}")
    try:
        content = Path(source).read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read {source!r}: {error.strerror}") from None
    if not content:
        raise ValueError(f"cannot read {source!r}: the file is empty")
    if suffix == ".npz":
        return read_npz(source, content, target, missing)
    columns, y = (read_csv if suffix == ".csv" else read_parquet)(repr(source), content, target)
    return from_columns(columns, y, missing, repr(source), str(target))


IMAGES = {"digits": (8, 8, 1)}


def images(dataset: Dataset) -> Dataset:
    """The dataset with rows of shape (height, width, channels); raises ValueError where they are no images."""
    shape = dataset.x.shape[1:]
    if dataset.name in IMAGES and math.prod(shape) == math.prod(IMAGES[dataset.name]):
        shape = IMAGES[dataset.name]
    if len(shape) not in (2, 3) or min(shape[:2]) < 2:
        what = "give (height, width) or (height, width, channels), 2 pixels at least"
        raise ValueError(f"{dataset.name}: rows of shape {shape} are no images; {what}")
    return dataclasses.replace(dataset, x=dataset.x.reshape(-1, *shape, *(1,) * (3 - len(shape))))


def built_in(name: str) -> Dataset:
    """One of scikit-learn's datasets that need no network."""
    x, y, classes, columns = table(name)
    return Dataset(x.astype(float), y, classes, columns, name, "target")


def read_npz(source: str, content: bytes, target: str | None, missing: str) -> Dataset:
    """The arrays x and y of an NPZ file; `target` names another array than y."""
    names = "x", target or "y"
    with as_npz(source):
        archive = zipfile.ZipFile(io.BytesIO(content))
        stored = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
    for name in names:
        if name not in stored:
            known = ", ".join(map(repr, stored)) or "none"
            raise ValueError(f"{source!r} has no array {name!r}; it has {known}")
        if stored[name].file_size > MAX_BYTES:
            what = f"{source!r}: the array {name!r} would take {size(stored[name].file_size)}"
            raise ValueError(f"{what}; at most {size(MAX_BYTES)}, so take fewer rows")
    with as_npz(source):
        x, y = (unpacked(archive, stored[name]) for name in names)
    return from_arrays(x, y, missing=missing, name=repr(source), target=names[1])


@contextlib.contextmanager
def as_npz(source: str) -> Iterator[None]:
    """Raise ValueError in one line for whatever fails: a damaged archive fails in many ways, all of them the file's."""
    try:
        yield
    except Exception as error:
        what = " ".join(str(error).split())
        raise ValueError(f"cannot read {source!r} as NPZ: {what}; save it with numpy.savez") from None


def unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    """An array of an archive, read piece by piece."""
    with archive.open(entry) as file:
        array = np.lib.format.read_array(file, allow_pickle=False)
        if file.read(1):  # at the end, the archive's checksum is compared
            raise ValueError(f"{entry.filename!r} goes on after its array")
    return array


def from_frame(frame: Any, target: str | None, missing: str = "error") -> Dataset:
    """A DataFrame's columns of numbers and of texts, and its column `target`; raises ValueError in one line."""
    names = [str(name) for name in frame.columns]
    check_names("DataFrame", names)
    target = check_target("DataFrame", names, None if target is None else str(target))
    columns = {name: _frame_column(name, frame.iloc[:, index]) for index, name in enumerate(names) if name != target}
    return from_columns(columns, cells_of(frame.iloc[:, names.index(target)]), missing, "DataFrame", target)


def _frame_column(name: str, series: Any) -> Column:
    if numeric(series):
        return Column(series.to_numpy(float, na_value=np.nan))
    if series.dtype.kind in "mMc":
        what = f"column {name!r} holds {series.dtype}, neither numbers nor text"
        raise ValueError(f"DataFrame: {what}; convert it or drop it")
    if str(series.dtype) == "category" and not all(isinstance(level, str) for level in series.cat.categories):
        what = f"column {name!r} has categories that are no texts ({series.cat.categories.dtype})"
        raise ValueError(f"DataFrame: {what}; make them texts with astype(str), or numbers")
    return object_column("DataFrame", name, cells_of(series))


def from_columns(columns: Mapping[str, Column], y: np.ndarray, missing: str, name: str, target: str) -> Dataset:
    """A Dataset from coded columns and targets (rows,), None or NaN where missing."""
    coded = np.column_stack([column.values for column in columns.values()])
    levels = {key: column.levels for key, column in columns.items() if column.levels is not None}
    return from_arrays(coded, y, tuple(columns), missing, name, target, levels)


def from_arrays(
    x: Any,
    y: Any,
    columns: tuple[str, ...] = (),
    missing: str = "error",
    name: str = "arrays",
    target: str = "y",
    levels: Levels | None = None,
) -> Dataset:
    """A Dataset from features (rows, ...) and targets (rows,); text columns are coded, by their `levels`.

    A target of text, truth values, or integers with at most 20 distinct values is a class,
    any other number a regression. Raises ValueError in one line.
    """
    x, y = np.asarray(x), np.asarray(y)
    if x.dtype.kind not in "biuf" or x.ndim < 2 or x.size == 0:
        raise ValueError(f"{name}: x is {x.dtype}{list(x.shape)}; give numbers of shape (rows, features)")
    if y.shape != (len(x),):
        raise ValueError(f"{name}: {target} has shape {y.shape} for {len(x)} rows of x; give one value a row")
    x = np.asarray(x, float)
    lost = _lost(y)
    if lost.any() and missing != "drop":
        what = f"row {int(np.argmax(lost)) + 1} has no {target!r}, {int(lost.sum())} rows in all"
        raise ValueError(f"{name}: the target is missing: {what}; use missing=drop to leave such rows out")
    _check_finite(x, columns, name)
    x, kept, fill = _fill(x, columns, missing, name, levels or {})
    x, y = x[~lost[kept]], y[kept & ~lost]
    if len(x) < 3:
        raise ValueError(f"{name}: {len(x)} rows; give at least 3, one each to train, validate and test")
    codes, classes = _classes(y, name, target)
    if levels:
        x, levels, fill = occurring(x, columns, levels, fill)
        check_size(name, len(x), levels)
    x = encode(x, columns, levels or {})
    return Dataset(x, codes, classes, columns, name.strip("'"), target, levels or {}, fill)


def _check_finite(x: np.ndarray, columns: tuple[str, ...], name: str) -> None:
    if x.size and max(np.nanmax(x, initial=0), -np.nanmin(x, initial=0)) > LARGEST:
        bad = np.abs(x) > LARGEST
        what = "infinite values" if np.isinf(x[bad][0]) else f"the value {x[bad][0]:g}"
        raise ValueError(f"{name}: {what} in {place(bad, columns)}; replace by numbers within {LARGEST:g}")


def _lost(y: np.ndarray) -> np.ndarray:
    """Which targets are missing."""
    if y.dtype.kind == "f":
        return np.isnan(y)
    if y.dtype.kind == "O":
        return np.array([value is None or (isinstance(value, float) and np.isnan(value)) for value in y])
    return np.zeros(len(y), bool)


def _fill(
    x: np.ndarray, columns: tuple[str, ...], missing: str, name: str, levels: Levels
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Rows without missing cells, which of the rows they are, and what filled them, if anything was to."""
    lost = np.isnan(x)
    everything = np.ones(len(x), bool)
    if missing == "median":
        empty = lost.all(0)
        if empty.any():
            raise ValueError(f"{name}: no value at all in {place(empty[None], columns)}; drop that column")
        fill = np.nanmedian(x, 0)
        for index in (index for index, column in enumerate(columns) if column in levels):
            codes = x[~lost[:, index], index].astype(int)
            fill[index] = np.bincount(codes).argmax()  # of equally frequent texts, the first in sorted order
        return np.where(lost, fill, x), everything, fill
    if not lost.any():
        return x, everything, None
    if missing == "drop":
        kept = ~lost.reshape(len(x), -1).any(1)
        return x[kept], kept, None
    where = f"{int(lost.sum())} missing cells, the first in {place(lost, columns)}"
    raise ValueError(f"{name}: {where}; use missing=drop or missing=median")


def _classes(y: np.ndarray, name: str, target: str) -> tuple[np.ndarray, tuple[Any, ...] | None]:
    if y.dtype.kind == "O" and all(isinstance(value, str) for value in y):
        texts = sorted(set(y))  # in an array, each would take the room of the longest
        places = {text: code for code, text in enumerate(texts)}
        return _indices(np.array([places[text] for text in y]), texts, name, target)
    if y.dtype.kind == "O":
        if not all(isinstance(value, bool | int | float | str | np.generic) for value in y.tolist()):
            raise ValueError(f"{name}: the target {target!r} has values that are no numbers, texts or truth values")
        y = np.array(y.tolist())
    if y.dtype.kind == "f" or (y.dtype.kind in "iu" and len(np.unique(y)) > MAX_CLASSES):
        y = y.astype(float)
        if np.abs(y).max() > LARGEST:
            what = f"the target {target!r} has infinite values, or some beyond {LARGEST:g}"
            raise ValueError(f"{name}: {what}; replace them by smaller numbers")
        if y.min() == y.max():
            raise ValueError(f"{name}: the target {target!r} is {y[0]} in every row; nothing to learn")
        return y, None
    if y.dtype.kind not in "biuOUST":
        raise ValueError(f"{name}: the target {target!r} is {y.dtype}; give numbers, texts or truth values")
    labels, codes = np.unique(y.astype(str) if y.dtype.kind in "OST" else y, return_inverse=True)
    return _indices(codes, labels.tolist(), name, target)


def _indices(codes: np.ndarray, labels: list[Any], name: str, target: str) -> tuple[np.ndarray, tuple[Any, ...]]:
    if len(labels) == 1:
        what = f"the target {target!r} has one class only, {short(labels[0])}"
        raise ValueError(f"{name}: {what}; give two or more")
    return codes.astype(np.int64), tuple(labels)
