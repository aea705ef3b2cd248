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
    numbers, texts, lists of them, and arrays of numbers; a run's directory keeps nothing else of it. Before training it
    is read back from them, and applied to the first rows, together, again and one by one: the results must be equal.

    Attributes:
        missing: True if rows may have missing cells, NaN in `x`, although the table is read with missing="error".

    >>> import dataclasses
    >>> import numpy as np
    >>> import popjax as pj
    >>> @dataclasses.dataclass(frozen=True, eq=False)
    ... class Logs(pj.Transform):
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
        return cls(**{name: from_lists(value) for name, value in content.items()})


def as_json(value: Any) -> Any:
    """Field as a JSON value: arrays and tuples become lists, NumPy scalars Python numbers.

    An array without entries becomes its dtype and its shape, which a list would not tell.
    """
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, np.ndarray) and value.size == 0:
        return {"dtype": value.dtype.str, "shape": list(value.shape)}
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def from_lists(value: Any) -> Any:
    """Inverse of `as_json`: lists of numbers become arrays; texts, and lists of them, stay as they are.

    >>> from_lists(as_json([np.zeros(0, int), np.ones(2)])), from_lists([[1, 2], [3, 4]]).shape, from_lists(["a"])
    ([array([], dtype=int64), array([1., 1.])], (2, 2), ['a'])
    """
    if isinstance(value, dict) and value.keys() == {"dtype", "shape"}:
        return np.zeros(value["shape"], value["dtype"])
    if not isinstance(value, list) or not value:
        return value
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        return [from_lists(item) for item in value]
    return array if array.dtype.kind in "biuf" else [from_lists(item) for item in value]
