"""One model fitted to rows by mini-batch gradient descent: pure functions of one trial."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from popjax.core.text import lookup
from popjax.core.trees import named_leaves
from popjax.data.inputs import mapped
from popjax.models.built_in import MODELS
from popjax.models.networks import Network
from popjax.space.defaults import DEFAULT_BATCH_SIZE
from popjax.supervision.kinds.kind import Kind
from popjax.supervision.metrics import measured
from popjax.supervision.optimizers import OPTIMIZERS, learning_rate
from popjax.supervision.prepared import Data, Fold, Rows, along_rows, moved
from popjax.task import Deferred, HParams, Metric, NeedsStatic

LIMITS = dict.fromkeys(("dropout", "momentum", "b1", "b2", "label_smoothing"), (0.0, 1.0)) | dict.fromkeys(
    ("learning_rate", "decay", "weight_decay", "warmup", "eps"), (0.0, np.inf)
)


class ModelState(NamedTuple):
    """One model in training."""

    params: Any
    variables: Any
    opt_state: Any
    key: jax.Array
    epoch: jax.Array


@dataclasses.dataclass(frozen=True, eq=False)
class Fit:
    """The pure functions of one model in training.

    It holds what programs depend on and nothing else, so equal problems over other rows share them.

    Attributes:
        network: `(hparams, key) -> Network`.
        inputs: the shape of a row.
        outputs: the width of the model's output; 0 where only a loss of one's own knows it.
        kind: of the targets.
        mirrored: the targets are the features, transformed.
        rows: how many of them train, in every fold.
        model: the name of a built-in model.
        more: name -> function of (outputs, targets): metrics beside those that all trials report.
    """

    network: Callable[..., Network]
    optimizer: str | Callable[..., Any]
    loss: Callable[..., Any] | None
    schedule: str
    inputs: tuple[int, ...]
    outputs: int
    kind: Kind
    rows: int
    folds: int = 1
    model: str | None = None
    more: Mapping[str, Callable[..., Any]] = dataclasses.field(default_factory=dict)
    mirrored: bool = False

    def init(self, key: jax.Array, hparams: HParams, data: Data) -> ModelState:
        """A model before its first epoch."""
        for name, (low, high) in LIMITS.items():
            hparams.within(name, low, high)
        init_key, key = jax.random.split(key)
        network = self.network(hparams, init_key)
        opt_state = self.optimizer_at(hparams, 0).init(network.params)
        return ModelState(network.params, network.variables, opt_state, key, jnp.int32(0))

    def optimizer_at(self, hparams: HParams, epoch: Any) -> optax.GradientTransformation:
        """The optimizer at the learning rate of `epoch`, which is read and made only if the optimizer asks for it."""
        rate = Deferred(lambda: learning_rate(hparams, hparams.get("schedule", self.schedule), epoch))
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
        model = MODELS.get(self.model or "")
        return None if model is None else model.parameters(self.inputs, self.outputs, hparams)

    def flops(self, hparams: Mapping[str, Any]) -> Any:
        """Operations of one epoch of the built-in model: a row's way back costs two ways forward."""
        rows = self.updates(hparams) * hparams.get("batch_size", self.default_batch)
        return 3 * rows * MODELS[str(self.model)].operations(self.inputs, self.outputs, hparams)

    def fold(self, hparams: HParams, data: Data) -> Fold:
        """The member's own fold."""
        fold = hparams["fold"] if self.folds > 1 else 0
        return jax.tree.map(lambda stacked: stacked[fold], data.folds)

    def taken(self, rows: Rows, numbers: jax.Array, fold: Fold) -> Rows:
        """Some of the rows as the member's own training rows transform them."""
        places = numbers if fold.number is None else numbers + fold.number * len(rows.y)
        return self.transformed(Rows(jax.tree.map(lambda x: x[places], rows.x), rows.y[numbers]), fold)

    def transformed(self, rows: Rows, fold: Fold) -> Rows:
        """Rows as the member's own training rows transform and standardize them."""
        if self.folds == 1:
            return self.mirror(rows)
        x = rows.x if fold.moves is None else mapped(moved, rows.x, fold.moves)
        return self.mirror(
            Rows(x, (rows.y - along_rows(fold.y_mean)) / along_rows(fold.y_scale) if self.kind.scaled else rows.y)
        )

    def mirror(self, rows: Rows) -> Rows:
        """Rows whose targets are the features, where that is learned."""
        return Rows(rows.x, rows.x) if self.mirrored else rows

    def epoch(self, state: ModelState, hparams: HParams, data: Data) -> tuple[ModelState, dict[str, jax.Array]]:
        """One pass over the training rows in an order of the member's own, then validation.

        A dynamic batch size is a number of micro-batches of its smallest value: gradients
        are summed over them and the optimizer moves at the last. Micro-batches that fill
        no batch are ignored.
        """
        micro, batch = self.batch(hparams)
        network = self.network(hparams, state.key)
        if network.batch_statistics and not isinstance(batch, int):
            raise NeedsStatic("batch_size", "the model's batch statistics depend on it")
        optimizer = self.optimizer_at(hparams, state.epoch)
        shuffle_key, dropout_key = jax.random.split(jax.random.fold_in(state.key, state.epoch))
        fold = self.fold(hparams, data)
        order = fold.train[jax.random.permutation(shuffle_key, self.rows)]
        due = batch // micro
        used = self.rows // batch * due

        def loss(params: Any, variables: Any, step: jax.Array, rows: jax.Array) -> tuple[jax.Array, Any]:
            keys = jax.vmap(jax.random.fold_in, (None, 0))(dropout_key, step * micro + jnp.arange(micro))
            x, y = self.taken(data.rows, rows, fold)
            outputs, variables = network.apply(params, variables, x, keys)
            return self.weighted(hparams, outputs, y, data, rows).sum() / batch, variables

        def train(carry: Any, step: jax.Array) -> tuple[Any, jax.Array]:
            params, variables, opt_state, gradients = carry
            rows = lax.dynamic_slice(order, (step * micro,), (micro,))
            (value, variables), gradient = jax.value_and_grad(loss, has_aux=True)(params, variables, step, rows)
            gradient = lax.platform_dependent(gradient, cpu=complete, default=lambda gradient: gradient)

            def update(gradients: Any) -> Any:
                moves, after = optimizer.update(gradients, opt_state, params)
                after = jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype), after, opt_state)
                return optax.apply_updates(params, moves), after, jax.tree.map(jnp.zeros_like, gradients)

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
        rows = self.taken(data.rows, fold.validation, fold)
        trained = ModelState(params, variables, opt_state, state.key, state.epoch + 1)
        return trained, metrics | self.evaluated(network, trained, rows, fold, data, "validation")

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

    def losses(self, hparams: HParams, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """The loss of every row (rows,), or of every output (rows, outputs).

        Raises ValueError for a model or a loss that does not give one a row.
        """
        self.kind.check(outputs, len(targets))
        if self.loss is None:
            return self.kind.losses(hparams, outputs, targets)
        losses = self.loss(outputs, targets)
        if losses.shape != targets.shape[:1]:
            what = f"of outputs {outputs.shape} and targets {targets.shape} has the shape {losses.shape}"
            raise ValueError(f"the loss {what}; give one value a row, {targets.shape[:1]}")
        return losses

    def weighted(self, hparams: HParams, outputs: jax.Array, targets: jax.Array, data: Data, rows: Any) -> jax.Array:
        """The loss (rows,) of these rows, each as much as it counts."""
        losses = self.losses(hparams, outputs, targets)
        if data.weight is not None:
            losses, weight = aligned(losses, data.weight[rows])
            losses = losses * weight
        return losses if losses.ndim == 1 else losses.mean(-1)

    def evaluated(
        self, network: Network, state: ModelState, rows: Rows, fold: Fold, data: Data, split: str
    ) -> dict[str, jax.Array]:
        """What is reported on the rows of a split that is not trained on."""
        x, y = rows
        outputs, _ = network.apply(state.params, state.variables, x, None)
        units = along_rows(fold.y_scale * data.y_unit)
        values = {"loss": self.losses(HParams({}), outputs, y).mean(), **self.kind.metrics(outputs, y, units)}
        if self.more:
            errors = (
                (outputs.reshape(y.shape) - y) * along_rows(fold.y_scale) * along_rows(data.y_unit)
                if self.kind.scaled
                else None
            )
            given = [self.in_units(each, y.shape, fold, data) for each in (outputs, y)]
            values |= measured(self.more, given[0], given[1], errors)
        return {str(Metric.of(split, name)): value for name, value in values.items()}

    def in_units(self, values: jax.Array, shape: tuple[int, ...], fold: Fold, data: Data) -> jax.Array:
        """Outputs or targets in the targets' own units and shape; those of classes as they are."""
        if not self.kind.scaled:
            return values
        scale, mean, unit, zero = map(along_rows, (fold.y_scale, fold.y_mean, data.y_unit, data.y_mean))
        return (values.reshape(shape) * scale + mean) * unit + zero

    def watch(self, state: ModelState, hparams: HParams, data: Data) -> dict[str, jax.Array]:
        """How training stands: loss and gradient norm over all training rows, and every layer's next update.

        A layer's update_to_weight is the norm of the update that this gradient would give,
        relative to the norm of its weights; about 1e-3 is usual.
        """
        network = self.network(hparams, state.key)
        fold = self.fold(hparams, data)
        x, y = self.taken(data.rows, fold.train, fold)

        def loss(params: Any) -> jax.Array:
            outputs, _ = network.apply(params, state.variables, x, None)
            return self.weighted(hparams, outputs, y, data, fold.train).mean()

        value, gradient = jax.value_and_grad(loss)(state.params)
        moves, _ = self.optimizer_at(hparams, state.epoch).update(gradient, state.opt_state, state.params)
        ratios = update_to_weight(named_leaves(moves), named_leaves(state.params))
        return {"loss": value, "gradient_norm": norm(jax.tree.leaves(gradient)), **ratios}

    def score(self, state: ModelState, hparams: HParams, data: Data) -> dict[str, jax.Array]:
        """The metrics on the test rows."""
        fold = self.fold(hparams, data)
        every = jnp.arange(len(data.test.y))
        rows = self.transformed(data.test, fold) if fold.number is None else self.taken(data.test, every, fold)
        return self.evaluated(self.network(hparams, state.key), state, rows, fold, data, "test")


def aligned(losses: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Losses and weights, of rows (rows,) or of outputs (rows, outputs), with as many axes."""
    if losses.ndim < weight.ndim:
        return losses, weight.mean(-1)
    return losses, weight if losses.ndim == weight.ndim else weight[:, None]


def complete(gradient: Any) -> Any:
    """The gradient, of which no matrix is used before all of them are there.

    So an update follows the last product that reads its weights, and XLA, which cannot know that
    from the operations alone, does not copy them in every step. It does so on a CPU; on a GPU
    there are no such copies, and waiting would keep kernels apart.
    """
    leaves, structure = jax.tree.flatten(gradient)
    waited = iter(lax.optimization_barrier([leaf for leaf in leaves if leaf.ndim > 1]))
    return jax.tree.unflatten(structure, [next(waited) if leaf.ndim > 1 else leaf for leaf in leaves])


def update_to_weight(moves: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, jax.Array]:
    """Under "update_to_weight <layer>" the norm of a layer's update relative to the norm of its weights."""
    layers: dict[str, list[str]] = {}
    for name in params:
        layers.setdefault(name.rpartition(".")[0] or name, []).append(name)
    return {
        f"update_to_weight {layer}": norm([moves[name] for name in names]) / norm([params[name] for name in names])
        for layer, names in layers.items()
    }


def norm(arrays: list[Any]) -> jax.Array:
    """The Euclidean norm of all entries."""
    return jnp.sqrt(sum(jnp.vdot(array, array) for array in arrays))
