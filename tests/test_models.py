"""The built-in models: each is one entry of a registry, and a new one is nothing more."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import popjax as pj
from popjax.models.built_in import MODELS, Model
from popjax.models.networks import bind, check_model
from popjax.task import HParams

ROWS = np.random.default_rng(0).normal(size=(60, 4, 4)), np.arange(60) % 3


class Linear(nnx.Module):
    def __init__(self, shape, outputs, hparams, rngs):
        self.out = nnx.Linear(math.prod(shape), outputs, rngs=rngs)

    def __call__(self, x):
        return self.out(x.reshape(len(x), -1))


def parameters(shape, outputs, hparams):
    return (math.prod(shape) + 1) * outputs


def test_a_new_built_in_model_is_one_line(monkeypatch, tmp_path):
    """It trains, is kept and is loaded again by its name, with what it declares."""
    monkeypatch.setitem(MODELS, "linear", Model(Linear, "none", {}, parameters, lambda *its: 2 * parameters(*its)))
    task = pj.supervised(ROWS, model="linear")
    assert task.hints.parameters({}) == 51
    assert task.hints.flops({"batch_size": 16}) == 3 * 48 * 102
    space = pj.Space(learning_rate=pj.log_uniform(1e-3, 1e-1), batch_size=16)
    pj.search(task, space, trials=2, epochs=1, out=tmp_path / "run")
    assert set(pj.load_best(tmp_path / "run").predict(ROWS[0])) <= {0, 1, 2}


IMAGES = (4, 5, 2), jax.numpy.zeros((7, 4, 5, 2))
TABLE = {"numbers": (5,), "codes": (4, 20)}, {"numbers": jax.numpy.zeros((7, 5)), "codes": jax.numpy.zeros((7, 2), int)}


@pytest.mark.parametrize("name", MODELS)
def test_a_models_entry_tells_the_truth(name):
    """It maps rows to outputs, and has as many parameters as it says."""
    (shape, x), outputs = TABLE if MODELS[name].apart else IMAGES, 3
    hparams = HParams({"hidden": 6, "depth": 3}, {})
    network = bind(
        lambda hparams, rngs: MODELS[name].module(shape, outputs, hparams, rngs), hparams, jax.random.key(0), x
    )
    assert network.apply(network.params, network.variables, x, None)[0].shape == (7, outputs)
    sizes = sum(leaf.size for leaf in jax.tree.leaves(network.params))
    assert MODELS[name].parameters(shape, outputs, hparams) == sizes
    assert MODELS[name].operations(shape, outputs, hparams) >= (1 if MODELS[name].apart else 2) * sizes


class Own(nnx.Module):
    def __init__(self, rngs):
        self.out = nnx.Linear(16, 3, rngs=rngs)

    def __call__(self, x, train):
        return self.out(x)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"model": Own(nnx.Rngs(0))}, "the model is a Own itself; give what makes one: lambda hparams, rngs: Own(...)"),
        ({"model": linen.Dense(3)}, "the model is a Dense itself; give what makes one: lambda hparams, rngs: Dense("),
        ({"model": Own}, "the model cannot be called with (hparams, rngs): too many positional arguments; give it"),
        ({"model": 3}, "the model is a int; give a function of (hparams, rngs)"),
        ({"optimizer": lambda hparams, more: None}, "the optimizer cannot be called with (hparams): missing a requ"),
        ({"optimizer": 3}, "the optimizer is a int; give a function of (hparams)"),
    ],
)
def test_what_makes_no_model_or_optimizer_is_refused_in_one_line(settings, says):
    with pytest.raises(ValueError, match=r".") as caught:
        pj.supervised(ROWS, **settings)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


class Twice(nnx.Module):
    """One layer of dropout in two places, and rngs by keyword, as in flax."""

    def __init__(self, hparams, *, rngs):
        self.drop = pj.layers.Dropout(hparams["dropout"], rngs=rngs)
        self.out = nnx.Linear(10, 3, rngs=rngs)

    def __call__(self, x):
        return self.drop(x), self.drop(x)


def test_a_layer_of_dropout_in_two_places_drops_different_units():
    x = jnp.ones((64, 10))
    network = bind(Twice, pj.HParams({"dropout": 0.5}), jax.random.key(0), x)
    keys = jax.random.split(jax.random.key(1), 64)
    first, second = network.apply(network.params, network.variables, x, keys)[0]
    assert (first != second).mean() == pytest.approx(0.5, abs=0.1)
    again = network.apply(network.params, network.variables, x, keys)[0]
    assert (again[0] == first).all()
    assert (again[1] == second).all()
    check_model(Twice)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_dropout_keeps_the_dtype_and_drops_all_at_a_rate_of_one(dtype):
    def kept(x, rate):
        return pj.layers.Dropout(rate, rngs=nnx.Rngs(0))(x)

    x = jnp.ones((4, 6), dtype)
    assert kept(x, jnp.float32(0.25)).dtype == dtype
    assert not kept(x, jnp.float32(1.0)).any()
    assert not jax.grad(lambda x: kept(x, jnp.float32(1.0)).sum())(x).any()
