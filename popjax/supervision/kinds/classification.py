"""One of several classes."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.special import softmax

from popjax.supervision.kinds.kind import Kind
from popjax.task import HParams

MOST = 30  # classes of a confusion matrix
TINY = float(np.finfo(np.float32).tiny)


@dataclasses.dataclass(frozen=True)
class Classification(Kind):
    """Targets are numbers of classes (rows,), outputs logits (rows, classes), predictions probabilities."""

    name: ClassVar[str] = "classification"
    ranks: ClassVar[str] = "accuracy"
    chances: ClassVar[bool] = True

    @property
    def outputs(self) -> int:
        """The number of classes."""
        return len(self.classes or ())

    def losses(self, hparams: HParams, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """The cross-entropy."""
        labels = jax.nn.one_hot(targets, self.outputs)
        if "label_smoothing" in hparams:
            labels = optax.smooth_labels(labels, hparams["label_smoothing"])
        return optax.softmax_cross_entropy(outputs, labels)

    def metrics(self, outputs: jax.Array, targets: jax.Array, units: jax.Array) -> dict[str, jax.Array]:
        """The accuracy, and its mean over the classes."""
        right = (outputs.argmax(-1) == targets).astype(float)
        members = jax.nn.one_hot(targets, self.outputs)
        size = members.sum(0)
        recall = right @ members / jnp.maximum(size, 1)
        return {"accuracy": right.mean(), "balanced_accuracy": recall.sum() / (size > 0).sum()}

    def predicted(self, outputs: np.ndarray) -> np.ndarray:
        """Probabilities."""
        return np.asarray(softmax(outputs, -1))

    def decided(self, predicted: np.ndarray) -> np.ndarray:
        """The likeliest label."""
        return np.asarray(self.classes)[predicted.argmax(-1)]

    def row_losses(self, predicted: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """The log loss."""
        chances = predicted[np.arange(len(targets)), targets.astype(int)]
        return np.asarray(-np.log(np.maximum(chances, TINY)))

    def scores(self, predicted: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        """The log loss and the accuracies."""
        loss = float(self.row_losses(predicted, targets).mean())
        right = predicted.argmax(-1) == targets
        recall = [right[targets == label].mean() for label in np.unique(targets)]
        return {"loss": loss, "accuracy": float(right.mean()), "balanced_accuracy": float(np.mean(recall))}

    def as_outputs(self, predicted: np.ndarray) -> np.ndarray:
        """Their logarithms."""
        return np.asarray(np.log(np.maximum(predicted, TINY)))

    def score(self, predicted: np.ndarray, targets: np.ndarray) -> float:
        """The share of labels that are right."""
        return float((predicted == targets).mean())

    def constant(self, targets: np.ndarray) -> np.ndarray:
        """The share of each class."""
        return np.bincount(targets, minlength=self.outputs) / len(targets)

    def linearly(self, rows: int) -> bool:
        """Unless most classes have one row: scikit-learn would warn that they may be no classes."""
        return 2 * self.outputs <= rows

    def linear(self, z: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """Logistic regression."""
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(max_iter=1000).fit(z, y)

        def chances(rows: np.ndarray) -> np.ndarray:
            found = np.zeros((len(rows), self.outputs))
            found[:, model.classes_] = model.predict_proba(rows)
            return found

        return chances

    def drawn(self, predicted: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
        """`confusion`: how many rows of each class (a row) are predicted to be of each."""
        counts = confusion(targets, predicted.argmax(-1), self.outputs)
        return {"confusion": counts} if self.outputs <= MOST else {}


def confusion(targets: np.ndarray, told: np.ndarray, classes: int) -> list[list[int]]:
    """How many rows of each class (a row) are told to be of each (a column)."""
    counts = np.bincount(targets.astype(int) * classes + told.astype(int), minlength=classes**2)
    found: list[list[int]] = counts.reshape(classes, classes).tolist()
    return found
