"""Dataset: rows and targets, loaded and checked. No JAX here."""

import dataclasses
import functools
import hashlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from popjax.data.built_in import BUILT_IN, built_in_table
from popjax.data.checks import (
    AUTO,
    KEEP,
    as_numbers,
    as_targets,
    check_features,
    check_rows,
    lasting,
    mirrored,
    targets_lost,
    without_missing,
)
from popjax.data.columns import Column, Levels, occurring, one_hot, one_hot_features, with_missing_level
from popjax.data.csv_table import read_csv
from popjax.data.dates import NO_DATES, Dates, day_text, part_names, parts
from popjax.data.doubts import (
    doubt_of_classes,
    doubt_of_constants,
    doubt_of_spelling,
    doubt_of_words,
    doubts,
    doubts_of_numbers,
    left_out,
)
from popjax.data.faults import Faults
from popjax.data.inputs import entries, mapped
from popjax.data.npz_table import read_npz
from popjax.data.parquet_table import read_parquet
from popjax.data.table import PLAINLY, Reading, Table
from popjax.data.targets import Reads, guessed

READERS: Mapping[str, Callable[..., Table]] = {
    ".csv": read_csv,
    ".tsv": functools.partial(read_csv, delimiters="\t"),
    ".parquet": read_parquet,
    ".npz": read_npz,
}
PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")
EMPTY = "the column {!r} has no value at all, and is left out"
IS_DATE = (
    "the column {!r} holds dates: it becomes year, month, weekday, day of the year and days since {}; "
    "as texts they are levels (--dates none)"
)
MISSING = ("error", "drop", "median", AUTO)


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Numeric rows and their targets.

    Attributes:
        x: features (rows, ...), float64 (integers stay integers on request, see `from_arrays`); or a dict of arrays
            (rows, ...), in which integers stay integers. A text column holds the index of each text in its `levels`,
            -1 for other texts.
        y: int indices into `classes` (rows,), bool (rows, labels), or float (rows,) or (rows, outputs); for the kind
            "own" any numbers (rows, ...), or the object `x`, transformed like it.
        classes: labels of a classification, in their order; else None.
        columns: names of the columns; empty if there are none.
        name: where the rows come from.
        target: name of the target.
        kind: the name of the kind of the targets, such as "classification"; derived from y if empty.
        outputs: names of several labels or values.
        levels: text column -> its distinct texts, sorted; the empty text if missing cells are a level of their own.
        fill: coded values that replace missing cells, (columns,) or in the shape of a row of `x`; None without
            missing="median".
        dates: date column -> its earliest day, since 1970; `columns` has its parts (see `popjax.data.dates`).
        dropped: numbers of the rows that were left out, among those given.
        doubts: warnings about the target and the columns, one line each.

    >>> import popjax as pj
    >>> dataset = pj.supervised("wine").dataset
    >>> dataset.x.shape, dataset.classes, dataset.columns[0]
    ((178, 13), ('class_0', 'class_1', 'class_2'), 'alcohol')
    """

    x: np.ndarray
    y: np.ndarray
    classes: tuple[Any, ...] | None
    columns: tuple[str, ...] = ()
    name: str = "data"
    target: str = "y"
    kind: str = ""
    outputs: tuple[str, ...] = ()
    levels: Levels = dataclasses.field(default_factory=dict)
    fill: np.ndarray | None = None
    dropped: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, int))
    doubts: tuple[str, ...] = ()
    dates: Dates = NO_DATES

    def __post_init__(self) -> None:
        if not self.kind:
            told = "multilabel" if self.labelled else "regression"
            told = "own" if self.y is self.x else told
            object.__setattr__(self, "kind", told if self.classes is None else "classification")
        if not self.outputs and self.kind != "own" and self.y.ndim == 2:
            names = tuple(f"{self.target}{at}" for at in range(self.y.shape[1]))
            object.__setattr__(self, "outputs", names)

    def __len__(self) -> int:
        """Number of rows."""
        return len(entries(self.x)[0])

    @property
    def mirrored(self) -> bool:
        """True if the targets are the features, as for an autoencoder."""
        return self.y is self.x

    @property
    def words(self) -> str:
        """Kind and number of the targets, in words."""
        kind = "a loss of your own" if self.kind == "own" else self.kind
        if self.classes is not None:
            return f"{kind}, {len(self.classes)} classes"
        return f"{kind}, {len(self.outputs)} {'labels' if self.labelled else 'values'}" if self.outputs else kind

    @property
    def labelled(self) -> bool:
        """True if the targets are truth values of several labels (rows, labels)."""
        return self.y.dtype.kind == "b" and self.y.ndim == 2

    @property
    def one_hot(self) -> np.ndarray:
        """Features of an array or a table (rows, ...), texts one-hot, before a transform."""
        return one_hot(self.x, self.columns, self.levels)

    @property
    def features(self) -> list[tuple[str, str | None]]:
        """Origin of each one-hot feature: (column, None) for numbers, (column, text); empty without columns."""
        return one_hot_features(self.columns, self.levels) if self.columns and self.x.ndim == 2 else []

    @property
    def digest(self) -> str:
        """SHA-256 of features and targets."""
        digest = hashlib.sha256()
        for name, x in sorted(self.x.items()) if isinstance(self.x, Mapping) else [("", self.x)]:
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(x))
        digest.update(np.ascontiguousarray(self.y))
        return digest.hexdigest()


def load(source: str, target: str | None = None, missing: str = "error", reads: Reads | None = None) -> Dataset:
    """Load a built-in dataset by name, or a CSV, TSV, Parquet or NPZ file; raises ValueError, a line for each error.

    A cell is missing if it is null, empty or "nan" in any case. `missing` makes it an "error", leaves out
    its row ("drop"), fills in the median of its column, in a text column the most frequent text
    ("median"), or keeps it, in a text column as a level of its own ("auto"). Rows with a missing target are left out,
    and so is a column without any value; a line of `Dataset.doubts` says each.
    `reads`: see `from_arrays`.
    """
    check_missing(missing)
    if source in BUILT_IN:
        if target is not None:
            raise ValueError(f"target {target!r}: the dataset {source} has its own target; leave it out")
        return built_in(source)
    return from_table(read_file(source, target), missing, reads)


def check_missing(missing: str) -> None:
    """Raise ValueError for an unknown value of `missing`, even if no cell is missing."""
    if missing not in (*MISSING, KEEP):
        raise ValueError(f"missing={missing!r}: choose one of {', '.join(MISSING)}")


def read_file(source: str, target: str | None = None, how: Reading = PLAINLY) -> Table:
    """Read a file as a Table; raises ValueError if it cannot be read, other errors are in `faults`."""
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
    """The dataset with rows of shape (height, width, channels); raises ValueError if they are not images."""
    if isinstance(dataset.x, Mapping):
        raise ValueError(f"{dataset.name}: a dict of arrays needs a custom model; give images as one array")
    shape = dataset.x.shape[1:]
    if dataset.name in IMAGES and math.prod(shape) == math.prod(IMAGES[dataset.name]):
        shape = IMAGES[dataset.name]
    if len(shape) not in (2, 3) or min(shape[:2]) < 2:
        what = "give (height, width) or (height, width, channels), 2 pixels at least"
        raise ValueError(f"{dataset.name}: rows of shape {shape} are not images; {what}")
    x = dataset.x.reshape(-1, *shape, *(1,) * (3 - len(shape)))
    return dataclasses.replace(dataset, x=x, y=x if dataset.mirrored else dataset.y)


def built_in(name: str) -> Dataset:
    """A dataset of scikit-learn that needs no download."""
    x, y, classes, columns = built_in_table(name)
    return Dataset(x.astype(float), y, classes, columns, name, "target")


def from_table(
    table: Table, missing: str = "error", reads: Reads | None = None, *, own_loss: bool = False, whole: bool = False
) -> Dataset:
    """Dataset from a table; `reads`, `own_loss` and `whole`: see `from_arrays`. Raises ValueError, a line an error."""
    if table.faults:
        refuse_all(table, missing)
    columns = without_empty(table)
    notes = (*table.notes, *(EMPTY.format(name) for name in table.columns if name not in columns))
    coded, dates = with_parts(columns)
    guessed = tuple(IS_DATE.format(name, day_text(dates[name])) for name, each in columns.items() if each.guessed)
    x = table.x if table.x is not None else np.column_stack([column.values for column in coded.values()])
    dataset = from_arrays(
        x,
        x if table.mirrored else table.y,
        tuple(coded),
        missing,
        name=table.name,
        target=table.target,
        levels={name: column.levels for name, column in coded.items() if column.levels is not None},
        reads=reads,
        outputs=table.outputs,
        own_loss=own_loss,
        whole=whole,
        dates=dates,
    )
    return dataclasses.replace(dataset, doubts=(*notes, *guessed, *dataset.doubts))


def refuse_all(table: Table, missing: str) -> None:
    """Raise ValueError for the errors of a table, and for missing cells in its other columns, a line each."""
    faults, columns = Faults(table.faults), without_empty(table)
    if columns:
        coded, _ = with_parts(columns)
        levels = {name: column.levels for name, column in coded.items() if column.levels is not None}
        known = np.flatnonzero(~targets_lost(table.y))
        x = np.column_stack([column.values for column in coded.values()])[known]
        faults.of(without_missing, x, tuple(coded), missing, table.name, levels, known)
    faults.refuse()


def with_parts(columns: Mapping[str, Column]) -> tuple[dict[str, Column], dict[str, float]]:
    """The columns with the parts of each date in its place, and date -> its first day, since 1970.

    Raises ValueError for a part with the name of another column.
    """
    expanded, dates = {}, {}
    for name, column in columns.items():
        if not column.date:
            expanded[name] = column
            continue
        for part in part_names(name):
            if part in columns:
                what = f"the date {name!r} becomes a column {part!r}, and there is one"
                raise ValueError(f"{what}; rename it, or leave one out (--drop)")
        dates[name] = float(np.floor(np.nanmin(column.values)))
        expanded |= dict(zip(part_names(name), map(Column, parts(column.values, dates[name]).T), strict=True))
    return expanded, dates


def without_empty(table: Table) -> Mapping[str, Column]:
    """The columns of a table that have a value in a row with a target; raises ValueError if none has."""
    if table.x is not None or not table.columns:
        return {}
    known = ~targets_lost(table.y)
    if not known.any():
        return table.columns
    left = {name: column for name, column in table.columns.items() if not np.isnan(column.values[known]).all()}
    if not left:
        raise ValueError(f"{table.name}: no column has a value; give features")
    return left


def from_arrays(
    x: Any,
    y: Any,
    columns: tuple[str, ...] = (),
    missing: str = "error",
    name: str = "arrays",
    target: str = "y",
    levels: Levels | None = None,
    reads: Reads | None = None,
    outputs: tuple[str, ...] = (),
    own_loss: bool = False,
    whole: bool = False,
    dates: Dates = NO_DATES,
) -> Dataset:
    """Dataset from features and targets (rows, ...), which may be the same object; or coded columns.

    Args:
        x: an array (rows, ...), or a dict of such arrays.
        y: the targets, or the object `x`.
        columns: names of the columns.
        missing: treatment of missing cells (see `load`).
        levels: levels of the coded text columns.
        reads: how the targets of a kind are read; if None, the kind is guessed (see `guessed`).
        outputs: names of several targets.
        own_loss: True if the targets may be for a user-defined loss, by which a guess is another.
        whole: True if integers of an array stay integers, as those of a dict do.
        dates: the dates whose parts are among the columns.

    Raises ValueError, a line for each error (`Problems` for several).
    """
    same, given = y is x, mapped(np.asarray, x)
    check_features(given, name, columns)
    y = entries(given)[0] if same else as_targets(y, name, target, len(entries(given)[0]))
    left = np.ones(len(y), bool) if same else lasting(y, name, target)
    kept_whole, faults = whole or isinstance(given, Mapping), Faults()
    reads = functools.partial(guessed, own_loss=own_loss) if reads is None else reads
    x = mapped(lambda one: as_numbers(one[left], kept_whole), given)
    without = faults.of(without_missing, x, columns, missing, name, levels or {}, np.flatnonzero(left))
    if without is None:  # what is wrong with the targets is said at once
        faults.of(reads, y[left], name, target) if not same else None
        faults.refuse()
    assert without is not None
    x, kept, fill = without
    unknown = int((~left).sum())
    left[left] = kept
    check_rows(int(left.sum()), name, len(left))
    targets = mirrored(x, name, own_loss) if same else reads(y[left], name, target)
    if levels:
        x, levels, fill = occurring(x, columns, levels, fill)
        x, levels = with_missing_level(x, columns, levels) if missing == AUTO else (x, levels)
    dropped = np.flatnonzero(~left)
    partial = [part for date in dates for part in part_names(date)]
    lines = (
        doubt_of_words(f"the target {target!r}", "class", targets.classes or ()),
        doubt_of_spelling(f"the target {target!r}", "class", targets.classes or ()),
        left_out(len(left), len(dropped), unknown, target),
        targets.doubt,
        doubt_of_classes(target, targets.classes or ()),
        *doubts(levels or {}, int(left.sum())),
        *doubts_of_numbers(x, columns, levels or {}, partial),
        doubt_of_constants(x, columns, partial),
    )
    return Dataset(
        x,
        x if same else targets.y,
        targets.classes,
        columns,
        name=name.strip("'"),
        target=target,
        kind=targets.kind,
        outputs=outputs if targets.kind != "own" and targets.y.ndim == 2 else (),
        levels=levels or {},
        fill=fill,
        dropped=dropped,
        doubts=tuple(filter(None, lines)),
        dates=dates,
    )
