"""What a loss of one's own learns."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from popjax.supervision.kinds.kind import Kind


@dataclasses.dataclass(frozen=True)
class Own(Kind):
    """Targets are any numbers (rows, ...), and so are outputs and predictions.

    Attributes:
        loss: of (outputs, targets), one value a row (rows,); None where predictions are not judged.
        width: of a built-in model's output; 0 where the targets do not tell it.
    """

    name: ClassVar[str] = "own"
    own: ClassVar[bool] = True

    loss: Any = None
    width: int = 0

    @property
    def outputs(self) -> int:
        """The width of a target, where it has one axis."""
        return self.width

    def check(self, outputs: jax.Array, rows: int) -> None:
        """Raise ValueError for a model that does not give one output a row."""
        if outputs.shape[:1] != (rows,):
            what = f"the model's outputs for {rows} rows have the shape {outputs.shape}"
            raise ValueError(f"{what}; give (rows, ...)")

    def row_losses(self, predicted: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """The loss of one's own."""
        if self.loss is None:
            raise ValueError("the loss is of your own, and no part of a directory; judge predictions by it yourself")
        return np.asarray(self.loss(jnp.asarray(predicted), jnp.asarray(targets)), float)

    def scores(self, predicted: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        """The loss."""
        return {"loss": float(self.row_losses(predicted, targets).mean())}

    def score(self, predicted: np.ndarray, targets: np.ndarray) -> float:
        """The loss, negative."""
        return -self.scores(predicted, targets)["loss"]

    def describe(self) -> dict[str, Any]:
        """This kind as JSON values."""
        return super().describe() | {"width": self.width}
