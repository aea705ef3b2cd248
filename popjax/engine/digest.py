"""Digests of code: tasks that compute alike share executables, also after a pickle, also in another process.

A function is known by all that it computes with: its bytecode, defaults and closure, the globals
that it names, and theirs in turn. What comes with Python or is installed is known by its name.
Sharing must never be wrong, so a function that reaches something which no value describes, such
as a lock or another library's object, is known as itself alone.
"""

import copyreg
import dis
import enum
import functools
import hashlib
import json
import sys
import sysconfig
import threading
import types
import typing
import uuid
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from popjax.core.trees import digest, is_key
from popjax.task import Task

ATOMS = (type(None), type(...), type(NotImplemented), bool, int, float, complex, str, bytes)
EXPANDED = (tuple, frozenset, types.CodeType)  # where two are equal, it does not matter which of them is meant
READS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS", "STORE_GLOBAL", "DELETE_GLOBAL")
MAIN = ("__main__", "__mp_main__")  # the user's, also where a command of ours is what began
NAMED = (type, types.FunctionType, types.BuiltinFunctionType, np.ufunc, type(Any), type(typing.Union))
CODE = ("code", "consts", "names", "varnames", "freevars", "cellvars", "flags", "argcount", "exceptiontable")
COUNTS = ("posonlyargcount", "kwonlyargcount")
BOOKKEEPING = {  # of a class: where it stands, and what Python notes of its own
    *("__dict__", "__weakref__", "__doc__", "__module__", "__firstlineno__", "__static_attributes__"),
    *("__slotnames__", "__annotations_cache__", "_abc_impl"),
}


class Opaque(Exception):
    """Raised for an object that no value describes."""


def code_digest(function: Any) -> str:
    """SHA-256 of all that a function, or another object, computes with; what is opaque has one of its own.

    >>> rate = 0.1
    >>> code_digest(lambda x: rate * x) == code_digest(lambda x: rate * x)
    True
    >>> code_digest(lambda x: 0.1 * x) == code_digest(lambda x: 0.2 * x)
    False
    """
    return lasting_digest(function) or identity(function)


def lasting_digest(function: Any) -> str | None:
    """The same for code that may be read elsewhere, or later; None for what is opaque."""
    content = Content()
    try:
        content.add(function)
        content.add_modules()
    except Exception:  # also what an object's own methods raise: it cannot be read
        return None
    return content.hash.hexdigest()


def task_code(task: Task) -> tuple[str | None, ...]:
    """The digests of a task's functions, on which its programs depend."""
    return tuple(
        None if function is None else code_digest(function) for function in (task.init, task.epoch, task.score)
    )


def task_digest(task: Task) -> str:
    """SHA-256 of a task: its functions, its data and its settings."""
    data = jax.tree.map(lambda leaf: leaf if hasattr(leaf, "dtype") else np.asarray(leaf), task.data)
    settings = json.dumps(dict(task.hints.settings), sort_keys=True)
    parts = (task_code(task), digest(data), str(jax.tree.structure(data)), settings)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


class Content:
    """What objects are made of, as one stream of bytes that tells any two apart.

    An object that was seen before is written as its number, so the stream ends where objects refer
    to each other.

    Attributes:
        hash: of the stream.
    """

    def __init__(self) -> None:
        self.hash = hashlib.sha256()
        self._numbers: dict[int, int] = {}
        self._kept: list[Any] = []  # so that no number is given to a second object at the same address
        self._modules: dict[int, types.ModuleType] = {}
        self._names: set[str] = set()

    def write(self, *words: str | bytes) -> None:
        """Append texts or bytes, each with its length."""
        for word in words:
            content = word.encode(errors="surrogatepass") if isinstance(word, str) else word
            self.hash.update(f"{len(content)} ".encode() + content)

    def add(self, value: Any) -> None:
        """Append an object; raises Opaque."""
        if type(value) in ATOMS:
            return self.write(type(value).__name__, value if type(value) is bytes else repr(value))
        if (name := library_name(value)) is not None:
            return self.write("library", name)
        if type(value) not in EXPANDED:
            if id(value) in self._numbers:
                return self.write("again", str(self._numbers[id(value)]))
            self._numbers[id(value)] = len(self._numbers)
            self._kept.append(value)
        self._note(value)
        parts = described(value)
        self.write(type(value).__qualname__, str(len(parts)))
        for part in parts:
            self.add(part)
        return None

    def add_modules(self) -> None:
        """Append what the code that was added may read of the user's modules: whatever has a name that stands in it."""
        done: set[tuple[int, str]] = set()
        while found := [pair for pair in self._readable() if pair not in done]:
            for number, name in found:
                done.add((number, name))
                self.write(self._modules[number].__name__, name)
                self.add(vars(self._modules[number])[name])

    def _readable(self) -> Iterator[tuple[int, str]]:
        for number, module in self._modules.items():
            yield from ((number, name) for name in sorted(self._names & vars(module).keys()))

    def _note(self, value: Any) -> None:
        if isinstance(value, types.ModuleType):
            self._modules[id(value)] = value
        elif isinstance(value, types.CodeType):
            self._names |= {*value.co_names, *(text for text in value.co_consts if type(text) is str)}


