"""A population as stacked arrays: one member's functions, looped and vectorized.

Members are kept in batches of equal capacity. A batch advances in chunks of `lanes` members under
vmap, one chunk after the other; the number of its members is a traced count, so one executable
serves every size of population, and no member's bits depend on it. Each of several devices has an
equal share of a batch's capacity, and its own count.
"""

import functools
import itertools
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec

from popjax.core.trees import from_host, is_key
from popjax.engine.best_epoch import KEYS, Overwrite, Training, Wanted, begun, keeping_best, keeping_none
from popjax.engine.key import Key, key_of
from popjax.space.space import Space
from popjax.task import HParams, Task

SEED = jax.ShapeDtypeStruct((), np.uint32)
COUNT = jax.ShapeDtypeStruct((), np.int32)
SETTINGS = (  # of JAX, that change what a program computes
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
    "jax_numpy_dtype_promotion",
)
OTHER_NUMBERS = ("jax_enable_x64", "jax_default_prng_impl", "jax_threefry_partitionable")
EVERYWHERE, SHARDED = PartitionSpec(), PartitionSpec("members")
AHEAD = 16  # epochs that a program trains in one call at most: a bound of its arrays of metrics


class Members(NamedTuple):
    """The members of a batch: arrays (devices * capacity,), within a program (capacity,); 0-d for one.

    Attributes:
        trial, fold, repeat: int32; the trial by its number, from which the random key is made.
        values: the dynamic hyperparameters by name.
        wanted: when an epoch of each is a better one; None if the rule does not keep the best epoch.
    """

    trial: Any
    fold: Any
    repeat: Any
    values: dict[str, Any]
    wanted: Wanted | None = None


class Trace(NamedTuple):
    """The abstract results of a member's functions.

    Attributes:
        training: its state, with that of its best epoch if it is kept.
        metrics: of an epoch, by name.
        key: `() -> Key` of what the task's own functions compute, independent of the rule.
    """

    training: Training
    metrics: dict[str, Any]
    key: Callable[[], Key]


