"""A trained model outside of popjax: its arrays, its module, and that no other model is taken for it."""

import logging

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from flax import nnx

import popjax as pj


class Net(nnx.Module):
    def __init__(self, hparams, rngs, width=6):
        self.layers = nnx.List([nnx.Linear(5, width, rngs=rngs), nnx.Linear(width, width, rngs=rngs)])
        self.norm = nnx.BatchNorm(width, rngs=rngs)
        self.out = nnx.Linear(width, 3, rngs=rngs)

    def __call__(self, x):
        for layer in self.layers:
            x = nnx.relu(layer(x))
        return self.out(self.norm(x))


class Wider(Net):
    def __init__(self, hparams, rngs):
        super().__init__(hparams, rngs, width=7)


class Other(nnx.Module):
    def __init__(self, hparams, rngs):
        self.only = nnx.Linear(5, 3, rngs=rngs)

    def __call__(self, x):
        return self.only(x)


class Renamed(Net):
    pass


class Curious(Net):
    def __init__(self, hparams, rngs):
        super().__init__(hparams, rngs)
        self.share = hparams["dropout"]


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(nn.relu(nn.Dense(8)(x)))


SPACE = pj.Space(learning_rate=pj.log_uniform(0.01, 0.3))


def test_the_arrays_update_a_users_module(rows):
    """Nested as flax expects: with dotted names `nnx.update` changed nothing, and said nothing."""
    results = pj.search(pj.supervised(rows, model=Net), SPACE, trials=2, epochs=3)
    trial = results.best.trial
    net = Net(None, nnx.Rngs(7))
    before = jax.tree.map(jnp.array, nnx.to_pure_dict(nnx.state(net, nnx.Param)))
    nnx.update(net, results.params(trial))
    after = nnx.to_pure_dict(nnx.state(net, nnx.Param))
    assert jax.tree.structure(before) == jax.tree.structure(after)
    for old, new, stored in zip(*map(jax.tree.leaves, (before, after, results.params(trial))), strict=True):
        assert new.tobytes() == np.asarray(stored).tobytes()
        assert old.shape == new.shape
    kernel = results.states[trial]["params.layers.1.kernel"][0]
    assert net.layers[1].kernel[...].tobytes() == kernel.tobytes()


@pytest.mark.parametrize("out", [False, True])
@pytest.mark.parametrize("model", ["mlp", Net])
def test_the_module_predicts_as_the_predictor(rows, tmp_path, model, out):
    """On standardized rows, and on raw ones; also from the disk, also its batch statistics."""
    x, _ = rows
    results = pj.search(
        pj.supervised(rows, model=model), SPACE, trials=3, epochs=3, out=tmp_path / "run" if out else None
    )
    given = None if model == "mlp" else model
    predictor = pj.load_best(tmp_path / "run", model=given) if out else results.predictor()
    expected = predictor.predict_proba(x)
    module = predictor.module()
    assert isinstance(module, nnx.Module)
    np.testing.assert_allclose(jax.nn.softmax(module(predictor.recipe.features(x))), expected, atol=1e-6)
    np.testing.assert_allclose(jax.nn.softmax(predictor.module(raw=True)(x)), expected, atol=1e-6)
    with pytest.raises(ValueError, match=rf"module: there is no trial 9; there are {results.best.trial}"):
        predictor.module(9)
    with pytest.raises(ValueError, match="only: there is no trial 9"):
        predictor.only(9)
    with pytest.raises(ValueError, match=rf"there is no trial 9; choose 0..{len(results.trials) - 1}"):
        results.hparams(9)


def test_a_regressions_module_gives_raw_values_and_folds_give_several(rows):
    x, y = rows
    task = pj.supervised((x, 100.0 + 10 * y + x[:, 0]))
    results = pj.search(task, SPACE.replace(hidden=8), trials=2, epochs=3, folds=2, repeats=2)
    modules = results.predictor().module(raw=True)
    assert len(modules) == 4
    mean = np.mean([np.asarray(module(x))[:, 0] for module in modules], 0)
    np.testing.assert_allclose(mean, results.predictor().predict(x), rtol=1e-5)


