"""Equal work has an equal key, and nothing else has: else a search would train with another task's programs."""

import dataclasses
import importlib
import sys
import threading

import cloudpickle
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from test_compilations import compilations

import popjax as pj
from popjax.core.trees import abstract
from popjax.engine.identity import code
from popjax.engine.key import key_of
from popjax.engine.traced_task import Config, TracedTask

SPACE = {"learning_rate": pj.uniform(0.1, 0.4)}
OWN = """
import collections, dataclasses, enum, functools
from typing import Any, Callable, NamedTuple
import jax, jax.numpy as jnp, numpy as np, optax, popjax as pj
from flax import linen, nnx

RATE = 2.0
TABLE = {"scale": [1.0, 0.5]}

class Kind(enum.Enum):
    SQUARE = 2

class Point(NamedTuple):
    x: Any
    y: float = 0.25

@dataclasses.dataclass(frozen=True)
class Loss:
    power: int = 2
    kind: Kind = Kind.SQUARE
    offset = 0.125

    def __call__(self, x):
        return x**self.power + self.offset + self.kind.value

class Sharp(Loss):
    @functools.cached_property
    def cached(self): return 1

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
    gradient = jax.grad(lambda x: clipped(x - target) ** 2)
    key = jax.random.key(5)
    weights = network.init(key, jnp.ones((1, 2)))

    def epoch(x, hparams, data, *, momentum=0.9):
        half = jitted(x) + Point(1.0).y + jax.random.normal(key) * momentum * even(4)
        step = lambda x, n: (x + n, None)
        x = jax.lax.scan(step, x, jnp.asarray(noise))[0] + network.apply(weights, jnp.ones((1, 2))).sum()
        updates, _ = transform.update(gradient(x), transform.init(x))
        x = x + hparams["learning_rate"] * TABLE["scale"][0] * updates
        return x, {"loss": Sharp(power=2)(x) * RATE + half + further(x)}

    return epoch

further = functools.partial(lambda by, x: by * x, 0.5)

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


def key(task, space=SPACE):
    """The key of a task's first member."""
    return (
        TracedTask(task, pj.Space(**space), Config(2, 0, pj.Rule(task.metric))).first.trace(abstract(task.data)).key()
    )


def compiled(task, space=SPACE, folds=1):
    with compilations() as events:
        pj.search(task, space, trials=3, epochs=2, folds=folds)
    return len(events)


def test_a_task_of_ones_own_that_is_equal_compiles_nothing(nothing_compiled):
    task = cell()["task"]
    assert compiled(task) > 0
    assert compiled(cell()["task"]) < 5  # of its own weights, which the cell computes
    assert compiled(task) == compiled(again(task)) == 0
    assert compiled(cell(OWN.replace("made(3.0)", "made(4.0)"))["task"]) > 0


