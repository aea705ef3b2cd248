"""Equal code is known again, and nothing else is: else a search would train with another task's programs."""

import functools
import gc
import importlib
import sys
import threading
import types

import cloudpickle
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx
from test_compilations import compilations

import popjax as pj
from popjax.engine.digest import code_digest, in_library, task_digest

SPACE = {"learning_rate": pj.uniform(0.1, 0.4)}
OWN = """
import collections, dataclasses, enum, functools
from typing import Any, Callable, Generic, NamedTuple, TypeVar
import jax, jax.numpy as jnp, numpy as np, optax, popjax as pj
from flax import linen, nnx

RATE = 2.0
TABLE = {"scale": [1.0, 0.5]}
T = TypeVar("T")

class Kind(enum.Enum):
    SQUARE = 2

class Point(NamedTuple):
    x: Any
    y: float = 0.25

@dataclasses.dataclass(frozen=True)
class Loss(Generic[T]):
    power: int = 2
    extra: dict = dataclasses.field(default_factory=dict)
    kind: Kind = Kind.SQUARE
    offset = 0.125

    def __call__(self, x):
        return x**self.power + self.offset + self.kind.value

class Sharp(Loss):
    __slots__ = ()

    @functools.cached_property
    def cached(self): return 1

    @property
    def shown(self): return super().__call__(self.power)

class Net(nnx.Module):
    def __init__(self, rngs):
        self.out = nnx.Linear(2, 3, rngs=rngs)
    def __call__(self, x):
        return nnx.relu(self.out(x))

class Linen(linen.Module):
    width: int = 3
    activation: Callable[..., Any] = linen.relu
    @linen.compact
    def __call__(self, x):
        return self.activation(linen.Dense(self.width)(x))

@functools.partial(jax.jit, static_argnames="times")
def jitted(x, times=3):
    return x * times

@jax.custom_jvp
def clipped(x):
    return jnp.clip(x, -9.0, 9.0)

@clipped.defjvp
def slope(primals, tangents):
    return clipped(primals[0]), tangents[0]

def even(n): return n == 0 or odd(n - 1)
def odd(n): return n != 0 and even(n - 1)

def made(target, network=Linen(4), noise=np.arange(3.0)):
    transform = optax.chain(optax.clip(1.5), optax.scale(0.75))
    gradient = jax.grad(lambda x: (x - target) ** 2)
    key = jax.random.key(5)
    ordered = collections.OrderedDict(a=1)

    def epoch(x, hparams, data, *, momentum=0.9):
        half = jitted(clipped(0.5))
        names = {"a", "b", "c"}, Net, network, noise, key, Point(1.0), even(4), momentum, transform.init, ordered
        x = x - hparams["learning_rate"] * TABLE["scale"][0] * gradient(x) * (len(names) == 10)
        return x, {"loss": Sharp(power=2)(x) * RATE + half + step(x)}

    return epoch

step = functools.partial(lambda by, x: by * x, 0.5)

def init(key, hparams, data):
    return jax.random.normal(key)

task = pj.Task(init, made(3.0), ())
"""


def cell(source=OWN, name="__main__"):
    """What a notebook's cell, or a script, leaves behind."""
    scope = {"__name__": name}
    exec(source, scope)
    return scope


def again(task):
    return cloudpickle.loads(cloudpickle.dumps(task))


def compiled(task, space=SPACE):
    with compilations() as events:
        pj.search(task, space, trials=3, epochs=2)
    return len(events)


def test_a_task_of_ones_own_that_is_equal_compiles_nothing(nothing_compiled):
    task = cell()["task"]
    assert compiled(task) > 0
    assert compiled(task) == compiled(cell()["task"]) == compiled(again(task)) == 0
    assert compiled(cell(OWN.replace("made(3.0)", "made(4.0)"))["task"]) > 0


def test_an_equal_supervised_task_compiles_nothing(rows, nothing_compiled):
    """Made anew, from a pickle, in folds, and for other rows of the same shape."""
    x, y = rows
    task = pj.supervised(rows, model=Wide)
    assert compiled(task) > 0
    others = [pj.supervised(rows, model=Wide), again(task), pj.supervised((x[:, ::-1], y), model=Wide)]
    assert [compiled(other) for other in others] == [0, 0, 0]
    assert compiled(task.hints.folded(3)) > 0
    assert [compiled(other.hints.folded(3)) for other in others] == [0, 0, 0]
    assert compiled(pj.supervised(rows, model=Wide, optimizer="adam")) > 0
    assert compiled(pj.supervised((x[:-10], y[:-10]), model=Wide)) > 0


class Wide(nnx.Module):
    """A user's own model."""

    def __init__(self, hparams, rngs):
        self.out = nnx.Linear(5, 3, rngs=rngs)

    def __call__(self, x):
        return self.out(x)


