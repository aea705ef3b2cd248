"""Fit one model to rows by mini-batch gradient descent: pure functions of one member."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from popjax.core.calls import name_of
from popjax.core.faults import fault
from popjax.core.mixing import mixing
from popjax.core.text import lookup, short
from popjax.core.trees import named_leaves
from popjax.data.inputs import mapped
from popjax.metric import Metric
from popjax.models.built_in import MODELS
from popjax.models.network import Network, check_params, check_variables
from popjax.space.defaults import DEFAULT_BATCH_SIZE
from popjax.supervision.augmenting import augmented, check_augmented
from popjax.supervision.averaging import averaged, beside, exchanged
from popjax.supervision.kinds.kind import Kind
from popjax.supervision.metrics import measured
from popjax.supervision.optimizers import OPTIMIZERS, learning_rate
from popjax.supervision.prepared import Data, Fold, Rows, per_row, shifted_and_scaled
from popjax.task import Deferred, HParams, NeedsStatic

LIMITS = dict.fromkeys(("dropout", "momentum", "b1", "b2", "ema", "label_smoothing"), (0.0, 1.0)) | dict.fromkeys(
    ("learning_rate", "decay", "weight_decay", "warmup", "eps"), (0.0, np.inf)
)


class ModelState(NamedTuple):
    """The state of one model in training.

    Attributes:
        params, variables: the weights that are measured and predict: with `ema` a mean.
        epoch: int32, the number of epochs done.
        trained: with `ema`, the weights that train (see `averaging.py`); else ().
    """

    params: Any
    variables: Any
    opt_state: Any
    key: jax.Array
    epoch: jax.Array
    trained: Any = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Fit:
    """The pure functions that train one model.

    It holds only what programs depend on, so equal problems over other rows share programs.

    Attributes:
        network: `(hparams, key) -> Network`.
        optimizer: the name of a built-in one, or `(hparams) -> optax transform`.
        loss: `(outputs, targets)` -> one value a row (rows,); None for the default loss of the kind.
        schedule: the name of the learning-rate schedule, or `(hparams, epoch) -> factor`; the hyperparameter `schedule`
            overrides it.
        inputs: the shape of a transformed row.
        outputs: the width of the model's output; 0 where only a custom loss knows it.
        kind: the kind of the targets.
        rows: number of training rows, the same in every fold.
        folds: number of folds.
        model: the name of a built-in model; None for a custom one.
        more: name -> function of (outputs, targets): metrics beside those of the kind.
        mirrored: True if the transformed features are the targets.
    """

    network: Callable[..., Network]
    optimizer: str | Callable[..., Any]
    loss: Callable[..., Any] | None
    schedule: str | Callable[..., Any]
    inputs: tuple[int, ...]
    outputs: int
    kind: Kind
    rows: int
    folds: int = 1
    model: str | None = None
    more: Mapping[str, Callable[..., Any]] = dataclasses.field(default_factory=dict)
    mirrored: bool = False

    @mixing
    def init(self, key: jax.Array, hparams: HParams, data: Data) -> ModelState:
        """The state before the first epoch; raises ValueError for hyperparameters out of range."""
        for name, (low, high) in LIMITS.items():
            hparams.within(name, low, high)
        check_augmented(hparams, data.rows.x)
        init_key, key = jax.random.split(key)
        network = self.network(hparams, init_key)
        check_params(network.params)
        opt_state = self.optimizer_at(hparams, 0).init(network.params)
        trained = beside(hparams, network.params, network.variables)
        return ModelState(network.params, network.variables, opt_state, key, jnp.int32(0), trained)

    def optimizer_at(self, hparams: HParams, epoch: Any) -> optax.GradientTransformation:
        """The optimizer at the learning rate of `epoch`, which is computed only if the optimizer reads it."""
        rate = Deferred(lambda: learning_rate(hparams, hparams.get("schedule", self.schedule), epoch))
        named = hparams.get("optimizer", self.optimizer)
        optimizer = lookup(OPTIMIZERS, "optimizer", named) if isinstance(named, str) else named
        made = optimizer(hparams.replace(learning_rate=rate))
        if not isinstance(made, optax.GradientTransformation):
            raise ValueError(f"the optimizer {name_of(named)} returned {short(made)}; return one of optax's")
        return made

    def updates_by(self, optimizer: optax.GradientTransformation, gradients: Any, state: Any, params: Any) -> Any:
        """The updates and the new state; raises ValueError for an optimizer that needs more than gradients."""
        try:
            return optimizer.update(gradients, state, params)
        except TypeError as error:
            if isinstance(error, jax.errors.JAXTypeError):
                raise
            what = fault(f"the optimizer {name_of(self.optimizer)}: update", error)
            raise ValueError(f"{what}; use one that needs gradients alone") from error

    @property
    def default_batch(self) -> int:
        """The batch size if it is no hyperparameter: 32, or all training rows if they are fewer."""
        return min(DEFAULT_BATCH_SIZE, self.rows)

    def updates(self, hparams: Mapping[str, Any]) -> Any:
        """Number of optimizer updates in one epoch."""
        return self.rows // hparams.get("batch_size", self.default_batch)

    def parameters(self, hparams: Mapping[str, Any]) -> Any:
        """Number of trained parameters of a built-in model; None for a custom model, which has arrays of exact size."""
        model = MODELS.get(self.model or "")
        return None if model is None else model.parameters(self.inputs, self.outputs, hparams)

    def flops(self, hparams: Mapping[str, Any]) -> Any:
        """Operations of one epoch of a built-in model; a backward pass counts as two forward passes."""
        rows = self.updates(hparams) * hparams.get("batch_size", self.default_batch)
        return 3 * rows * MODELS[str(self.model)].operations(self.inputs, self.outputs, hparams)

    def fold(self, hparams: HParams, data: Data) -> Fold:
        """The fold of the member."""
        fold = hparams["fold"] if self.folds > 1 else 0
        return jax.tree.map(lambda stacked: stacked[fold], data.folds)

    def taken(self, rows: Rows, numbers: jax.Array, fold: Fold) -> Rows:
        """The rows of these `numbers`, transformed as the member's fold defines."""
        places = numbers if fold.number is None else numbers + fold.number * len(rows.y)
        return self.transformed(Rows(jax.tree.map(lambda x: x[places], rows.x), rows.y[numbers]), fold)

    def transformed(self, rows: Rows, fold: Fold) -> Rows:
        """Rows with features transformed and scaled targets standardized by the member's fold."""
        if self.folds == 1:
            return self.mirror(rows)
        x = rows.x if fold.affine is None else mapped(shifted_and_scaled, rows.x, fold.affine)
        y = (rows.y - per_row(fold.y_mean)) / per_row(fold.y_scale) if self.kind.scaled else rows.y
        return self.mirror(Rows(x, y))

    def mirror(self, rows: Rows) -> Rows:
        """Rows with the features as targets if `mirrored`; else unchanged."""
        return Rows(rows.x, rows.x) if self.mirrored else rows

    @mixing
    def epoch(self, state: ModelState, hparams: HParams, data: Data) -> tuple[ModelState, dict[str, jax.Array]]:
        """Train one pass over the training rows, in the member's random order; then validate.

        Returns the state and scalar metrics by name. A dynamic batch size is a number of
        micro-batches of its smallest value: gradients are summed over them and the optimizer
        updates at the last. Micro-batches that fill no batch are ignored. Raises NeedsStatic
        for a dynamic batch size with batch statistics, and as `batch` does.
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
            x = augmented(hparams, keys, x)
            outputs, after = network.apply(params, variables, x, keys)
            check_variables(variables, after)
            return self.weighted(hparams, outputs, y, data, rows).sum() / batch, after

        def train(carry: Any, step: jax.Array) -> tuple[Any, jax.Array]:
            params, variables, opt_state, gradients, mean = carry
            rows = lax.dynamic_slice(order, (step * micro,), (micro,))
            (value, variables), gradient = jax.value_and_grad(loss, has_aux=True)(params, variables, step, rows)
            gradient = lax.platform_dependent(gradient, cpu=complete, default=lambda gradient: gradient)

            def update(gradients: Any) -> Any:
                updates, after = self.updates_by(optimizer, gradients, opt_state, params)
                after = jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype), after, opt_state)
                new = optax.apply_updates(params, updates)
                return new, after, jax.tree.map(jnp.zeros_like, gradients), averaged(hparams, mean, new, variables)

            if isinstance(batch, int):
                params, opt_state, _, mean = update(gradient)
                return (params, variables, opt_state, gradients, mean), value
            gradients = jax.tree.map(jnp.add, gradients, gradient)
            params, opt_state, gradients, mean = lax.cond(
                (step + 1) % due == 0, update, lambda gradients: (params, opt_state, gradients, mean), gradients
            )
            return (params, variables, opt_state, gradients, mean), jnp.where(step < used, value, 0)

        gradients = () if isinstance(batch, int) else jax.tree.map(jnp.zeros_like, state.params)
        params, variables, mean = exchanged(state.params, state.variables, state.trained)
        carry = (params, variables, state.opt_state, gradients, mean)
        (params, variables, opt_state, _, mean), losses = lax.scan(train, carry, jnp.arange(self.rows // micro))
        params, variables, other = exchanged(params, variables, mean)
        metrics = {"train_loss": losses.sum() / (self.rows // batch)}
        rows = self.taken(data.rows, fold.validation, fold)
        trained = ModelState(params, variables, opt_state, state.key, state.epoch + 1, other)
        return trained, metrics | self.evaluated(network, trained, rows, fold, data, "validation")

    def batch(self, hparams: HParams) -> tuple[int, Any]:
        """The number of rows of a micro-batch and of a batch.

        Raises ValueError for a size out of range, and NeedsStatic if a dynamic one is not a multiple of the smallest.
        """
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
        """The loss of each row (rows,), or of each output (rows, outputs).

        Raises ValueError for outputs that do not fit the kind, and for a custom loss of another shape than (rows,), or
        of whole numbers.
        """
        if not hasattr(outputs, "shape"):
            what = "one array (rows, ...): concatenate several outputs, and take them apart in loss=; or write a Task"
            raise ValueError(f"the model returned a {type(outputs).__name__}; return {what}")
        self.kind.check(outputs, len(targets))
        losses = self.kind.losses(hparams, outputs, targets) if self.loss is None else self.loss(outputs, targets)
        if not hasattr(losses, "dtype"):
            raise ValueError(f"the loss returned {short(losses)}; return an array, one value a row")
        if self.loss is not None and losses.shape != targets.shape[:1]:
            what = f"of outputs {outputs.shape} and targets {targets.shape} has the shape {losses.shape}"
            raise ValueError(f"the loss {what}; give one value a row, {targets.shape[:1]}")
        if self.loss is not None and mixes_rows(self.loss, outputs, targets):
            what = f"of outputs {outputs.shape} and targets {targets.shape} compares each row with the targets of all"
            raise ValueError(f"the loss {what}; take outputs[:, 0]")
        if not jnp.issubdtype(losses.dtype, jnp.floating):
            raise ValueError(f"the loss gives {losses.dtype}, which has no gradient; give real numbers, not counts")
        return losses

    def weighted(self, hparams: HParams, outputs: jax.Array, targets: jax.Array, data: Data, rows: Any) -> jax.Array:
        """The loss (rows,) of these rows times their weights, the mean over outputs."""
        losses = self.losses(hparams, outputs, targets)
        if data.weight is not None:
            losses, weight = aligned(losses, data.weight[rows])
            losses = losses * weight
        return losses if losses.ndim == 1 else losses.mean(-1)

    def evaluated(
        self, network: Network, state: ModelState, rows: Rows, fold: Fold, data: Data, split: str
    ) -> dict[str, jax.Array]:
        """The metrics by name on the rows of a split that is not trained on; its loss is without label smoothing."""
        outputs, _ = network.apply(state.params, state.variables, rows.x, None)
        return self.measured_of(outputs, rows.y, fold, data, split)

    @mixing
    def measured_of(self, outputs: jax.Array, y: jax.Array, fold: Fold, data: Data, split: str) -> dict[str, jax.Array]:
        """The metrics by name of outputs for rows of a split with targets `y`, as `taken` gives them."""
        units = per_row(fold.y_scale * data.y_std)
        values = {"loss": self.losses(HParams({}), outputs, y).mean(), **self.kind.metrics(outputs, y, units)}
        if self.more:
            scale, unit = per_row(fold.y_scale), per_row(data.y_std)
            errors = (outputs.reshape(y.shape) - y) * scale * unit if self.kind.scaled else None
            converted = [self.in_units(each, y.shape, fold, data) for each in (outputs, y)]
            values |= measured(self.more, converted[0], converted[1], errors)
        return {str(Metric.of(split, name)): value for name, value in values.items()}

    def in_units(self, values: jax.Array, shape: tuple[int, ...], fold: Fold, data: Data) -> jax.Array:
        """Outputs or targets in the targets' own units and shape; unchanged if the kind does not scale them."""
        if not self.kind.scaled:
            return values
        scale, mean, unit, zero = map(per_row, (fold.y_scale, fold.y_mean, data.y_std, data.y_mean))
        return (values.reshape(shape) * scale + mean) * unit + zero

    @mixing
    def watch(self, state: ModelState, hparams: HParams, data: Data) -> dict[str, jax.Array]:
        """Diagnostics by name: loss and gradient norm over all training rows, and each layer's update_to_weight.

        That is the norm of the update that this gradient would give, relative to the norm of
        the layer's weights; about 1e-3 is usual.
        """
        network = self.network(hparams, state.key)
        fold = self.fold(hparams, data)
        x, y = self.taken(data.rows, fold.train, fold)
        params, variables, _ = exchanged(state.params, state.variables, state.trained)

        def loss(params: Any) -> jax.Array:
            outputs, _ = network.apply(params, variables, x, None)
            return self.weighted(hparams, outputs, y, data, fold.train).mean()

        value, gradient = jax.value_and_grad(loss)(params)
        updates, _ = self.optimizer_at(hparams, state.epoch).update(gradient, state.opt_state, params)
        ratios = update_to_weight(named_leaves(updates), named_leaves(params))
        return {"loss": value, "gradient_norm": norm(jax.tree.leaves(gradient)), **ratios}

    @mixing
    def score(self, state: ModelState, hparams: HParams, data: Data) -> dict[str, jax.Array]:
        """The metrics on the test rows by name."""
        fold = self.fold(hparams, data)
        every = jnp.arange(len(data.test.y))
        rows = self.transformed(data.test, fold) if fold.number is None else self.taken(data.test, every, fold)
        return self.evaluated(self.network(hparams, state.key), state, rows, fold, data, "test")