def described(value: Any) -> list[Any]:
    """The parts of an object, which together are all of it; raises Opaque."""
    if type(value) in PARTS:
        return PARTS[type(value)](value)
    for kind, parts in KINDS:
        if isinstance(value, kind):
            return parts(value)
    if typing.get_origin(value) is not None:
        return [typing.get_origin(value), typing.get_args(value)]
    if any(f"{base.__module__}.{base.__name__}" == "flax.linen.module.Module" for base in type(value).__mro__):
        return of_linen(value)
    return of_object(value)


def of_function(function: types.FunctionType) -> list[Any]:
    """A function's code and whatever it was given; of the user's, also the globals that it names."""
    cells = [() if empty(cell) else (cell.cell_contents,) for cell in function.__closure__ or ()]
    given = [function.__qualname__, function.__code__, function.__defaults__, function.__kwdefaults__]
    scope = function.__globals__
    home = str(scope.get("__name__"))
    if in_library(home):  # a copy from a pickle has a scope of its own, of the same name
        return [*given, tuple(cells), vars(function), home]
    names = sorted(global_names(function.__code__) & scope.keys())
    read = [(name, scope[name]) for name in names]
    return [*given, tuple(cells), vars(function), tuple(read), imported(function.__code__, scope)]


def empty(cell: types.CellType) -> bool:
    """Whether nothing was assigned to a variable of a closure yet."""
    try:
        return cell.cell_contents is cell
    except ValueError:
        return True


def nested(code: types.CodeType) -> Iterator[types.CodeType]:
    """The code, and that of the functions and classes that it defines."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from nested(constant)


def global_names(code: types.CodeType) -> set[str]:
    """The names that code looks up outside of any function."""
    return {step.argval for part in nested(code) for step in dis.get_instructions(part) if step.opname in READS}


def imported(code: types.CodeType, scope: Mapping[str, Any]) -> tuple[types.ModuleType, ...]:
    """The modules that code imports when it runs, as far as they are there."""
    steps = (step for part in nested(code) for step in dis.get_instructions(part) if step.opname == "IMPORT_NAME")
    parents = str(scope.get("__package__") or "").split(".")
    names = set()
    for step in steps:
        names |= {step.argval, step.argval.partition(".")[0]}
        names |= {".".join([*parents[:end], step.argval]).strip(".") for end in range(1, len(parents) + 1)}
    return tuple(sys.modules[name] for name in sorted(names) if name in sys.modules)


def of_code(code: types.CodeType) -> list[Any]:
    """All of a code object but where it stands in its file."""
    return [getattr(code, f"co_{name}") for name in (*CODE, *COUNTS)]


def of_class(cls: type) -> list[Any]:
    """A class of the user's: its bases and what it defines."""
    own = sorted(vars(cls).keys() - BOOKKEEPING)
    return [cls.__module__, cls.__qualname__, type(cls), cls.__bases__, tuple((name, vars(cls)[name]) for name in own)]


def of_set(values: Any) -> list[Any]:
    """The elements in an order that does not depend on hashes."""
    return sorted(values, key=lambda value: (type(value).__name__, getattr(value, "__qualname__", repr(value))))


def of_jitted(function: Any) -> list[Any]:
    """What jax.jit gives: the function, and how it is to be compiled."""
    state = function.__getstate__()
    return [state["fun"], state["static_argnums"], state["static_argnames"], repr(state["global_cache_key"])]


def of_array(array: Any) -> list[Any]:
    """An array's type, shape and bytes; of a random key its words."""
    if isinstance(array, jax.core.Tracer):
        raise Opaque
    if is_key(array):
        return [str(jax.random.key_impl(array)), np.asarray(jax.random.key_data(array))]
    values = np.asarray(array)
    content = values.tolist() if values.dtype.hasobject else values.tobytes()
    return [repr(values.dtype), values.shape, getattr(array, "weak_type", False), content]


def of_linen(module: Any) -> list[Any]:
    """A linen module that is bound to nothing is what it was given, beside what Flax counts for itself."""
    if module.scope is not None or module.parent is not None:
        raise Opaque
    names = sorted(vars(module).keys() - {"_id", "_state", "_parent_ref"})
    return [type(module), tuple((name, vars(module)[name]) for name in names)]


