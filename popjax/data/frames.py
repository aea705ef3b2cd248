"""Data frames of any library: pandas' as they are, those of polars, Arrow and others through narwhals. No JAX here."""

from typing import Any

import numpy as np


def as_frame(data: Any) -> Any:
    """Another library's frame as one of narwhals; pandas' and anything else unchanged.

    Both have `columns`, the names. Raises ValueError for a lazy frame.
    """
    if hasattr(data, "iloc") or not any(hasattr(type(data), name) for name in ("columns", "column_names")):
        return data
    import narwhals as nw

    frame = nw.from_native(data, pass_through=True)
    if isinstance(frame, nw.LazyFrame):
        raise ValueError(f"the data are a lazy frame of {type(data).__module__.partition('.')[0]}; collect() it")
    return frame


def series_of(frame: Any, at: int) -> Any:
    """The column at a place of a frame."""
    return frame.iloc[:, at] if hasattr(frame, "iloc") else frame.get_column(frame.columns[at])


def without_column(frame: Any, at: int) -> Any:
    """A frame without the column at a place."""
    left = [place for place in range(len(frame.columns)) if place != at]
    return frame.iloc[:, left] if hasattr(frame, "iloc") else frame.select([frame.columns[place] for place in left])


def narwhal(series: Any) -> bool:
    """True for a column of a frame of narwhals."""
    return hasattr(series, "to_native")


def numeric(series: Any) -> bool:
    """True if a column is of a numeric type, or bool."""
    if not narwhal(series):
        return bool(series.dtype.kind in "biuf")
    return bool(series.dtype.is_numeric() or truths(series))


def truths(series: Any) -> bool:
    """True if a column holds truth values."""
    return str(series.dtype) == "Boolean" if narwhal(series) else bool(series.dtype.kind == "b")


def dated(series: Any) -> bool:
    """True if a column holds dates or times."""
    if not narwhal(series):
        return bool(series.dtype.kind == "M")
    return str(series.dtype).partition("(")[0] in ("Date", "Datetime")


def times_of(series: Any) -> np.ndarray:
    """datetime64 (rows,) of a column of dates, UTC, NaT where missing."""
    if not narwhal(series):
        aware = getattr(series.dtype, "tz", None) is not None
        series = series.dt.tz_convert(None) if aware else series
        return np.asarray(series.to_numpy("datetime64[us]"))
    import narwhals as nw

    aware = getattr(series.dtype, "time_zone", None) is not None
    series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if aware else series
    return np.array(series.cast(nw.Datetime("us")).to_list(), "datetime64[us]")


def foreign(series: Any) -> str:
    """The type of a column that holds neither numbers, nor texts, nor dates; else empty."""
    if not narwhal(series):
        return str(series.dtype) if series.dtype.kind in "mc" else ""
    strange = series.dtype.is_temporal() and not dated(series)
    return str(series.dtype) if strange or series.dtype.is_nested() else ""


def float_cells(series: Any) -> np.ndarray:
    """Floats (rows,) of a numeric column, NaN where missing."""
    if not narwhal(series):
        floats: np.ndarray = series.to_numpy(float, na_value=np.nan)
        return floats
    import narwhals as nw

    return np.asarray(series.cast(nw.Float64).to_numpy(), float)


def cells_of(series: Any) -> np.ndarray:
    """Python values (rows,) of a column, or of another pandas array, None where missing."""
    if narwhal(series):
        values = [None if value != value else value for value in series.to_list()]
        return np.array([*values, None], object)[:-1]
    cells: np.ndarray = series.to_numpy(object, copy=True)
    cells[np.asarray(series.isna())] = None
    return cells


def feature_cells(series: Any) -> np.ndarray:
    """As `cells_of`; categories, such as whole numbers, are texts."""
    cells = cells_of(series)
    if str(series.dtype).partition("(")[0] not in ("category", "Categorical", "Enum"):
        return cells
    return np.array([*(cell if cell is None else str(cell) for cell in cells), None], object)[:-1]