class MemberFunctions:
    """One member's pure functions, for one choice of the static hyperparameters.

    Each is traced once for all programs that use it.

    Args:
        task: how one trial is trained.
        static: the static hyperparameters' Python values.
        dynamic: the names of the dynamic hyperparameters, each with int or float.
        scales: the scales of all hyperparameters.
        epochs: the epochs of the whole run.
        branching: True if a member that diverged or rests skips its epoch by a real branch, and not by
            a select. Only for one lane, where branches are real.
        branches: name -> ascending values of dynamic hyperparameters; an epoch is a branch for each
            combination, in which they are Python values. Only for one lane.
        inactive: the hyperparameters that the static values rule out, each with what it depends on.
        keeps_best: True if a member's best epoch is kept.

    Attributes:
        reads, sizes: the names that the task has looked up so far (see HParams).
        epoch_reads: those that `epoch` has looked up.
    """

    def __init__(
        self,
        task: Task,
        static: Mapping[str, Any],
        dynamic: Mapping[str, type],
        scales: Space,
        epochs: int,
        branching: bool = False,
        branches: Mapping[str, tuple[int, ...]] | None = None,
        inactive: Mapping[str, str] | None = None,
        keeps_best: bool = False,
    ) -> None:
        self.task = task
        self.static = dict(static)
        self.dynamic = dict(dynamic)
        self.scales = scales
        self.epochs = epochs
        self.branching = branching
        self.branches = dict(branches or {})
        self.inactive = dict(inactive or {})
        self.keeps_best = keeps_best
        self.reads: set[str] = set()
        self.epoch_reads: set[str] = set()
        self.sizes: set[str] = set()
        self.traces: dict[Any, Trace] = {}
        self.init = jax.jit(self._init)
        self.epoch = jax.jit(self._epoch)
        self.score = jax.jit(self._score)

    @property
    def of_init(self) -> set[str]:
        """The dynamic hyperparameters that `init` alone reads, once traced."""
        return self.reads & self.dynamic.keys() - self.epoch_reads

    def dtype(self, name: str) -> Any:
        """The dtype of a dynamic hyperparameter in the programs: int32, or JAX's default float."""
        return np.dtype(np.int32) if self.dynamic[name] is int else jax.dtypes.canonicalize_dtype(float)

    @property
    def example(self) -> Members:
        """The abstract arrays of one member."""
        values = {name: jax.ShapeDtypeStruct((), self.dtype(name)) for name in self.dynamic}
        if not self.keeps_best:
            return Members(COUNT, COUNT, COUNT, values)
        signs = jax.ShapeDtypeStruct((KEYS,), jax.dtypes.canonicalize_dtype(float))
        wanted = Wanted(jax.ShapeDtypeStruct((KEYS,), np.int32), signs, COUNT)
        return Members(COUNT, COUNT, COUNT, values, wanted)

    def trace(self, data: Any) -> Trace:
        """The abstract results on abstract `data`; nothing is compiled."""
        leaves, structure = jax.tree.flatten(data)
        key = tuple(leaves), structure, jax_settings()
        if key not in self.traces:
            self.traces[key] = self._trace(data)
        return self.traces[key]

    def _trace(self, data: Any) -> Trace:
        example = self.example._replace(wanted=None)
        first = self.init.trace(SEED, example, data)
        training = shapes(first)
        by_init, self.reads = self.reads, set()
        functions = [first, self.epoch.trace(training, example, data)]
        self.epoch_reads |= self.reads
        self.reads |= by_init
        check_closed(functions[1], (training, example, data))
        metrics = shapes(functions[1])[1]
        if self.task.score is not None:
            functions.append(self.score.trace(training.state, example, data))
        trees = [(function.in_tree, shapes(function)) for function in functions]
        traced = [function.jaxpr for function in functions]
        arguments = [function.in_tree for function in functions]
        if self.keeps_best:
            training = jax.eval_shape(begun, training)
        return Trace(training, metrics, functools.cache(lambda: key_of(traced, trees, arguments)))

    def hparams(self, member: Members, **known: Any) -> HParams:
        """The mapping that the task sees; `known` holds Python values in place of a member's arrays."""
        values = {**self.static, **member.values, **known, "fold": member.fold, "epochs": self.epochs}
        return HParams(values, self.scales, self.reads, self.sizes, self.inactive)

    def branch(self, function: Callable[[HParams], Any], member: Members) -> Any:
        """`function(hparams)`, in the branch for the member's values of `branches`."""
        choices = list(itertools.product(*self.branches.values()))
        if choices == [()]:
            return function(self.hparams(member))
        index: Any = 0
        for name, values in self.branches.items():
            index = index * len(values) + jnp.searchsorted(jnp.asarray(values), member.values[name])
        known = [dict(zip(self.branches, choice, strict=True)) for choice in choices]
        return lax.switch(index, [lambda values=values: function(self.hparams(member, **values)) for values in known])

    def _init(self, seed: jax.Array, member: Members, data: Any) -> Training:
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), member.trial), member.repeat)
        state = self.task.init(key, self.hparams(member), data)
        return Training(jax.tree_util.tree_map_with_path(leaf_array, state), jnp.bool(True))

    def _epoch(self, training: Training, member: Members, data: Any) -> tuple[Training, dict[str, jax.Array]]:
        @jax.jit
        def train(state: Any) -> tuple[Any, dict[str, jax.Array]]:
            return self.branch(lambda hparams: one(state, hparams), member)

        def one(state: Any, hparams: HParams) -> tuple[Any, dict[str, jax.Array]]:
            returned: Any = self.task.epoch(state, hparams, data)
            if not isinstance(returned, tuple | list) or len(returned) != 2:
                size = f" of {len(returned)}" if isinstance(returned, tuple | list) else ""
                raise ValueError(f"epoch returned a {type(returned).__name__}{size}; return (state, metrics)")
            return keep_types(state, returned[0]), scalars("epoch", returned[1])

        def rest(state: Any) -> tuple[Any, dict[str, jax.Array]]:
            return state, {name: jnp.full((), jnp.nan, metric.dtype) for name, metric in metrics.items()}

        _, metrics = jax.eval_shape(train, training.state)
        if self.branching:
            state, values = lax.cond(training.alive, train, rest, training.state)
        else:  # a cond under vmap would copy the shared data for each member
            select = functools.partial(lax.select, training.alive)
            state, values = jax.tree.map(select, train(training.state), rest(training.state))
        finite = jnp.stack([jnp.isfinite(value) for value in values.values()]).all()
        return Training(state, training.alive & finite), values

    def _score(self, state: Any, member: Members, data: Any) -> dict[str, jax.Array]:
        assert self.task.score is not None
        return scalars("score", self.task.score(state, self.hparams(member), data))


