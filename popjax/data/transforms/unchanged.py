"""The identity transform. No JAX here."""

import numpy as np

from popjax.data.transforms.transform import Columns, Transform


class Unchanged(Transform):
    """Rows as they are; integers stay integers for a user-defined model."""

    def fit(self, x: np.ndarray, columns: Columns) -> "Unchanged":
        """Itself."""
        return self

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The same rows."""
        return x
