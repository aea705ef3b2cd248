"""equinox modules as pure functions of their arrays: a module of one row, with its state, is mapped over the rows."""

import inspect
import re
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jax import lax

from popjax.models.network import Network
from popjax.task import HParams

AXIS = "batch"  # the name of the axis of rows, for eqx.nn.BatchNorm


def bind_equinox(model: Callable[..., Any], hparams: HParams, key: jax.Array) -> Network:
    """Build the module of `model(hparams, key=key)` as a Network.

    Its arrays of real numbers are trained, but for a hyperparameter itself, as `eqx.nn.Dropout(hparams["dropout"])`
    holds one. It is called with one row, and with `state` and `key` if it has such arguments. Raises ValueError if it
    is no module.
    """
    module, state = eqx.nn.make_with_state(model)(hparams, key=key)
    if not isinstance(module, eqx.Module):
        kind = type(module).__name__
        raise ValueError(f"the model callable of (hparams, key) returned a {kind}; return an equinox module")
    trained = jax.tree.map(lambda leaf: eqx.is_inexact_array(leaf) and not hparams.holds(leaf), module)
    params, rest = eqx.partition(module, trained)
    named, structure = named_arrays(params)
    variables, of_state = named_arrays(state)
    order, order_of_state = list(named), list(variables)  # JAX sorts what it returns by name
    takes = inspect.signature(type(module).__call__).parameters

    def whole(params: Any, variables: Any) -> tuple[Any, Any]:
        found = jax.tree.unflatten(structure, [params[name] for name in order])
        return eqx.combine(found, rest), jax.tree.unflatten(of_state, [variables[name] for name in order_of_state])

    def apply(params: Any, variables: Any, x: jax.Array, keys: jax.Array | None) -> tuple[Any, Any]:
        one, state = whole(params, variables)
        one = eqx.nn.inference_mode(one, value=keys is None)

        def of_row(row: Any, key: Any) -> Any:
            others = {"key": key} if "key" in takes else {}
            return one(row, state, **others) if "state" in takes else (one(row, **others), state)

        outputs, state = jax.vmap(of_row, (0, None if keys is None else 0), (0, None), axis_name=AXIS)(x, keys)
        return outputs, named_arrays(state)[0]

    def trained_module(params: Any, variables: Any) -> Any:
        one, state = whole(params, variables)
        one = eqx.nn.inference_mode(one)
        return (one, state) if "state" in takes else one

    norms = jax.tree.leaves(module, is_leaf=lambda node: isinstance(node, eqx.nn.BatchNorm))
    statistics = any(isinstance(node, eqx.nn.BatchNorm) for node in norms)
    return Network(named, variables, statistics, apply, trained_module)


def named_arrays(tree: Any) -> tuple[dict[str, Any], Any]:
    """The arrays of a tree by their places, as "layers.0.weight", and its structure."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
    name = lambda path: ".".join(re.findall(r"\w+", jax.tree_util.keystr(path)))
    named = {name(path): lax.convert_element_type(leaf, leaf.dtype) for path, leaf in leaves}
    return named, structure
