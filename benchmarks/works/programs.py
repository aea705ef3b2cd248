"""An epoch of many members as a program for accelerators: of popjax, and by hand as one writes it in JAX.

Make and trace them within `made_for("cuda")`.
"""

import functools
import hashlib
import itertools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pyarrow as pa
from jax import lax
from jax_networks import NETWORKS
from work import WORKS, rows_of

import popjax as pj
from popjax.core.trees import abstract
from popjax.engine.member import advance
from popjax.engine.roster import Roster
from popjax.engine.traced_task import Config, TracedTask
from popjax.supervision.spaces import default_space

ROWS, TRAINED, BATCH = 1797, 1437, 32
RATE = pj.log_uniform(1e-3, 1e-1)
FIXED = pj.Space(learning_rate=RATE, momentum=pj.uniform(0, 0.9), hidden=100, depth=2, batch_size=BATCH)
WITHOUT = pj.Space(learning_rate=RATE, hidden=100, depth=2, batch_size=BATCH)
CHANNELS = pj.Space(learning_rate=RATE, hidden=pj.integers(8, 32), depth=pj.integers(1, 3), batch_size=BATCH)
ONE_BATCH = pj.Space(learning_rate=RATE, batch_size=BATCH)


class Program(NamedTuple):
    """A function of abstract arguments, the first `donated` of which it may overwrite, for an epoch of `members`."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    members: int
    donated: int = 0

    @property
    def jitted(self) -> Any:
        """The function to be compiled."""
        return jax.jit(self.function, donate_argnums=tuple(range(self.donated)))


def population(task: pj.Task, space: pj.Space, members: int, plan: str = "one") -> list[Program]:
    """The programs of the buckets of a random search, each with as many lanes as an accelerator gives it."""
    config = Config(20, 0, pj.Rule(task.metric), plan=plan)
    roster = Roster(TracedTask(task, space, config), space.sample(members))
    data = abstract(task.data)
    found = []
    for number, member in enumerate(roster.buckets):
        lanes = roster.lanes(number)
        training, metrics, _ = member.trace(data)
        epoch = functools.partial(advance, member, metrics, lanes.count, epochs=1)
        stacked = jax.tree.map(functools.partial(many, lanes.capacity), (training, member.example))
        arguments = (*stacked, data, jax.ShapeDtypeStruct((1,), np.int32))
        found.append(Program(epoch, arguments, int((roster.bucket == number).sum()), 1))
    return found


def many(members: int, aval: Any) -> jax.ShapeDtypeStruct:
    """The stacked array of an array of one member."""
    return jax.ShapeDtypeStruct((members, *aval.shape), aval.dtype)


def by_hand(members: int, sizes: Sequence[int] = (64, 100, 100, 10), batch: int = BATCH) -> Program:
    """An epoch of vmapped SGD with momentum of one shape, and the loss and accuracy of the other rows."""

    def outputs(params: Any, x: jax.Array) -> jax.Array:
        for w, b in params[:-1]:
            x = jax.nn.relu(x @ w + b[None])
        w, b = params[-1]
        return x @ w + b[None]

    def loss(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        return -(jax.nn.log_softmax(outputs(params, x)) * jax.nn.one_hot(y, sizes[-1])).sum(1).mean()

    def epoch(params: Any, velocity: Any, key: jax.Array, rate: Any, momentum: Any, x: Any, y: Any) -> Any:
        def step(carry: Any, rows: jax.Array) -> Any:
            params, velocity = carry
            value, gradient = jax.value_and_grad(loss)(params, x[rows], y[rows])
            velocity = jax.tree.map(lambda v, g: momentum * v + g, velocity, gradient)
            return (jax.tree.map(lambda p, v: p - rate * v, params, velocity), velocity), value

        order = jax.random.permutation(key, TRAINED)[: TRAINED // batch * batch].reshape(-1, batch)
        (params, velocity), losses = lax.scan(step, (params, velocity), order)
        right = outputs(params, x[TRAINED:]).argmax(1) == y[TRAINED:]
        return params, velocity, losses.mean(), loss(params, x[TRAINED:], y[TRAINED:]), right.mean()

    number = lambda *shape: jax.ShapeDtypeStruct((members, *shape), np.float32)
    params = [(number(a, b), number(b)) for a, b in itertools.pairwise(sizes)]
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), members))
    x, y = jax.ShapeDtypeStruct((ROWS, sizes[0]), np.float32), jax.ShapeDtypeStruct((ROWS,), np.int32)
    vmapped = jax.vmap(epoch, (0, 0, 0, 0, 0, None, None))
    return Program(vmapped, (params, params, keys, number(), number(), x, y), members, 2)


def padded_by_hand(members: int) -> list[Program]:
    """One program of the largest shape of the default space and its smallest batch size."""
    space = default_space()
    sizes = (64, *[space["hidden"].high] * space["depth"].high, 10)
    return [by_hand(members, sizes, space["batch_size"].low)]


def exact_by_hand(members: int) -> list[Program]:
    """A program for each depth and batch size of a sample of the default space, with no more room than members need.

    Each has the width with which one model has as many weights as the members of that program have in the mean.
    """
    points = default_space().sample(members)
    found = []
    for depth, batch in sorted(set(zip(points["depth"].tolist(), points["batch_size"].tolist(), strict=True))):
        own = points["hidden"][(points["depth"] == depth) & (points["batch_size"] == batch)]
        weights = lambda width, depth=depth: 74 * width + (depth - 1) * width**2
        width = min(range(1, 1000), key=lambda width: abs(weights(width) - weights(own.astype(float)).mean()))
        found.append(by_hand(len(own), (64, *[width] * depth, 10), batch))
    return found


def rows() -> tuple[np.ndarray, np.ndarray]:
    """Rows (rows, 64) of noise, and their classes."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(ROWS, 64)), rng.integers(0, 10, ROWS)