def of_object(value: Any) -> list[Any]:
    """What a copy would be made of: where Python itself says so, which leaves out nothing."""
    cls = type(value)
    python = (cls.__reduce_ex__, cls.__reduce__) == (object.__reduce_ex__, object.__reduce__)
    plain = python and cls.__getstate__ is object.__getstate__ and cls not in copyreg.dispatch_table
    if not plain and not in_library(cls.__module__, installed=False):
        mapping = isinstance(value, Mapping) and in_library(cls.__module__)
        return [cls, dict(value)] if mapping else of_singleton(value)
    reduced = copyreg.dispatch_table[cls](value) if cls in copyreg.dispatch_table else value.__reduce_ex__(4)
    if isinstance(reduced, str):
        return of_singleton(value)
    make, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
    return [cls, make, arguments, state, list(items or ()), list(pairs or ())]


def of_singleton(value: Any) -> list[Any]:
    """An object that a library has in a variable, such as a mark for what is missing, is known by its name."""
    home = type(value).__module__
    for name, held in list(vars(sys.modules[home]).items()) if in_library(home) else ():
        if held is value:
            return [type(value), name]
    raise Opaque


PARTS: dict[type, Callable[[Any], list[Any]]] = {
    tuple: list,
    list: list,
    set: of_set,
    frozenset: of_set,
    dict: lambda values: list(values.items()),
    types.MappingProxyType: lambda values: list(values.items()),
    types.FunctionType: of_function,
    types.CodeType: of_code,
    types.MethodType: lambda method: [method.__func__, method.__self__],
    types.BuiltinFunctionType: lambda function: [function.__name__, function.__self__],
    type(functools.cache(len)): lambda function: [function.__wrapped__],
    staticmethod: lambda method: [method.__func__],
    classmethod: lambda method: [method.__func__],
    property: lambda value: [value.fget, value.fset, value.fdel],
    type(jax.jit(len)): of_jitted,
    np.ndarray: of_array,
}
IN_C = (
    *(types.MemberDescriptorType, types.GetSetDescriptorType, types.WrapperDescriptorType),
    *(types.MethodDescriptorType, types.ClassMethodDescriptorType, types.MethodWrapperType),
)
KINDS: tuple[tuple[Any, Callable[[Any], list[Any]]], ...] = (
    (IN_C, lambda method: [method.__name__, method.__objclass__, getattr(method, "__self__", None)]),
    (typing.TypeVar, lambda variable: [variable.__name__]),
    (types.ModuleType, lambda module: [module.__name__]),
    (type, of_class),
    (enum.Enum, lambda member: [type(member), member.name, member.value]),
    (functools.partial, lambda made: [type(made), made.func, made.args, made.keywords, vars(made)]),
    (jax.Array, of_array),
    (jax.tree_util.PyTreeDef, lambda tree: [tree.node_data(), tree.children(), tree.num_leaves]),
    (np.generic, of_array),
    (np.dtype, lambda dtype: [repr(dtype)]),
)


def library_name(value: Any) -> str | None:
    """The name by which an object can be imported, if it comes with Python or is installed."""
    if isinstance(value, types.ModuleType):
        return value.__name__ if in_library(value.__name__) else None
    if not isinstance(value, NAMED):
        return None
    home, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(home, str) or not isinstance(name, str) or not in_library(home):
        return None
    found: Any = sys.modules.get(home)
    for part in name.split("."):
        found = getattr(found, part, None)
    return f"{home}:{name}" if found is value else None


def in_library(name: str, installed: bool = True) -> bool:
    """Whether a module comes with Python, or is `installed`: whether it is nobody's to change meanwhile."""
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is None or name in MAIN:
        return name in sys.builtin_module_names
    return comes_with_python(file) or (installed and (name.partition(".")[0] == "popjax" or is_installed(file)))


@functools.cache
def is_installed(file: str) -> bool:
    """Whether a file is an installed package's."""
    return not {"site-packages", "dist-packages"}.isdisjoint(Path(file).parts)


@functools.cache
def comes_with_python(file: str) -> bool:
    """Whether a file is of the standard library."""
    return Path(file).is_relative_to(sysconfig.get_path("stdlib")) and not is_installed(file)


_IDENTITIES: dict[int, tuple[Any, str]] = {}
_LOCK = threading.Lock()


def identity(value: Any) -> str:
    """A name of an object's own, which no other ever has; a method has that of its function and its object."""
    if isinstance(value, types.MethodType):
        return f"{identity(value.__func__)} of {identity(value.__self__)}"
    with _LOCK:
        if id(value) not in _IDENTITIES:
            _IDENTITIES[id(value)] = kept(value), uuid.uuid4().hex
        return _IDENTITIES[id(value)][1]


def kept(value: Any) -> Any:
    """What keeps an object's address its own: what forgets it when the object ends, or else the object."""
    try:
        return weakref.ref(value, functools.partial(forget, id(value)))
    except TypeError:
        return value


def forget(address: int, reference: Any) -> None:
    """The object at an address has ended."""
    _IDENTITIES.pop(address, None)