def test_a_module_of_raw_rows_takes_codes_of_texts(tmp_path):
    """Two columns of texts, a missing cell and a text that it does not know; a model of codes says what to do."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"a": rng.choice(["n", "s"], 90), "b": rng.normal(size=90), "c": rng.choice(list("xyz"), 90)})
    frame["y"] = frame.b + (frame.a == "n")
    predictor = pj.search(pj.supervised(frame, target="y"), SPACE, trials=2, epochs=3).predictor()
    rows = pd.DataFrame({"a": ["n", "s", "?"], "b": [0.1, 0.2, 0.3], "c": ["x", "z", "y"]})
    found = predictor.module(raw=True)(predictor.recipe.encoded(rows))[:, 0]
    np.testing.assert_allclose(found, predictor.predict(rows), rtol=1e-5)
    coded = pj.search(pj.supervised(frame, "tabular", target="y", missing="error"), {"hidden": 8}, trials=1, epochs=1)
    with pytest.raises(ValueError, match="raw=True needs a model of one-hot texts"):
        coded.predictor().module(raw=True)


def test_a_linen_model_gives_its_variables(rows):
    x, _ = rows
    results = pj.search(pj.supervised(rows, model=lambda hparams, rngs: Linen()), SPACE, trials=2, epochs=3)
    predictor = results.predictor()
    outputs = Linen().apply(predictor.module(), predictor.recipe.features(x))
    np.testing.assert_allclose(jax.nn.softmax(outputs), predictor.predict_proba(x), atol=1e-6)
    same = Linen().apply({"params": results.params(results.best.trial)}, predictor.recipe.features(x))
    np.testing.assert_allclose(outputs, same, atol=1e-6)
    with pytest.raises(ValueError, match="raw=True needs an nnx module"):
        predictor.module(raw=True)


def test_another_model_is_not_taken_for_the_one_that_was_trained(rows, tmp_path, caplog):
    """Arrays that it lacks or has not were ignored; one of another name is warned of, and predicts the same."""
    x, _ = rows
    pj.search(pj.supervised(rows, model=Net), SPACE, trials=2, epochs=2, out=tmp_path / "run")
    says = r"the winner was trained with another model \(Net\): its array '{}' is {} as trained, {} in the model"
    with pytest.raises(ValueError, match=says.format("params.layers.0.bias", r"\[6\]", "none")):
        pj.load_best(tmp_path / "run", model=Other)
    with pytest.raises(ValueError, match=says.format("params.layers.0.bias", r"\[6\]", r"\[7\]")):
        pj.load_best(tmp_path / "run", model=Wider)
    with pytest.raises(ValueError, match=r"^the model Curious raised KeyError: 'dropout' \(.*, in Curious.__init__\)$"):
        pj.load_best(tmp_path / "run", model=Curious)
    with caplog.at_level(logging.WARNING, "popjax"):
        same = pj.load_best(tmp_path / "run", model=Renamed)
    (record,) = caplog.records
    assert record.message == "the winner's model was called Net, the one that is given Renamed; it has the same arrays"
    caplog.clear()
    with caplog.at_level(logging.WARNING, "popjax"):
        right = pj.load_best(tmp_path / "run", model=Net)
    assert not caplog.records
    assert same.predict_proba(x).tobytes() == right.predict_proba(x).tobytes()


def test_a_built_in_model_needs_no_other(rows, tmp_path):
    """Whatever arrays that has: one that uses some of them, or the same otherwise, predicted without a word."""
    pj.search(pj.supervised(rows), SPACE, trials=2, epochs=2, out=tmp_path / "run")
    with pytest.raises(ValueError, match="trained with the built-in model 'mlp'; leave model out"):
        pj.load_best(tmp_path / "run", model=Net)


class Dropping(nnx.Module):
    """A model whose variables hold a random key."""

    def __init__(self, hparams, rngs):
        self.first = nnx.Linear(5, 6, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.second = nnx.Linear(6, 3, rngs=rngs)

    def __call__(self, x):
        return self.second(self.drop(nnx.relu(self.first(x))))


def test_a_model_with_a_random_key_is_known_again(rows, tmp_path):
    task = pj.supervised(rows, model=Dropping)
    results = pj.search(task, {"learning_rate": 0.1}, trials=1, epochs=2, out=tmp_path / "run")
    winner = pj.load_best(tmp_path / "run", model=Dropping)
    parts = task.in_folds(1).split
    x, y = (np.asarray(each)[parts.validation[0]] for each in rows)
    assert winner.score(x, y) == pytest.approx(results.best.value)
