"""nnx, linen and equinox modules as pure functions of their arrays.

A module is rebuilt in every trace from the member's current hyperparameters; only its
parameters and variables (batch statistics, random streams) are state. So a changed
hyperparameter takes effect at once, wherever the module stores it.
"""

import inspect
import sys
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from popjax.core.calls import check_called
from popjax.core.text import check_installed
from popjax.models.flags import flags
from popjax.models.layers import RowKeys, one_pass
from popjax.models.network import Network
from popjax.task import HParams

OTHERS = nnx.All(nnx.Variable, nnx.Not(nnx.Any(nnx.Param, RowKeys)))
NOT_SOWN = nnx.All(OTHERS, nnx.Not(nnx.Intermediate))


def check_model(model: Any) -> None:
    """Raise ValueError for a module itself, and for what takes neither (hparams, rngs) nor (hparams, key)."""
    module = isinstance(model, nnx.Module) or (hasattr(model, "init") and hasattr(model, "apply"))
    if (module or is_equinox(model)) and not isinstance(model, type):
        name, second = type(model).__name__, "key" if is_equinox(model) else "rngs"
        raise ValueError(f"the model is a {name} itself; give what makes one: lambda hparams, {second}: {name}(...)")
    if not (takes_key(model) or named_rngs(model)):
        check_called("the model", model, "hparams", "rngs")


def is_equinox(value: Any) -> bool:
    """True for an equinox module; without equinox nothing is one."""
    equinox = sys.modules.get("equinox")
    return equinox is not None and isinstance(value, equinox.Module)


def takes_key(model: Any) -> bool:
    """True for a callable of (hparams, key), by that name, which makes equinox modules."""
    try:
        signature = inspect.signature(model)
        signature.bind("hparams", key="key")
    except (ValueError, TypeError):  # other arguments, no signature, or nothing that can be called
        return False
    return "key" in signature.parameters and "rngs" not in signature.parameters


def named_rngs(model: Any) -> bool:
    """True for a callable of (hparams, *, rngs), as flax's own modules are."""
    made = isinstance(model, type)  # a metaclass, such as nnx's, hides the signature of __init__
    try:
        signature = inspect.signature(model.__init__ if made else model)
        signature.bind(*(["self"] if made else []), "hparams", rngs="rngs")
    except (ValueError, TypeError):
        return False
    return "rngs" in signature.parameters and signature.parameters["rngs"].kind == inspect.Parameter.KEYWORD_ONLY


def bind(model: Callable[..., Any], hparams: HParams, key: jax.Array, x: jax.Array) -> Network:
    """Build the module as a Network; `x` (rows, ...) is an example input. Raises ValueError if it is no module."""
    params_key, dropout_key = jax.random.split(key)
    if takes_key(model):
        check_installed("a model of (hparams, key)", "equinox")
        from popjax.models.equinox_modules import bind_equinox

        return bind_equinox(model, hparams, params_key)
    rngs = nnx.Rngs(dropout_key, params=params_key, dropout=dropout_key)  # the first is of all other names
    module = model(hparams, rngs=rngs) if named_rngs(model) else model(hparams, rngs)
    if isinstance(module, nnx.Module):
        return _bind_nnx(module)
    if callable(getattr(module, "init", None)) and callable(getattr(module, "apply", None)):
        return _bind_linen(module, params_key, dropout_key, x)
    kind, what = type(module).__name__, "return an nnx.Module or a linen module"
    what = "its callable takes hparams and key, by these names" if is_equinox(module) else what
    raise ValueError(f"the model callable returned a {kind}; {what}")


def _bind_nnx(module: nnx.Module) -> Network:
    split: tuple[Any, ...] = nnx.split(module, nnx.Param, OTHERS, RowKeys, ...)
    graph, params, variables, row_keys, rest = split
    shapes = [jax.tree.structure(state) for state in (params, variables)]
    kept = OTHERS if jax.tree.leaves(nnx.state(module, nnx.Intermediate)) else NOT_SOWN

    def whole(params: Any, variables: Any, layers: Any = row_keys) -> Any:
        full = [jax.tree.unflatten(s, jax.tree.leaves(p)) for s, p in zip(shapes, (params, variables), strict=True)]
        merged = nnx.merge(graph, *full, layers, rest, copy=True)
        merged.eval()
        return merged

    def apply(params: Any, variables: Any, x: jax.Array, keys: jax.Array | None) -> tuple[Any, Any]:
        merged = whole(params, variables, row_keys if keys is None else _keys_by_layer(row_keys, keys))
        if keys is not None:
            merged.train()
        with one_pass():
            outputs = merged(x, **flags(module, training=keys is not None))
        return outputs, nnx.to_pure_dict(nnx.state(merged, kept))

    statistics = jax.tree.leaves(nnx.state(module, nnx.BatchStat))
    return Network(nnx.to_pure_dict(params), nnx.to_pure_dict(variables), bool(statistics), apply, whole)


def _keys_by_layer(row_keys: Any, keys: jax.Array) -> Any:
    """Random keys (rows,) for each layer, folded from the rows' keys (rows,)."""
    leaves, structure = jax.tree.flatten(row_keys)
    fold = jax.vmap(jax.random.fold_in, (0, None))
    return jax.tree.unflatten(structure, [fold(keys, layer) for layer in range(len(leaves))])


def _bind_linen(module: Any, params_key: jax.Array, dropout_key: jax.Array, x: jax.Array) -> Network:
    switches = flags(module, training=False)
    collections = dict(module.init({"params": params_key, "dropout": dropout_key}, x, **switches))
    params = collections.pop("params", {})

    def apply(params: Any, variables: Any, x: jax.Array, keys: jax.Array | None) -> tuple[Any, Any]:
        merged, switches = {"params": params, **variables}, flags(module, training=keys is not None)
        if keys is None:
            return module.apply(merged, x, **switches), variables
        return module.apply(merged, x, **switches, rngs=_streams(keys[0]), mutable=list(variables))

    def whole(params: Any, variables: Any) -> Any:
        return {"params": params, **variables}

    def _streams(key: jax.Array) -> dict[str, jax.Array]:
        return {"dropout": key, "params": jax.random.fold_in(key, 1)}  # the second is of all other names

    return Network(params, collections, "batch_stats" in collections, apply, whole)