def test_an_equal_supervised_task_compiles_nothing(rows, nothing_compiled):
    """Made anew, from a pickle, in folds, and for other rows of the same shape."""
    x, y = rows
    task = pj.supervised(rows, model=Wide)
    assert compiled(task) > 0
    others = [pj.supervised(rows, model=Wide), again(task), pj.supervised((x[:, ::-1], y), model=Wide)]
    assert [compiled(other) for other in others] == [0, 0, 0]
    assert compiled(task, folds=3) > 0
    assert [compiled(other, folds=3) for other in others] == [0, 0, 0]
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
    ("RATE = 2.0", "RATE = -2.0"),
    ("[1.0, 0.5]", "[0.75, 0.5]"),
    ("SQUARE = 2", "SQUARE = 3"),
    ("y: float = 0.25", "y: float = 0.5"),
    ("offset = 0.125", "offset = 0.25"),
    ("x**self.power +", "x**self.power -"),
    ("Sharp(power=2)", "Sharp(power=3)"),
    ("] = linen.relu", "] = linen.gelu"),
    ("Linen(4)", "Linen(6)"),
    ("times=3", "times=4"),
    ("-9.0", "-8.0"),
    ("tangents[0]\n", "2 * tangents[0]\n"),
    ("n == 0 or", "n == 4 and"),
    ("np.arange(3.0)", "np.arange(4.0)"),
    ("np.arange(3.0)", "np.arange(3)"),
    ("np.arange(3.0)", "np.arange(3.0) + 1"),
    ("optax.clip(1.5)", "optax.clip(1.25)"),
    ("optax.scale(0.75)", "optax.scale(0.5)"),
    ("(x - target) ** 2)", "(x - target) ** 4)"),
    ("key(5)", "key(6)"),
    ("key(5)", "key(5, impl='rbg')"),
    ("momentum=0.9", "momentum=0.8"),
    ("by * x, 0.5", "by * x, 0.75"),
    ("by * x, 0.5", "by + x, 0.5"),
    ('{"loss": Sharp', '{"other": Sharp'),
    ("normal(key)\n\ntask", "uniform(key)\n\ntask"),
    ("jax.random.normal(key)\n\ntask", "(jax.random.normal(key),)\n\ntask"),
]
EQUAL = [
    ("RATE = 2.0", "\n\nunused = 5\nRATE = 2"),
    ("def init(", "# a remark\n\ndef init("),
    ("return 1", "return 2"),
    ("power: int = 2", "power: int = 4"),
    ("[1.0, 0.5]", "[1.0, 0.25]"),
    ("def even(n): return n == 0 or odd(n - 1)", "def even(n): return n % 2 == 0"),
    ("gradient(x), ", "gradient(1 * x if RATE > 5 else x), "),
    ("def jitted(x, times=3):\n    return x * times", "def jitted(x, times=3):\n    y = x\n    return y * times"),
    ("step = lambda x, n: (x + n, None)", "step = lambda y, number: (y + number, None)"),
]


@pytest.mark.parametrize(("old", "new"), OTHERS, ids=lambda text: text.strip()[:30])
def test_whatever_is_computed_with_tells_it_from_another(old, new):
    assert OWN.count(old) == 1
    found = OWN.replace(old, new)
    if "(jax.random" in new:  # a state that is a tuple
        found = found.replace("    def epoch(x,", "    def epoch(xs,").replace("half = ", "(x,) = xs; half = ")
        found = found.replace("return x, {", "return (x,), {")
    task = cell(found)["task"]
    assert key(cell()["task"]) != key(task._replace(metric="other") if '"other"' in new else task)


@pytest.mark.parametrize(("old", "new"), EQUAL, ids=lambda text: text.strip()[:30])
def test_where_it_stands_and_what_is_not_computed_with_do_not_matter(old, new):
    assert OWN.count(old) == 1
    assert key(cell()["task"]) == key(cell(OWN.replace(old, new))["task"])


def test_a_global_that_changes_changes_what_names_it():
    scope = cell()
    before = key(scope["task"])
    for name, value in (("RATE", 3.0), ("further", lambda x: x), ("TABLE", {"scale": [2.0]}), ("even", lambda n: 7)):
        kept, scope[name] = scope[name], value
        assert key(scope["task"]) != before
        scope[name] = kept
    scope["TABLE"]["scale"].append(3.0)  # which nothing reads
    assert key(scope["task"]) == before


def test_a_task_is_known_again_in_another_process(python, tmp_path):
    """From its source, and from a pickle; texts have other hashes there."""
    task = cell()["task"]
    (tmp_path / "task.pkl").write_bytes(cloudpickle.dumps(task))
    (tmp_path / "source.txt").write_text(OWN)
    source = """
import pathlib, cloudpickle
import popjax as pj
from popjax.engine.identity import code
from popjax.engine.traced_task import Config, TracedTask
exec(pathlib.Path("source.txt").read_text())
for one in (task, cloudpickle.loads(pathlib.Path("task.pkl").read_bytes()), pj.supervised("wine", model="mlp")):
    space = pj.Space(learning_rate=pj.uniform(0.1, 0.4))
    print(code(TracedTask(one, space, Config(2, 0, pj.Rule(one.metric))))["digest"])
"""
    process = python(source, cwd=tmp_path)
    here = [
        TracedTask(one, pj.Space(**SPACE), Config(2, 0, pj.Rule(one.metric))) for one in (task, pj.supervised("wine"))
    ]
    own, wine = (code(traced)["digest"] for traced in here)
    assert process.stdout.split() == [own, own, wine], process.stderr


