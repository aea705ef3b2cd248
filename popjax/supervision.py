"""Supervised learning as a Task: a model, an optimizer, rows; and the winner as a predictor."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from popjax import data as tables
from popjax.defaults import DEFAULT_BATCH_SIZE
from popjax.models import MODELS, SIZES, lookup
from popjax.networks import Network, bind
from popjax.optimizers import OPTIMIZERS, SCHEDULES, learning_rate
from popjax.task import HParams, NeedsStatic, Task

LIMITS = dict.fromkeys(("dropout", "momentum", "b1", "b2", "label_smoothing"), (0.0, 1.0)) | dict.fromkeys(
    ("learning_rate", "decay", "weight_decay", "warmup", "eps"), (0.0, np.inf)
)


class State(NamedTuple):
    """One model in training."""

    params: Any
    variables: Any
    opt_state: Any
    key: jax.Array
    epoch: jax.Array


class Rows(NamedTuple):
    """Features (rows, ...) and targets (rows,)."""

    x: Any
    y: Any


class Fold(NamedTuple):
    """One fold, or with a leading axis all of them: row numbers, and what standardizes its rows.

    The statistics are those of the fold's training rows, in the units of `Data.rows`.
    """

    train: Any
    validation: Any
    mean: Any
    scale: Any
    y_mean: Any
    y_scale: Any


class Data(NamedTuple):
    """What the programs take: every row once, standardized over all that some fold trains on.

    Attributes:
        rows: the rows that train or validate.
        test: the rows that no trial sees.
        folds: a leading axis of folds; with one fold the statistics are 0 and 1.
        y_unit: the unit of the targets.
    """

    rows: Rows
    test: Rows
    folds: Fold
    y_unit: Any


def supervised(
    data: Any,
    model: str | Callable[..., Any] = "mlp",
    optimizer: str | Callable[..., Any] = "sgd",
    loss: Callable[..., Any] | None = None,
    target: str | None = None,
    validation: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
    schedule: str = "inverse",
    missing: str = "error",
) -> Task:
    """A Task that fits a model to rows by mini-batch gradient descent.

    Args:
        data: `(x, y)` arrays, a DataFrame with the column `target`, or a Dataset.
        model: "mlp", or `model(hparams, rngs)` giving an nnx or a linen module.
        optimizer: "sgd", "nesterov", "adam", "adamw", "rmsprop", or `optimizer(hparams)`
            giving an optax transform; its `learning_rate` is the scheduled one.
        loss: `loss(outputs, targets)`, one value a row; by default cross-entropy for
            classes and the squared error of standardized targets for a regression.
        target: the DataFrame's column to predict.
        validation: share of the rows that rank the trials.
        test: share of the rows that no trial sees, scored once for the winner.
        seed: of the split, which is stratified by class.
        schedule: "inverse", "exponential" or "cosine", if the space does not choose.
        missing: what to do with missing cells: "error", "drop" the rows, or "median".

    The metrics are train_loss and val_loss, and val_accuracy (ranked by, max) and
    val_balanced_accuracy, or val_mse (ranked by, min), val_mae and val_r2 in raw units.
    Raises ValueError for data or names that cannot be used.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(100, 3))
    >>> task = supervised((x, x[:, 0] > 0), optimizer="adam")
    >>> task.metric, task.mode
    ('val_accuracy', 'max')
    """
    dataset = to_dataset(data, target, missing)
    if isinstance(model, str):
        lookup(MODELS, "model", model)
    if isinstance(optimizer, str):
        lookup(OPTIMIZERS, "optimizer", optimizer)
    lookup(SCHEDULES, "schedule", schedule)

    @functools.cache
    def folded(folds: int) -> Task:
        split = tables.split(dataset, validation, test, seed, folds)
        recipe = Recipe.of(dataset, split, model)
        fit = Fit(recipe, recipe.network(model), optimizer, loss, schedule, split.train.shape[1], folds)
        metric, mode = ("val_mse", "min") if dataset.classes is None else ("val_accuracy", "max")
        return Task(
            fit.init,
            fit.epoch,
            recipe.prepare(dataset, split),
            metric,
            mode,
            fit.score,
            fit.updates,
            shapes=("depth", "batch_size"),
            parameters=fit.parameters,
            folded=folded,
            recipe=recipe,
        )

    return folded(1)


def to_dataset(data: Any, target: str | None, missing: str) -> tables.Dataset:
    """What `supervised` takes as data, as a Dataset."""
    if isinstance(data, tables.Dataset):
        return data
    if hasattr(data, "columns"):
        return tables.from_frame(data, target, missing)
    if isinstance(data, tuple | list) and len(data) == 2:
        x, y = data
        return tables.from_arrays(x, y, missing=missing)
    raise ValueError(f"data is a {type(data).__name__}; give (x, y) arrays, a DataFrame or a Dataset")


@dataclasses.dataclass(frozen=True, eq=False)
class Recipe:
    """What turns raw rows into a model's input, and its outputs into predictions.

    Attributes:
        mean, scale: of the features, for each fold's training rows (folds, ...).
        y_mean, y_scale: of a regression's targets (folds,); else 0 and 1.
    """

    model: str | None
    classes: tuple[Any, ...] | None
    columns: tuple[str, ...]
    inputs: tuple[int, ...]
    split_digest: str
    data_digest: str
    mean: np.ndarray
    scale: np.ndarray
    y_mean: np.ndarray
    y_scale: np.ndarray

    @classmethod
    def of(cls, dataset: tables.Dataset, split: tables.Split, model: str | Callable[..., Any]) -> Self:
        """The recipe for a model on the training rows of every fold."""
        mean, scale = standardize_folds(dataset.x, split)
        y_mean, y_scale = standardize_folds(dataset.y, split)
        if dataset.classes is not None:
            y_mean, y_scale = np.zeros_like(y_mean, float), np.ones_like(y_scale, float)
        return cls(
            model=model if isinstance(model, str) else None,
            classes=dataset.classes,
            columns=dataset.columns,
            inputs=dataset.x.shape[1:],
            split_digest=split.digest,
            data_digest=dataset.digest,
            mean=mean,
            scale=scale,
            y_mean=y_mean,
            y_scale=y_scale,
        )

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 of the data and of the split's row numbers."""
        return {"data": self.data_digest, "split": self.split_digest}

    def describe(self) -> dict[str, Any]:
        """The recipe as JSON values, for `from_json`."""
        fields = dataclasses.asdict(self)
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in fields.items()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The recipe that `describe` described."""
        fields = {field.name: content[field.name] for field in dataclasses.fields(cls)}
        fields |= {name: np.asarray(fields[name], float) for name in ("mean", "scale", "y_mean", "y_scale")}
        fields |= {name: tuple(fields[name]) for name in ("columns", "inputs", "classes") if fields[name] is not None}
        return cls(**fields)

    @property
    def outputs(self) -> int:
        """The width of the model's output."""
        return 1 if self.classes is None else len(self.classes)

    def network(self, model: str | Callable[..., Any]) -> Callable[..., Network]:
        """`(hparams, key) -> Network` of a built-in model or the user's own."""
        if isinstance(model, str):
            model = functools.partial(MODELS[model], int(np.prod(self.inputs)), self.outputs)
        return lambda hparams, key: bind(model, hparams, key, jnp.zeros((1, *self.inputs)))

    def features(self, x: np.ndarray, fold: int = 0) -> np.ndarray:
        """Raw rows, standardized as the training rows of a fold are."""
        return (x - self.mean[fold]) / self.scale[fold]

    def prepare(self, dataset: tables.Dataset, split: tables.Split) -> Data:
        """The rows, as the programs take them."""
        kept = np.delete(np.arange(len(dataset.y)), split.test)
        seen = split.train[0] if len(split.train) == 1 else kept
        mean, scale = tables.standardize(dataset.x[seen])
        y_mean, y_unit = tables.standardize(dataset.y[seen])
        if self.classes is not None:
            y_mean, y_unit = np.zeros(()), np.ones(())
        x = (dataset.x - mean) / scale
        y = dataset.y if self.classes else (dataset.y - y_mean) / y_unit
        folds = Fold(
            np.searchsorted(kept, split.train).astype(np.int32),
            np.searchsorted(kept, split.validation).astype(np.int32),
            (self.mean - mean) / scale,
            self.scale / scale,
            (self.y_mean - y_mean) / y_unit,
            self.y_scale / y_unit,
        )
        return Data(Rows(x[kept], y[kept]), Rows(x[split.test], y[split.test]), folds, np.asarray(y_unit))


