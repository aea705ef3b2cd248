"""Warnings about a random split of rows that may depend on each other, in time or by what they are of. No JAX here."""

import re
import shlex
from collections.abc import Iterator

import numpy as np

from popjax.data.dataset import Dataset
from popjax.data.dates import dates_of_parts, part_names
from popjax.data.splits import Splitting

FEW = 20  # different dates or IDs from which a line is worth it
SEVERAL = 1.5  # rows of an ID, in the mean, likewise
ID = re.compile(r"(.*[\W_])?[Ii][Dd]|.*[a-z]I[Dd]")


def dependent(dataset: Dataset, splitting: Splitting) -> Iterator[str]:
    """A line for each date that the rows are in the order of, and each ID of several rows, where rows part at random.

    A column is taken for an ID by its name, such as "id", "patient_id" or "userID".
    """
    shares = not np.ndim(splitting.validation) and not np.ndim(splitting.test)
    table = isinstance(dataset.x, np.ndarray) and dataset.x.ndim == 2 and bool(dataset.columns)
    if not (table and shares and splitting.shuffle and splitting.groups is None):
        return
    columns = dict(zip(dataset.columns, np.asarray(dataset.x).T, strict=True))
    for date in dataset.dates:
        if in_order(columns[part_names(date)[-1]]):
            remedy = "if later rows are to be predicted, split in time: shuffle=False (--ordered)"
            yield f"the rows are in the order of {date!r}, and split at random: {remedy}"
    parts = dates_of_parts(dataset.dates)
    for name, values in columns.items():
        if name in parts or not ID.fullmatch(name):
            continue
        count = len(np.unique(values))
        if FEW <= count <= len(values) / SEVERAL:
            together = f"keep those of one together: groups={name!r} (--groups {shlex.quote(name)})"
            remedy = f"if rows of new ones are to be predicted, {together}"
            yield f"{len(values):,} rows have {count:,} different {name!r}, and are split at random: {remedy}"


def in_order(days: np.ndarray) -> bool:
    """True for at least `FEW` different days, none missing, that never fall.

    >>> in_order(np.arange(40) // 2), in_order(np.arange(40)[::-1]), in_order(np.zeros(40))
    (True, False, False)
    """
    return bool((np.diff(days) >= 0).all() and len(np.unique(days)) >= FEW)
