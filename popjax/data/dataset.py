"""Tables of rows: loaded and checked. No JAX here."""

import dataclasses
import functools
import hashlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from popjax.data.built_in import BUILT_IN, table
from popjax.data.columns import DROP, MEDIAN, Column, Levels, check_size, encode, features, occurring, place
from popjax.data.csv_table import read_csv
from popjax.data.doubts import doubts, left_out
from popjax.data.npz_table import read_npz
from popjax.data.parquet_table import read_parquet
from popjax.data.table import PLAINLY, Reading, Table, frame_table
from popjax.data.targets import LARGEST, targets

READERS: Mapping[str, Callable[..., Table]] = {
    ".csv": read_csv,
    ".tsv": functools.partial(read_csv, delimiters="\t"),
    ".parquet": read_parquet,
    ".npz": read_npz,
}
PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")
MISSING = ("error", "drop", "median")


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
        dropped: the numbers, among the rows that were given, of those that were left out.
        doubts: what its user may not expect of the target and of the columns, a line each.

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
    dropped: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, int))
    doubts: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """What is predicted, in words."""
        return "regression" if self.classes is None else f"classification, {len(self.classes)} classes"

    @property
    def features(self) -> list[tuple[str, str | None]]:
        """What each feature is: (column, None) of numbers, (column, text) of a text; none of rows without columns."""
        return features(self.columns, self.levels) if self.x.ndim == 2 else []

    @property
    def digest(self) -> str:
        """SHA-256 of rows and targets."""
        digest = hashlib.sha256(np.ascontiguousarray(self.x))
        digest.update(np.ascontiguousarray(self.y))
        return digest.hexdigest()


def load(source: str, target: str | None = None, missing: str = "error", kind: str | None = None) -> Dataset:
    """A built-in dataset by name, or a CSV, Parquet or NPZ file; raises ValueError in one line.

    Text columns become one-hot. A missing cell is null, empty or "nan" in any case; by `missing`
    it is an "error", its row is left out ("drop"), or it becomes the median of its column, in a
    text column the most frequent text ("median"); a target is never filled in, its row is left out.
    `kind`: see `from_arrays`.
    """
    check_missing(missing)
    if source in BUILT_IN:
        if target is not None:
            raise ValueError(f"target {target!r}: the dataset {source} has its own target; leave it out")
        return built_in(source)
    return from_table(read(source, target), missing, kind)


def check_missing(missing: str) -> None:
    """Raise ValueError unless it says what to do with missing cells, also where none is missing."""
    if missing not in MISSING:
        raise ValueError(f"missing={missing!r}: choose one of {', '.join(MISSING)}")


def read(source: str, target: str | None = None, how: Reading = PLAINLY) -> Table:
    """A file, as it is; raises ValueError in one line."""
    suffix = Path(source).suffix.lower()
    if suffix in PACKED:
        raise ValueError(f"cannot read {source!r}: it is packed ({suffix}); unpack it, and give what is in it")
    if suffix not in READERS:
        known = f"{', '.join(BUILT_IN)}, a .csv, .tsv, .parquet or .npz file"
        raise ValueError(f"unknown dataset {source!r}; give one of {known}")
    try:
        content = Path(source).read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read {source!r}: {error.strerror}") from None
    if not content:
        raise ValueError(f"cannot read {source!r}: the file is empty")
    return READERS[suffix](repr(source), content, target, how)


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


def from_frame(frame: Any, target: str | None, missing: str = "error") -> Dataset:
    """A DataFrame's columns of numbers and of texts, and its column `target`; raises ValueError in one line."""
    return from_table(frame_table(frame, target), missing)


def from_table(table: Table, missing: str = "error", kind: str | None = None) -> Dataset:
    """A Dataset of a table; raises ValueError in one line."""
    if table.x is not None:
        return from_arrays(table.x, table.y, (), missing, table.name, table.target, kind=kind)
    dataset = from_columns(table.columns, table.y, missing, table.name, table.target, kind)
    return dataclasses.replace(dataset, doubts=(*table.notes, *dataset.doubts))


def from_columns(
    columns: Mapping[str, Column], y: np.ndarray, missing: str, name: str, target: str, kind: str | None = None
) -> Dataset:
    """A Dataset from coded columns and targets (rows,), None or NaN where missing."""
    coded = np.column_stack([column.values for column in columns.values()])
    levels = {key: column.levels for key, column in columns.items() if column.levels is not None}
    return from_arrays(coded, y, tuple(columns), missing, name, target, levels, kind)


def from_arrays(
    x: Any,
    y: Any,
    columns: tuple[str, ...] = (),
    missing: str = "error",
    name: str = "arrays",
    target: str = "y",
    levels: Levels | None = None,
    kind: str | None = None,
) -> Dataset:
    """A Dataset from features (rows, ...) and targets (rows,); text columns are coded, by their `levels`.

    A target is what `kind` says, "classification" or "regression". Without it texts, truth values, and integers with
    at most 20 distinct values are classes, any other number a regression. Raises ValueError in one line.
    """
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim > 1 and len(x) == 0:
        raise ValueError(f"{name}: x has no rows; give some")
    if x.dtype.kind not in "biuf" or x.ndim < 2 or x.size == 0:
        raise ValueError(f"{name}: x is {x.dtype}{list(x.shape)}; give numbers of shape (rows, features)")
    if y.shape != (len(x),):
        raise ValueError(f"{name}: {target} has shape {y.shape} for {len(x)} rows of x; give one value a row")
    x = np.asarray(x, float)
    left = ~_lost(y)
    unknown = int((~left).sum())
    if unknown and missing == "error":
        what = f"row {int(np.argmin(left)) + 1} has no {target!r}, {unknown} rows in all"
        raise ValueError(f"{name}: the target is missing: {what}; use {DROP} to leave such rows out")
    _check_finite(x, columns, name)
    _check_rows(x[left], name)
    x, kept, fill = _fill(x[left], columns, missing, name, levels or {})
    left[left] = kept
    y = y[left]
    _check_rows(x, name)
    codes, classes, doubt = targets(y, name, target, kind)
    if levels:
        x, levels, fill = occurring(x, columns, levels, fill)
        check_size(name, len(x), levels)
    dropped = np.flatnonzero(~left)
    lines = (left_out(len(left), len(dropped), unknown, target), doubt, *doubts(levels or {}, len(x)))
    x = encode(x, columns, levels or {})
    return Dataset(
        x,
        codes,
        classes,
        columns,
        name=name.strip("'"),
        target=target,
        levels=levels or {},
        fill=fill,
        dropped=dropped,
        doubts=tuple(filter(None, lines)),
    )


def _check_finite(x: np.ndarray, columns: tuple[str, ...], name: str) -> None:
    if x.size and max(np.nanmax(x, initial=0), -np.nanmin(x, initial=0)) > LARGEST:
        bad = np.abs(x) > LARGEST
        what = "infinite values" if np.isinf(x[bad][0]) else f"the value {x[bad][0]:g}"
        raise ValueError(f"{name}: {what} in {place(bad, columns)}; replace by numbers within {LARGEST:g}")


def _check_rows(x: np.ndarray, name: str) -> None:
    if len(x) < 3:
        raise ValueError(f"{name}: {len(x)} rows; give at least 3, one each to train, validate and test")


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
    raise ValueError(f"{name}: {where}; use {DROP} or {MEDIAN}")
