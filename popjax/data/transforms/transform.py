"""Interface of a transform. No JAX here."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

type Columns = Sequence[tuple[str, str | None]]


@dataclasses.dataclass(frozen=True, eq=False)
class Transform:
    """A map fitted on training rows and applied to all rows, of features or of one entry of a dict of them.

    A user-defined one is a frozen dataclass derived from this one. Its fields are its settings and what `fit` found:
    numbers, texts, lists of them, and arrays of numbers; a run's directory keeps nothing else of it.

    Attributes:
        missing: True if rows may have missing cells, NaN in `x`, although the table is read with missing="error".

    >>> @dataclasses.dataclass(frozen=True, eq=False)
    ... class Logs(Transform):
    ...     least: np.ndarray | None = None
    ...     def fit(self, x, columns):
    ...         return Logs(x.min(0))
    ...     def __call__(self, x):
    ...         return np.log1p(np.maximum(x - self.least, 0))
    >>> fitted = Logs().fit(np.array([[1.0], [3.0]]), [("size", None)])
    >>> fitted(np.array([[1.0]])), fitted.to_json()
    (array([[0.]]), {'least': [1.0]})
    """

    missing: ClassVar[bool] = False

    def fit(self, x: np.ndarray, columns: Columns) -> "Transform":
        """Transform that is fitted to training rows.

        Args:
            x: features (rows, ...), float64.
            columns: for a table the origin of each feature: (column, None) for numbers, (column, text) for a one-hot
                feature; else empty.
        """
        raise NotImplementedError

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Rows (rows, ...) as the model receives them, of any shape; each row is transformed independently."""
        raise NotImplementedError

    def seeded(self, seed: int) -> "Transform":
        """Copy that draws random numbers from this seed, that of the split; itself if it draws none."""
        return self

    def to_json(self) -> dict[str, Any]:
        """Fields as JSON values, for `from_json`."""
        return {field.name: as_json(getattr(self, field.name)) for field in dataclasses.fields(self)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`; lists of numbers become arrays. Raises ValueError for other fields."""
        names = {field.name for field in dataclasses.fields(cls)}
        if names != set(content):
            raise ValueError(f"the transform {cls.__name__} has the fields {sorted(names)}, not {sorted(content)}")
        return cls(**{name: as_array(value) if isinstance(value, list) else value for name, value in content.items()})


def as_json(value: Any) -> Any:
    """Field as a JSON value: arrays and tuples become lists, NumPy scalars Python numbers."""
    if isinstance(value, list | tuple):
        return [as_json(one) for one in value]
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def as_array(values: list[Any]) -> Any:
    """Array of numbers; anything else, such as texts and lists of different lengths, unchanged."""
    try:
        array = np.asarray(values)
    except ValueError:
        return values
    return array if array.dtype.kind in "biuf" else values
