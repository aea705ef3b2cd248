"""Targets of a custom loss."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np

from popjax.data.dataset import Dataset
from popjax.data.targets import Targets, own_targets
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

    @classmethod
    def targets(cls, y: np.ndarray, name: str, target: str) -> Targets:
        """Any finite numbers (rows, ...)."""
        return own_targets(y, name, target)

    @classmethod
    def of(cls, dataset: Dataset, loss: Callable[..., Any] | None, scale: np.ndarray) -> Self:
        """The kind with the custom loss, as wide as the targets of one value or of one axis of values."""
        width = {1: 1, 2: dataset.y.shape[-1]}.get(dataset.y.ndim, 0)
        return cls(loss=loss, width=0 if dataset.mirrored else width)

    @classmethod
    def from_json(cls, content: Mapping[str, Any], loss: Callable[..., Any] | None) -> Self:
        """The kind that `describe` returned, with the custom loss if it is known."""
        return cls(loss=loss, width=content["width"])

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
