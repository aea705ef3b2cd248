"""Several labels, each of which is true or not."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import numpy as np
import optax
from scipy.special import expit

from popjax.supervision.kinds.classification import MOST, TINY, confusion
from popjax.supervision.kinds.kind import Kind
from popjax.task import HParams

THRESHOLD = 0.5  # from which a label is told


@dataclasses.dataclass(frozen=True)
class Multilabel(Kind):
    """Targets are truth values (rows, labels), outputs their log odds, predictions their probabilities."""

    name: ClassVar[str] = "multilabel"
    chances: ClassVar[bool] = True

    def losses(self, hparams: HParams, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """The cross-entropy of each label."""
        return optax.sigmoid_binary_cross_entropy(outputs, targets.astype(outputs.dtype))

    def metrics(self, outputs: jax.Array, targets: jax.Array, units: jax.Array) -> dict[str, jax.Array]:
        """The accuracy of whole rows."""
        return {"accuracy": ((outputs > 0) == targets).all(-1).mean(dtype=float)}

    def predicted(self, outputs: np.ndarray) -> np.ndarray:
        """Probabilities."""
        return np.asarray(expit(outputs))

    def decided(self, predicted: np.ndarray) -> np.ndarray:
        """bool (rows, labels): more likely true than not."""
        return predicted > THRESHOLD

    def row_losses(self, predicted: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """The mean log loss of the labels."""
        return np.asarray(-np.log(np.maximum(np.where(targets, predicted, 1 - predicted), TINY)).mean(-1))

    def scores(self, predicted: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        """The log loss, and the accuracy of whole rows."""
        loss = float(self.row_losses(predicted, targets).mean())
        return {"loss": loss, "accuracy": self.score(self.decided(predicted), targets)}

    def as_outputs(self, predicted: np.ndarray) -> np.ndarray:
        """Their log odds."""
        return np.asarray(np.log(np.maximum(predicted, TINY)) - np.log(np.maximum(1 - predicted, TINY)))

    def score(self, predicted: np.ndarray, targets: np.ndarray) -> float:
        """The share of rows all of whose labels are right."""
        return float((predicted == targets).all(-1).mean())

    def constant(self, targets: np.ndarray) -> np.ndarray:
        """The share of rows of which each label is true."""
        return np.asarray(targets.mean(0))

    def linearly(self, rows: int) -> bool:
        """Always."""
        return True

    def linear(self, z: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """Logistic regression, a label each; of a label that is the same in all rows, its value."""
        from sklearn.linear_model import LogisticRegression

        models = [
            LogisticRegression(max_iter=1000).fit(z, label) if label.any() and not label.all() else float(label[0])
            for label in y.T
        ]

        def chances(rows: np.ndarray) -> np.ndarray:
            ones = np.ones(len(rows))
            found = [one * ones if isinstance(one, float) else one.predict_proba(rows)[:, 1] for one in models]
            return np.stack(found, 1)

        return chances

    def drawn(self, predicted: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
        """`confusions`: label -> how many rows without it, and with it, are told not to have it, and to have it."""
        told = self.decided(predicted)
        counts = {name: confusion(y, label, 2) for name, y, label in zip(self.names, targets.T, told.T, strict=True)}
        return {"confusions": dict(list(counts.items())[:MOST])}