@pytest.mark.parametrize("how", ["settings.RATE", "getattr(settings, 'RATE')", "late()", "helper()"])
def test_a_module_of_the_users_counts_by_what_is_read_of_it(how, tmp_path, monkeypatch):
    """Not by its name alone: between two searches it may be edited and loaded again."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "users_settings.py").write_text("RATE = 0.5\nUNREAD = 1\ndef helper(): return RATE\n")
    source = f"""
import users_settings as settings
from users_settings import helper
import popjax as pj
def late():
    from users_settings import RATE
    return RATE
def epoch(x, hparams, data): return x * {how} + hparams["learning_rate"], {{"loss": x}}
task = pj.Task(lambda key, hparams, data: 1.0, epoch, ())
"""
    settings = importlib.import_module("users_settings")
    first = key(cell(source)["task"])
    settings.UNREAD = 2
    assert key(cell(source)["task"]) == first
    settings.RATE = 0.25
    assert key(cell(source)["task"]) != first
    del sys.modules["users_settings"]


def test_what_no_text_describes_shares_with_itself_alone(nothing_compiled):
    """A host callback: the same function is compiled once; another of the same text is another."""

    def task():
        seen = []
        shape = jax.ShapeDtypeStruct((), np.float32)

        def note(x):
            seen.append(float(x))
            return x

        def epoch(x, hparams, data):
            x = jax.pure_callback(note, shape, x * hparams["learning_rate"])
            return x, {"loss": jax.nn.relu(x)}

        return pj.Task(lambda key, hparams, data: jnp.float32(1), epoch, ())

    one, other = task(), task()
    assert compiled(one) > 0
    assert compiled(one) == 0
    assert key(one) != key(other)
    assert key(one).digest == key(other).digest
    assert compiled(other) > 0
    assert code(TracedTask(one, pj.Space(**SPACE), Config(2, 0, pj.Rule("loss")))) is None


@dataclasses.dataclass(frozen=True, eq=False)
class Looking:
    """Its text has no address, and NumPy shortens the table in it."""

    table: np.ndarray

    def look(self, x):
        return np.float32(self.table[700] + x)


def test_the_arrays_of_a_callbacks_object_tell_programs_apart():
    def task(value):
        table, shape = np.zeros(3000, np.float32), jax.ShapeDtypeStruct((), np.float32)
        table[700] = value
        look = Looking(table).look

        def epoch(x, hparams, data):
            return x, {"loss": jax.pure_callback(look, shape, x * hparams["learning_rate"])}

        return pj.Task(lambda key, hparams, data: jnp.float32(0), epoch, ())

    found = [pj.search(task(value), SPACE, trials=2, epochs=1).curves["loss"].tolist() for value in (1.0, 2.0)]
    assert found == [[[1.0]] * 2, [[2.0]] * 2]


def test_an_objects_lock_does_not_matter():
    """What a function holds and does not compute with needs no description."""

    class Guarded:
        def __init__(self):
            self.lock = threading.Lock()

        def init(self, key, hparams, data):
            return jnp.zeros(())

        def epoch(self, x, hparams, data):
            with self.lock:
                return x + hparams["learning_rate"], {"loss": x}

    keys = [key(pj.Task(one.init, one.epoch, ())) for one in (Guarded(), Guarded())]
    assert keys[0] == keys[1]


def test_constants_within_what_is_traced_within_count(x64):
    """Of a scan, a branch, a jitted function and a rule of vmap's of one's own."""

    def within(how, values):
        values = np.asarray(values)
        rule = jax.custom_batching.custom_vmap(lambda x: x * values.sum())
        rule.def_vmap(lambda size, batched, x: (x * values.sum(), batched[0]))
        bodies = {
            "scan": lambda x: jax.lax.scan(lambda c, v: (c + jnp.asarray(values)[v], None), x, jnp.arange(2))[0],
            "cond": lambda x: jax.lax.cond(x > 0, lambda x: x + jnp.asarray(values).sum(), lambda x: x, x),
            "jit": lambda x: jax.jit(lambda x: (x + jnp.asarray(values)).sum())(x),
            "vmap": rule,
        }
        return key_of([jax.make_jaxpr(bodies[how])(1.0)], ()).digest

    for how in ("scan", "cond", "jit", "vmap"):
        first = within(how, [1.0, 2.0, 3.0])
        assert first == within(how, [1.0, 2.0, 3.0])
        assert len({first, within(how, [1.0, 2.5, 3.0]), within(how, [1, 2, 3])}) >= 2, how


def test_large_constants_are_told_apart_in_each_of_their_elements():
    """A text shows three at each end."""
    values = np.zeros(5000)
    keys = set()
    for at in (None, 0, 2500, 4999):
        one = values.copy()
        if at is not None:
            one[at] = 1
        keys.add(key_of([jax.make_jaxpr(lambda x, one=one: x + jnp.asarray(one))(1.0)], ()).digest)
    assert len(keys) == 4


def test_trees_of_classes_of_equal_names_are_two(nothing_compiled):
    """In one process: else a program would give objects of a class that was there before."""
    source = """
