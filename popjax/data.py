"""Tables of rows: loaded, checked, split and standardized. No JAX here."""

import csv
import dataclasses
import hashlib
import io
import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

MISSING = ("error", "drop", "median")
MAX_CLASSES = 20


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Numeric rows and what is to be predicted.

    Attributes:
        x: features, float64 (rows, ...).
        y: targets (rows,): indices into `classes`, or real values.
        classes: the labels of a classification, sorted; None for a regression.
        columns: the features' names, if they have any.
        name: where the rows come from.
        target: the target's name.
    """

    x: np.ndarray
    y: np.ndarray
    classes: tuple[Any, ...] | None
    columns: tuple[str, ...] = ()
    name: str = "data"
    target: str = "y"

    @property
    def kind(self) -> str:
        """What is predicted, in words."""
        return "regression" if self.classes is None else f"classification, {len(self.classes)} classes"

    @property
    def digest(self) -> str:
        """SHA-256 of rows and targets."""
        content = [np.ascontiguousarray(self.x), np.ascontiguousarray(self.y)]
        return hashlib.sha256(b"".join(a.tobytes() for a in content)).hexdigest()


def load(source: str, target: str | None = None, missing: str = "error") -> Dataset:
    """A built-in dataset by name, or a CSV or NPZ file; raises ValueError in one line."""
    if missing not in MISSING:
        raise ValueError(f"missing={missing!r}: choose one of {', '.join(MISSING)}")
    if source in BUILT_IN:
        if target is not None:
            raise ValueError(f"target {target!r}: the dataset {source} has its own target; leave it out")
        return built_in(source)
    suffix = Path(source).suffix.lower()
    readers = {".csv": read_csv, ".npz": read_npz}
    if suffix not in readers:
        raise ValueError(f"unknown dataset {source!r}; give one of {', '.join(BUILT_IN)}, a .csv or a .npz file")
    try:
        content = Path(source).read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read {source!r}: {error.strerror}") from None
    if not content:
        raise ValueError(f"cannot read {source!r}: the file is empty")
    return readers[suffix](source, content, target, missing)


BUILT_IN = ("digits", "wine", "breast_cancer", "diabetes")


IMAGES = {"digits": (8, 8, 1)}


def images(dataset: Dataset) -> Dataset:
    """The dataset with rows of shape (height, width, channels); raises ValueError where they are no images."""
    shape = dataset.x.shape[1:]
    if dataset.name in IMAGES and math.prod(shape) == math.prod(IMAGES[dataset.name]):
        shape = IMAGES[dataset.name]
    if len(shape) not in (2, 3):
        what = f"rows of shape {shape} are no images"
        raise ValueError(f"{dataset.name}: {what}; the cnn takes (height, width) or (height, width, channels)")
    return dataclasses.replace(dataset, x=dataset.x.reshape(-1, *shape, *(1,) * (3 - len(shape))))


def built_in(name: str) -> Dataset:
    """One of scikit-learn's datasets that need no network."""
    import sklearn.datasets as sk

    loaders = dict(zip(BUILT_IN, (sk.load_digits, sk.load_wine, sk.load_breast_cancer, sk.load_diabetes), strict=True))
    bunch = loaders[name]()
    columns = tuple(str(c) for c in bunch.feature_names)
    classes = None if name == "diabetes" else tuple(bunch.target_names.tolist())
    return Dataset(bunch.data.astype(float), bunch.target, classes, columns, name, "target")


def read_npz(source: str, content: bytes, target: str | None, missing: str) -> Dataset:
    """The arrays x and y of an NPZ file; `target` names another array than y."""
    name = target or "y"
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            stored = {entry.removesuffix(".npy"): archive.read(entry) for entry in archive.namelist()}
        arrays = {k: np.lib.format.read_array(io.BytesIO(stored[k]), allow_pickle=False) for k in ("x", name)}
    except KeyError as error:
        known = ", ".join(map(repr, stored)) or "none"
        raise ValueError(f"{source!r} has no array {error}; it has {known}") from None
    except Exception as error:  # a damaged archive fails in many ways, all of them the file's
        what = " ".join(str(error).split())
        raise ValueError(f"cannot read {source!r} as NPZ: {what}; save it with numpy.savez") from None
    return from_arrays(arrays["x"], arrays[name], missing=missing, name=repr(source), target=name)


