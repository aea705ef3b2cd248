"""Targets that are several labels, each true or false."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import numpy as np
import optax

from popjax.data.targets import Targets, label_targets
from popjax.supervision.kinds.classification import MOST, TINY, confusion
from popjax.supervision.kinds.kind import Kind
from popjax.task import HParams

THRESHOLD = 0.5  # the probability above which a label is predicted


@dataclasses.dataclass(frozen=True)
class Multilabel(Kind):
    """Targets are truth values (rows, labels), outputs log odds, predictions probabilities of the same shape."""

    name: ClassVar[str] = "multilabel"
    reports: ClassVar[Mapping[str, str]] = {"accuracy": "max"}
    chances: ClassVar[bool] = True
    guess: ClassVar[str] = "the shares of the labels"

    @classmethod
    def targets(cls, y: np.ndarray, name: str, target: str) -> Targets:
        """Truth values (rows, labels)."""
        return label_targets(y, name, target)

    def losses(self, hparams: HParams, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """The cross-entropy of each label (rows, labels)."""
        return optax.sigmoid_binary_cross_entropy(outputs, targets.astype(outputs.dtype))

    def metrics(self, outputs: jax.Array, targets: jax.Array, units: jax.Array) -> dict[str, jax.Array]:
        """The accuracy: the share of rows with all labels right."""
        return {"accuracy": ((outputs > 0) == targets).all(-1).mean(dtype=float)}

    def predicted(self, outputs: np.ndarray) -> np.ndarray:
        """Probabilities (rows, labels)."""
        xp = outputs.__array_namespace__()
        chances: np.ndarray = xp.exp(-xp.logaddexp(0, -outputs))
        return chances

    def decided(self, predicted: np.ndarray) -> np.ndarray:
        """bool (rows, labels): the probability is above 0.5."""
        return predicted > THRESHOLD

    def row_losses(self, predicted: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """The mean log loss of the labels (rows,)."""
        return np.asarray(-np.log(np.maximum(np.where(targets, predicted, 1 - predicted), TINY)).mean(-1))

    def scores(self, predicted: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        """The log loss, and the share of rows with all labels right."""
        loss = float(self.row_losses(predicted, targets).mean())
        return {"loss": loss, "accuracy": self.score(self.decided(predicted), targets)}

    def as_outputs(self, predicted: np.ndarray) -> np.ndarray:
        """Log odds of the probabilities."""
        return np.asarray(np.log(np.maximum(predicted, TINY)) - np.log(np.maximum(1 - predicted, TINY)))

    def score(self, predicted: np.ndarray, targets: np.ndarray) -> float:
        """The share of rows with all labels right."""
        return float((predicted == targets).all(-1).mean())

    def constant(self, targets: np.ndarray) -> np.ndarray:
        """The share of rows with each label (labels,)."""
        return np.asarray(targets.mean(0))

    def linearly(self, rows: int) -> bool:
        """True for any number of rows."""
        return True

    def linear(self, z: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """One logistic regression for each label, a constant for one with equal values: rows -> probabilities."""
        from sklearn.linear_model import LogisticRegression

        models = [
            LogisticRegression(max_iter=1000).fit(z, label) if label.any() and not label.all() else float(label[0])
            for label in y.T
        ]

        def chances(rows: np.ndarray) -> np.ndarray:
            ones = np.ones(len(rows))
            columns = [
                model * ones if isinstance(model, float) else model.predict_proba(rows)[:, 1] for model in models
            ]
            return np.stack(columns, 1)

        return chances

    def drawn(self, predicted: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
        """`confusions`: label -> its 2 x 2 confusion matrix, for at most 30 labels."""
        decided = self.decided(predicted)
        counts = {name: confusion(y, label, 2) for name, y, label in zip(self.names, targets.T, decided.T, strict=True)}
        return {"confusions": dict(list(counts.items())[:MOST])}