OTHERS = [
    ("made(3.0)", "made(3.5)"),
    ("RATE = 2.0", "RATE = 2"),
    ("RATE = 2.0", "RATE = -2.0"),
    ("[1.0, 0.5]", "[1.0, 0.25]"),
    ("SQUARE = 2", "SQUARE = 3"),
    ("y: float = 0.25", "y: float = 0.5"),
    ("power: int = 2", "power: int = 4"),
    ("offset = 0.125", "offset = 0.25"),
    ("x**self.power +", "x**self.power -"),
    ("Sharp(power=2)", "Sharp(power=3)"),
    ("return 1", "return 2"),
    ("super().__call__(self.power)", "super().__call__(1 + self.power)"),
    ("nnx.Linear(2, 3,", "nnx.Linear(2, 4,"),
    ("nnx.relu", "nnx.gelu"),
    ("width: int = 3", "width: int = 5"),
    ("] = linen.relu", "] = linen.gelu"),
    ("Linen(4)", "Linen(6)"),
    ('static_argnames="times"', "donate_argnums=0"),
    ("times=3", "times=4"),
    ("-9.0", "-8.0"),
    ("tangents[0]\n", "2 * tangents[0]\n"),
    ("n != 0 and", "n != 1 and"),
    ("np.arange(3.0)", "np.arange(4.0)"),
    ("np.arange(3.0)", "np.arange(3.0, dtype=np.float32)"),
    ("np.arange(3.0)", "np.arange(3.0) + 1"),
    ("optax.clip(1.5)", "optax.clip(1.25)"),
    ("optax.scale(0.75)", "optax.scale(0.5)"),
    ("(x - target) ** 2)", "(x - target) ** 4)"),
    ("jax.grad(", "jax.value_and_grad("),
    ("key(5)", "key(6)"),
    ("key(5)", "key(5, impl='rbg')"),
    ("momentum=0.9", "momentum=0.8"),
    ("by * x, 0.5", "by * x, 0.75"),
    ("by * x, 0.5", "by + x, 0.5"),
    ('"a", "b", "c"', '"a", "b", "d"'),
    ("OrderedDict(a=1)", "OrderedDict(a=2)"),
]


@pytest.mark.parametrize(("old", "new"), OTHERS, ids=lambda text: text.strip()[:30])
def test_whatever_a_function_computes_with_tells_it_from_another(old, new):
    assert OWN.count(old) == 1
    assert code_digest(cell()["task"].epoch) != code_digest(cell(OWN.replace(old, new))["task"].epoch)


def test_where_a_function_stands_and_what_it_does_not_use_do_not_matter():
    moved = "\n\nunused = 5\n" + OWN.replace("def init(", "# a remark\n\ndef init(") + "\nother = lambda: 7\n"
    assert task_digest(cell()["task"]) == task_digest(cell(moved)["task"])


def test_a_global_that_changes_changes_what_names_it():
    scope = cell()
    before = code_digest(scope["task"].epoch)
    for name, value in (("RATE", 3.0), ("step", lambda x: x), ("TABLE", {"scale": [2.0]}), ("even", len)):
        kept, scope[name] = scope[name], value
        assert code_digest(scope["task"].epoch) != before
        scope[name] = kept
    scope["TABLE"]["scale"].append(3.0)
    assert code_digest(scope["task"].epoch) != before


def test_a_task_is_known_again_in_another_process(python, tmp_path):
    """From its source, and from a pickle; texts have other hashes there."""
    task = cell()["task"]
    (tmp_path / "task.pkl").write_bytes(cloudpickle.dumps(task))
    (tmp_path / "source.txt").write_text(OWN)
    code = """
import pathlib, cloudpickle
from popjax.engine.digest import task_digest
exec(pathlib.Path("source.txt").read_text())
print(task_digest(task), task_digest(cloudpickle.loads(pathlib.Path("task.pkl").read_bytes())))
"""
    process = python(code, cwd=tmp_path)
    assert process.stdout.split() == [task_digest(task)] * 2, process.stderr


@pytest.mark.parametrize("how", ["settings.RATE", "getattr(settings, 'RATE')", "late()", "helper()"])
def test_a_module_of_the_users_counts_by_what_is_read_of_it(how, tmp_path, monkeypatch):
    """Not by its name alone: between two searches it may be edited and loaded again."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "users_settings.py").write_text("RATE = 0.5\nUNREAD = 1\ndef helper(): return RATE\n")
    source = f"""
import users_settings as settings
from users_settings import helper
def late():
    from users_settings import RATE
    return RATE
