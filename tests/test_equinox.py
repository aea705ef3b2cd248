"""equinox modules are models as nnx ones are: with state, dropout, folds, ensembles, and a way back."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import popjax as pj
from popjax.models.networks import bind
from popjax.task import HParams

SPACE = pj.Space(learning_rate=pj.log_uniform(1e-2, 1e-1), dropout=pj.uniform(0.1, 0.5), batch_size=pj.choice(8, 16))


class Net(eqx.Module):
    """Batch normalization, whose statistics are state, and dropout."""

    first: eqx.nn.Linear
    norm: eqx.nn.BatchNorm
    dropout: eqx.nn.Dropout
    out: eqx.nn.Linear

    def __init__(self, hparams, *, key):
        keys = jax.random.split(key)
        self.first, self.out = eqx.nn.Linear(5, 6, key=keys[0]), eqx.nn.Linear(6, 3, key=keys[1])
        self.norm = eqx.nn.BatchNorm(6, "batch", mode="batch")
        self.dropout = eqx.nn.Dropout(hparams["dropout"])

    def __call__(self, x, state, *, key=None):
        x, state = self.norm(self.first(x), state)
        return self.out(self.dropout(jax.nn.relu(x), key=key)), state


def plain(hparams, key):
    """A module without state or random numbers."""
    return eqx.nn.MLP(5, 3, 6, 1, key=key)


def weights():
    """Of two layers, as both libraries get them."""
    keys = jax.random.split(jax.random.key(5))
    return jax.random.normal(keys[0], (5, 6)) / 2, jax.random.normal(keys[1], (6, 3)) / 2


class Ours(eqx.Module):
    """A layer, batch normalization and a layer, by equinox."""

    first: jax.Array
    norm: eqx.nn.BatchNorm
    out: jax.Array
    scale: jax.Array

    def __init__(self, hparams, key):
        self.first, self.out = weights()
        self.norm = eqx.nn.BatchNorm(6, "batch", momentum=0.9, eps=1e-5, mode="batch")
        self.scale = hparams["scale"]

    def __call__(self, x, state):
        x, state = self.norm(x @ self.first, state)
        return self.scale * (jax.nn.tanh(x) @ self.out), state


class Theirs(nnx.Module):
    """The same by nnx."""

    def __init__(self, hparams, rngs):
        first, out = weights()
        self.first, self.out, self.scale = nnx.Param(first), nnx.Param(out), hparams["scale"]
        self.norm = nnx.BatchNorm(6, momentum=0.9, epsilon=1e-5, param_dtype=float, rngs=rngs)
        self.norm.mean, self.norm.var = nnx.BatchStat(jnp.zeros(6)), nnx.BatchStat(jnp.ones(6))  # in float64, too
        self.count = nnx.BatchStat(jnp.zeros(()))

    def __call__(self, x):
        x = x @ self.first[...]
        if self.norm.use_running_average:
            rest = 1 - 0.9 ** self.count[...]
            x = (x - self.norm.mean[...][None] / rest) / jnp.sqrt(self.norm.var[...][None] / rest + 1e-5)
            x = x * self.norm.scale[...][None] + self.norm.bias[...][None]
        else:
            self.count[...] += 1
            x = self.norm(x)
        return self.scale * (jax.nn.tanh(x) @ self.out[...])


@pytest.mark.parametrize("lanes", [1, 3])
def test_it_trains_as_the_same_net_in_nnx(x64, rows, lanes):
    """Each epoch to 1e-9: batches that are not full, a hyperparameter in the module, several folds, running statistics.

    equinox divides these by 1 - momentum^updates, nnx does not: the reference does.
    """
    space = pj.Space(learning_rate=pj.log_uniform(1e-3, 1e-1), scale=pj.uniform(0.5, 2), batch_size=pj.choice(8, 16))
    curves = [
        pj.search(
            pj.supervised(rows, model=model, optimizer="adam"),
            space,
            trials=6,
            epochs=4,
            folds=2,
            backend=pj.Local(lanes=lanes),
        ).curves
        for model in (Ours, Theirs)
    ]
    for name in curves[0]:
        np.testing.assert_allclose(curves[0][name], curves[1][name], rtol=1e-9, atol=1e-9, err_msg=name)


def test_a_hyperparameter_in_the_module_is_not_trained(rows):
    """Neither a field of the user's own nor the rate of a dropout layer is an array of the member."""
    results = pj.search(pj.supervised(rows, model=Net), SPACE, trials=2, epochs=1)
    names = {name.removeprefix("params.") for name in results.states[results.best.trial] if name.startswith("params.")}
    assert names == {"first.weight", "first.bias", "norm.weight", "norm.bias", "out.weight", "out.bias"}


