"""Pytrees of arrays: abstract values, names of leaves, transfer to the host and back."""

import functools
import hashlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def to_words(state: Any) -> Any:
    """A state with typed random keys as their key data."""
    return jax.tree.map(lambda leaf: jax.random.key_data(leaf) if is_key(leaf) else leaf, state)


def to_host(state: Any) -> Any:
    """A stacked state as NumPy arrays, typed random keys as their key data."""
    return jax.tree.map(np.asarray, to_words(state))


def from_host(like: Any, arrays: Any) -> Any:
    """The state from the arrays of `to_host`, as JAX arrays with the dtypes of `like`, which may be abstract."""

    def wrap(aval: Any, array: Any) -> Any:
        if not is_key(aval):
            return jnp.asarray(array, aval.dtype)
        return jax.random.wrap_key_data(array, impl=implementation(aval.dtype))

    return jax.tree.map(wrap, like, arrays)


@functools.cache
def implementation(dtype: Any) -> Any:
    """The implementation of typed random keys of a dtype; for JAX's own its name, found without compiling."""
    for name in ("threefry2x32", "rbg", "unsafe_rbg"):
        if jax.eval_shape(lambda name=name: jax.random.key(0, impl=name)).dtype == dtype:
            return name
    return jax.random.key_impl(lax.empty((), dtype))


def named_leaves(state: Any) -> dict[str, Any]:
    """Path -> leaf of a state, such as "params.out.kernel"; raises ValueError if two leaves share a path."""
    leaves: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(state)[0]:
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        if name in leaves:
            own = name.removeprefix("state.")  # the path in the task's state, within a training state
            raise ValueError(f"two arrays of the state are called {own!r}; rename one")
        leaves[name] = leaf
    return leaves


def digest_of_tree(tree: Any) -> str:
    """SHA-256 of a pytree's arrays with their names, dtypes and shapes."""
    digest = hashlib.sha256()
    for name, leaf in named_leaves(to_host(tree)).items():
        digest.update(f"{name} {leaf.dtype} {leaf.shape} ".encode() + np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()


def unnamed(like: Any, arrays: Mapping[str, Any]) -> Any:
    """Arrays by the paths of `named_leaves`, in the structure of `like`; raises ValueError for a missing leaf."""
    for name in named_leaves(like):
        if name not in arrays:
            raise ValueError(f"the arrays lack {name!r}; give the model that was trained")
    return jax.tree.unflatten(jax.tree.structure(like), [arrays[name] for name in named_leaves(like)])


def params_of(state: Any) -> Any:
    """The part of a state called params, a key of a dict or an attribute; None if there is none."""
    return state.get("params") if isinstance(state, Mapping) else getattr(state, "params", None)


def is_key(leaf: Any) -> bool:
    """True if an array holds typed random keys."""
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def abstract(tree: Any) -> Any:
    """A pytree of arrays as `jax.ShapeDtypeStruct`s, with the dtypes that they have in JAX."""

    def aval(leaf: Any) -> Any:
        leaf = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
        return jax.ShapeDtypeStruct(leaf.shape, jax.dtypes.canonicalize_dtype(leaf.dtype, allow_extended_dtype=True))

    return jax.tree.map(aval, tree)
