"""equinox modules as pure functions of their arrays: a module of one row, with its state, is mapped over the rows."""

import inspect
import re
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jax import lax
from jax.extend.core import Literal

from popjax.models.flags import flags
from popjax.models.network import Network
from popjax.task import HParams

AXIS = "batch"  # the name of the axis of rows, for eqx.nn.BatchNorm


def bind_equinox(model: Callable[..., Any], hparams: HParams, key: jax.Array) -> Network:
    """Build the module of `model(hparams, key=key)` as a Network.

    Its arrays of real numbers are trained, but for a single number that follows from hyperparameters alone, as the rate
    of `eqx.nn.Dropout(1 - hparams["keep"])` does. It is called with one row, with `state` and `key` if it has such
    arguments, and with those that say whether it trains (see `flags`). Raises ValueError if it is no module.
    """
    module, state = built(model, hparams, key)
    if not isinstance(module, eqx.Module):
        kind = type(module).__name__
        raise ValueError(f"the model callable of (hparams, key) returned a {kind}; return an equinox module")
    settings = settings_of(model, hparams, key)
    leaves, tree = jax.tree.flatten(module)
    trained = [eqx.is_inexact_array(leaf) and not set_by for leaf, set_by in zip(leaves, settings, strict=True)]
    params, rest = eqx.partition(module, jax.tree.unflatten(tree, trained))
    named, structure = named_arrays(params)
    variables, of_state = named_arrays(state)
    order, order_of_state = list(named), list(variables)  # JAX sorts what it returns by name
    takes = inspect.signature(type(module).__call__).parameters
    switches = {training: flags(module, training, known=("state", "key")) for training in (True, False)}

    def whole(params: Any, variables: Any) -> tuple[Any, Any]:
        arrays = jax.tree.unflatten(structure, [params[name] for name in order])
        return eqx.combine(arrays, rest), jax.tree.unflatten(of_state, [variables[name] for name in order_of_state])

    def apply(params: Any, variables: Any, x: jax.Array, keys: jax.Array | None) -> tuple[Any, Any]:
        module, state = whole(params, variables)
        module = eqx.nn.inference_mode(module, value=keys is None)

        def of_row(row: Any, key: Any) -> Any:
            others = switches[keys is not None] | ({"key": key} if "key" in takes else {})
            return module(row, state, **others) if "state" in takes else (module(row, **others), state)

        outputs, state = jax.vmap(of_row, (0, None if keys is None else 0), (0, None), axis_name=AXIS)(x, keys)
        return outputs, named_arrays(state)[0]

    def trained_module(params: Any, variables: Any) -> Any:
        module, state = whole(params, variables)
        module = eqx.nn.inference_mode(module)
        return (module, state) if "state" in takes else module

    norms = jax.tree.leaves(module, is_leaf=lambda node: isinstance(node, eqx.nn.BatchNorm))
    statistics = any(isinstance(node, eqx.nn.BatchNorm) for node in norms)
    return Network(named, variables, statistics, apply, trained_module)


def built(model: Callable[..., Any], hparams: HParams, key: jax.Array) -> tuple[Any, Any]:
    """The module and its state; the rates of its dropout layers are floats."""

    def made(hparams: HParams, key: jax.Array) -> Any:
        module = model(hparams, key=key)
        if isinstance(module, tuple) and len(module) == 2 and isinstance(module[1], eqx.nn.State):
            what = "the model returned a module and its state: return the module, without eqx.nn.make_with_state"
            raise ValueError(f"{what}, which popjax calls itself")
        return module

    module, state = eqx.nn.make_with_state(made)(hparams, key=key)
    is_dropout = lambda node: isinstance(node, eqx.nn.Dropout)
    real = lambda node: eqx.tree_at(lambda layer: layer.p, node, 1.0 * node.p) if is_dropout(node) else node
    return jax.tree.map(real, module, is_leaf=is_dropout), state


def settings_of(model: Callable[..., Any], hparams: HParams, key: jax.Array) -> list[bool]:
    """For each leaf of the module, True for a number that follows from dynamic hyperparameters and not from the key."""

    def leaves(values: Any, key: jax.Array) -> list[Any]:
        arrays = jax.tree.leaves(built(model, hparams.replace(**values), key)[0])
        return [leaf if eqx.is_array(leaf) else 0 for leaf in arrays]

    jaxpr = jax.make_jaxpr(leaves)(hparams.dynamic, key).jaxpr
    sources: dict[Any, set[str]] = {variable: {"value"} for variable in jaxpr.invars[:-1]} | {jaxpr.invars[-1]: {"key"}}
    of = lambda variables: set().union(*(sources.get(v, set()) for v in variables if not isinstance(v, Literal)))
    for equation in jaxpr.eqns:
        sources |= dict.fromkeys(equation.outvars, of(equation.invars))
    return [getattr(variable.aval, "shape", None) == () and of([variable]) == {"value"} for variable in jaxpr.outvars]


def named_arrays(tree: Any) -> tuple[dict[str, Any], Any]:
    """The arrays of a tree by their places, as "layers.0.weight", and its structure."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
    name = lambda path: ".".join(re.findall(r"\w+", jax.tree_util.keystr(path)))
    named: dict[str, Any] = {}
    for path, leaf in leaves:
        place = name(path)
        while place in named:  # such as of the keys "a-b" and "a" -> "b"
            place += "_"
        named[place] = lax.convert_element_type(leaf, leaf.dtype)  # without a weak type, which a loop may not change
    return named, structure
