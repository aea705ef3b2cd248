"""Targets that are one real value, or several."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from popjax.data.dataset import Dataset
from popjax.data.targets import Targets, value_targets
from popjax.supervision.kinds.kind import NOTHING, Kind, RowErrors
from popjax.task import HParams

OF_OUTPUTS = ("_mse", "_mae", "_r2")  # suffixes of the metrics of one of several outputs
DRAWN, MOST = 500, 10  # the most test rows in a figure; the most outputs with figures and metrics of their own


def squared_errors(predicted: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The squared error of each row (rows,)."""
    return np.asarray((predicted - targets) ** 2)


def absolute_errors(predicted: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The absolute error of each row (rows,)."""
    return np.asarray(abs(predicted - targets))


@dataclasses.dataclass(frozen=True)
class Regression(Kind):
    """Targets are standardized values (rows,); so are outputs, (rows,) or (rows, 1)."""

    name: ClassVar[str] = "regression"
    ranks: ClassVar[str] = "mse"
    reports: ClassVar[Mapping[str, str]] = {"mse": "min", "mae": "min", "r2": "max"}
    scaled: ClassVar[bool] = True
    resampled: ClassVar[RowErrors] = {"mse": squared_errors, "mae": absolute_errors}
    guess: ClassVar[str] = "the mean"

    @classmethod
    def targets(cls, y: np.ndarray, name: str, target: str) -> Targets:
        """Real values (rows,) or (rows, outputs)."""
        return value_targets(y, name, target)

    @classmethod
    def of(cls, dataset: Dataset, loss: Callable[..., Any] | None, scale: np.ndarray) -> "Regression":
        """The kind of one value, or `Values` of several."""
        return Values(names=dataset.outputs, units=tuple(scale.mean(0).tolist())) if dataset.outputs else Regression()

    @classmethod
    def from_json(cls, content: Mapping[str, Any], loss: Callable[..., Any] | None) -> "Regression":
        """The kind of one value or of several that `describe` returned."""
        names = tuple(content["outputs"])
        return Values(names=names, units=tuple(content["units"])) if names else Regression()

    @classmethod
    def reported(cls, metric: str) -> bool:
        """True also for the metrics of one of several outputs."""
        return super().reported(metric) or metric.endswith(OF_OUTPUTS)

    @property
    def outputs(self) -> int:
        """The width of a model's output: 1."""
        return 1

    def check(self, outputs: jax.Array, rows: int) -> None:
        """Raise ValueError for a model's outputs of another shape than (rows,) or (rows, 1)."""
        if outputs.shape not in ((rows,), (rows, 1)):
            what = f"the model's outputs for {rows} rows have the shape {outputs.shape}"
            raise ValueError(f"{what}; give {(rows, 1)}")

    def losses(self, hparams: HParams, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """The squared error, in the shape of the targets."""
        return (outputs.reshape(targets.shape) - targets) ** 2

    def metrics(self, outputs: jax.Array, targets: jax.Array, units: jax.Array) -> dict[str, jax.Array]:
        """Mean squared and absolute error in the target's own units, and R², which is 0 for constant targets."""
        error = outputs.reshape(targets.shape) - targets
        values = {"mse": ((error * units) ** 2).mean(), "mae": jnp.abs(error * units).mean()}
        return values | {"r2": explained(error, targets)}

    def predicted(self, outputs: np.ndarray) -> np.ndarray:
        """Values (rows,)."""
        return outputs.reshape(outputs.shape[0])

    def row_losses(self, predicted: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """The squared error (rows,)."""
        return squared_errors(predicted, targets)

    def scores(self, predicted: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        """Mean squared and absolute error, and R², which is 0 for constant targets."""
        error, variance = predicted - targets, targets.var()
        loss = float((error**2).mean())
        return {"mse": loss, "mae": float(abs(error).mean()), "r2": float(1 - loss / variance) if variance else 0.0}

    def score(self, predicted: np.ndarray, targets: np.ndarray) -> float:
        """R² of values (rows,), which is 0 for constant targets."""
        return self.scores(predicted, targets)["r2"]

    def constant(self, targets: np.ndarray) -> np.ndarray:
        """The mean of the targets."""
        return np.asarray(targets.mean(0))

    def linearly(self, rows: int) -> bool:
        """True for any number of rows."""
        return True

    def linear(self, z: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """One ridge regression for each output, its penalty by cross-validation: rows -> values (rows, ...)."""
        from sklearn.linear_model import RidgeCV

        models = [RidgeCV(alphas=np.logspace(-3, 3, 13)).fit(z, column) for column in y.reshape(len(y), -1).T]
        shape = y.shape[1:]
        return lambda rows: np.stack([model.predict(rows) for model in models], 1).reshape(len(rows), *shape)

    def trees(self, x: np.ndarray, y: np.ndarray, texts: Sequence[bool]) -> Callable[[np.ndarray], np.ndarray] | None:
        """HistGradientBoostingRegressor at its defaults, one for each output: rows -> values (rows, ...)."""
        from sklearn.ensemble import HistGradientBoostingRegressor as Trees

        columns = y.reshape(len(y), -1).T
        models = [Trees(categorical_features=texts, random_state=0).fit(x, one) for one in columns]
        shape = y.shape[1:]
        return lambda rows: np.stack([model.predict(rows) for model in models], 1).reshape(len(rows), *shape)

    def drawn(self, predicted: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
        """`predicted`: pairs (true, predicted) of at most 500 rows."""
        return {"predicted": drawn_pairs(predicted, targets)}


@dataclasses.dataclass(frozen=True)
class Values(Regression):
    """Several values (rows, outputs), each standardized by its own moments.

    The loss, the mean of their standardized squared errors, ranks. With at most 10 outputs each has an mse, an mae and
    an R², such as `val_price_r2`; `r2` is the mean over all outputs.

    Attributes:
        units: standard deviations (outputs,) of the training rows, the mean over folds, to standardize errors on the
            host.
    """

    ranks: ClassVar[str] = "loss"
    reports: ClassVar[Mapping[str, str]] = {"r2": "max"}
    resampled: ClassVar[RowErrors] = NOTHING
    units: tuple[float, ...] = ()

    @property
    def outputs(self) -> int:
        """The number of values."""
        return len(self.names)

    def check(self, outputs: jax.Array, rows: int) -> None:
        """Raise ValueError for a model's outputs of another shape than (rows, outputs)."""
        Kind.check(self, outputs, rows)

    def metrics(self, outputs: jax.Array, targets: jax.Array, units: jax.Array) -> dict[str, jax.Array]:
        """Mean squared and absolute error of each output in its own units, its R², and the mean R²."""
        error = outputs - targets
        squared, absolute = ((error * units) ** 2).mean(0), jnp.abs(error * units).mean(0)
        r2 = jax.vmap(explained, 1)(error, targets)
        return by_output(self.names, squared, absolute, r2)

    def predicted(self, outputs: np.ndarray) -> np.ndarray:
        """Values (rows, outputs), unchanged."""
        return outputs

    def row_losses(self, predicted: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """The mean (rows,) over the outputs of their squared errors, each in its `units`."""
        return np.asarray((((predicted - targets) / np.array(self.units)) ** 2).mean(-1))

    def scores(self, predicted: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        """The loss, the mean R², and with at most 10 outputs the metrics of each."""
        each = [Regression().scores(*pair) for pair in zip(predicted.T, targets.T, strict=True)]
        scores = by_output(self.names, *([output[name] for output in each] for name in ("mse", "mae", "r2")))
        loss = float(self.row_losses(predicted, targets).mean())
        return {"loss": loss} | {name: float(value) for name, value in scores.items()}

    def score(self, predicted: np.ndarray, targets: np.ndarray) -> float:
        """The mean of the outputs' R²."""
        return float(np.mean([Regression().score(*pair) for pair in zip(predicted.T, targets.T, strict=True)]))

    def drawn(self, predicted: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
        """`predictions`: output -> pairs (true, predicted), of at most 10 outputs and 500 rows."""
        columns = zip(self.names[:MOST], predicted.T, targets.T, strict=False)
        return {"predictions": {name: drawn_pairs(*each) for name, *each in columns}}

    def describe(self) -> dict[str, Any]:
        """This kind as JSON values."""
        return super().describe() | {"units": list(self.units)}


def explained(error: jax.Array, targets: jax.Array) -> jax.Array:
    """R² of errors (rows,) in targets (rows,); 0 where the targets are all equal up to rounding."""
    left, variance = (error**2).mean(), ((targets - targets.mean()) ** 2).mean()
    varied = variance > jnp.finfo(variance.dtype).eps * (targets**2).mean()
    return jnp.where(varied, 1 - left / jnp.where(varied, variance, 1), 0)


def by_output(names: tuple[str, ...], squared: Any, absolute: Any, r2: Any) -> dict[str, Any]:
    """The mean R² as "r2", and with at most 10 outputs each one's metrics as <output>_mse, _mae and _r2."""
    scores = {"r2": sum(r2) / len(names)}
    for at, name in enumerate(output_keys(names) if len(names) <= MOST else ()):
        scores |= {f"{name}_mse": squared[at], f"{name}_mae": absolute[at], f"{name}_r2": r2[at]}
    return scores


def output_keys(names: tuple[str, ...]) -> list[str]:
    """Names of outputs for names of metrics: letters, digits and underscores; y0, y1, ... if not distinct or empty.

    >>> output_keys(("price (USD)", "weight")), output_keys(("a b", "a-b"))
    (['price_USD', 'weight'], ['y0', 'y1'])
    """
    keys = [re.sub(r"\W+", "_", name).strip("_") for name in names]
    return keys if len(set(keys)) == len(names) and all(keys) else [f"y{at}" for at in range(len(names))]


def drawn_pairs(predicted: np.ndarray, targets: np.ndarray) -> list[list[float]]:
    """Pairs (true, predicted) of at most 500 rows at even distances, to six digits."""
    some = np.linspace(0, len(targets) - 1, min(len(targets), DRAWN)).astype(int)
    return [[float(f"{value:.6g}") for value in pair] for pair in np.stack([targets, predicted], 1)[some].tolist()]
