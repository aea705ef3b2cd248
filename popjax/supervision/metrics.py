"""Metrics on validation and test rows by name: functions of one model's (outputs, targets).

Outputs are logits (rows, classes) with class indices (rows,); log odds with truth values (rows, labels); or values
(rows,) or (rows, outputs) in the targets' own units. Each metric equals scikit-learn's, for logits that are far apart
too: the macro mean of several labels, the mean of several values. Where scikit-learn's is undefined, it is the value
of guessing.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from popjax.core.text import short

SMALLEST = float(np.finfo(np.float64).eps)  # scikit-learn's bound of targets it divides by, and of probabilities


def of_errors(measure: Callable[[Any, Any], jax.Array]) -> Callable[[Any, Any], jax.Array]:
    """A metric (outputs, targets) from `measure` (errors, targets), which is kept as its attribute `of_errors`.

    `measured` calls that with exact errors: outputs - targets in float32 loses precision for targets far from 0.
    """

    @functools.wraps(measure)
    def of_outputs(outputs: Any, targets: Any) -> jax.Array:
        return measure(outputs - targets, targets)

    of_outputs.of_errors = measure  # type: ignore[attr-defined]
    return of_outputs


def class_shares(outputs: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Shares of rows (classes,): of a class and predicted so, predicted as the class, and of the class."""
    predicted, true = (jax.nn.one_hot(labels, outputs.shape[-1]) for labels in (outputs.argmax(-1), targets))
    return (predicted * true).mean(0), predicted.mean(0), true.mean(0)


def f1(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """The mean F1 of the classes that are in the targets or predicted."""
    right, predicted, true = class_shares(outputs, targets)
    there = predicted + true
    return jnp.sum(2 * right / jnp.where(there > 0, there, 1)) / (there > 0).sum()


def f1_of_labels(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """The mean F1 of the labels, which is 0 for a label that is never true nor predicted."""
    predicted, true = ((each > 0).astype(float) for each in (outputs, targets))
    right, there = (predicted * true).mean(0), predicted.mean(0) + true.mean(0)
    return (2 * right / jnp.where(there > 0, there, 1)).mean()


def auc_of_labels(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """The mean area under the ROC curve of the labels that some rows have and others do not; 0.5 without any."""
    return mean_area(outputs, targets)


def mean_area(scores: jax.Array, positive: jax.Array) -> jax.Array:
    """The mean `area` of the columns (rows, columns) with both positive and negative rows; 0.5 without any."""
    areas = jax.vmap(area, 1)(scores, positive)
    defined = positive.any(0) & ~positive.all(0)
    return jnp.where(defined.any(), jnp.where(defined, areas, 0).sum() / jnp.maximum(defined.sum(), 1), 0.5)


def mcc(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Matthews' correlation of classes (Gorodkin 2004, eq. 8); 0 if only one is predicted, or only one is true."""
    labels = outputs.argmax(-1), targets
    several = jnp.stack([(each != each[0]).any() for each in labels]).all()
    hot = [jax.nn.one_hot(each, outputs.shape[-1]) for each in labels]
    predicted, true = (each - each.mean(0, keepdims=True) for each in hot)  # centred first: rounding loses rare classes
    variances = (predicted**2).mean(0).sum() * (true**2).mean(0).sum()
    return jnp.where(several, (predicted * true).mean(0).sum() / jnp.sqrt(jnp.where(several, variances, 1)), 0)


def auc(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """The area under the ROC curve of each class against the others, the mean over classes that have rows.

    For two classes it is the area of either one; 0.5 if all rows are of one class.
    """
    if outputs.shape[-1] == 2:
        scores = (outputs[:, 1] - outputs[:, 0])[:, None]
        positive = (targets == 1)[:, None]
    else:
        scores = log_odds(outputs)
        positive = jax.nn.one_hot(targets, outputs.shape[-1], dtype=bool)
    return mean_area(scores, positive)


def log_odds(outputs: jax.Array) -> jax.Array:
    """log(p / (1 - p)) (rows, classes) of the probabilities p, also for a p that rounds to 1."""
    most = jax.nn.one_hot(outputs.argmax(-1), outputs.shape[-1], dtype=bool)
    others = jax.nn.logsumexp(jnp.where(most, -jnp.inf, outputs), axis=-1, keepdims=True)
    logs = jax.nn.log_softmax(outputs)
    return jnp.where(most, outputs - others, logs - jnp.log1p(-jnp.minimum(jnp.exp(logs), 0.5)))


def area(scores: jax.Array, positive: jax.Array) -> jax.Array:
    """The area under the ROC curve: the chance that a positive row scores above a negative one; ties half."""
    negative = jnp.maximum((~positive).sum(), 1)
    others = jnp.sort(jnp.where(positive, jnp.inf, scores))
    below = jnp.searchsorted(others, scores, side="left") + jnp.searchsorted(others, scores, side="right")
    share = jnp.minimum(below / 2, negative) / negative
    return jnp.where(positive, share, 0).sum() / jnp.maximum(positive.sum(), 1)


def log_loss(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """The mean cross-entropy of the probabilities, each at least `SMALLEST`; independent of the training loss."""
    losses = optax.softmax_cross_entropy_with_integer_labels(outputs, targets)
    return jnp.minimum(losses, -np.log(SMALLEST)).mean()


@of_errors
def rmse(errors: jax.Array, targets: jax.Array) -> jax.Array:
    """The root of the mean squared error, the mean over outputs."""
    return jnp.sqrt((errors**2).mean(0)).mean()


@of_errors
def mape(errors: jax.Array, targets: jax.Array) -> jax.Array:
    """The mean of the absolute errors relative to |target|, or to `SMALLEST` if that is larger."""
    return (jnp.abs(errors) / jnp.maximum(jnp.abs(targets), SMALLEST)).mean()


@of_errors
def median_error(errors: jax.Array, targets: jax.Array) -> jax.Array:
    """The median of the absolute errors, the mean over outputs."""
    return jnp.median(jnp.abs(errors), axis=0).mean()


METRICS: dict[str, Mapping[str, Callable[..., Any]]] = {  # name -> kind of targets -> function (outputs, targets)
    "f1": {"classification": f1, "multilabel": f1_of_labels},
    "auc": {"classification": auc, "multilabel": auc_of_labels},
    "log_loss": {"classification": log_loss},
    "mcc": {"classification": mcc},
    "rmse": {"regression": rmse},
    "mape": {"regression": mape},
    "median_error": {"regression": median_error},
}


def of_kind(kind: str) -> dict[str, Callable[..., Any]]:
    """The metrics for a kind of targets: name -> function."""
    return {name: measures[kind] for name, measures in METRICS.items() if kind in measures}


def measured(
    metrics: Mapping[str, Callable[..., Any]], outputs: jax.Array, targets: jax.Array, errors: Any = None
) -> dict[str, jax.Array]:
    """The values of metrics for one model, by name; `errors` for those `of_errors`. Raises ValueError for no scalar."""
    values = {
        name: each.of_errors(errors, targets) if hasattr(each, "of_errors") else each(outputs, targets)
        for name, each in metrics.items()
    }
    for name, value in values.items():
        if value is None or isinstance(value, str):
            raise ValueError(f"the metric {name} is {short(value)}; return a scalar")
        if shape := jnp.shape(value):
            raise ValueError(f"the metric {name} of outputs {outputs.shape} has the shape {shape}; give a scalar")
    return {name: jnp.asarray(value) for name, value in values.items()}
