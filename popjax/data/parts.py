"""Data in parts: one dataset from all tables, and which of its rows validate, test, or form groups."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from popjax.data.built_in import BUILT_IN
from popjax.data.dataset import Dataset, check_missing, from_table, load, read_file
from popjax.data.frames import as_frame, cells_of
from popjax.data.table import PLAINLY, Reading, Table, grouped, joined_tables, parted, table_of
from popjax.data.targets import Reads
from popjax.space.values import absent

SHARE = 0.1  # of the rows for validation, and for test, by default

type Target = str | Sequence[str] | None


class Parts(NamedTuple):
    """A dataset with its parts and groups.

    Attributes:
        validation, test: a share of the rows, or the numbers of the given rows.
        groups: int (rows,), group of each row of the dataset; None if rows are independent.
    """

    dataset: Dataset
    validation: Any
    test: Any
    groups: np.ndarray | None


def parts_of(
    data: Any,
    validation: Any,
    test: Any,
    groups: Any,
    target: Target,
    missing: str,
    reads: Reads | None,
    *,
    own_loss: bool = False,
    whole: bool = False,
) -> Parts:
    """Data, as `supervised` takes it, as one dataset; the rows of parts given as tables are appended.

    Texts, medians and classes are those of all rows. `reads`, `own_loss` and `whole`: see `from_arrays`. Raises
    ValueError in one line.
    """
    check_missing(missing)
    if isinstance(data, str) and data in BUILT_IN:
        data = load(data, None if target is None else str(target))
    if isinstance(data, Dataset):
        if is_table(validation) or is_table(test) or isinstance(groups, str):
            raise ValueError("a Dataset is coded already: give parts by the numbers of rows, and groups as an array")
        rows = len(data) + len(data.dropped)
        lost = data.dropped if groups is not None and np.shape(groups) == (rows,) else ()
        return Parts(data, validation, test, group_numbers(groups, len(data) + len(lost), lost))
    if target is not None and is_pair(data):
        named = any(is_table(part) and not is_pair(part) for part in (validation, test))
        check_beside(data[0], data[1], str(target), named)
    how = PLAINLY._replace(groups=groups) if isinstance(groups, str) else PLAINLY
    first = as_table(data, target, how)
    tables, places = [first], {"validation": validation, "test": test}
    for name, given in places.items():
        if is_table(given):
            begin = sum(len(table.y) for table in tables)
            tables.append(as_table(given, target or first.target, how))
            places[name] = np.arange(begin, begin + len(tables[-1].y))
    table = joined_tables(tables)
    if isinstance(groups, str):
        table, groups = grouped(table, groups)
    dataset = from_table(table, missing, reads, own_loss=own_loss, whole=whole)
    return Parts(dataset, places["validation"], places["test"], group_numbers(groups, len(table.y), dataset.dropped))


def as_table(given: Any, target: Target, how: Reading = PLAINLY) -> Table:
    """Table from a Table, a file, a DataFrame or (x, y); raises ValueError in one line."""
    if isinstance(given, Table):
        return given
    names = list(target) if isinstance(target, list | tuple) else [target]
    if len(names) != 1 and not (names and all(isinstance(name, str) for name in names)):
        raise ValueError(f"target={target!r}: give the name of a column, or a list of names")
    first = None if names[0] is None else str(names[0])
    is_file = isinstance(given, str | os.PathLike)
    table = read_file(os.fspath(given), first, how) if is_file else table_of(given, first, how.groups)
    return parted(table, [str(name) for name in names]) if len(names) > 1 else table


def is_table(given: Any) -> bool:
    """True if a part is given as rows: a table, a file, or a pair (x, y); False for a share or for row numbers."""
    if isinstance(given, Table | os.PathLike) or hasattr(as_frame(given), "columns"):
        return True
    if isinstance(given, str):
        return os.path.splitext(given)[1] != ""
    return is_pair(given) and (
        hasattr(as_frame(given[0]), "columns") or isinstance(given[0], Mapping) or np.ndim(given[0]) > 0
    )


def is_pair(given: Any) -> bool:
    """True for a tuple or list of two, such as (x, y)."""
    return isinstance(given, tuple | list) and len(given) == 2


def check_beside(x: Any, y: Any, target: str, named: bool) -> None:
    """Raise ValueError if the target beside (x, y) is a column of x, or neither y's name nor of a `named` part."""
    if target in map(str, getattr(as_frame(x), "columns", ())):
        raise ValueError(f"target={target!r} is a column of x in (x, y); give that DataFrame alone, or drop it from x")
    if not named and target != str(getattr(y, "name", None)):
        raise ValueError(f"target={target!r} beside (x, y), which has its targets in y; leave target out")


def group_numbers(groups: Any, count: int, dropped: Any = ()) -> np.ndarray | None:
    """int (rows,): group of each row, without dropped rows; None without groups. Raises ValueError."""
    if groups is None:
        return None
    values = cells_of(groups) if hasattr(groups, "isna") else np.asarray(groups)
    if values.shape != (count,):
        raise ValueError(f"groups has shape {values.shape} for {count} rows; give one a row")
    for row in (row for row, value in enumerate(values.tolist()) if absent(value)):
        raise ValueError(f"groups: row {row + 1} has none; give one to each row")
    values = values.astype(str) if values.dtype == object else values
    return np.unique(np.delete(values, np.asarray(dropped, int)), return_inverse=True)[1]
