"""Supervised learning as a Task: a model, an optimizer, rows; and the winner as a predictor."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from popjax import data as tables
from popjax.defaults import DEFAULT_BATCH_SIZE
from popjax.models import MODELS, lookup
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
    """Rows of one part, on the device."""

    x: Any
    y: Any


class Data(NamedTuple):
    """What the programs take: standardized features, and targets in units of `y_scale`."""

    train: Rows
    validation: Rows
    test: Rows
    y_scale: Any


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
    split = tables.split(dataset, validation, test, seed)
    mean, scale = tables.standardize(dataset.x[split.train])
    recipe = Recipe(
        model=model if isinstance(model, str) else None,
        classes=dataset.classes,
        columns=dataset.columns,
        inputs=dataset.x.shape[1:],
        split_digest=split.digest,
        data_digest=dataset.digest,
        mean=mean,
        scale=scale,
    )
    if dataset.classes is None:
        y_mean, y_scale = tables.standardize(dataset.y[split.train])
        recipe = dataclasses.replace(recipe, y_mean=float(y_mean), y_scale=float(y_scale))
    fit = Fit(recipe, recipe.network(model), optimizer, loss, schedule, len(split.train))
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
        recipe=recipe,
    )


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
    """What turns raw rows into a model's input, and its outputs into predictions."""

    model: str | None
    classes: tuple[Any, ...] | None
    columns: tuple[str, ...]
    inputs: tuple[int, ...]
    split_digest: str
    data_digest: str
    mean: np.ndarray
    scale: np.ndarray
    y_mean: float = 0.0
    y_scale: float = 1.0

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
        fields |= {name: np.asarray(fields[name], float) for name in ("mean", "scale")}
        fields |= {name: tuple(fields[name]) for name in ("columns", "inputs", "classes") if fields[name] is not None}
        return cls(**fields)

    @property
    def outputs(self) -> int:
        """The width of the model's output."""
        return 1 if self.classes is None else len(self.classes)

    def network(self, model: str | Callable[..., Any]) -> Callable[..., Network]:
        """`(hparams, key) -> Network` of a built-in model or the user's own."""
        if isinstance(model, str):
            model = partial(MODELS[model], int(np.prod(self.inputs)), self.outputs)
        return lambda hparams, key: bind(model, hparams, key, jnp.zeros((1, *self.inputs)))

    def features(self, x: np.ndarray) -> np.ndarray:
        """Raw rows, standardized."""
        return (x - self.mean) / self.scale

    def prepare(self, dataset: tables.Dataset, split: tables.Split) -> Data:
        """The three parts, as the programs take them."""
        x = self.features(dataset.x)
        y = dataset.y if self.classes else (dataset.y - self.y_mean) / self.y_scale
        train, validation, test = (Rows(x[rows], y[rows]) for rows in (split.train, split.validation, split.test))
        return Data(train, validation, test, np.asarray(self.y_scale))


@dataclasses.dataclass(frozen=True, eq=False)
class Fit:
    """The pure functions of one model in training."""

    recipe: Recipe
    network: Callable[..., Network]
    optimizer: str | Callable[..., Any]
    loss: Callable[..., Any] | None
    schedule: str
    rows: int

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
        order = jax.random.permutation(shuffle_key, self.rows)
        due = batch // micro
        used = self.rows // batch * due

        def loss(params: Any, variables: Any, step: jax.Array, rows: jax.Array) -> tuple[jax.Array, Any]:
            keys = jax.vmap(jax.random.fold_in, (None, 0))(dropout_key, step * micro + jnp.arange(micro))
            outputs, variables = network.apply(params, variables, data.train.x[rows], keys)
            return self.row_losses(hparams, outputs, data.train.y[rows]).sum() / batch, variables

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
        outputs, _ = network.apply(params, variables, data.validation.x, None)
        metrics |= self.metrics(outputs, data.validation.y, data.y_scale, "val_")
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
        outputs, _ = network.apply(state.params, state.variables, data.test.x, None)
        return self.metrics(outputs, data.test.y, data.y_scale, "test_")