def table() -> tuple[pa.Table, np.ndarray]:
    """Columns of numbers, and of texts with few levels and with many."""
    rng = np.random.default_rng(0)
    numbers = {f"x{at}": rng.normal(size=900) for at in range(6)}
    texts = {"few": rng.choice([*"abc"], 900), "many": rng.choice([f"text {at}" for at in range(40)], 900)}
    return pa.table(numbers | texts), (numbers["x0"] > 0).astype(int)


def network(name: str) -> Callable[[int], list[Program]]:
    """The programs of a network of one's own with AdamW."""
    task = lambda: pj.supervised(rows_of(WORKS[name]), NETWORKS[name], "adamw", transform="none")
    return lambda members: population(task(), ONE_BATCH, members)


def images() -> tuple[np.ndarray, np.ndarray]:
    """The rows as images."""
    x, y = rows()
    return x.reshape(-1, 8, 8, 1), y


def ppo_task() -> tuple[pj.Task, pj.Space]:
    """PPO's agents on CartPole, with the ranges of their hyperparameters."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "rl"))
    from ppo import PPO

    agent = PPO("CartPole-v1", 500)

    def epoch(state: Any, hparams: Any, data: Any) -> tuple[Any, dict[str, Any]]:
        state, value = agent.epoch(state, hparams)
        return state, {"return": value}

    task = pj.Task(lambda key, hparams, data: agent.init(key), epoch, (), metric="return", mode="max")
    return task, pj.Space(learning_rate=RATE, gamma=pj.uniform(0.9, 0.99), entropy=pj.uniform(0, 0.1))


CASES: dict[str, Callable[[int], list[Program]]] = {
    "mlp, sgd": lambda members: population(pj.supervised(rows()), FIXED, members),
    "mlp, sgd, by hand": lambda members: [by_hand(members)],
    "mlp, adam": lambda members: population(pj.supervised(rows(), optimizer="adam"), WITHOUT, members),
    "default space, one": lambda members: population(pj.supervised(rows()), default_space(), members),
    "default space, widths": lambda members: population(pj.supervised(rows()), default_space(), members, "widths"),
    "default space, buckets": lambda members: population(pj.supervised(rows()), default_space(), members, "buckets"),
    "default space, padded by hand": padded_by_hand,
    "default space, exact by hand": exact_by_hand,
    "tabular": lambda members: population(
        pj.supervised(table(), model="tabular"), default_space(model="tabular", rows=900), members
    ),
    "cnn": lambda members: population(pj.supervised(images(), model="cnn"), CHANNELS, members),
    "cnn32, a network of one's own": network("cnn32"),
    "gru": network("gru"),
    "attention": network("attention"),
}
WITH_GYMNAX = {"ppo": lambda members: population(*ppo_task(), members)}  # it caps JAX below 0.12


def digest(programs: Sequence[Program]) -> str:
    """The beginning of the SHA-256 of the programs as JAX lowers them for CUDA."""
    found = hashlib.sha256()
    for program in programs:
        found.update(lowered(program).as_text().encode())
    return found.hexdigest()[:16]


def lowered(program: Program) -> Any:
    """The program as JAX lowers it for CUDA, which needs no CUDA."""
    return program.jitted.trace(*program.arguments).lower(lowering_platforms=("cuda",))