from typing import Any, NamedTuple
import popjax as pj
class State(NamedTuple):
    x: Any
def epoch(state, hparams, data):
    return State(state.x + hparams["learning_rate"]), {"loss": state.x}
task = pj.Task(lambda key, hparams, data: State(1.0), epoch, ())
"""
    one, other = cell(source), cell(source)
    assert key(one["task"]).digest == key(other["task"]).digest
    assert key(one["task"]) != key(other["task"])
    for scope in (one, other):
        session = pj.Session(scope["task"], {"learning_rate": 0.5})
        session.train(1)
        assert type(session.state) is scope["State"]


def test_equal_work_on_hyperparameters_of_other_names_is_trained():
    """They are entries of what a program takes, so it is compiled for their names."""

    def found(name):
        epoch = lambda x, hparams, data: (x - hparams[name] * x, {"loss": x**2})
        task = pj.Task(lambda key, hparams, data: 1.0, epoch, ())
        return pj.search(task, {name: pj.uniform(0, 1)}, trials=4, epochs=2)

    assert found("rate").values["loss"].tolist() == found("speed").values["loss"].tolist()


def test_jaxs_settings_and_branches_are_other_code():
    task = pj.Task(lambda key, hparams, data: 1.0, lambda x, h, data: (x + h["learning_rate"], {"loss": x}), ())
    traced = lambda **known: TracedTask(task, pj.Space(**SPACE), Config(2, 0, pj.Rule("loss"), **known))
    known = [code(traced()), code(traced(lanes=4))]
    with jax.default_matmul_precision("highest"):
        known.append(code(traced()))
    without = [{name: value for name, value in one.items() if name != "digest"} for one in known]
    assert without[0] != without[1]
    assert without[0] != without[2]


def test_the_key_is_made_once_a_bucket(monkeypatch):
    """Not for each of its programs, rounds or batches."""
    made = []
    whole = key_of
    monkeypatch.setattr("popjax.engine.member.key_of", lambda *given: made.append(given) or whole(*given))
    space = SPACE | {"power": pj.choice(1, 2, 3, static=True)}
    task = cell()["task"]
    reads = task._replace(epoch=lambda x, hparams, data: (x, {"loss": x * hparams["power"] + hparams["learning_rate"]}))
    assert pj.search(reads, space, trials=20, scheduler=pj.rounds(2)).summary["buckets"] == 3
    assert len(made) == 3