def shapes(traced: Any) -> Any:
    """The shapes and dtypes of a traced function's results."""
    return jax.tree.map(lambda info: jax.ShapeDtypeStruct(info.shape, info.dtype), traced.out_info)


def check_closed(traced: Any, arguments: Any) -> None:
    """Raise ValueError if a traced function has inputs beside its arguments: arrays in a closure that `init` made."""
    if len(traced.jaxpr.in_avals) > len(jax.tree.leaves(arguments)):
        raise ValueError(
            "the state of init holds a function made with hyperparameters or arrays, such as the optimizer in a "
            "TrainState; make it in epoch, or with fixed numbers, such as by optax.inject_hyperparams"
        )


def leaf_array(path: Any, leaf: Any) -> jax.Array:
    """A leaf of a state as an array; raises ValueError for an object that is none."""
    try:
        return jnp.asarray(leaf)
    except TypeError:
        what = f"state{jax.tree_util.keystr(path)} as a {type(leaf).__name__}"
        raise ValueError(f"init returned {what}; return a pytree of arrays, and make other objects in epoch") from None


def scalars(function: str, metrics: Any) -> dict[str, jax.Array]:
    """The metrics that a task's function returned as float scalars by name; raises ValueError for anything else."""
    if not isinstance(metrics, Mapping) or not metrics:
        raise ValueError(f"{function} returned {type(metrics).__name__} as metrics; return a dict of scalars")
    for name in metrics:
        if not isinstance(name, str):
            raise ValueError(f"{function} returned a metric named {name!r}; return a dict of scalars, name -> value")
    return {name: scalar(name, value) for name, value in metrics.items()}


def scalar(name: str, value: Any) -> jax.Array:
    """A metric as a float scalar (); raises ValueError for anything else."""
    if value is None or isinstance(value, str | bytes | Mapping | set):
        what = f"a {type(value).__name__}" if isinstance(value, Mapping | set) else repr(value)
        raise ValueError(f"the metric {name!r} is {what}; return a scalar")
    try:
        given = jnp.asarray(value)
        if jnp.issubdtype(given.dtype, jnp.complexfloating):
            raise ValueError(f"the metric {name!r} is a complex number; return a real one, such as its absolute value")
        number = given.astype(float)
    except TypeError:  # an object of the user's
        raise ValueError(f"the metric {name!r} is a {type(value).__name__}; return a scalar") from None
    if number.shape:
        raise ValueError(f"the metric {name!r} has shape {number.shape}; return a scalar")
    return number


def keep_types(state: Any, new: Any) -> Any:
    """The new state as arrays; raises ValueError if its structure, a shape or a dtype differs from the old state's."""

    def keep(path: Any, old: Any, new: Any) -> Any:
        new = jnp.asarray(new)
        if (old.shape, old.dtype) != (new.shape, new.dtype):
            what = f"{new.dtype}{list(new.shape)}, init gave {old.dtype}{list(old.shape)}"
            raise ValueError(f"epoch returned state{jax.tree_util.keystr(path)} as {what}; keep shapes and dtypes")
        return new

    if jax.tree.structure(state) != jax.tree.structure(new):  # type: ignore[operator]
        raise ValueError("epoch returned a state of another structure than init; keep the pytree's structure")
    return jax.tree_util.tree_map_with_path(keep, state, new)