def aligned(losses: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Losses and weights, each (rows,) or (rows, outputs), in shapes that broadcast to that of the losses."""
    if losses.ndim < weight.ndim:
        return losses, weight.mean(-1)
    return losses, weight if losses.ndim == weight.ndim else weight[:, None]


def complete(gradient: Any) -> Any:
    """The gradient behind an optimization barrier: no matrix is used before all of them are computed.

    So weights are updated after the last product that reads them, and XLA, which cannot infer
    this from the operations, does not copy them in every step. This is for a CPU; on a GPU
    there are no such copies, and the barrier would keep kernels from fusing.
    """
    leaves, structure = jax.tree.flatten(gradient)
    waited = iter(lax.optimization_barrier([leaf for leaf in leaves if leaf.ndim > 1]))
    return jax.tree.unflatten(structure, [next(waited) if leaf.ndim > 1 else leaf for leaf in leaves])


def update_to_weight(updates: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, jax.Array]:
    """Ratios "update_to_weight <layer>" -> the norm of the layer's update relative to the norm of its weights."""
    layers: dict[str, list[str]] = {}
    for name in params:
        layers.setdefault(name.rpartition(".")[0] or name, []).append(name)
    return {
        f"update_to_weight {layer}": norm([updates[name] for name in names]) / norm([params[name] for name in names])
        for layer, names in layers.items()
    }


def norm(arrays: list[Any]) -> jax.Array:
    """The Euclidean norm of all entries of some arrays."""
    return jnp.sqrt(sum(jnp.vdot(array, array) for array in arrays))


def mixes_rows(loss: Callable[..., Any], outputs: jax.Array, targets: jax.Array) -> bool:
    """True if a loss of outputs (rows, 1) broadcasts them against the targets (rows,) of all rows.

    Such a loss takes targets of another number of rows too.

    >>> outputs, targets = jnp.zeros((4, 1)), jnp.zeros(4)
    >>> mixes_rows(lambda o, t: abs(o - t[None]).mean(-1), outputs, targets)
    True
    >>> mixes_rows(lambda o, t: abs(o[:, 0] - t), outputs, targets)
    False
    """
    if outputs.shape[1:] != (1,) or targets.ndim != 1:
        return False
    other = jax.ShapeDtypeStruct((len(targets) + 1,), jax.dtypes.canonicalize_dtype(targets.dtype))
    try:
        jaxpr = jax.make_jaxpr(loss)(jax.ShapeDtypeStruct(outputs.shape, outputs.dtype), other).jaxpr
    except Exception:  # the loss needs one target a row
        return False
    return any(jaxpr.invars[1] in equation.invars for equation in jaxpr.eqns)
