"""The transform that leaves rows as they are. No JAX here."""

import numpy as np

from popjax.data.transforms.transform import Columns, Transform


class Unchanged(Transform):
    """Rows as they are: whole numbers stay whole for a model of one's own."""

    def fit(self, x: np.ndarray, columns: Columns) -> "Unchanged":
        """Itself."""
        return self

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The same rows."""
        return x
