"""Data with rows of their own to validate or to test with, and with groups: one dataset, and which rows are which."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from popjax.data.built_in import BUILT_IN
from popjax.data.dataset import Dataset, check_missing, from_table, load, read_file
from popjax.data.table import PLAINLY, Reading, Table, grouped, joined_tables, parted, table_of
from popjax.space.values import absent

SHARE = 0.1  # of the rows validate, and as many test, where nobody says otherwise

type Target = str | Sequence[str] | None


class Parts(NamedTuple):
    """A dataset and what is said of its rows.

    Attributes:
        validation, test: a share, or the numbers of rows.
        groups: the number of each row's group (rows,); None if rows are on their own.
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
    kind: str | None,
    *,
    own_loss: bool = False,
    whole: bool = False,
) -> Parts:
    """What `supervised` takes as data, as one dataset: rows that come as a table of their own are put after the others.

    Texts, medians and classes are those of all rows. `own_loss` and `whole`: see `from_arrays`. Raises
    ValueError in one line.
    """
    check_missing(missing)
    if isinstance(data, str) and data in BUILT_IN:
        data = load(data, None if target is None else str(target))
    if isinstance(data, Dataset):
        if is_table(validation) or is_table(test) or isinstance(groups, str):
            raise ValueError("a Dataset is coded already: give parts by the numbers of rows, and groups as an array")
        return Parts(data, validation, test, group_numbers(groups, len(data)))
    if target is not None and is_pair(data):
        named = any(is_table(part) and not is_pair(part) for part in (validation, test))
        check_beside(data[0], data[1], str(target), named)
    first = as_table(data, target)
    tables, places = [first], {"validation": validation, "test": test}
    for name, given in places.items():
        if is_table(given):
            begin = sum(len(table.y) for table in tables)
            tables.append(as_table(given, target or first.target))
            places[name] = np.arange(begin, begin + len(tables[-1].y))
    table = joined_tables(tables)
    if isinstance(groups, str):
        table, groups = grouped(table, groups)
    dataset = from_table(table, missing, kind, own_loss=own_loss, whole=whole)
    return Parts(dataset, places["validation"], places["test"], group_numbers(groups, len(table.y), dataset.dropped))


def as_table(given: Any, target: Target, how: Reading = PLAINLY) -> Table:
    """Rows as a table: one already, a file's, a DataFrame's or those of (x, y); raises ValueError in one line."""
    if isinstance(given, Table):
        return given
    names = list(target) if isinstance(target, list | tuple) else [target]
    if len(names) != 1 and not (names and all(isinstance(name, str) for name in names)):
        raise ValueError(f"target={target!r}: give the name of a column, or a list of names")
    first = None if names[0] is None else str(names[0])
    table = read_file(os.fspath(given), first, how) if isinstance(given, str | os.PathLike) else table_of(given, first)
    return parted(table, [str(name) for name in names]) if len(names) > 1 else table


def is_table(given: Any) -> bool:
    """Whether a part is given as rows: a table, a file, or a pair (x, y); not as a share or as numbers."""
    if isinstance(given, Table | os.PathLike) or hasattr(given, "columns"):
        return True
    if isinstance(given, str):
        return os.path.splitext(given)[1] != ""
    return is_pair(given) and (hasattr(given[0], "columns") or isinstance(given[0], Mapping) or np.ndim(given[0]) > 0)


def is_pair(given: Any) -> bool:
    """Whether something is a pair, such as (x, y)."""
    return isinstance(given, tuple | list) and len(given) == 2


def check_beside(x: Any, y: Any, target: str, named: bool) -> None:
    """Raise ValueError for a target beside (x, y) that is another than y's own name, unless a part is `named` so."""
    if target in map(str, getattr(x, "columns", ())):
        raise ValueError(f"target={target!r} is a column of x in (x, y); give that DataFrame alone, or drop it from x")
    if not named and target != str(getattr(y, "name", None)):
        raise ValueError(f"target={target!r} beside (x, y), which has its targets in y; leave target out")


def group_numbers(groups: Any, count: int, dropped: Any = ()) -> np.ndarray | None:
    """The groups of so many rows, without those that were left out, as numbers; raises ValueError."""
    if groups is None:
        return None
    given = np.asarray(groups)
    if given.shape != (count,):
        raise ValueError(f"groups has shape {given.shape} for {count} rows; give one a row")
    for row in (row for row, value in enumerate(given.tolist()) if absent(value)):
        raise ValueError(f"groups: row {row + 1} has none; give one to each row")
    given = given.astype(str) if given.dtype == object else given
    return np.unique(np.delete(given, np.asarray(dropped, int)), return_inverse=True)[1]