def epoch(): return {how}
"""
    settings = importlib.import_module("users_settings")
    first = code_digest(cell(source)["epoch"])
    settings.UNREAD = 2
    assert code_digest(cell(source)["epoch"]) == first
    settings.RATE = 0.25
    assert code_digest(cell(source)["epoch"]) != first
    del sys.modules["users_settings"]


def opaque():
    lock = threading.Lock()

    def function(x):
        return lock, x

    return function


class Guarded:
    """An object with what no value describes."""

    def __init__(self):
        self.lock = threading.Lock()

    def init(self, key, hparams, data):
        return jnp.zeros(())

    def epoch(self, x, hparams, data):
        return x + hparams["learning_rate"], {"loss": x}


def test_what_no_value_describes_shares_with_itself_alone(nothing_compiled):
    one = opaque()
    assert code_digest(one) == code_digest(one) != code_digest(opaque())
    guarded = Guarded()
    assert compiled(pj.Task(guarded.init, guarded.epoch, ())) > 0
    assert compiled(pj.Task(guarded.init, guarded.epoch, ())) == 0
    other = Guarded()
    assert compiled(pj.Task(other.init, other.epoch, ())) > 0


def test_an_address_that_is_given_again_is_not_the_same_function():
    gc.freeze()  # what other tests left need not be looked at fifty times
    digests = set()
    for _ in range(50):
        digests.add(code_digest(opaque()))
        gc.collect()
    gc.unfreeze()
    assert len(digests) == 50


def test_objects_that_refer_to_each_other_come_to_an_end():
    ring, other = [1.0], [1.0]
    ring.append(ring)
    other.append([1.0, other])
    assert len({code_digest(lambda a=values: a) for values in (ring, other, [1.0])}) == 3
    deep = []
    for _ in range(5000):
        deep = [deep]
    assert code_digest(lambda: deep) != code_digest(list)


VALUES = [
    *(None, ..., 0, 0.0, -0.0, False, "", b"", "0", (), [], {}, set(), frozenset(), (0,), [0], [[]], ((),), {0: 0}),
    *({1, 2}, {1, 3}, {"a": 1, "b": 2}, {"b": 2, "a": 1}, range(3), slice(3), float("nan"), float("inf"), 1j),
    *(np.float32(0), np.float64(0), np.zeros(1), np.zeros((1, 1)), np.zeros(1, int), np.array([None])),
    *(jnp.zeros(()), jnp.asarray(0.0), jnp.zeros((), int), jax.random.key(0), jax.random.key(1)),
    *(np.dtype("int8"), np.dtype("int16"), jnp.float32, jnp.bfloat16, int, float, np, jnp, np.sin, jnp.sin, np.cos),
    *(len, [].append, str.join, "a".join, jax.nn.relu, jax.nn.gelu, optax.sgd, optax.sgd(0.1), optax.sgd(0.2)),
    *(functools.partial(optax.sgd, 0.1), functools.partial(optax.sgd, 0.2), functools.partial(optax.sgd, momentum=1)),
    *(jax.tree.structure([0]), jax.tree.structure((0,)), types.SimpleNamespace(a=1), types.SimpleNamespace(a=2)),
    *(linen.Dense(3), linen.Dense(4), jax.nn.initializers.normal(1.0), jax.nn.initializers.normal(2.0)),
]


def test_values_of_all_kinds_are_told_apart_and_known_again():
    digests = [code_digest(value) for value in VALUES]
    assert len(set(digests)) == len(VALUES)  # jnp.zeros(()) and jnp.asarray(0.0) differ in weak_type
    assert not [value for value, digest in zip(VALUES, digests, strict=True) if len(digest) != 64]
    copies = [code_digest(again(value)) for value in VALUES]
    assert [value for value, one, two in zip(VALUES, digests, copies, strict=True) if one != two] == []


def test_data_and_settings_count_for_a_task_and_hints_do_not():
    task = cell()["task"]
    with_settings = task._replace(hints=pj.Hints(settings={"a": 1}))
    others = [task, task._replace(data=3.0), task._replace(data=[3.0]), task._replace(data=np.ones(3)), with_settings]
    assert len({task_digest(other) for other in others}) == 5
    assert task_digest(task) == task_digest(task._replace(hints=pj.Hints(epochs=7, updates=len)))


def test_the_digest_is_made_once_a_search(monkeypatch):
    """Not for each of its programs."""
    made = []
    task = cell()["task"]
    monkeypatch.setattr("popjax.engine.member.task_code", lambda task: made.append(task) or ("a", "digest"))
    space = SPACE | {"power": pj.choice(1, 2, 3, static=True)}
    reads = task._replace(epoch=lambda x, hparams, data: (x, {"loss": x * hparams["power"] + hparams["learning_rate"]}))
    assert pj.search(reads, space, trials=20, rounds=2).summary["buckets"] == 3
    assert len(made) == 1


def test_a_script_is_the_users_wherever_it_stands(monkeypatch):
    """Also where a command of an installed package runs as __main__."""
    monkeypatch.setattr(sys.modules["__main__"], "__file__", optax.__file__, raising=False)
    assert not in_library("__main__")
    assert in_library("optax")
    assert in_library("popjax.task")
    assert not in_library(__name__)
