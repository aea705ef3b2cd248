"""The interface of a kind of targets: loss and metrics in programs, predictions and scores on the host."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
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
        name: one of `popjax.data.targets.KIND_NAMES`.
        ranks: the metric on the validation rows that ranks trials by default.
        scaled: True if targets are standardized by the training rows, each output by its own moments.
        chances: True if predictions are probabilities.
        own: True if only a custom loss defines what is learned; it also scores predictions.
        resampled: the metrics that are a mean error over rows, for which a bootstrap gives the interval.
        classes: the labels of a classification; else None.
        names: the names of several labels or values.
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
        """The width of a model's output; 0 where only a custom loss knows it."""
        return len(self.names)

    def check(self, outputs: jax.Array, rows: int) -> None:
        """Raise ValueError for a model's outputs of another shape than (rows, outputs)."""
        if outputs.shape != (rows, self.outputs):
            what = f"the model's outputs for {rows} rows have the shape {outputs.shape}"
            raise ValueError(f"{what}; give {(rows, self.outputs)}")

    def losses(self, hparams: HParams, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """The default loss: of each row (rows,), or of each output (rows, outputs)."""
        raise NotImplementedError

    def metrics(self, outputs: jax.Array, targets: jax.Array, units: jax.Array) -> dict[str, jax.Array]:
        """Metrics beside the loss, name -> scalar; `units` is one unit of scaled targets in their own units."""
        return {}

    def predicted(self, outputs: np.ndarray) -> np.ndarray:
        """Probabilities or values (rows, ...) from a model's outputs; those of scaled targets stay standardized."""
        return outputs

    def decided(self, predicted: np.ndarray) -> np.ndarray:
        """Labels or values (rows, ...) from predictions."""
        return predicted

    def row_losses(self, predicted: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """The loss (rows,) of predictions; raises ValueError where it is not known."""
        raise NotImplementedError

    def scores(self, predicted: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        """The metrics of predictions by name, as a trial reports them for its outputs."""
        raise NotImplementedError

    def as_outputs(self, predicted: np.ndarray) -> np.ndarray:
        """Outputs that give these predictions, for metrics of outputs."""
        return predicted

    def judged(self, predicted: np.ndarray, targets: np.ndarray, more: More) -> dict[str, float]:
        """`scores` and the further metrics `more`, by name."""
        if not more:
            return self.scores(predicted, targets)
        errors = predicted - targets if self.scaled else None
        values = measured(more, jax.numpy.asarray(self.as_outputs(predicted)), jax.numpy.asarray(targets), errors)
        return self.scores(predicted, targets) | {name: float(value) for name, value in values.items()}

    def score(self, predicted: np.ndarray, targets: np.ndarray) -> float:
        """The score of scikit-learn's estimators, larger is better; `predicted` are labels or values."""
        raise NotImplementedError

    def constant(self, targets: np.ndarray) -> np.ndarray | None:
        """The constant prediction for one row, from the `targets` of other rows; None if the kind has none."""
        return None

    def linearly(self, rows: int) -> bool:
        """True if a linear model can be fitted to this number of rows."""
        return False

    def linear(self, z: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """Fit scikit-learn's linear model to standardized rows (rows, features); a function rows -> predictions."""
        raise NotImplementedError

    def trees(self, x: np.ndarray, y: np.ndarray, texts: Sequence[bool]) -> Callable[[np.ndarray], np.ndarray] | None:
        """Fit scikit-learn's boosted trees to coded rows (rows, columns): rows -> predictions; None if there are none.

        `texts`: (columns,), True for columns of codes.
        """
        return None

    def drawn(self, predicted: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
        """What the page shows of the winner's predictions for the test rows, as JSON values."""
        return {}

    def describe(self) -> dict[str, Any]:
        """This kind as JSON values."""
        classes = None if self.classes is None else list(self.classes)
        return {"kind": self.name, "classes": classes, "outputs": list(self.names)}
