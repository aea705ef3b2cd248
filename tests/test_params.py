"""A kept trial's arrays come back in the containers that the task made: here, loaded, and in any process."""

import json
from typing import Any, NamedTuple

import equinox
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import popjax as pj

LAYERS = 12


class Pair(NamedTuple):
    z: Any
    a: Any


def layer(number):
    return {"w": jnp.full((2, 2), number, jnp.float32), "b": jnp.full(2, -number, jnp.float32)}


MADE = {
    "list": lambda: {"params": [layer(number) for number in range(LAYERS)], "step": jnp.zeros(())},
    "tuples": lambda: {"params": {"pair": (layer(1)["w"], layer(2)["b"]), "none": (None, jnp.ones(1))}},
    "named": lambda: {"params": Pair([jnp.zeros(1), jnp.ones(2)], jnp.ones(3)), "moments": Pair((), {})},
    "numbers": lambda: {"params": {10: jnp.full(1, 10.0), 9: {2: jnp.full(1, 2.0), 11: [jnp.full(1, 11.0)]}}},
    "whole": lambda: (jnp.zeros(1), [jnp.ones(2), jnp.full(3, 2.0)]),
    "bare": lambda: jnp.arange(3.0),
}
PUT = """
import jax, json, sys
import numpy as np
import popjax as pj
results = pj.Results.load(sys.argv[1])
leaves, structure = jax.tree.flatten(results.params(results.best.trial))
print(json.dumps([str(structure), [np.asarray(leaf).tolist() for leaf in leaves]]))
"""


def written(tree):
    leaves, structure = jax.tree.flatten(tree)
    return [str(structure), [np.asarray(leaf).tolist() for leaf in leaves]]


def seen(python, run):
    """The tree of the winner's arrays in three processes that load them."""
    ended = [python(PUT, run) for _ in range(3)]
    return [json.loads(process.stdout) for process in ended]


@pytest.mark.parametrize("kind", MADE)
def test_a_tasks_tree_comes_back(python, tmp_path, kind):
    """As init made it: JAX flattens it to the same leaves, and sees the same containers."""
    init = lambda key, hparams, data: MADE[kind]()
    task = pj.Task(init, lambda state, hparams, data: (state, {"loss": hparams["x"]}), ())
    results = pj.search(task, {"x": pj.uniform(0, 1)}, trials=3, out=tmp_path / "run", epochs=1)
    params = results.params(results.best.trial)
    made = MADE[kind]()
    assert written(params) == written(made["params"] if isinstance(made, dict) else made)
    assert seen(python, "run") == [written(params)] * 3


class Deep(nnx.Module):
    def __init__(self, hparams, rngs):
        self.layers = nnx.List([nnx.Linear(13, 13, rngs=rngs) for _ in range(LAYERS)])
        self.out = nnx.Linear(13, 3, rngs=rngs)

    def __call__(self, x):
        for layer in self.layers:
            x = x + nnx.relu(layer(x)) / LAYERS
        return self.out(x)


class Far(equinox.Module):
    layers: list
    out: equinox.nn.Linear

    def __init__(self, hparams, *, key):
        keys = jax.random.split(key, LAYERS + 1)
        self.layers = [equinox.nn.Linear(13, 13, key=key) for key in keys[1:]]
        self.out = equinox.nn.Linear(13, 3, key=keys[0])

    def __call__(self, x):
        for layer in self.layers:
            x = x + jax.nn.relu(layer(x)) / LAYERS
        return self.out(x)


@pytest.mark.parametrize(("model", "kernel"), [(Deep, "kernel"), (Far, "weight")])
def test_the_layers_of_a_model_come_in_their_order(python, tmp_path, model, kernel):
    """Those of `module()` too, and those that a session trains on with."""
    task = pj.supervised("wine", model=model)
    results = pj.search(task, {"learning_rate": 0.01}, trials=2, epochs=1, out=tmp_path / "run")
    trial = results.best.trial
    params, module = results.params(trial), results.predictor().module()
    assert list(params["layers"]) == list(range(LAYERS))
    for number, layer in enumerate(module.layers):
        assert np.array_equal(getattr(layer, kernel)[...], params["layers"][number][kernel])
    leaves = jax.tree_util.tree_leaves_with_path(pj.Session.of(results, trial).state.params)
    own = {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}
    for number in range(LAYERS):
        assert np.array_equal(own[f"layers.{number}.{kernel}"], params["layers"][number][kernel])
    assert seen(python, "run") == [written(params)] * 3


def test_nnx_takes_what_was_loaded(tmp_path):
    results = pj.search(
        pj.supervised("wine", model=Deep), {"learning_rate": 0.01}, trials=2, epochs=1, out=tmp_path / "run"
    )
    x = np.random.default_rng(0).normal(size=(5, 13)).astype(np.float32)
    module = Deep({}, nnx.Rngs(1))
    nnx.update(module, pj.Results.load(tmp_path / "run").params(results.best.trial))
    assert np.array_equal(module(x), results.predictor().module()(x))