def read_csv(source: str, content: bytes, target: str | None, missing: str) -> Dataset:
    """A numeric CSV file with a header; the target may be text. An empty cell or "nan" is missing."""
    header, rows = csv_cells(source, content)
    if target is None:
        raise ValueError(f"{source!r} needs a target: name the column to predict, one of {_some(header)}")
    if target not in header:
        raise ValueError(f"{source!r} has no column {target!r} for the target; it has {_some(header)}")
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    labels = columns.pop(target)
    if not columns:
        raise ValueError(f"{source!r} has no column but the target {target!r}; add features")
    x = np.column_stack([_numbers(source, name, cells) for name, cells in columns.items()])
    return from_arrays(x, _target_cells(labels), tuple(columns), missing, repr(source), target)


def csv_cells(source: str, content: bytes) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a CSV file; raises ValueError for a row of another length."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"cannot read {source!r} as UTF-8: byte {error.start} is not; save it as UTF-8") from None

    def read(delimiter: str, strict: bool = False) -> Any:
        return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=strict)

    try:
        delimiter = max(",;\t", key=lambda delimiter: len(next(read(delimiter))))
        reader = read(delimiter, strict=True)
        header = next(reader)
        rows = []
        for row in reader:
            if row and len(row) != len(header):
                at = f"line {reader.line_num} has {len(row)} fields"
                raise ValueError(f"{source!r}: {at}, the header {len(header)}; mend that line")
            rows += [row] if row else []
    except (csv.Error, StopIteration) as error:
        raise ValueError(f"cannot read {source!r} as CSV: {error or 'no header'}") from None
    if not rows:
        raise ValueError(f"{source!r} has a header but no rows; add data")
    for name in header:
        if not name.strip() or header.count(name) > 1:
            raise ValueError(f"{source!r}: the column name {name!r} is empty or appears twice; rename it")
    return header, rows


def is_missing(cell: str) -> bool:
    """Whether a cell of text is missing: empty or "nan" in any case ("NA" and "None" are text)."""
    return cell.strip() == "" or cell.strip().lower() == "nan"


def _numbers(source: str, name: str, cells: Sequence[str]) -> np.ndarray:
    values = np.empty(len(cells))
    for row, cell in enumerate(cells):
        try:
            values[row] = np.nan if is_missing(cell) else to_number(cell)
        except ValueError:
            raise ValueError(
                f"{source!r}: column {name!r} holds text ({cell!r} in row {row + 1}); "
                "encode it as numbers or drop the column"
            ) from None
    return values


def to_number(cell: str, kind: type = float) -> Any:
    """A cell as a number; Python's own 1_000 is text in a table. Raises ValueError."""
    if "_" in cell:
        raise ValueError(cell)
    return kind(cell)


def _target_cells(cells: Sequence[str]) -> np.ndarray:
    """The target's cells as integers if all are, else as reals, else as text; None where one is missing."""
    present = [cell for cell in cells if not is_missing(cell)]
    values: list[Any] = present
    for kind in (float, int):
        try:
            values = [to_number(cell, kind) for cell in present]
        except (ValueError, OverflowError):
            break
    if len(present) == len(cells):
        return np.array(values)
    rest = iter(values)
    return np.array([None if is_missing(cell) else next(rest) for cell in cells], object)


def from_frame(frame: Any, target: str | None, missing: str = "error") -> Dataset:
    """A DataFrame's numeric columns, and its column `target`."""
    columns = [str(name) for name in frame.columns]
    if target is None or str(target) not in columns:
        raise ValueError(f"target {target!r}: name the column to predict, one of {_some(columns)}")
    for name in columns:
        if columns.count(name) > 1:
            raise ValueError(f"the column name {name!r} appears twice; rename one")
    frame = frame.set_axis(columns, axis=1)
    features = tuple(name for name in columns if name != str(target))
    for name in features:
        if frame[name].dtype.kind not in "biuf":
            raise ValueError(f"column {name!r} is not numeric ({frame[name].dtype}); encode it as numbers or drop it")
    x = frame[list(features)].to_numpy(float, na_value=np.nan)
    y = frame[str(target)].to_numpy(object)
    y[frame[str(target)].isna().to_numpy()] = None
    return from_arrays(x, y, features, missing, "DataFrame", str(target))


