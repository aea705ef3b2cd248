"""Columns of hyperparameters to and from tables. No JAX here."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from popjax.space.scales import Scale
from popjax.space.values import absent

if TYPE_CHECKING:
    import pyarrow as pa


def arrow(column: np.ndarray, scale: Scale | None = None) -> Any:
    """Arrow array of a column of hyperparameters, null where inactive; values of several types become text."""
    import pyarrow as pa

    values = [None if absent(value) else value for value in column.tolist()]
    if None in values and scale is not None and scale.whole:
        values = [None if value is None else int(value) for value in values]
    kinds = {type(value) for value in values} - {type(None)}
    return pa.array(values if len(kinds) <= 1 else [None if value is None else str(value) for value in values])


def sampled(column: Any, scale: Scale) -> np.ndarray:
    """NumPy column as it was sampled; a choice of several types, stored as text, gets its values back."""
    values = np.asarray(column.to_numpy())
    known = {str(value): value for value in getattr(scale, "values", ())}
    if values.dtype != object or set(map(type, known.values())) == {str}:
        return values
    values[:] = [known.get(value, value) for value in values.tolist()]
    return values


def curves_table(members: Mapping[str, np.ndarray]) -> "pa.Table":
    """Arrow table, a row per epoch of a member: its indices and the metrics (trials, folds, repeats, epochs)."""
    import pyarrow as pa

    shape = next(iter(members.values())).shape
    index = np.indices(shape).reshape(4, -1)
    columns = dict(zip(("trial", "fold", "repeat", "epoch"), index, strict=True))
    return pa.table(columns | {name: values.ravel() for name, values in members.items()})