def over_chunks(fn: Callable[..., Any], lanes: int, count: Any, outputs: Any, *inputs: Any) -> Any:
    """Overwrite the first `count` of the stacked `outputs` by `fn(old output, *inputs)`, in whole chunks of `lanes`.

    With one lane `fn` sees single members, so its branches are real; with more it is vmapped. A result that is an
    Overwrite is written only where its `where` is True.
    """

    def read(stacked: Any, chunk: Any) -> Any:
        if lanes == 1:
            return lax.dynamic_index_in_dim(stacked, chunk, keepdims=False)
        return lax.dynamic_slice_in_dim(stacked, chunk * lanes, lanes)

    def write(stacked: Any, new: Any, chunk: Any) -> Any:
        if lanes == 1:
            return lax.dynamic_update_index_in_dim(stacked, new, chunk, 0)
        return lax.dynamic_update_slice_in_dim(stacked, new, chunk * lanes, 0)

    def overwrite(stacked: Any, new: Overwrite, chunk: Any) -> Any:
        """With one lane a branch, which neither reads nor writes a state that stays; else a select."""
        put = lambda stacked, by: jax.tree.map(lambda old, one: write(old, one, chunk), stacked, by)
        if lanes == 1:
            return lax.cond(new.where, put, lambda stacked, by: stacked, stacked, new.by)
        choose = jax.vmap(jnp.where)
        return put(stacked, jax.tree.map(lambda old, by: choose(new.where, by, read(old, chunk)), stacked, new.by))

    def body(chunk: Any, outputs: Any) -> Any:
        olds, arguments = jax.tree.map(lambda stacked: read(stacked, chunk), (outputs, inputs))
        news = (fn if lanes == 1 else jax.vmap(fn))(olds, *arguments)
        apart = lambda new: isinstance(new, Overwrite)
        put = lambda new, old: overwrite(old, new, chunk) if apart(new) else write(old, new, chunk)
        return jax.tree.map(put, news, outputs, is_leaf=apart)

    return lax.fori_loop(0, (count + lanes - 1) // lanes, body, outputs)


def advance(
    functions: MemberFunctions,
    metrics: Any,
    lanes: int,
    training: Training,
    members: Members,
    data: Any,
    counts: Any,
    epochs: Any,
) -> tuple[Training, dict[str, Any], Any]:
    """`epochs` epochs, at most AHEAD, of the first `counts[0]` stacked members, with metrics (capacity, AHEAD).

    Also whether an epoch became the best, bool (capacity, AHEAD); None if no best epoch is kept. What is beyond the
    last epoch, or beyond the last chunk of members, is NaN and False.
    """
    capacity = len(members.trial)
    train = (keeping_best if functions.keeps_best else keeping_none)(functions.epoch)
    nothing = {name: jnp.full(capacity, jnp.nan, aval.dtype) for name, aval in metrics.items()}
    report = nothing, jnp.zeros(capacity, bool) if functions.keeps_best else None

    def epoch(number: Any, known: tuple[Training, Any]) -> tuple[Training, Any]:
        training, reports = known
        step = lambda old, own: train(old[0], own, data)
        training, *new = over_chunks(step, lanes, counts[0], (training, *report), members)
        put = lambda column, columns: lax.dynamic_update_index_in_dim(columns, column, number, 1)
        return training, jax.tree.map(put, tuple(new), reports)

    reports = jax.tree.map(lambda column: jnp.broadcast_to(column[:, None], (capacity, AHEAD)), report)
    training, (values, improved) = lax.fori_loop(0, epochs, epoch, (training, reports))
    return training, values, improved


class Programs(NamedTuple):
    """The programs of a bucket: lowered, being compiled, or ready.

    Attributes:
        init: `(seed, members, data, counts) -> training`, stacked (devices * capacity, ...); counts (devices,).
        epoch: `(training, members, data, counts, epochs) -> (training, metrics, improved)`: some epochs, int32 (), at
            most AHEAD; metrics (devices * capacity, AHEAD), and whether an epoch became the best, bool (devices *
            capacity, AHEAD), or None if no best epoch is kept. Its argument `training` is donated, so that one state a
            member is enough.
        score: `(arrays, member, data) -> metrics` of one member, from host arrays; None for a task without a score.
    """

    init: Any
    epoch: Any
    score: Any


def lower(functions: MemberFunctions, data: Any, capacity: int, lanes: int, devices: int = 1) -> Programs:
    """Lower the programs of a batch with `capacity` members per device; their `.compile()` may run in any thread."""
    one, metrics, _ = functions.trace(data)

    def init(seed: Any, members: Members, data: Any, counts: Any) -> Training:
        outputs = jax.tree.map(lambda aval: lax.empty((capacity, *aval.shape), aval.dtype), one)
        return over_chunks(lambda _, own: initial(seed, own, data), lanes, counts[0], outputs, members)

    def initial(seed: Any, own: Members, data: Any) -> Training:
        new: Training = functions.init(seed, own._replace(wanted=None), data)
        return begun(new) if functions.keeps_best else new

    def epoch(training: Training, members: Members, data: Any, counts: Any, epochs: Any) -> tuple[Training, Any, Any]:
        return advance(functions, metrics, lanes, training, members, data, counts, epochs)

    def score(arrays: Any, own: Members, data: Any) -> dict[str, Any]:
        return functions.score(from_host(one.state, arrays), own._replace(wanted=None), data)

    def stack(aval: Any) -> Any:
        return jax.ShapeDtypeStruct((devices * capacity, *aval.shape), aval.dtype)

    members, training = jax.tree.map(stack, (functions.example, one))
    counts = jax.ShapeDtypeStruct((devices,), np.int32)
    begun_on = sharded(init, devices, EVERYWHERE, SHARDED, EVERYWHERE, SHARDED)
    lowered_init = jax.jit(begun_on).lower(SEED, members, data, counts)
    trained_on = sharded(epoch, devices, SHARDED, SHARDED, EVERYWHERE, SHARDED, EVERYWHERE)
    lowered_epoch = jax.jit(trained_on, donate_argnums=0).lower(training, members, data, counts, COUNT)
    lowered_score = None
    if functions.task.score is not None:
        arrays = jax.tree.map(
            lambda aval: jax.eval_shape(jax.random.key_data, aval) if is_key(aval) else aval, one.state
        )
        lowered_score = jax.jit(score).lower(arrays, functions.example, data)
    return Programs(lowered_init, lowered_epoch, lowered_score)


def sharded(program: Callable[..., Any], devices: int, *arguments: PartitionSpec) -> Callable[..., Any]:
    """A program with its members spread over `devices`; `arguments`: how each of its arguments is spread."""
    if devices == 1:
        return program
    return jax.shard_map(program, mesh=mesh(devices), in_specs=arguments, out_specs=SHARDED, check_vma=False)


def mesh(devices: int) -> jax.sharding.Mesh:
    """A mesh of the first `devices` local devices, with one axis, "members"."""
    return jax.sharding.Mesh(np.array(jax.local_devices()[:devices]), ("members",))


def on_devices(data: Any, devices: int) -> Any:
    """The data as JAX arrays, replicated on each of the first `devices` devices."""
    arrays = jax.tree.map(jnp.asarray, data)
    return arrays if devices == 1 else jax.device_put(arrays, NamedSharding(mesh(devices), EVERYWHERE))


def signature(functions: MemberFunctions, data: Any, capacity: int, lanes: int, devices: int) -> Any:
    """All that the programs of a traced member depend on, as a hashable key."""
    return functions.trace(data).key(), functions.keeps_best, capacity, lanes, devices, jax_settings()


def jax_settings() -> tuple[Any, ...]:
    """JAX's current settings, in the order of SETTINGS."""
    return tuple(getattr(jax.config, name) for name in SETTINGS)


def under(values: tuple[Any, ...]) -> ExitStack:
    """A context with these values of JAX's SETTINGS."""
    stack = ExitStack()
    for setting, value in zip(SETTINGS, values, strict=True):
        stack.enter_context(getattr(jax, setting.removeprefix("jax_"))(value))
    return stack
