"""Targets of a custom loss."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from popjax.supervision.kinds.kind import Kind


@dataclasses.dataclass(frozen=True)
class Own(Kind):
    """Targets, outputs and predictions are any numbers (rows, ...).

    Attributes:
        loss: `(outputs, targets)` -> one value a row (rows,); None if this process does not have it.
        width: the width of a built-in model's output; 0 where the targets do not define it.
    """

    name: ClassVar[str] = "own"
    own: ClassVar[bool] = True

    loss: Any = None
    width: int = 0

    @property
    def outputs(self) -> int:
        """The width of a model's output; 0 where the targets do not define it."""
        return self.width

    def check(self, outputs: jax.Array, rows: int) -> None:
        """Raise ValueError for a model's outputs of another shape than (rows, ...)."""
        if outputs.shape[:1] != (rows,):
            what = f"the model's outputs for {rows} rows have the shape {outputs.shape}"
            raise ValueError(f"{what}; give (rows, ...)")

    def row_losses(self, predicted: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """The custom loss (rows,); raises ValueError where it is None."""
        if self.loss is None:
            raise ValueError("a custom loss is not saved with a run; score the predictions with it yourself")
        return np.asarray(self.loss(jnp.asarray(predicted), jnp.asarray(targets)), float)

    def scores(self, predicted: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        """The mean of the custom loss."""
        return {"loss": float(self.row_losses(predicted, targets).mean())}

    def score(self, predicted: np.ndarray, targets: np.ndarray) -> float:
        """The negative mean of the custom loss."""
        return -self.scores(predicted, targets)["loss"]

    def describe(self) -> dict[str, Any]:
        """This kind as JSON values."""
        return super().describe() | {"width": self.width}