def standardize_folds(values: np.ndarray, split: tables.Split) -> tuple[np.ndarray, np.ndarray]:
    """Mean and scale (folds, ...) of every fold's training rows."""
    means, scales = zip(*(tables.standardize(values[rows]) for rows in split.train), strict=True)
    return np.array(means), np.array(scales)


@dataclasses.dataclass(frozen=True, eq=False)
class Fit:
    """The pure functions of one model in training."""

    recipe: Recipe
    network: Callable[..., Network]
    optimizer: str | Callable[..., Any]
    loss: Callable[..., Any] | None
    schedule: str
    rows: int
    folds: int = 1

    def init(self, key: jax.Array, hparams: HParams, data: Data) -> State:
        """A model before its first epoch."""
        for name, (low, high) in LIMITS.items():
            hparams.within(name, low, high)
        init_key, key = jax.random.split(key)
        network = self.network(hparams, init_key)
        opt_state = self.transform(hparams, 0).init(network.params)
        return State(network.params, network.variables, opt_state, key, jnp.int32(0))

    def transform(self, hparams: HParams, epoch: Any) -> optax.GradientTransformation:
        """The optimizer at the learning rate of `epoch`."""
        rate = learning_rate(hparams, hparams.get("schedule", self.schedule), epoch)
        optimizer = hparams.get("optimizer", self.optimizer)
        optimizer = lookup(OPTIMIZERS, "optimizer", optimizer) if isinstance(optimizer, str) else optimizer
        return optimizer(hparams.replace(learning_rate=rate))

    @property
    def default_batch(self) -> int:
        """The batch size where none is given: 32, or all rows if they are fewer."""
        return min(DEFAULT_BATCH_SIZE, self.rows)

    def updates(self, hparams: Mapping[str, Any]) -> Any:
        """Optimizer updates in one epoch."""
        return self.rows // hparams.get("batch_size", self.default_batch)

    def parameters(self, hparams: Mapping[str, Any]) -> Any:
        """The trained parameters of the built-in model; None for another, whose arrays are exact."""
        sizes = SIZES.get(self.recipe.model or "")
        return None if sizes is None else sizes(int(np.prod(self.recipe.inputs)), self.recipe.outputs, hparams)

    def fold(self, hparams: HParams, data: Data) -> Fold:
        """The member's own fold."""
        fold = hparams["fold"] if self.folds > 1 else 0
        return jax.tree.map(lambda stacked: stacked[fold], data.folds)

    def standardized(self, rows: Rows, fold: Fold) -> Rows:
        """Rows as the member's own training rows standardize them."""
        if self.folds == 1:
            return rows
        x = (rows.x - fold.mean[None]) / fold.scale[None]
        return Rows(x, rows.y if self.recipe.classes is not None else (rows.y - fold.y_mean) / fold.y_scale)

    def epoch(self, state: State, hparams: HParams, data: Data) -> tuple[State, dict[str, jax.Array]]:
        """One pass over the training rows in an order of the member's own, then validation.

        A dynamic batch size is a number of micro-batches of its smallest value: gradients
        are summed over them and the optimizer moves at the last. Micro-batches that fill
        no batch are ignored.
        """
        micro, batch = self.batch(hparams)
        network = self.network(hparams, state.key)
        if network.batch_statistics and not isinstance(batch, int):
            raise NeedsStatic("batch_size", "the model's batch statistics depend on it")
        transform = self.transform(hparams, state.epoch)
        shuffle_key, dropout_key = jax.random.split(jax.random.fold_in(state.key, state.epoch))
        fold = self.fold(hparams, data)
        order = fold.train[jax.random.permutation(shuffle_key, self.rows)]
        due = batch // micro
        used = self.rows // batch * due

        def loss(params: Any, variables: Any, step: jax.Array, rows: jax.Array) -> tuple[jax.Array, Any]:
            keys = jax.vmap(jax.random.fold_in, (None, 0))(dropout_key, step * micro + jnp.arange(micro))
            x, y = self.standardized(Rows(data.rows.x[rows], data.rows.y[rows]), fold)
            outputs, variables = network.apply(params, variables, x, keys)
            return self.row_losses(hparams, outputs, y).sum() / batch, variables

        def train(carry: Any, step: jax.Array) -> tuple[Any, jax.Array]:
            params, variables, opt_state, gradients = carry
            rows = lax.dynamic_slice(order, (step * micro,), (micro,))
            (value, variables), gradient = jax.value_and_grad(loss, has_aux=True)(params, variables, step, rows)

            def update(gradients: Any) -> Any:
                moves, moved = transform.update(gradients, opt_state, params)
                return optax.apply_updates(params, moves), moved, jax.tree.map(jnp.zeros_like, gradients)

            if isinstance(batch, int):
                params, opt_state, _ = update(gradient)
                return (params, variables, opt_state, gradients), value
            gradients = jax.tree.map(jnp.add, gradients, gradient)
            params, opt_state, gradients = lax.cond(
                (step + 1) % due == 0, update, lambda gradients: (params, opt_state, gradients), gradients
            )
            return (params, variables, opt_state, gradients), jnp.where(step < used, value, 0)

        gradients = () if isinstance(batch, int) else jax.tree.map(jnp.zeros_like, state.params)
        carry = (state.params, state.variables, state.opt_state, gradients)
        (params, variables, opt_state, _), losses = lax.scan(train, carry, jnp.arange(self.rows // micro))
        metrics = {"train_loss": losses.sum() / (self.rows // batch)}
        x, y = self.standardized(Rows(data.rows.x[fold.validation], data.rows.y[fold.validation]), fold)
        outputs, _ = network.apply(params, variables, x, None)
        metrics |= self.metrics(outputs, y, fold.y_scale * data.y_unit, "val_")
        return State(params, variables, opt_state, state.key, state.epoch + 1), metrics

    def batch(self, hparams: HParams) -> tuple[int, Any]:
        """The rows of a micro-batch and of a batch."""
        scale = hparams.size("batch_size", self.default_batch)
        batch = hparams.get("batch_size", self.default_batch)
        if scale.low < 1 or scale.high > self.rows:
            bad = scale.low if scale.low < 1 else scale.high
            raise ValueError(f"batch_size={bad}: there are {self.rows} training rows; choose 1..{self.rows}")
        if not isinstance(batch, int):
            values = getattr(scale, "values", range(scale.low, scale.high + 1))
            if any(value % scale.low for value in values):
                raise NeedsStatic("batch_size", f"{scale} are not all multiples of {scale.low}")
        return scale.low, batch

    def row_losses(self, hparams: HParams, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """The loss of every row."""
        if self.loss is not None:
            return self.loss(outputs, targets)
        if self.recipe.classes is None:
            return (outputs.reshape(targets.shape) - targets) ** 2
        labels = jax.nn.one_hot(targets, self.recipe.outputs)
        if "label_smoothing" in hparams:
            labels = optax.smooth_labels(labels, hparams["label_smoothing"])
        return optax.softmax_cross_entropy(outputs, labels)

    def metrics(self, outputs: jax.Array, y: jax.Array, y_scale: jax.Array, prefix: str) -> dict[str, jax.Array]:
        """What is reported on rows that are not trained on."""
        values = {"loss": self.row_losses(HParams({}), outputs, y).mean()}
        if self.recipe.classes is None:
            error = (outputs.reshape(y.shape) - y) * y_scale
            spread = ((y - y.mean()) * y_scale) ** 2
            values |= {"mse": (error**2).mean(), "mae": jnp.abs(error).mean()}
            values["r2"] = 1 - values["mse"] / jnp.maximum(spread.mean(), jnp.finfo(spread.dtype).tiny)
        else:
            right = (outputs.argmax(-1) == y).astype(float)
            members = jax.nn.one_hot(y, self.recipe.outputs)
            size = members.sum(0)
            recall = right @ members / jnp.maximum(size, 1)
            values |= {"accuracy": right.mean(), "balanced_accuracy": recall.sum() / (size > 0).sum()}
        return {prefix + name: value for name, value in values.items()}

    def score(self, state: State, hparams: HParams, data: Data) -> dict[str, jax.Array]:
        """The metrics on the test rows."""
        network = self.network(hparams, state.key)
        fold = self.fold(hparams, data)
        x, y = self.standardized(data.test, fold)
        outputs, _ = network.apply(state.params, state.variables, x, None)
        return self.metrics(outputs, y, fold.y_scale * data.y_unit, "test_")
