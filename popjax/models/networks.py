"""One door for models: an nnx or a linen module as pure functions of its arrays.

A module is built anew in every trace, from the member's current hyperparameters; only
its parameters and variables (batch statistics, random streams) are state. So a changed
hyperparameter acts at once, wherever the module keeps it.
"""

import functools
import inspect
import logging
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from flax import nnx

from popjax.core.calls import check_called
from popjax.models.layers import RowKeys
from popjax.task import HParams

LOG = logging.getLogger("popjax")
TRAINS, RESTS = ("train", "training", "is_train", "is_training"), ("deterministic", "use_running_average", "inference")
WORDS = ", ".join([*TRAINS, *RESTS[:-1]]) + f" or {RESTS[-1]}"
VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
OTHERS = nnx.All(nnx.Variable, nnx.Not(nnx.Any(nnx.Param, RowKeys)))


class Network(NamedTuple):
    """A model of one member.

    Attributes:
        params: the initial trained arrays.
        variables: the other arrays that the model updates.
        batch_statistics: whether a row's output depends on its batch.
        apply: `(params, variables, x, keys) -> (outputs, variables)`; keys (rows,) for
            training, None for evaluation.
        module: `(params, variables) ->` the nnx module with these arrays, set to evaluate; of a linen module, its
            variables.
    """

    params: Any
    variables: Any
    batch_statistics: bool
    apply: Callable[..., tuple[Any, Any]]
    module: Callable[..., Any]


def check_model(model: Any) -> None:
    """Raise ValueError unless this is what makes a module: a function of (hparams, rngs)."""
    module = isinstance(model, nnx.Module) or (hasattr(model, "init") and hasattr(model, "apply"))
    if module and not isinstance(model, type):
        name = type(model).__name__
        raise ValueError(f"the model is a {name} itself; give what makes one: lambda hparams, rngs: {name}(...)")
    check_called("the model", model, "hparams", "rngs")


def bind(model: Callable[..., Any], hparams: HParams, key: jax.Array, x: jax.Array) -> Network:
    """Build the module and split it; `x` (rows, ...) is an example of its input."""
    params_key, dropout_key = jax.random.split(key)
    rngs = nnx.Rngs(params=params_key, dropout=dropout_key)
    module = model(hparams, rngs)
    if isinstance(module, nnx.Module):
        return _bind_nnx(module)
    if callable(getattr(module, "init", None)) and callable(getattr(module, "apply", None)):
        return _bind_linen(module, params_key, dropout_key, x)
    kind = type(module).__name__
    raise ValueError(f"the model callable returned a {kind}; return an nnx.Module or a linen module")


def _bind_nnx(module: nnx.Module) -> Network:
    split: tuple[Any, ...] = nnx.split(module, nnx.Param, OTHERS, RowKeys, ...)
    graph, params, variables, row_keys, rest = split
    shapes = [jax.tree.structure(state) for state in (params, variables)]

    def whole(params: Any, variables: Any, layers: Any = row_keys) -> Any:
        full = [jax.tree.unflatten(s, jax.tree.leaves(p)) for s, p in zip(shapes, (params, variables), strict=True)]
        merged = nnx.merge(graph, *full, layers, rest, copy=True)
        merged.eval()
        return merged

    def apply(params: Any, variables: Any, x: jax.Array, keys: jax.Array | None) -> tuple[Any, Any]:
        merged = whole(params, variables, row_keys if keys is None else _keys_by_layer(row_keys, keys))
        if keys is not None:
            merged.train()
        outputs = merged(x, **flags(module, training=keys is not None))
        return outputs, nnx.to_pure_dict(nnx.state(merged, OTHERS))

    statistics = jax.tree.leaves(nnx.state(module, nnx.BatchStat))
    return Network(nnx.to_pure_dict(params), nnx.to_pure_dict(variables), bool(statistics), apply, whole)


def _keys_by_layer(row_keys: Any, keys: jax.Array) -> Any:
    """Every layer's own key for each row."""
    leaves, structure = jax.tree.flatten(row_keys)
    fold = jax.vmap(jax.random.fold_in, (0, None))
    return jax.tree.unflatten(structure, [fold(keys, layer) for layer in range(len(leaves))])


def flags(module: Any, training: bool) -> dict[str, bool]:
    """What tells a module whether it trains, in the words that its `__call__` has for it beside its input.

    Raises ValueError for an argument that must be given and is none of them.
    """
    given = {}
    for argument in list(inspect.signature(module.__call__).parameters.values())[1:]:
        if argument.name in (*TRAINS, *RESTS):
            given[argument.name] = training == (argument.name in TRAINS)
        elif isinstance(argument.default, bool):
            warn_of_flag(type(module).__qualname__, argument.name)
        elif argument.default is argument.empty and argument.kind not in VARIABLE:
            what = f"{type(module).__qualname__}.__call__ wants {argument.name!r}, which nothing here gives"
            raise ValueError(f"{what}; whether it trains is told as {WORDS}; give others a default")
    return given


@functools.cache
def warn_of_flag(cls: str, name: str) -> None:
    """Say once of a class that a flag of its `__call__` is left alone."""
    what = f"{cls}.__call__ has {name!r}, which nothing here sets"
    LOG.warning(f"{what}: whether it trains is told as {WORDS}")


def _bind_linen(module: Any, params_key: jax.Array, dropout_key: jax.Array, x: jax.Array) -> Network:
    told = flags(module, training=False)
    collections = dict(module.init({"params": params_key, "dropout": dropout_key}, x, **told))
    params = collections.pop("params", {})

    def apply(params: Any, variables: Any, x: jax.Array, keys: jax.Array | None) -> tuple[Any, Any]:
        merged, told = {"params": params, **variables}, flags(module, training=keys is not None)
        if keys is None:
            return module.apply(merged, x, **told), variables
        return module.apply(merged, x, **told, rngs={"dropout": keys[0]}, mutable=list(variables))

    def whole(params: Any, variables: Any) -> Any:
        return {"params": params, **variables}

    return Network(params, collections, "batch_stats" in collections, apply, whole)
