"""Table before it is coded: columns or an array, with its targets; several of them joined. No JAX here."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from popjax.core.text import short
from popjax.data.checks import as_targets
from popjax.data.columns import (
    Column,
    beyond_floats,
    check_names,
    check_target,
    coded_texts,
    object_column,
    some,
    text_column,
)
from popjax.data.dates import days_of_times
from popjax.data.faults import Faults
from popjax.data.frames import (
    as_frame,
    cells_of,
    dated,
    feature_cells,
    float_cells,
    foreign,
    narwhal,
    numeric,
    series_of,
    times_of,
    truths,
    without_column,
)
from popjax.data.inputs import entries, mapped
from popjax.data.notation import PLAIN, Notation

TRUTHS = {"true", "false"}


class Table(NamedTuple):
    """Features and targets as they were given.

    Attributes:
        columns: name -> Column, for a table; empty for an array.
        x: features (rows, ...) of an array or of a dict of arrays; None for a table.
        y: targets (rows,) or (rows, outputs), None or NaN where missing.
        name: where they come from.
        target: name of the target.
        notes: warnings about what was done to it, one line each.
        outputs: names of several targets.
        mirrored: True if the targets are the features.
        faults: errors in it, one line each, for which it cannot be used; their columns are left out.
    """

    columns: Mapping[str, Column]
    x: Any
    y: np.ndarray
    name: str
    target: str
    notes: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    mirrored: bool = False
    faults: tuple[str, ...] = ()


def table_of(data: Any, target: str | None, groups: str | None = None) -> Table:
    """Table of a DataFrame with the column `target`, or of a pair (x, y), either of which may be a DataFrame.

    `groups`: the column of groups of a DataFrame, if it is one. Raises ValueError in one line for anything else.
    """
    data = as_frame(data)
    if hasattr(data, "columns"):
        return frame_table(data, target, groups)
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise ValueError(f"data is a {type(data).__name__}; give (x, y), a DataFrame, a file's name or a Dataset")
    same = data[0] is data[1]
    x = as_frame(data[0])
    y = x if same else as_frame(data[1])
    if isinstance(x, Mapping) and not x:
        raise ValueError("x is an empty dict; give an array, or a dict of arrays")
    for name, array in (*(("x", entry) for entry in entries(x)), ("y", y)):
        if hasattr(array, "toarray"):
            raise ValueError(f"arrays: {name} is sparse; give {name}.toarray()")
    for array in entries(x):
        if np.ndim(array) == 0:
            raise ValueError(f"arrays: x is a {type(array).__name__}; give numbers of shape (rows, features)")
    mirrored, is_frame = y is x, hasattr(x, "columns")
    y = series_of(y, 0) if len(getattr(y, "columns", ())) == 1 else y
    outputs = tuple(str(name) for name in getattr(y, "columns", ())) if not mirrored else ()
    name = str(getattr(y, "name", None) or target or "y")
    targets = np.zeros(len(entries(x)[0])) if mirrored else targets_beside(x, y, name, outputs)
    if not is_frame:
        return Table({}, x, targets, "arrays", name, outputs=outputs, mirrored=mirrored)
    columns, faults = frame_columns(x, groups)
    return Table(columns, None, targets, "DataFrame", name, outputs=outputs, mirrored=mirrored, faults=faults)


def targets_beside(x: Any, y: Any, name: str, outputs: Sequence[str]) -> np.ndarray:
    """Targets (rows,) or (rows, outputs) given beside features; `outputs` are the columns of y if it has several."""
    rows, is_frame = len(entries(x)[0]), hasattr(x, "columns")
    if outputs:
        check_names("y", outputs)
        columns = [frame_column(output, series_of(y, at)) for at, output in enumerate(outputs)]
        return as_targets(joint_targets(columns, outputs, "y"), "y", name, rows)
    in_frame = hasattr(y, "isna") or narwhal(y)
    targets = cells_of(y) if in_frame and (is_frame or not isinstance(y.dtype, np.dtype)) else y
    return as_targets(targets, "DataFrame" if is_frame else "arrays", name, rows)


def parted(table: Table, outputs: Sequence[str]) -> Table:
    """The table, its target the first of several, with the others taken from its columns. Raises ValueError."""
    Faults(table.faults).refuse()
    check_names(table.name, outputs)
    for name in outputs[1:]:
        check_target(table.name, [*table.columns, table.target], name)
    rest = {name: column for name, column in table.columns.items() if name not in outputs}
    if not rest:
        raise ValueError(f"{table.name} has no column but the targets {some(outputs)}; add features")
    first = object_column(table.name, table.target, np.array([*table.y, None], object)[:-1])
    columns = [first, *(table.columns[name] for name in outputs[1:])]
    y, target = joint_targets(columns, outputs, table.name), ", ".join(outputs)
    return table._replace(columns=rest, y=y, target=target, outputs=tuple(outputs))


def joint_targets(columns: Sequence[Column], names: Sequence[str], source: str) -> np.ndarray:
    """Several targets as one array (rows, outputs): bool if all are booleans, int if all are 0 or 1, else float.

    None where missing, NaN among floats. Raises ValueError for texts other than true and false.
    """
    truths = [
        column.truth or (column.levels is not None and {text.lower() for text in column.levels} <= TRUTHS)
        for column in columns
    ]
    for name, column, truth in zip(names, columns, truths, strict=True):
        if column.date:
            raise ValueError(f"{source}: the target {name!r} holds dates; give numbers or truth values")
        if column.levels is not None and not truth:
            what = f"the target {name!r} is one of several, which are numbers or truth values, and holds text"
            raise ValueError(f"{source}: {what} ({short(column.levels[0])}); name it alone, or write 0 and 1")
    values = [
        column.values if column.levels is None else np.where(np.isnan(column.values), np.nan, truth_of(column))
        for column in columns
    ]
    y = np.stack(values, 1)
    lost = np.isnan(y)
    whole = bool(np.isin(y[~lost], (0, 1)).all())
    kind: Any = bool if all(truths) else int if whole else float
    if kind is float or not lost.any():
        return y.astype(kind)
    joint = np.where(lost, 0, y).astype(kind).astype(object)
    joint[lost] = None
    return joint


def truth_of(column: Column) -> np.ndarray:
    """float (rows,): 1 where a text column holds "true" in any case, else 0."""
    codes = np.where(np.isnan(column.values), -1, column.values).astype(int)
    return np.array([*(text.lower() == "true" for text in column.levels or ()), 0], float)[codes]


def frame_table(frame: Any, target: str | None, groups: str | None = None) -> Table:
    """Table of a DataFrame with the column `target`."""
    names = [str(name) for name in frame.columns]
    check_names("DataFrame", names)
    target = check_target("DataFrame", names, None if target is None else str(target))
    index = names.index(target)
    columns, faults = frame_columns(without_column(frame, index), groups)
    return Table(columns, None, cells_of(series_of(frame, index)), "DataFrame", target, faults=faults)


def frame_columns(frame: Any, groups: str | None = None) -> tuple[dict[str, Column], tuple[str, ...]]:
    """Columns of a DataFrame by name, coded, and the errors of others, one line each.

    That of `groups` may have any number of texts, and others beside.
    """
    names, faults = [str(name) for name in frame.columns], Faults()
    check_names("DataFrame", names)
    read = {name: group_column if name == groups else frame_column for name in names}
    columns = {name: faults.of(read[name], name, series_of(frame, index)) for index, name in enumerate(names)}
    return {name: column for name, column in columns.items() if column is not None}, tuple(faults)


def frame_column(name: str, series: Any) -> Column:
    """Column of a DataFrame, coded; raises ValueError if it holds neither numbers, nor texts, nor dates."""
    if numeric(series):
        return Column(float_cells(series), None, truths(series))
    if dated(series):
        return Column(days_of_times(times_of(series)), date=True)
    if strange := foreign(series):
        what = f"column {name!r} holds {strange}, neither numbers nor text"
        raise ValueError(f"DataFrame: {what}; convert it or drop it")
    return object_column("DataFrame", name, feature_cells(series))


def group_column(name: str, series: Any) -> Column:
    """Column of a DataFrame that tells groups apart: dates as they are, numbers that float64 has, the rest as texts."""
    if dated(series) or (numeric(series) and not beyond_floats(float_cells(series))):
        return frame_column(name, series)
    known: dict[str, int] = {}
    codes = coded_texts(("" if cell is None else str(cell) for cell in cells_of(series)), known)
    return text_column(codes, list(known))


def joined_tables(tables: Sequence[Table]) -> Table:
    """Table of the rows of several tables, one after another; raises ValueError if they are not alike."""
    first = tables[0]
    if len(tables) == 1:
        return first
    Faults(line for table in tables for line in table.faults).refuse()
    if len({table.mirrored for table in tables}) > 1:
        raise ValueError("y is x in some parts of the data and not in others; give (x, x) for each")
    tables = [first, *(with_outputs_of(other, first) for other in tables[1:])]
    for other in tables[1:]:
        check_alike(first, other)
    columns = {name: stacked_columns(name, [table.columns[name] for table in tables]) for name in first.columns}
    x = None if first.x is None else mapped(lambda *each: np.concatenate(each), *(table.x for table in tables))
    notes = tuple(note for table in tables for note in table.notes)
    objects = any(table.y.dtype.kind not in "biuf" for table in tables)
    y = np.concatenate([table.y.astype(object) if objects else table.y for table in tables])
    return first._replace(columns=columns, x=x, y=y, notes=notes)


def with_outputs_of(table: Table, first: Table) -> Table:
    """The table with its targets in the order of another one; raises ValueError if they are not the same."""
    if len(table.outputs) < 2 or not first.outputs or table.outputs == first.outputs:
        return table
    if {*table.outputs} != {*first.outputs}:
        raise ValueError(f"the targets {some(table.outputs)} do not fit {some(first.outputs)}; give the same targets")
    order = [table.outputs.index(name) for name in first.outputs]
    return table._replace(y=table.y[:, order], outputs=first.outputs)


def check_alike(first: Table, other: Table) -> None:
    """Raise ValueError if two tables differ in their columns, or in the shape of a row or target."""
    if (first.x is None) != (other.x is None):
        raise ValueError("the parts of the data are a table and an array; give both as tables, or as arrays")
    then, now = (mapped(lambda x: np.shape(x)[1:], table.x) for table in (first, other))
    if first.x is not None and then != now:
        raise ValueError(f"rows of shape {now} do not fit those of {then}")
    if np.shape(first.y)[1:] != np.shape(other.y)[1:]:
        raise ValueError(f"targets of shape {np.shape(other.y)[1:]} do not fit those of {np.shape(first.y)[1:]}")
    for one, two, what in ((first, other, "lacks"), (other, first, "has")):
        missing = [name for name in one.columns if name not in two.columns]
        if missing:
            verb = "that the training rows lack" if what == "has" else "that the training rows have"
            raise ValueError(f"{other.name} {what} the column {missing[0]!r} {verb}; give the same columns")


def stacked_columns(name: str, columns: Sequence[Column]) -> Column:
    """One column of several tables; raises ValueError if it is text in one and numbers in another."""
    known = [column for column in columns if not np.isnan(column.values).all()]
    kinds = {"text" if column.levels is not None else "dates" if column.date else "numbers" for column in known}
    if len(kinds) > 1:
        one, other = sorted(kinds, reverse=True)[:2]
        named = f" (read texts as dates by --dates {name})" if "dates" in kinds else ""
        what = f"column {name!r} is {one} in one part of the data and {other} in another"
        raise ValueError(f"{what}; give one kind{named}")
    if all(column.levels is None for column in columns):
        date, guessed = any(column.date for column in columns), any(column.guessed for column in columns)
        return Column(np.concatenate([column.values for column in columns]), date=date, guessed=guessed)
    levels = tuple(sorted({text for column in columns for text in column.levels or ()}))
    places = {text: float(index) for index, text in enumerate(levels)}
    coded = [np.array([*(places[text] for text in column.levels or ()), np.nan]) for column in columns]
    values = [
        codes[np.where(np.isnan(column.values), -1, column.values).astype(int)]
        for codes, column in zip(coded, columns, strict=True)
    ]
    return Column(np.concatenate(values), levels)


def grouped(table: Table, groups: str) -> tuple[Table, np.ndarray]:
    """The table without the column `groups`, and the group of each row, int (rows,); raises ValueError."""
    if groups in (table.target, *table.outputs):
        raise ValueError(f"groups={groups!r} is the target; name another column")
    if groups not in table.columns:
        raise ValueError(f"{table.name} has no column {groups!r} for the groups; it has {some(list(table.columns))}")
    values = table.columns[groups].values
    if np.isnan(values).any():
        raise ValueError(f"{table.name}: row {int(np.isnan(values).argmax()) + 1} has no {groups!r}; fill it in")
    left = {name: column for name, column in table.columns.items() if name != groups}
    if not left:
        raise ValueError(f"{table.name} has no column but {groups!r} and the target; add features")
    return table._replace(columns=left), np.unique(values, return_inverse=True)[1]


class Reading(NamedTuple):
    """How a file is read.

    Attributes:
        drop: columns that are left out, whatever they hold; a name that is no column is stripped of spaces.
        na: texts that mean a missing cell, besides the empty one and "nan".
        groups: column of the group of each row, with any number of values.
        notation: how numbers are written.
        dates: the columns that are dates; None for those in which all cells are, of ISO 8601.
    """

    drop: tuple[str, ...] = ()
    na: tuple[str, ...] = ()
    groups: str | None = None
    notation: Notation = PLAIN
    dates: tuple[str, ...] | None = None

    def kept(self, source: str, names: Sequence[str], target: str) -> list[str]:
        """Names of the columns that are read.

        Raises ValueError for one in `drop` that is missing or the target, and for a date that is missing.
        """
        for name in self.dates or ():
            if name not in names or name == target:
                why = "is the target, which is no date" if name in names else f"is no column; there are {some(names)}"
                raise ValueError(f"{source}: {name!r}, named as dates, {why}")
        drop = [name if name in names else name.strip() for name in self.drop]
        for name in drop:
            if name == target:
                raise ValueError(f"{source}: {name!r} is the target, which cannot be left out")
            if name not in names:
                raise ValueError(f"{source} has no column {name!r} to leave out; it has {some(names)}")
        left = [name for name in names if name not in drop]
        if left == [target]:
            raise ValueError(f"{source} has no column but those that are left out; leave out fewer")
        return left


PLAINLY = Reading()
