"""Targets that are one of several classes."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from popjax.core.text import short
from popjax.data.columns import truth_texts
from popjax.data.targets import Targets, class_targets
from popjax.supervision.kinds.kind import Kind
from popjax.task import HParams

MOST = 30  # classes, up to which a confusion matrix is shown
TINY = float(np.finfo(np.float32).tiny)


@dataclasses.dataclass(frozen=True)
class Classification(Kind):
    """Targets are class indices (rows,), outputs logits (rows, classes), predictions probabilities (rows, classes)."""

    name: ClassVar[str] = "classification"
    ranks: ClassVar[str] = "accuracy"
    reports: ClassVar[Mapping[str, str]] = {"accuracy": "max", "balanced_accuracy": "max"}
    chances: ClassVar[bool] = True
    guess: ClassVar[str] = "the largest class"

    @classmethod
    def targets(cls, y: np.ndarray, name: str, target: str) -> Targets:
        """Indices of the sorted labels (rows,)."""
        return class_targets(y, name, target)

    @property
    def outputs(self) -> int:
        """The number of classes."""
        return len(self.classes or ())

    def losses(self, hparams: HParams, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """The cross-entropy (rows,), with the member's label smoothing."""
        labels = jax.nn.one_hot(targets, self.outputs)
        if "label_smoothing" in hparams:
            labels = optax.smooth_labels(labels, hparams["label_smoothing"])
        return optax.softmax_cross_entropy(outputs, labels)

    def metrics(self, outputs: jax.Array, targets: jax.Array, units: jax.Array) -> dict[str, jax.Array]:
        """The accuracy, and the mean recall of the classes that have rows."""
        right = (outputs.argmax(-1) == targets).astype(float)
        members = jax.nn.one_hot(targets, self.outputs)
        size = members.sum(0)
        recall = right @ members / jnp.maximum(size, 1)
        return {"accuracy": right.mean(), "balanced_accuracy": recall.sum() / (size > 0).sum()}

    def predicted(self, outputs: np.ndarray) -> np.ndarray:
        """Probabilities (rows, classes)."""
        likely: np.ndarray = outputs.__array_namespace__().exp(outputs - outputs.max(-1, keepdims=True))
        return likely / likely.sum(-1, keepdims=True)

    def decided(self, predicted: np.ndarray) -> np.ndarray:
        """The most probable label (rows,)."""
        return np.asarray(self.classes)[predicted.argmax(-1)]

    def row_losses(self, predicted: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """The log loss (rows,)."""
        chances = predicted[np.arange(len(targets)), targets.astype(int)]
        return np.asarray(-np.log(np.maximum(chances, TINY)))

    def scores(self, predicted: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        """The log loss, the accuracy and the balanced accuracy."""
        loss = float(self.row_losses(predicted, targets).mean())
        right = predicted.argmax(-1) == targets
        recall = [right[targets == label].mean() for label in np.unique(targets)]
        return {"loss": loss, "accuracy": float(right.mean()), "balanced_accuracy": float(np.mean(recall))}

    def as_outputs(self, predicted: np.ndarray) -> np.ndarray:
        """Logarithms of the probabilities."""
        return np.asarray(np.log(np.maximum(predicted, TINY)))

    def score(self, predicted: np.ndarray, targets: np.ndarray) -> float:
        """The accuracy of labels; truth values, which pandas makes of the texts True and False, are those texts.

        Raises ValueError if none of them is a class.
        """
        classes: Sequence[Any] = self.classes or ()
        if targets.dtype == bool:
            texts = truth_texts(classes)
            targets = np.array([texts.get(truth, truth) for truth in targets.tolist()], object)
        labels = targets.tolist()
        if labels and not {*labels} & {*classes}:
            some = ", ".join(map(short, classes[:2])) + (", ..." if self.outputs > 2 else "")
            wrong = f"score: {short(labels[0])} is no class, nor is another target; the classes are {some}"
            raise ValueError(f"{wrong}; give labels of their kind")
        return float((predicted == targets).mean())

    def constant(self, targets: np.ndarray) -> np.ndarray:
        """The share of each class (classes,)."""
        return np.bincount(targets, minlength=self.outputs) / len(targets)

    def linearly(self, rows: int) -> bool:
        """True if there are at most half as many classes as rows; scikit-learn warns of more."""
        return 2 * self.outputs <= rows

    def linear(self, z: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """Logistic regression: a function rows -> probabilities (rows, classes), 0 for a class not in `y`."""
        from sklearn.linear_model import LogisticRegression

        return self.chances_of(LogisticRegression(max_iter=1000).fit(z, y))

    def trees(self, x: np.ndarray, y: np.ndarray, texts: Sequence[bool]) -> Callable[[np.ndarray], np.ndarray] | None:
        """HistGradientBoostingClassifier at its defaults: rows -> probabilities (rows, classes); None for rare classes.

        These are classes of a single row, which cannot be split in two for its early stopping.
        """
        from sklearn.ensemble import HistGradientBoostingClassifier

        counts = np.bincount(y)
        if (counts > 0).sum() < 2 or counts[counts > 0].min() < 2:
            return None
        return self.chances_of(HistGradientBoostingClassifier(categorical_features=texts, random_state=0).fit(x, y))

    def chances_of(self, model: Any) -> Callable[[np.ndarray], np.ndarray]:
        """The probabilities (rows, classes) by a fitted scikit-learn model, 0 for a class that it has not seen."""

        def chances(rows: np.ndarray) -> np.ndarray:
            chances = np.zeros((len(rows), self.outputs))
            chances[:, model.classes_] = model.predict_proba(rows)
            return chances

        return chances

    def drawn(self, predicted: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
        """`confusion`: the confusion matrix; empty for more than 30 classes."""
        counts = confusion(targets, predicted.argmax(-1), self.outputs)
        return {"confusion": counts} if self.outputs <= MOST else {}


def confusion(targets: np.ndarray, predicted: np.ndarray, classes: int) -> list[list[int]]:
    """The confusion matrix: counts of rows by true class (row) and predicted class (column)."""
    counts = np.bincount(targets.astype(int) * classes + predicted.astype(int), minlength=classes**2)
    table: list[list[int]] = counts.reshape(classes, classes).tolist()
    return table
