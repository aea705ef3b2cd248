"""The containers of a state (dicts, lists, tuples) as JSON values, so that its arrays get back into them.

JAX is imported by `containers` alone: whoever reads a file needs none.
"""

import collections
import functools
import math
from collections.abc import Mapping
from typing import Any


def containers(tree: Any, path: tuple[Any, ...] = ()) -> Any:
    """The containers of a pytree as JSON values, in which each array is its name in `named_leaves`.

    A NamedTuple has its name and fields; a node of another class becomes a dict of its attributes, and a key of a dict
    that JSON lacks a text. `path`: the keys that lead to the tree.

    >>> containers({"w": [1.0, (2.0, None)], "x": {3: 4.0}})
    {'dict': [['w', {'list': ['w.0', {'tuple': ['w.1.0', None]}]}], ['x', {'dict': [[3, 'x.3']]}]]}
    """
    import jax

    if tree is None:
        return None
    below = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda node: node is not tree)[0]
    if [keys for keys, _ in below] == [()]:
        return jax.tree_util.keystr(path, simple=True, separator=".")
    inner = [(key, containers(child, (*path, key))) for (key,), child in below]
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return {"named": [type(tree).__name__, *([key.name, node] for key, node in inner)]}
    if isinstance(tree, list | tuple):
        return {"list" if isinstance(tree, list) else "tuple": [node for _, node in inner]}
    return {"dict": [[key_of(key), node] for key, node in inner]}


def key_of(entry: Any) -> Any:
    """The key of a pytree's path as a JSON value."""
    key = next(getattr(entry, name) for name in ("key", "name", "idx") if hasattr(entry, name))
    known = isinstance(key, str | int) or (isinstance(key, float) and math.isfinite(key))
    return key if known else str(key)


def filled(tree: Any, arrays: Mapping[str, Any]) -> Any:
    """The tree that `containers` described, with arrays by name.

    >>> filled({"dict": [[3, "3"], ["w", {"list": ["w.0", {"tuple": [None]}]}]]}, {"3": 0.1, "w.0": 0.2})
    {3: 0.1, 'w': [0.2, (None,)]}
    """
    if tree is None or isinstance(tree, str):
        return None if tree is None else arrays[tree]
    ((kind, inner),) = tree.items()
    if kind == "named":
        name, *fields = inner
        return named_tuple(name, tuple(field for field, _ in fields))(*(filled(node, arrays) for _, node in fields))
    if kind == "dict":
        return {key: filled(node, arrays) for key, node in inner}
    return (list if kind == "list" else tuple)(filled(node, arrays) for node in inner)


@functools.cache
def named_tuple(name: str, fields: tuple[str, ...]) -> Any:
    """The class of named tuples with these fields."""
    return collections.namedtuple(name, fields)


def nested(arrays: Mapping[str, Any]) -> dict[Any, Any]:
    """Nested dicts of arrays by dotted paths, sorted; numeric parts of a path become integer keys.

    >>> nested({"hidden.10.bias": 2, "hidden.9.bias": 1, "out": 3})
    {'hidden': {9: {'bias': 1}, 10: {'bias': 2}}, 'out': 3}
    """
    paths = {path: [int(part) if part.isdecimal() else part for part in path.split(".")] for path in arrays}
    tree: dict[Any, Any] = {}
    for path in sorted(paths, key=lambda path: [(isinstance(part, str), part) for part in paths[path]]):
        inner = tree
        for part in paths[path][:-1]:
            inner = inner.setdefault(part, {})
        inner[paths[path][-1]] = arrays[path]
    return tree