class Scaled(eqx.Module):
    """Numbers that follow from hyperparameters, and some that do not."""

    layer: eqx.nn.Linear
    dropout: eqx.nn.Dropout
    doubled: jax.Array
    slope: jax.Array
    places: dict

    def __init__(self, hparams, key):
        self.layer = eqx.nn.Linear(5, 3, key=key)
        self.dropout = eqx.nn.Dropout(1 - hparams["keep"])
        self.doubled, self.slope = 2 * hparams["scale"], jnp.array(1.0)
        self.places = {"a-b": jnp.ones(3), "a": {"b": jnp.zeros(3)}}

    def __call__(self, x, key=None, train=False):
        x = self.slope * self.doubled * self.layer(self.dropout(x, key=key)) + self.places["a-b"]
        return jnp.where(train, x, x) + self.places["a"]["b"]


def test_what_follows_from_hyperparameters_is_not_trained(rows):
    space = {"learning_rate": 0.1, "keep": pj.uniform(0.5, 0.9), "scale": pj.uniform(1, 2), "batch_size": 16}
    results = pj.search(pj.supervised(rows, model=Scaled), space, trials=2, epochs=1)
    names = {name.removeprefix("params.") for name in results.states[results.best.trial] if name.startswith("params.")}
    assert names == {"layer.weight", "layer.bias", "slope", "places.a.b", "places.a.b_"}


class Told(eqx.Module):
    """Its output is a large one while it trains."""

    layer: eqx.nn.Linear

    def __init__(self, hparams, key):
        self.layer = eqx.nn.Linear(5, 3, key=key)

    def __call__(self, x, inference):
        return self.layer(x) + (0.0 if inference else jnp.array([100.0, 0, 0]))


def test_an_argument_says_whether_it_trains(rows):
    """In training the loss is far above that of the validation rows."""
    results = pj.search(pj.supervised(rows, model=Told), {"learning_rate": 1e-6, "batch_size": 16}, trials=1, epochs=1)
    assert results.values["train_loss"][0] > 10 > results.values["val_loss"][0]


def test_no_dropout_may_be_a_whole_number(rows):
    results = pj.search(pj.supervised(rows, model=Net), {"learning_rate": 0.05, "dropout": 0}, trials=1, epochs=1)
    assert results.best is not None


def test_a_callable_with_rngs_makes_flax_modules(rows):
    """Whatever else it names key."""
    model = lambda hparams, rngs, key="kernel": nnx.Linear(5, 3, rngs=rngs)
    assert pj.search(pj.supervised(rows, model=model), {"learning_rate": 0.1}, trials=1, epochs=1).best is not None


def test_equal_rows_draw_masks_of_their_own_and_none_in_evaluation():
    """Half of the units drop: equal rows have different outputs where there are keys, and equal ones where not."""
    x = jnp.tile(jax.random.normal(jax.random.key(1), (1, 5)), (8, 1))
    model = lambda hparams, key: eqx.nn.Sequential([eqx.nn.Linear(5, 32, key=key), eqx.nn.Dropout(hparams["rate"])])
    network = bind(model, HParams({"rate": jnp.float32(0.5)}), jax.random.key(0), x)
    trains, _ = network.apply(network.params, network.variables, x, jax.random.split(jax.random.key(2), 8))
    rests, _ = network.apply(network.params, network.variables, x, None)
    assert len({tuple(row.tolist()) for row in np.asarray(trains) == 0}) == 8
    assert 0.35 < np.mean(np.asarray(trains) == 0) < 0.65
    np.testing.assert_array_equal(rests, np.tile(rests[:1], (8, 1)))
    assert (np.asarray(rests) != 0).all()


