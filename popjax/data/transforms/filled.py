"""Missing cells filled in before another transform, with indicators beside them. No JAX here."""

import dataclasses
import warnings
from typing import Any, ClassVar

import numpy as np

from popjax.data.transforms.transform import Columns, Transform


@dataclasses.dataclass(frozen=True, eq=False)
class Filled(Transform):
    """Another transform, of features in which the median of the training rows replaces missing cells.

    Indicators, 1 where a cell was missing, else 0, follow as further features; they stay 0 where no training row of the
    fold lacked one, so that a model reads none that it never saw.

    Attributes:
        inner: the other transform.
        lacking: bool (features,): features with an indicator.
        median: of the training rows (features,); 0 of a feature without any value.
        trained: bool (features,): features that lack a cell in a training row.
    """

    inner: Any = None
    lacking: Any = None
    median: Any = None
    trained: Any = None

    missing: ClassVar[bool] = True

    def looking(self, x: np.ndarray) -> "Filled":
        """With indicators of the features that lack a cell in the rows `x` of all folds: equal ones in each."""
        return dataclasses.replace(self, lacking=np.isnan(x).any(0))

    def fit(self, x: np.ndarray, columns: Columns) -> "Filled":
        """Fit the medians, and the other transform to the rows that are filled in."""
        with warnings.catch_warnings(action="ignore"):  # of features without any value
            median = np.nan_to_num(np.nanmedian(x, axis=0))
        fitted = dataclasses.replace(self, median=median, trained=np.isnan(x).any(0))
        return dataclasses.replace(fitted, inner=self.inner.fit(fitted.whole(x), columns))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Rows (rows, features + indicators)."""
        xp = x.__array_namespace__()
        indicators = (xp.isnan(x) & self.trained[None])[:, self.lacking].astype(float)
        features: np.ndarray = xp.concat([self.inner(self.whole(x)), indicators], axis=1)
        return features

    def whole(self, x: np.ndarray) -> np.ndarray:
        """Rows without missing cells."""
        xp = x.__array_namespace__()
        values: np.ndarray = xp.where(xp.isnan(x), self.median[None], x)
        return values

    def to_json(self) -> dict[str, Any]:
        """The medians and the features with an indicator, without the other transform."""
        return {name: np.asarray(getattr(self, name)).tolist() for name in ("lacking", "median", "trained")}


def filling(transform: Transform, x: np.ndarray) -> Transform:
    """A transform that fills in missing cells before another one, where features `x` are those of a table."""
    return Filled(transform) if x.ndim == 2 and x.dtype.kind == "f" else transform