def from_arrays(
    x: Any,
    y: Any,
    columns: tuple[str, ...] = (),
    missing: str = "error",
    name: str = "arrays",
    target: str = "y",
) -> Dataset:
    """A Dataset from features (rows, ...) and targets (rows,).

    A target of text, truth values, or integers with at most 20 distinct values is a class,
    any other number a regression. Raises ValueError in one line.
    """
    x, y = np.asarray(x), np.asarray(y)
    if x.dtype.kind not in "biuf" or x.ndim < 2 or x.size == 0:
        raise ValueError(f"{name}: x is {x.dtype}{list(x.shape)}; give numbers of shape (rows, features)")
    if y.shape != (len(x),):
        raise ValueError(f"{name}: {target} has shape {y.shape} for {len(x)} rows of x; give one value a row")
    x = x.astype(float)
    lost = _lost(y)
    if lost.any() and missing != "drop":
        what = f"row {int(np.argmax(lost)) + 1} has no {target!r}, {int(lost.sum())} rows in all"
        raise ValueError(f"{name}: the target is missing: {what}; use missing=drop to leave such rows out")
    if np.isinf(x).any():
        raise ValueError(f"{name}: infinite values in {_where(np.isinf(x), columns)}; replace them by numbers")
    x, kept = _fill(x, columns, missing, name)
    x, y = x[~lost[kept]], y[kept & ~lost]
    if len(x) < 3:
        raise ValueError(f"{name}: {len(x)} rows; give at least 3, one each to train, validate and test")
    codes, classes = _classes(y, name, target)
    return Dataset(x, codes, classes, columns, name.strip("'"), target)


def _lost(y: np.ndarray) -> np.ndarray:
    """Which targets are missing."""
    if y.dtype.kind == "f":
        return np.isnan(y)
    if y.dtype.kind == "O":
        return np.array([value is None or (isinstance(value, float) and np.isnan(value)) for value in y])
    return np.zeros(len(y), bool)


def _fill(x: np.ndarray, columns: tuple[str, ...], missing: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows without missing cells, and which of the rows they are."""
    lost = np.isnan(x)
    everything = np.ones(len(x), bool)
    if not lost.any():
        return x, everything
    if missing == "drop":
        kept = ~lost.reshape(len(x), -1).any(1)
        return x[kept], kept
    if missing == "median":
        empty = lost.all(0)
        if empty.any():
            raise ValueError(f"{name}: no value at all in {_where(empty[None], columns)}; drop that column")
        return np.where(lost, np.nanmedian(x, 0), x), everything
    where = f"{int(lost.sum())} missing cells, the first in {_where(lost, columns)}"
    raise ValueError(f"{name}: {where}; use missing=drop or missing=median")


def _where(bad: np.ndarray, columns: tuple[str, ...]) -> str:
    row, *place = np.argwhere(bad)[0].tolist()
    column = repr(columns[place[0]]) if columns else str(place[0] if len(place) == 1 else tuple(place))
    return f"column {column}, row {row + 1}"


def _classes(y: np.ndarray, name: str, target: str) -> tuple[np.ndarray, tuple[Any, ...] | None]:
    if y.dtype.kind == "O":
        if not all(isinstance(value, bool | int | float | str | np.generic) for value in y.tolist()):
            raise ValueError(f"{name}: the target {target!r} has values that are no numbers, texts or truth values")
        y = np.array(y.tolist())
    if y.dtype.kind == "f" or (y.dtype.kind in "iu" and len(np.unique(y)) > MAX_CLASSES):
        if np.isinf(y).any():
            raise ValueError(f"{name}: the target {target!r} has infinite values; replace them by numbers")
        if np.ptp(y) == 0:
            raise ValueError(f"{name}: the target {target!r} is {y[0]} in every row; nothing to learn")
        return y.astype(float), None
    if y.dtype.kind not in "biuOUST":
        raise ValueError(f"{name}: the target {target!r} is {y.dtype}; give numbers, texts or truth values")
    labels, codes = np.unique(y.astype(str) if y.dtype.kind in "OST" else y, return_inverse=True)
    if len(labels) == 1:
        raise ValueError(f"{name}: the target {target!r} has one class only, {labels.tolist()[0]!r}; give two or more")
    return codes.astype(np.int64), tuple(labels.tolist())


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:8])) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
