"""The interface of a kind of targets: loss and metrics in programs, predictions and scores on the host."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Self

import jax
import numpy as np

from popjax.data.dataset import Dataset
from popjax.data.targets import Targets
from popjax.supervision.metrics import measured
from popjax.task import HParams

type More = Mapping[str, Callable[..., Any]]
type RowErrors = Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]

NOTHING: Mapping[str, Any] = MappingProxyType({})
SHOWN = ("confusion", "confusions", "predicted", "predictions")  # see `Kind.drawn`


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of targets; rows are the leading axis of all arrays.

    Before training, a kind of one's own is tried on the first rows (see `kinds/probing.py`): what its methods return
    must have the shapes that are said here, be finite, and agree with each other.

    Attributes:
        name: in `kind=`, `--kind` and run.json.
        ranks: the metric on the validation rows that ranks trials by default: the loss, or one of `reports`.
        reports: the metrics beside the loss by name, each with "min" or "max", whichever is better.
        scaled: True if targets are standardized by the training rows, each output by its own moments.
        chances: True if predictions are probabilities.
        own: True if only a custom loss defines what is learned; it also scores predictions.
        resampled: metric -> function of (predictions, targets) that gives its error of each row (rows,), for the
            metrics that are the mean of these: a bootstrap over rows gives their intervals.
        guess: the prediction of `constant` in words, such as "the mean".
        classes: the labels of a classification, in their order; else None.
        names: the names of several labels or values.
    """

    name: ClassVar[str]
    ranks: ClassVar[str] = "loss"
    reports: ClassVar[Mapping[str, str]] = NOTHING
    scaled: ClassVar[bool] = False
    chances: ClassVar[bool] = False
    own: ClassVar[bool] = False
    resampled: ClassVar[RowErrors] = NOTHING
    guess: ClassVar[str] = "a constant"

    classes: tuple[Any, ...] | None = None
    names: tuple[str, ...] = ()

    @classmethod
    def targets(cls, y: np.ndarray, name: str, target: str) -> Targets:
        """The targets as programs get them, from values (rows, ...) as a file or the user has them.

        `popjax.data.targets` reads classes, labels and values; its `class_targets` takes classes in an order. `name` is
        that of the data and `target` that of the column, for errors. Raises ValueError for others than of this kind.
        """
        raise NotImplementedError

    @classmethod
    def of(cls, dataset: Dataset, loss: Callable[..., Any] | None, scale: np.ndarray) -> Self:
        """The kind of a dataset's targets; `scale`: the standard deviations (folds, ...) of scaled ones, else 1."""
        return cls(classes=dataset.classes, names=dataset.outputs)

    @classmethod
    def from_json(cls, content: Mapping[str, Any], loss: Callable[..., Any] | None) -> Self:
        """The kind that `describe` returned; `loss` is the custom loss, or None if it is not known."""
        classes = content["classes"]
        return cls(classes=None if classes is None else tuple(classes), names=tuple(content["outputs"]))

    @classmethod
    def reported(cls, metric: str) -> bool:
        """True for a metric by name that trials report without being asked."""
        return metric == "loss" or metric in cls.reports

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
        """The default loss: of each row (rows,), or of each of several outputs (rows, outputs).

        `hparams` are the member's, such as for a strength that is tuned; empty where losses are compared.
        """
        raise NotImplementedError

    def metrics(self, outputs: jax.Array, targets: jax.Array, units: jax.Array) -> dict[str, jax.Array]:
        """The metrics of `reports`, name -> scalar; `units` is one unit of scaled targets in their own units."""
        return {}

    def predicted(self, outputs: np.ndarray) -> np.ndarray:
        """Probabilities (rows, classes) or (rows, labels), or values (rows, ...), from a model's outputs.

        Those of scaled targets stay standardized. Written with the functions of `outputs.__array_namespace__()` it can
        be exported.
        """
        return outputs

    def decided(self, predicted: np.ndarray) -> np.ndarray:
        """Labels or values (rows, ...) from predictions."""
        return predicted

    def row_losses(self, predicted: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """The loss (rows,) of predictions; raises ValueError where it is not known."""
        raise NotImplementedError

    def scores(self, predicted: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        """The loss and the metrics of `reports` by name, of predictions as for the outputs that give them.

        The loss may be left out where targets are scaled: their own units do not tell it.
        """
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
        """What the page shows of the winner's predictions for the test rows, as JSON values by the names of SHOWN.

        These are a confusion matrix of counts [true][predicted], or one by label; pairs (true, predicted), or by value.
        """
        return {}

    def describe(self) -> dict[str, Any]:
        """This kind as JSON values."""
        classes = None if self.classes is None else list(self.classes)
        return {"kind": self.name, "classes": classes, "outputs": list(self.names)}
