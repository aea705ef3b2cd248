"""The contract of a kind of targets: its loss and metrics in programs, what predictions and scores are on the host."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import numpy as np

from popjax.supervision.metrics import measured
from popjax.task import HParams

type More = Mapping[str, Callable[..., Any]]


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of targets; rows are the leading axis of all arrays.

    Attributes:
        name: in `popjax.data.targets.KIND_NAMES`.
        ranks: the metric of the validation rows that ranks.
        scaled: targets are standardized by their training rows, each output by its own.
        chances: predictions are probabilities.
        own: what is learned is known to a loss of one's own alone, which judges predictions, too.
        resampled: the metrics that are means over rows of an error, whose interval is by bootstrap.
        classes: the labels of a classification.
        names: of several labels or values.
    """

    name: ClassVar[str]
    ranks: ClassVar[str] = "loss"
    scaled: ClassVar[bool] = False
    chances: ClassVar[bool] = False
    own: ClassVar[bool] = False
    resampled: ClassVar[tuple[str, ...]] = ()

    classes: tuple[Any, ...] | None = None
    names: tuple[str, ...] = ()

    @property
    def outputs(self) -> int:
        """The width of a model's output; 0 where only a loss of one's own knows it."""
        return len(self.names)

    def check(self, outputs: jax.Array, rows: int) -> None:
        """Raise ValueError for a model that does not give one output a row."""
        if outputs.shape != (rows, self.outputs):
            what = f"the model's outputs for {rows} rows have the shape {outputs.shape}"
            raise ValueError(f"{what}; give {(rows, self.outputs)}")

    def losses(self, hparams: HParams, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """The loss where no other is given: of every row (rows,), or of every output (rows, outputs)."""
        raise NotImplementedError

    def metrics(self, outputs: jax.Array, targets: jax.Array, units: jax.Array) -> dict[str, jax.Array]:
        """What all trials report beside the loss; of scaled targets `units` are what one is."""
        return {}

    def predicted(self, outputs: np.ndarray) -> np.ndarray:
        """Probabilities or values (rows, ...) of a model's outputs, those of scaled targets standardized."""
        return outputs

    def decided(self, predicted: np.ndarray) -> np.ndarray:
        """Labels or values of what was predicted."""
        return predicted

    def row_losses(self, predicted: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """The loss (rows,) of predictions; raises ValueError where there is none."""
        raise NotImplementedError

    def scores(self, predicted: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        """The metrics of predictions, as a trial reports them of its outputs."""
        raise NotImplementedError

    def as_outputs(self, predicted: np.ndarray) -> np.ndarray:
        """Outputs of which these are the predictions, for metrics of outputs."""
        return predicted

    def judged(self, predicted: np.ndarray, targets: np.ndarray, more: More) -> dict[str, float]:
        """`scores`, and further metrics by name."""
        if not more:
            return self.scores(predicted, targets)
        errors = predicted - targets if self.scaled else None
        values = measured(more, jax.numpy.asarray(self.as_outputs(predicted)), jax.numpy.asarray(targets), errors)
        return self.scores(predicted, targets) | {name: float(value) for name, value in values.items()}

    def score(self, predicted: np.ndarray, targets: np.ndarray) -> float:
        """What scikit-learn's estimators score: larger is better; `predicted` are labels or values."""
        raise NotImplementedError

    def constant(self, targets: np.ndarray) -> np.ndarray | None:
        """What a constant predicts of a row, from all other targets; None where nothing does."""
        return None

    def linearly(self, rows: int) -> bool:
        """There is a linear model that so many rows may be fitted by."""
        return False

    def linear(self, z: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """What predicts by scikit-learn's linear model of standardized rows (rows, features)."""
        raise NotImplementedError

    def drawn(self, predicted: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
        """What the page shows of the winner on the test rows, as JSON values."""
        return {}

    def describe(self) -> dict[str, Any]:
        """This kind as JSON values."""
        classes = None if self.classes is None else list(self.classes)
        return {"kind": self.name, "classes": classes, "outputs": list(self.names)}