def test_a_trial_does_not_depend_on_its_company(rows):
    task = pj.supervised(rows, model=Net)
    whole, part = (pj.search(task, SPACE, trials=n, epochs=3) for n in (12, 3))
    for name, curve in part.curves.items():
        np.testing.assert_array_equal(whole.curves[name][:3], curve)


@pytest.mark.parametrize("model", [Net, plain], ids=["state", "plain"])
def test_the_winner_comes_back_from_its_directory(rows, tmp_path, model):
    """In folds, as an ensemble too; the module that comes back says what the predictor says."""
    x, _ = rows
    space = SPACE if model is Net else SPACE.only(["learning_rate", "batch_size"])
    task = pj.supervised(rows, model=model)
    results = pj.search(task, space, trials=5, epochs=3, folds=2, rank=pj.together(3), out=tmp_path / "run")
    loaded = pj.load_best(tmp_path / "run", model=model)
    np.testing.assert_array_equal(loaded.predict_proba(x), pj.ensemble(results).predict_proba(x))
    alone = results.predictor(results.best.trial)
    said = []
    for fold, module in enumerate(alone.module()):
        features = jnp.asarray(alone.recipe.features(x, fold))
        if model is Net:
            module, state = module
            logits = jax.vmap(lambda row: module(row, state)[0], axis_name="batch")(features)  # noqa: B023
        else:
            logits = jax.vmap(module)(features)
        said.append(jax.nn.softmax(logits))
    np.testing.assert_allclose(np.mean(said, 0), alone.predict_proba(x), rtol=1e-5, atol=1e-6)


def test_one_program_trains_all(rows):
    """Rates of dropout and of learning, and two batch sizes, are data of one program."""
    results = pj.search(pj.supervised(rows, model=Net), SPACE, trials=8, epochs=1)
    assert results.summary["buckets"] == 1


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (
            eqx.nn.MLP(5, 3, 6, 1, key=jax.random.key(0)),
            "the model is a MLP itself; give what makes one: lambda hparams, key:",
        ),
        (lambda hparams, key: 3, "the model callable of (hparams, key) returned a int; return an equinox module"),
        (
            lambda hparams, rngs: eqx.nn.MLP(5, 3, 6, 1, key=rngs.params()),
            "its callable takes hparams and key, by these",
        ),
        (
            lambda hparams, key: eqx.nn.make_with_state(eqx.nn.MLP)(5, 3, 6, 1, key=key),
            "return the module, without eqx.nn.make_with_state, which popjax calls itself",
        ),
        (lambda hparams, key, size: 3, "the model cannot be called with (hparams, rngs)"),
    ],
    ids=["itself", "number", "rngs", "state", "one more"],
)
def test_what_is_no_model_is_one_line(rows, model, says):
    with pytest.raises(ValueError) as raised:
        pj.search(pj.supervised(rows, model=model), {"learning_rate": 0.1}, trials=1, epochs=1)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_without_equinox_it_says_how_to_get_it(python):
    code = (
        "import sys; sys.modules['equinox'] = None\n"
        "import importlib.util; find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *more: None if name == 'equinox' else find(name, *more)\n"
        "import numpy as np, popjax as pj\n"
        "x = np.arange(80.0).reshape(40, 2)\n"
        "try: pj.search(pj.supervised((x, x[:, 0]), model=lambda hparams, key: 0), {'learning_rate': 0.1}, trials=1)\n"
        "except ValueError as error: print(error)\n"
    )
    ended = python(code)
    assert "a model of (hparams, key) needs equinox, which is not installed:" in ended.stdout, ended.stderr
