"""The contract: what a Task may do, and the one line that a user sees when it cannot."""

import pickle
import subprocess
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pyarrow.parquet
import pytest
from conftest import refused, soaked
from flax import linen, nnx
from flax.training.train_state import TrainState

import popjax as pj
from popjax.engine.traced_task import Config
from popjax.layers import Dropout
from popjax.study.replay import train_points

CONFIG = Config(3, 0, pj.Rule("val_accuracy"))


class Net(nnx.Module):
    """A user's own model, as in the README."""

    def __init__(self, hidden, rate, rngs):
        self.first = nnx.Linear(5, hidden, param_dtype=float, rngs=rngs)
        self.drop = Dropout(rate, rngs=rngs)
        self.second = nnx.Linear(hidden, 3, param_dtype=float, rngs=rngs)

    def __call__(self, x):
        return self.second(self.drop(nnx.relu(self.first(x))))


def test_objective_is_called_with_each_trial_own_key_and_values():
    def quadratic(key, hparams):
        return {"loss": (hparams["x"] - 2) ** 2, "key": jax.random.key_data(key)[1] % 2**16}

    results = pj.search(pj.objective(quadratic), pj.Space(x=pj.uniform(0, 5)), trials=50, epochs=20, seed=3)
    np.testing.assert_allclose(results.curves["loss"][:, 0], (results.points["x"] - 2) ** 2, rtol=1e-5)
    assert results.curves["loss"].shape == (50, 1)
    assert len(set(results.curves["key"][:, 0])) == 50
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(3), 17), 0)
    assert results.curves["key"][17, 0] == jax.random.key_data(key)[1] % 2**16


def test_a_user_nnx_model_equals_its_own_loop(x64, rows):
    """A user's module and optimizer, with batch size static, against a bare loop of flax and optax."""

    def model(hparams, rngs):
        return Net(7, 0.0, rngs)

    def optimizer(hparams):
        return optax.lion(hparams["learning_rate"], b1=hparams["b1"])

    task = pj.supervised(rows, model=model, optimizer=optimizer)
    space = pj.Space(learning_rate=pj.log_uniform(1e-4, 1e-2), b1=pj.uniform(0.8, 0.95), batch_size=16)
    results = pj.search(task, space, trials=3, epochs=5, rank=pj.best(keep=3))
    (x, y), (vx, vy) = (
        (task.data.rows.x[part[0]], task.data.rows.y[part[0]])
        for part in (task.data.folds.train, task.data.folds.validation)
    )
    for trial in range(3):
        own = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), trial), 0)
        init_key, key = jax.random.split(own)
        net = model(None, nnx.Rngs(params=jax.random.split(init_key)[0], dropout=0))
        graph, params = nnx.split(net, nnx.Param, ...)[0], nnx.state(net, nnx.Param)
        rest = nnx.split(net, nnx.Param, ...)[2]
        hparams = results.hparams(trial)
        tx = optax.lion(hparams["learning_rate"], b1=hparams["b1"])
        opt_state = tx.init(params)

        @jax.jit
        def loss(params, x, y, graph=graph, rest=rest):
            outputs = nnx.merge(graph, params, rest)(x)
            return optax.softmax_cross_entropy_with_integer_labels(outputs, y).mean()

        for epoch in range(5):
            shuffle_key, _ = jax.random.split(jax.random.fold_in(key, epoch))
            order = jax.random.permutation(shuffle_key, len(x))
            for step in range(len(x) // 16):
                batch = order[step * 16 : step * 16 + 16]
                gradient = jax.grad(loss)(params, x[batch], y[batch])
                moves, opt_state = tx.update(gradient, opt_state, params)
                params = optax.apply_updates(params, moves)
            np.testing.assert_allclose(results.curves["val_loss"][trial, epoch], loss(params, vx, vy), rtol=1e-9)
        trained = nnx.to_pure_dict(params)["first"]["kernel"]
        np.testing.assert_allclose(results.params(trial)["first"]["kernel"], trained, rtol=1e-9)


@pytest.mark.soak
@pytest.mark.parametrize(("lanes", "buckets"), soaked([(1, 2), (4, 4)]))
def test_a_linen_model_with_dropout_learns_through_the_same_door(rows, lanes, buckets):
    """Batch statistics need the batch size: in one lane each size is a branch, under vmap a program."""

    class LinenNet(nn.Module):
        hidden: int

        @nn.compact
        def __call__(self, x, train=False):
            x = nn.BatchNorm(use_running_average=not train)(nn.relu(nn.Dense(self.hidden)(x)))
            return nn.Dense(3)(nn.Dropout(0.1, deterministic=not train)(x))

    task = pj.supervised(rows, model=lambda hparams, rngs: LinenNet(hparams["hidden"]), optimizer="adam")
    space = pj.Space(learning_rate=0.02, hidden=pj.choice(8, 16, static=True), batch_size=pj.choice(8, 16))
    results = pj.search(task, space, trials=16, epochs=15, backend=pj.Local(lanes=lanes))
    assert results.best.value > 0.8
    assert results.summary["buckets"] == buckets
    statistics = [name for name in results.states[results.best.trial] if name.startswith("variables.batch_stats")]
    assert len(statistics) == 2


@pytest.mark.parametrize(("lanes", "buckets"), soaked([(1, 1), (2, 2)]))
def test_nnx_batch_statistics_are_trained_and_used(rows, lanes, buckets):
    class Normed(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Linear(5, 8, rngs=rngs)
            self.norm = nnx.BatchNorm(8, rngs=rngs)
            self.drop = nnx.Dropout(0.2, rngs=rngs)
            self.second = nnx.Linear(8, 3, rngs=rngs)

        def __call__(self, x):
            return self.second(self.drop(nnx.relu(self.norm(self.first(x)))))

    task = pj.supervised(rows, model=lambda hparams, rngs: Normed(rngs), optimizer="adam")
    results = pj.search(
        task,
        pj.Space(learning_rate=0.02, batch_size=pj.choice(8, 32)),
        trials=4,
        epochs=30,
        backend=pj.Local(lanes=lanes),
    )
    assert results.summary["buckets"] == buckets
    assert results.best.value > 0.7
    arrays = results.states[results.best.trial]
    assert abs(arrays["variables.norm.mean"]).max() > 0.05
    assert abs(arrays["variables.norm.var"] - 1).max() > 0.05


def test_a_hyperparameter_kept_by_the_module_acts_through_the_population(rows):
    """A traced dropout rate of 0 and of 0.9 give different models; 0 equals no dropout."""
    task = pj.supervised(rows, model=lambda hparams, rngs: Net(7, hparams["dropout"], rngs))
    plain = pj.supervised(rows, model=lambda hparams, rngs: Net(7, 0.0, rngs))
    space = pj.Space(learning_rate=0.05, dropout=pj.choice(0.0, 0.9))
    points = space.sample(8)["dropout"]
    results = pj.search(task, space, trials=8, epochs=5)
    without = pj.search(plain, pj.Space(learning_rate=0.05), trials=8, epochs=5)
    same = np.isclose(results.curves["val_loss"], without.curves["val_loss"], rtol=1e-4).all(1)
    assert same.tolist() == [rate == 0 for rate in points]


@pytest.mark.soak
def test_optimizer_and_activation_may_be_mixed_in_one_search(rows):
    space = pj.Space(
        learning_rate=pj.log_uniform(1e-3, 1e-1),
        momentum=pj.uniform(0.8, 0.95),
        optimizer=pj.choice("sgd", "adam"),
        activation=pj.choice("relu", "tanh"),
    )
    results = pj.search(pj.supervised(rows), space, trials=16, epochs=3)
    assert results.summary["buckets"] == 4
    points = space.sample(16)
    for optimizer, names in (("sgd", ("learning_rate", "momentum")), ("adam", ("learning_rate",))):
        chosen = np.flatnonzero((points["optimizer"] == optimizer) & (points["activation"] == "tanh"))
        own = {name: points[name][chosen] for name in (*names, "activation")}
        task = pj.supervised(rows, optimizer=optimizer)
        alone = train_points(task, space.only(own).replace(activation="tanh"), own, CONFIG, chosen)
        np.testing.assert_allclose(alone.curves["val_loss"], results.curves["val_loss"][chosen], rtol=1e-5)
        assert len(chosen) > 1


def test_bare_arrays_and_old_keys_are_state_too():
    """State may be any pytree of arrays: old-style keys, integers, nested containers."""

    def init(key, hparams, data):
        return {"key": jax.random.key_data(key), "typed": key, "n": [jnp.int32(0), np.zeros((2, 3), np.float32)]}

    def epoch(state, hparams, data):
        count, array = state["n"]
        new = state | {"n": [count + 1, array + hparams["a"]]}
        return new, {"loss": (array.sum() + count) * 1.0}

    results = pj.search(pj.Task(init, epoch, ()), {"a": pj.uniform(0, 1)}, trials=20, epochs=4)
    expected = 6 * results.points["a"][:, None] * np.arange(4) + np.arange(4)
    np.testing.assert_allclose(results.curves["loss"], expected, rtol=1e-5)


SEARCHED = [
    ({"momentum": 0.9}, {"optimizer": "adam"}, ["momentum", "nothing"]),
    ({"batch_size": 137}, {}, ["batch_size=137", "136"]),
    ({"batch_size": pj.choice(16, 500)}, {}, ["batch_size=500", "136"]),
    ({"dropout": 1.5}, {}, ["dropout=1.5"]),
    ({"learning_rate": -1.0}, {}, ["learning_rate=-1.0"]),
    ({"hidden": pj.uniform(5, 9)}, {}, ["hidden=uniform(5, 9)", "whole number"]),
    ({"hidden": 0}, {}, ["hidden=0", "at least 1"]),
    ({"depth": pj.integers(0, 2)}, {}, ["depth=0", "at least 1"]),
    ({"activation": pj.choice("relu", "reluu")}, {}, ["'reluu'", "relu,"]),
    ({"optimizer": "adamm"}, {}, ["'adamm'", "adam,"]),
    ({"val_loss": 1.0}, {}, ["val_loss", "nothing"]),
]


@pytest.mark.parametrize(("scales", "given", "names"), SEARCHED)
def test_what_cannot_be_searched_is_one_line(rows, scales, given, names):
    with refused(*names):
        pj.search(pj.supervised(rows, **given), pj.Space(**({"learning_rate": 0.1} | scales)), trials=40)


ASKED = [
    ({"trials": 0}, ["trials=0", "at least 1"]),
    ({"epochs": 0}, ["epochs=0"]),
    ({"seed": -1}, ["seed=-1"]),
    ({"seed": 2**32}, ["seed=4294967296"]),
    ({"sampler": "sobolo"}, ["'sobolo'", "sobol"]),
    ({"rank": "accuracy"}, ["'accuracy'", "val_accuracy"]),
    ({"rank": pj.best}, ["rank", "best()"]),
    ({"backend": pj.Local(plan="two")}, ["'two'", "auto"]),
    ({"folds": 2000}, ["folds=2000", "test=0.1", "170"]),
    ({"scheduler": pj.rounds(600)}, ["rounds=600", "512"]),
    ({"rank": pj.one_se()}, ["standard error", "folds or repeats"]),
]


@pytest.mark.parametrize(("given", "names"), ASKED)
def test_what_cannot_be_asked_is_one_line(rows, given, names):
    with refused(*names):
        pj.search(pj.supervised(rows), {"learning_rate": 0.1}, **given)


MADE = [
    ({"model": "cnn3"}, ["'cnn3'", "cnn"]),
    ({"optimizer": "lion"}, ["'lion'", "adam"]),
    ({"schedule": "step"}, ["'step'", "cosine"]),
    ({"validation": 0.0}, ["validation=0.0"]),
    ({"test": 0.6, "validation": 0.6}, ["0.6", "row"]),
    ({"seed": -1}, ["seed=-1", "whole number"]),
    ({"optimizer": optax.adam(1e-3)}, ["optimizer", "function"]),
    ({"schedule": lambda epoch: 1.0}, ["schedule"]),
    ({"loss": lambda outputs, targets, hparams: 0.0}, ["loss", "(outputs, targets)"]),
    ({"model": lambda hparams, rngs: Two(rngs)}, ["tuple", "one array"]),
]


@pytest.mark.parametrize(("given", "names"), MADE)
def test_what_makes_no_task_is_one_line(rows, given, names):
    with refused(*names):
        pj.search(pj.supervised(rows, **given), {"learning_rate": 0.1}, trials=1)


def test_a_hyperparameter_that_fixes_a_shape_is_named_with_the_remedy(rows):
    task = pj.supervised(rows, model=lambda hparams, rngs: Net(hparams["hidden"], 0.0, rngs))
    space = pj.Space(learning_rate=pj.log_uniform(1e-3, 1), hidden=pj.integers(5, 7))
    with refused("hidden", "shape", "test_task.py, line", "static=True"):
        pj.search(task, space, trials=64)
    marked = space.replace(hidden=pj.integers(5, 7, static=True))
    assert pj.search(task, marked, trials=12, epochs=1).summary["buckets"] == 3
    assert pj.search(task, space.replace(hidden=6), trials=12, epochs=1).summary["buckets"] == 1


def test_a_rate_that_needs_python_is_named_with_the_remedy(rows):
    class Plain(nnx.Module):
        def __init__(self, rate, rngs):
            self.drop, self.out = nnx.Dropout(rate, rngs=rngs), nnx.Linear(5, 3, rngs=rngs)

        def __call__(self, x):
            return self.out(self.drop(x))

    task = pj.supervised(rows, model=lambda hparams, rngs: Plain(hparams["dropout"], rngs))
    with refused("dropout", "test_task.py, line", "popjax.layers.Dropout", "static=True"):
        pj.search(task, pj.Space(dropout=pj.uniform(0, 0.5)), trials=8)
    constant = pj.search(task, pj.Space(dropout=0.3, learning_rate=0.01), trials=2, epochs=1)
    assert constant.best is not None


def test_a_rate_that_optax_needs_is_named_with_where_it_goes():
    """Its schedules compare their arguments by Python's `if`."""

    def epoch(x, hparams, data):
        return x, {"loss": optax.cosine_decay_schedule(1.0, hparams["steps"])(x)}

    task = pj.Task(lambda key, hparams, data: jnp.float32(1), epoch, ())
    with refused("steps", "optax", "test_task.py, line", "hparams['steps"):
        pj.search(task, {"steps": pj.integers(1, 9)}, trials=4)


def test_a_missing_hyperparameter_is_named():
    task = pj.objective(lambda key, hparams: {"loss": hparams["lr"]})
    with refused("'lr'", "learning_rate"):
        pj.search(task, {"learning_rate": 0.1}, trials=2)


@pytest.mark.parametrize(
    ("epoch", "names"),
    [
        (lambda s, h, d: (s, {"loss": jnp.zeros(3)}), ["'loss'", "(3,)"]),
        (lambda s, h, d: (s, {}), ["dict of scalars"]),
        (lambda s, h, d: (jnp.zeros(2), {"loss": h["a"]}), ["epoch", "float32[2]", "float32[]"]),
        (lambda s, h, d: ((s, s), {"loss": h["a"]}), ["structure"]),
    ],
)
def test_a_broken_epoch_is_one_line(epoch, names):
    task = pj.Task(lambda key, hparams, data: hparams["a"] * 1.0, epoch, ())
    with refused(*names):
        pj.search(task, {"a": pj.uniform(0, 1)}, trials=2)


def test_a_name_cannot_be_hyperparameter_and_metric():
    task = pj.objective(lambda key, hparams: {"loss": hparams["loss"]})
    with refused("'loss'", "hyperparameter", "metric"):
        pj.search(task, {"loss": pj.uniform(0, 1)}, trials=2)


@pytest.mark.soak
def test_batch_sizes_that_are_no_multiples_are_branches_or_static(rows):
    space = pj.Space(learning_rate=0.1, batch_size=pj.choice(8, 12))
    for lanes, buckets, static in ((1, 1, []), (2, 2, ["batch_size"])):
        results = pj.search(pj.supervised(rows), space, trials=10, epochs=1, backend=pj.Local(lanes=lanes))
        assert results.summary["buckets"] == buckets
        assert results.run["static"] == static


def test_folds_and_repeats_are_members(tmp_path):
    """A trial ranks by the mean over its members; fold is an index, repeat another key."""

    def init(key, hparams, data):
        return jax.random.key_data(key)[1] % 1000

    def epoch(word, hparams, data):
        return word, {"loss": hparams["x"] + hparams["fold"], "word": word}

    results = pj.search(pj.Task(init, epoch, ()), {"x": pj.uniform(0, 1)}, trials=6, epochs=2, folds=3, repeats=2)
    assert results.members["loss"].shape == (6, 3, 2, 2)
    expected = results.points["x"][:, None, None] + np.arange(3)[None, :, None]
    np.testing.assert_allclose(results.members["loss"][..., 0], np.repeat(expected, 2, 2), rtol=1e-6)
    np.testing.assert_allclose(results.trials["loss"], results.points["x"] + 1, rtol=1e-6)
    words = results.members["word"][..., 0]
    assert (words == words[:, :1]).all()  # the fold is no part of the key
    assert (words[:, 0, 0] != words[:, 0, 1]).all()
    assert results.best.trial == int(np.argmin(results.points["x"]))
    results.save(tmp_path)
    table = pyarrow.parquet.read_table(tmp_path / "curves.parquet")
    assert table.column_names == ["trial", "fold", "repeat", "epoch", "loss", "word"]
    row = table.to_pylist()[(4 * 6 + 2 * 2 + 1) * 2 + 1]
    assert (row["trial"], row["fold"], row["repeat"], row["epoch"]) == (4, 2, 1, 1)
    assert row["loss"] == results.members["loss"][4, 2, 1, 1]


def test_the_trainer_needs_jax_flax_optax_and_numpy_alone():
    """What tables, commands and the report need is imported where it is used."""
    script = """
import sys
for name in ("tyro", "plotly", "sklearn", "pyarrow", "safetensors", "pandas", "optuna"):
    sys.modules[name] = None
import numpy as np
import popjax as pj
x = np.random.default_rng(0).normal(size=(80, 3))
task = pj.supervised((x, x[:, 0] > 0))
results = pj.search(task, {"learning_rate": pj.log_uniform(1e-3, 1)}, trials=4, epochs=2, scheduler=pj.rounds(2))
session = pj.Session(task, results.best.hparams)
session.train(1)
print(sorted(results.curves) == sorted(session.curves))
"""
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert process.stdout == "True\n", process.stderr


CONDITIONAL = pj.Space(
    x=pj.uniform(0, 1),
    kind=pj.choice("a", "b"),
    only_b=pj.uniform(0, 1),
    layers=pj.integers(1, 2, static=True),
    only_2=pj.uniform(0, 1),
)


def conditional(key, hparams):
    second = hparams["only_2"] if hparams["layers"] == 2 else 0
    return {"loss": hparams["x"] + second + (1 + hparams["only_b"] if hparams["kind"] == "b" else 0)}


def test_what_one_choice_alone_reads_may_be_searched(tmp_path):
    """Also where a round, the winner or a trial that is replayed reads it no more; what none reads is refused."""
    task = pj.objective(conditional)
    results = pj.search(task, CONDITIONAL, trials=40, scheduler=pj.rounds(2), out=tmp_path / "run")
    assert results.best.hparams["kind"] == "a"
    for kind, layers in (("a", 1), ("b", 1), ("a", 2)):
        trial = int(np.flatnonzero((results.points["kind"] == kind) & (results.points["layers"] == layers))[0])
        assert results.replay(trial)["loss"][0] == results.curves["loss"][trial, 0]
    space = CONDITIONAL.replace(layers=2)
    kinds = [pj.search(task, space, trials=1, seed=seed).points["kind"][0] for seed in range(4)]
    assert set(kinds) == {"a", "b"}
    with refused("nothing is read"):
        pj.search(task, CONDITIONAL.replace(nothing=pj.uniform(0, 1)), trials=40)


def test_a_typo_is_found_whatever_static_values_the_few_trials_have(rows):
    """What other values of a static hyperparameter read is traced too, so what they alone read may be searched."""
    width = {"width": pj.choice(4, 8, 16, static=True)}

    def model(hparams, rngs):
        if hparams["width"] == 16:
            hparams["only"]
        return nnx.Linear(5, 3, rngs=rngs)

    space = pj.Space(learning_rate=0.1, **width, only=pj.uniform(0, 1))
    assert pj.search(pj.supervised(rows, model=model), space, trials=1, epochs=1).best is not None
    for scale in (pj.choice(4, 8, static=True), pj.log_integers(8, 512, static=True)):
        typo = pj.Space(learning_rate=0.1, width=scale, onyl=pj.uniform(0, 1))
        with refused("onyl"):
            pj.search(
                pj.supervised(rows, model=lambda hparams, rngs: nnx.Linear(5, hparams["width"] // 999 + 3, rngs=rngs)),
                typo,
                trials=1,
            )


def begun_at_a_rate(key, hparams, data):
    return {"weight": jnp.ones(()), "rate": hparams["rate"]}


def test_what_init_alone_reads_is_not_set(tmp_path):
    """Neither by hand nor by PBT: it would change nothing."""

    def epoch(state, hparams, data):
        weight = state["weight"] * (1 - state["rate"] - 0 * hparams["pull"])
        return state | {"weight": weight}, {"loss": weight}

    task, space = pj.Task(begun_at_a_rate, epoch, ()), {"rate": pj.uniform(0.1, 0.9), "pull": pj.uniform(0.1, 0.9)}
    session = pj.Session(task, {"rate": 0.25, "pull": 0.5})
    assert session.dynamic == ("pull",)
    session.train(1)
    with refused("rate", "init alone"):
        session.set(rate=0.5)
    session.set(pull=0.25)
    results = pj.search(task, space, trials=8, epochs=8, scheduler=pj.pbt(interval=2))
    then = results.history.at(np.zeros(8, int)), results.history.at(np.full(8, 7))
    assert not np.array_equal(then[0]["pull"], then[1]["pull"])
    assert set(then[1]["rate"]) <= set(then[0]["rate"])  # of copies, that of their source


def test_a_function_in_the_state_that_holds_a_hyperparameter_is_one_line():
    """As the optimizer in flax's TrainState does; with fixed numbers it may stand there."""

    def task(held):
        def init(key, hparams, data):
            fixed = optax.inject_hyperparams(optax.sgd)(learning_rate=0.0)
            optimizer = optax.sgd(hparams["rate"]) if held else fixed
            return TrainState.create(apply_fn=None, params={"w": jnp.ones(())}, tx=optimizer)

        def epoch(state, hparams, data):
            if not held:
                state.opt_state.hyperparams["learning_rate"] = hparams["rate"]
            state = state.apply_gradients(grads=state.params)
            return state, {"loss": state.params["w"]}

        return pj.Task(init, epoch, ())

    with refused("TrainState"):
        pj.search(task(held=True), {"rate": pj.uniform(0, 1)}, trials=2)
    results = pj.search(task(held=False), {"rate": pj.uniform(0.1, 1)}, trials=3, epochs=2)
    np.testing.assert_allclose(results.curves["loss"][:, 1], (1 - results.points["rate"]) ** 2, rtol=1e-5)


def test_the_metric_with_which_all_trials_diverged_is_named(capsys, tmp_path):
    """Also one that does not rank, of later epochs than the first, and in a run that is loaded."""

    def epoch(state, hparams, data):
        returned = jnp.where(state < 2, 1.0, jnp.nan)  # as the mean over no episode
        return state + 1, {"loss": hparams["rate"], "returned": returned}

    task, space = pj.Task(lambda key, hparams, data: 0, epoch, ()), {"rate": pj.uniform(0, 1)}
    pj.search(task, space, trials=3, epochs=4, out=tmp_path / "run")
    assert capsys.readouterr().err == "popjax: all 3 trials diverged (not finite: returned); results.best is None\n"
    assert pj.Results.load(tmp_path / "run").no_winner == "all 3 trials diverged (not finite: returned)"


def test_a_schedule_of_ones_own_is_the_one_of_that_name(rows):
    """To the same bits as the built-in; what it reads is searched, and there is no default space."""
    space = {"learning_rate": pj.log_uniform(1e-3, 1e-1), "decay": pj.uniform(0, 1)}
    own = lambda hparams, epoch: 1 / (1 + hparams["decay"] * epoch)
    searched = lambda given, space: pj.search(pj.supervised(rows, schedule=given), space, trials=4, epochs=4)
    one, other = searched(own, space), searched("inverse", space)
    assert one.curves["val_loss"].tobytes() == other.curves["val_loss"].tobytes()
    halved = searched(lambda hparams, epoch: 0.5, {"learning_rate": 0.5})
    whole = searched("inverse", {"learning_rate": 0.25})
    assert halved.curves["val_loss"].tobytes() == whole.curves["val_loss"].tobytes()
    with refused("space"):
        pj.search(pj.supervised(rows, schedule=own), trials=1)


class Noisy(nnx.Module):
    """Adds noise from a stream of the name `stream` while it trains."""

    def __init__(self, stream, rngs):
        self.out, self.rngs, self.stream = nnx.Linear(5, 3, rngs=rngs), rngs, stream

    def __call__(self, x, train=False):
        return self.out(x + jax.random.normal(getattr(self.rngs, self.stream)(), x.shape) if train else x)


class NoisyLinen(linen.Module):
    """The same in linen."""

    @linen.compact
    def __call__(self, x, train=False):
        return linen.Dense(3)(x + jax.random.normal(self.make_rng("noise"), x.shape) if train else x)


@pytest.mark.parametrize("model", [lambda hparams, rngs: Noisy("noise", rngs), lambda hparams, rngs: NoisyLinen()])
def test_a_random_stream_of_any_name_differs_in_each_step(rows, model):
    """As in plain flax, where `Rngs(0)` serves all names."""
    space = {"learning_rate": 0.0, "batch_size": 136}
    losses = pj.search(pj.supervised(rows, model=model), space, trials=1, epochs=5).curves["train_loss"][0]
    assert len(set(losses.tolist())) == 5


class Two(nnx.Module):
    """Two outputs."""

    def __init__(self, rngs):
        self.out = nnx.Linear(5, 3, rngs=rngs)

    def __call__(self, x):
        return self.out(x), x


class Keeping(nnx.Module):
    """Keeps in each call what `keeps` does to it."""

    def __init__(self, keeps, rngs):
        self.out, self.mean, self.keeps = nnx.Linear(5, 3, rngs=rngs), nnx.BatchStat(jnp.zeros(5)), keeps
        self.steps = nnx.Param(jnp.int32(0)) if keeps is None else None

    def __call__(self, x):
        self.keeps(self, x)
        return self.out(x)


def as_row(module, x):
    module.mean.set_value(x.mean(0, keepdims=True))


def whole(module, x):
    module.mean.set_value(jnp.round(x.mean(0)).astype(int))


def new(module, x):
    module.last = nnx.Variable(x)


@pytest.mark.parametrize(
    ("keeps", "names"),
    [
        (as_row, ["'mean'", "float32[5]", "float32[1, 5]"]),
        (whole, ["'mean'", "float32[5]", "int32[5]"]),
        (new, ["'last'", "float32[16, 5]", "__init__"]),
        (None, ["'steps'", "int32", "no parameter"]),
    ],
)
def test_what_a_model_cannot_keep_is_one_line(rows, keeps, names):
    task = pj.supervised(rows, model=lambda hparams, rngs: Keeping(keeps, rngs))
    with refused(*names):
        pj.search(task, {"learning_rate": 0.1, "batch_size": 16}, trials=1)


def sow(module, x):
    module.last = nnx.Intermediate(module.out(x))


def test_what_a_model_sows_is_not_kept(rows):
    """As linen's `sow` without a collection that is mutable."""
    task = lambda keeps: pj.supervised(rows, model=lambda hparams, rngs: Keeping(keeps, rngs))
    search = lambda keeps: pj.search(task(keeps), {"learning_rate": 0.1}, trials=1, epochs=2)
    sown, plain = search(sow), search(lambda module, x: None)
    assert sown.curves["val_loss"].tobytes() == plain.curves["val_loss"].tobytes()
    assert sown.predict(rows[0]).tolist() == plain.predict(rows[0]).tolist()


def test_a_rate_that_the_optimizer_ignores_is_noise(rows):
    """Whatever schedules it is noise too; where the optimizer looks it up, all of them are read."""
    space = {"learning_rate": pj.log_uniform(1e-3, 1), "decay": pj.uniform(0, 1)}
    with refused("learning_rate"):
        pj.search(pj.supervised(rows, optimizer=lambda hparams: optax.adam(1e-3)), space, trials=4)
    task = pj.supervised(rows, optimizer=lambda hparams: optax.adam(hparams["learning_rate"]))
    assert not pj.search(task, space, trials=4, epochs=1).diverged.any()


class Wide(nnx.Module):
    """Outputs of any width."""

    def __init__(self, width, rngs):
        self.out = nnx.Linear(5, width, rngs=rngs)

    def __call__(self, x):
        return self.out(x)


@pytest.mark.parametrize(
    ("target", "width", "loss", "names"),
    [
        ("classes", 1, None, ["(32, 1)", "(32, 3)"]),
        ("reals", 2, None, ["(32, 2)", "(32, 1)"]),
        ("reals", 1, lambda o, t: (o - t[None]) ** 2, ["(32, 32)", "(32,)"]),
        ("reals", 1, lambda o, t: ((o[:, 0] - t) ** 2).mean(), ["()", "(32,)"]),
    ],
)
def test_outputs_and_losses_are_one_a_row(rows, target, width, loss, names):
    """Else they would be broadcast, and train something else without a word."""
    x, y = rows
    y = y if target == "classes" else x[:, 0]
    task = pj.supervised((x, y), model=lambda hparams, rngs: Wide(width, rngs), loss=loss)
    with refused(*names):
        pj.search(task, {"learning_rate": 0.1}, trials=2)


class Told(nn.Module):
    """A linen module that is told in one of Flax's words whether it trains."""

    rate: float

    @nn.compact
    def body(self, x, training):
        return nn.Dense(3)(nn.Dropout(self.rate, deterministic=not training)(nn.relu(nn.Dense(20)(x))))


class Train(Told):
    def __call__(self, x, train=False):
        return self.body(x, train)


class Deterministic(Told):
    def __call__(self, x, deterministic):
        return self.body(x, not deterministic)


class Called(nnx.Module):
    """An nnx module that is told as a linen one, in the place of `train()` and `eval()`."""

    def __init__(self, rate):
        rngs = nnx.Rngs(0)
        self.drop, self.out = nnx.Dropout(rate, rngs=rngs), nnx.Linear(20, 3, rngs=rngs)
        self.inner = nnx.Linear(5, 20, rngs=rngs)

    def __call__(self, x, is_train=False):
        return self.out(self.drop(nnx.relu(self.inner(x)), deterministic=not is_train))


@pytest.mark.parametrize("kind", soaked([Train, Deterministic, Called]))
def test_a_module_is_told_whether_it_trains(rows, kind):
    """At a rate of learning of next to nothing, dropout changes the loss in training, and none in validation."""
    losses = []
    for rate in (0.0, 0.9):
        task = pj.supervised(rows, model=lambda hparams, rngs, rate=rate: kind(rate))
        losses.append(pj.search(task, {"learning_rate": 1e-9}, trials=1, epochs=1).values)
    assert losses[0]["train_loss"][0] != pytest.approx(losses[1]["train_loss"][0], rel=0.01)
    assert losses[0]["val_loss"][0] == pytest.approx(losses[1]["val_loss"][0], rel=1e-6)


def test_a_missing_argument_is_said(rows, caplog):
    """One without a default is an error; a flag with one may be what should tell whether the module trains."""

    class Wants(Called):
        def __call__(self, x, phase):
            return self.out(self.inner(x))

    class Has(Called):
        def __call__(self, x, learning=False):
            return self.out(self.inner(x))

    searched = lambda kind: pj.search(pj.supervised(rows, lambda h, rngs: kind(0.1)), {"learning_rate": 0.1}, trials=1)
    with refused("Wants.__call__", "'phase'", "train"):
        searched(Wants)
    searched(Has)
    (said,) = caplog.messages
    assert all(name in said for name in ("Has.__call__", "'learning'", "train"))


@pytest.mark.parametrize("width", [8, pj.choice(4, 8)])
def test_a_convolutions_width_may_be_a_constant_and_a_choice_says_to_be_marked(width):
    """flax refuses a traced number in a kernel's shape with an error of its own."""

    class Net(nnx.Module):
        def __init__(self, width, rngs):
            self.conv, self.out = nnx.Conv(1, width, (3, 3), rngs=rngs), nnx.Linear(width, 3, rngs=rngs)

        def __call__(self, x):
            return self.out(nnx.relu(self.conv(x)).mean((1, 2)))

    rng = np.random.default_rng(0)
    task = pj.supervised((rng.normal(size=(60, 6, 6, 1)), np.arange(60) % 3), lambda h, rngs: Net(h["width"], rngs))
    space = {"learning_rate": 0.1, "width": width}
    if width == 8:
        results = pj.search(task, space, trials=2, epochs=1, rank=pj.best(keep=1))
        assert results.params(0)["conv"]["kernel"].shape == (3, 3, 1, 8)
    else:
        with refused("width", "static=True"):
            pj.search(task, space, trials=8, epochs=1)


def test_a_static_value_has_a_type():
    """1 and True are equal, and not the same program."""
    task = pj.objective(lambda key, hparams: {"loss": hparams["x"] + (5.0 if hparams["n"] is True else 7.0)})
    for value, loss in ((True, 5.5), (1, 7.5)):
        results = pj.search(task, {"x": 0.5, "n": pj.choice(value, "other")}, trials=20)
        assert set(results.values["loss"].tolist()) == {loss, 7.5}


@pytest.mark.parametrize("rate", [0, 0.0, pj.choice(0, 1e-9)])
def test_no_dropout_may_be_written_as_a_whole_number(rows, rate):
    plain = pj.search(pj.supervised(rows), {"learning_rate": 0.1}, trials=1, epochs=1)
    results = pj.search(pj.supervised(rows), {"learning_rate": 0.1, "dropout": rate}, trials=1, epochs=1)
    assert results.curves["val_loss"] == pytest.approx(plain.curves["val_loss"], rel=1e-5)


@pytest.mark.parametrize("name", ["rank", "epoch", "trial", "parameters", "loss_se"])
def test_a_metric_may_not_be_called_as_a_column_of_the_tables(name):
    task = pj.objective(lambda key, hparams: {"loss": hparams["x"], name: hparams["x"]})
    with refused(f"'{name}'", "reserved"):
        pj.search(task, {"x": pj.uniform(0, 1)}, trials=2)


def test_what_a_state_may_not_hold_is_said_before_training(tmp_path):
    ran = []

    def epoch(state, hparams, data):
        jax.debug.callback(lambda: ran.append(True))
        return state, {"loss": hparams["x"]}

    def search(state, **options):
        task = pj.Task(lambda key, hparams, data: state, epoch, ())
        return pj.search(task, {"x": pj.uniform(0, 1)}, trials=2, epochs=1, **options)

    with refused("'a.b'", "rename"):
        search({"a.b": jnp.ones(2), "a": {"b": jnp.zeros(2)}})
    small = {"codes": jnp.arange(3, dtype=jnp.int4)}
    with refused("'codes'", "int4", "convert"):
        search(small, out=tmp_path / "run")
    assert not ran
    assert not (tmp_path / "run").exists()
    assert np.isfinite(search(small).curves["loss"]).all()


def test_counts_may_be_numpys(tmp_path):
    counts = {name: np.int64(2) for name in ("trials", "epochs", "seed", "repeats")}
    results = pj.search(
        pj.objective(conditional),
        {"x": 0.5, "kind": "a", "layers": 1},
        rank=pj.best(keep=np.int64(2)),
        backend=pj.Local(lanes=np.int64(2)),
        out=tmp_path / "run",
        **counts,
    )
    assert results.curves["loss"].shape == (2, 1)
    assert pj.Results.load(tmp_path / "run").run["seed"] == 2


class Features(nnx.Module):
    """Random features that are no Variable, in a precision of one's own."""

    def __init__(self, hparams, rngs):
        self.frequencies = jax.random.normal(rngs.params(), (5, 40))
        self.epochs = hparams["epochs"]
        self.out = nnx.Linear(40, 3, param_dtype=jnp.bfloat16, rngs=rngs)

    def __call__(self, x):
        return self.out(jnp.sin(x @ self.frequencies) * self.epochs)


def test_the_winner_is_built_as_it_was_trained(rows, tmp_path):
    """From its own key, of its own epochs, in bfloat16: what it predicts is what it was scored by."""
    x, y = rows
    space = {"learning_rate": pj.log_uniform(1e-3, 1e-2)}
    task, test = pj.supervised(rows, model=Features, test=np.arange(0, 170, 9)), np.arange(0, 170, 9)
    results = pj.search(task, space, trials=4, epochs=8, out=tmp_path / "run")
    winner = pj.load_best(tmp_path / "run", model=Features)
    assert winner.arrays["params.out.kernel"].dtype == jnp.bfloat16
    chances = winner.predict_proba(x[test])[np.arange(len(test)), y[test]]
    assert -np.log(chances).mean() == pytest.approx(results.summary["test"]["test_loss"], rel=1e-3)


@pytest.mark.parametrize("kind", ["bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"])
def test_a_state_in_few_bits_comes_back(tmp_path, kind):
    """From the winner's files and from the commits of a run that goes on."""
    init = lambda key, hparams, data: jnp.full(3, 1.5, kind)
    task = pj.Task(init, lambda state, hparams, data: (state, {"loss": hparams["x"]}), ())
    pj.search(task, {"x": pj.uniform(0, 1)}, trials=2, epochs=1, out=tmp_path / "run")
    results = pj.search(task, {"x": pj.uniform(0, 1)}, trials=4, epochs=1, out=tmp_path / "run", resume=True)
    loaded = pj.Results.load(tmp_path / "run")
    array = loaded.params(loaded.best.trial)
    assert array.dtype == kind
    assert array.astype(float).tolist() == [1.5] * 3
    assert results.best == loaded.best


def test_what_is_no_task_no_optimizer_and_no_space_is_told(rows):
    with refused("function", "popjax.Task"):
        pj.search(conditional, {"x": 0.5}, trials=2)
    with refused("space", "at least one"):
        pj.search(pj.supervised(rows), {}, trials=2)
    with refused("resume=True", "out"):
        pj.search(pj.supervised(rows), {"learning_rate": 0.1}, trials=2, resume=True)


HINTS = ("updates", "epochs", "shapes", "parameters", "flops", "branches")


def start(key, hparams, data):
    return jnp.zeros(())


def forward(state, hparams, data):
    return state, {"loss": state + hparams["x"]}


@pytest.mark.parametrize("name", HINTS)
def test_a_hint_is_refused_with_its_place_where_it_was_before(name):
    with refused(name, f"popjax.Hints({name}=...)"):
        pj.Task(start, forward, (), **{name: None})
    with refused(name, f"popjax.Hints({name}=...)"):
        pj.Task(start, forward, ())._replace(**{name: None})


def test_hints_have_their_place_and_other_arguments_none():
    for more in ([len], [pj.Hints(), None]):
        with refused("score", "popjax.Hints(updates="):
            pj.Task(start, forward, (), "loss", "min", None, *more)
    with pytest.raises(TypeError, match="unexpected keyword argument 'loss'"):
        pj.Task(start, forward, (), loss="mse")


def test_a_task_is_a_tuple_of_seven_that_can_be_copied_and_pickled():
    task = pj.Task(start, forward, (), score=forward, hints=pj.Hints(shapes=("x",), epochs=3))
    init, epoch, _, metric, mode, score, hints = task
    assert (init, epoch, metric, mode, score) == (start, forward, "loss", "min", forward)
    assert hints.shapes == ("x",)
    again = pickle.loads(pickle.dumps(task))
    assert isinstance(again, pj.Task)
    assert again == task
    assert pickle.loads(pickle.dumps(pj.Task(start, forward, ()))).hints == pj.Hints()
    assert task._replace(mode="max") == task.__replace__(mode="max") == pj.Task(*task[:4], "max", *task[5:])


@pytest.mark.parametrize("use", [lambda x: 1.0 if x > 0.5 else 2.0, lambda x: np.sin(x)], ids=["if", "numpy"])
def test_a_value_that_python_needs_is_named_with_the_remedy(use):
    task = pj.objective(lambda key, hparams: {"loss": use(hparams["x"]) * hparams["y"]})
    with refused("x is used", "test_task.py, line", "jax.numpy", "jnp.where"):
        pj.search(task, {"x": pj.uniform(0, 1), "y": pj.uniform(0, 1)}, trials=3)


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (lambda key, hparams: None, ["objective", "None", "scalar"]),
        (lambda key, hparams: "low", ["objective", "'low'", "scalar"]),
        (lambda key, hparams: [hparams["x"]], ["objective", "list", "scalar"]),
        (lambda key, hparams: {"loss": None}, ["'loss'", "None", "scalar"]),
        (lambda key, hparams: {1, 2}, ["'loss'", "set", "scalar"]),
        (lambda key, hparams: b"low", ["'loss'", "b'low'", "scalar"]),
        (lambda key, hparams: object(), ["'loss'", "object", "scalar"]),
        (lambda key, hparams: {"loss": hparams["x"] * jnp.ones(3)}, ["'loss'", "(3,)"]),
        (lambda key, hparams: {"loss": {"a": hparams["x"]}}, ["'loss'", "dict", "scalar"]),
        (lambda key, hparams: {"loss": float(hparams["x"])}, ["<lambda>", "array", "float()"]),
        (lambda key, hparams: {"loss": int(hparams["x"]) * 1.0}, ["<lambda>", "array", ".astype(int)"]),
        (lambda hparams: hparams["x"], ["objective", "(key, hparams)"]),
        (lambda key, hparams, more: 1.0, ["'more'"]),
        (3, ["objective", "int", "(key, hparams)"]),
    ],
)
def test_an_objective_that_is_none_is_one_line_that_says_what_to_do(function, names):
    with refused(*names):
        pj.search(pj.objective(function), {"x": pj.uniform(1, 3)}, trials=3)


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (np.array(["a", "b"]), ["data", "<U1", "numbers"]),
        ({"x": np.zeros(3), "words": "text"}, ["data['words']", "<U4"]),
        ((np.array([None, 1]),), ["data[0]", "object"]),
        ({"when": np.array(["2026-01-01"], "datetime64[D]")}, ["data['when']", "datetime64[D]"]),
    ],
)
def test_data_that_are_no_numbers_are_named(data, names):
    task = pj.Task(lambda key, hparams, data: 1.0, lambda x, hparams, data: (x, {"loss": hparams["x"]}), data)
    with refused(*names):
        pj.search(task, {"x": pj.uniform(0, 1)}, trials=2)


def test_a_metric_that_there_is_not_is_named_before_its_mode_is_asked_for():
    task = pj.objective(lambda key, hparams: {"loss": hparams["x"], "reward": -hparams["x"]})
    with refused("'val_f1'", "loss, reward"):
        pj.search(task, {"x": pj.uniform(0, 1)}, trials=3, rank="val_f1")
    with refused("'reward'"):
        pj.search(task, {"x": pj.uniform(0, 1)}, trials=3, rank="reward")


class Cut(pj.Task):
    """A task of one's own that knows how to cut its rows into folds, what is searched and what tells it from others."""

    def in_folds(self, folds, share=None):
        rows = np.arange(12.0)
        parts = [np.delete(rows, slice(at, None, folds)) for at in range(folds)] if folds > 1 else [rows]
        return type(self)(begin, nearer, np.stack(parts))

    @property
    def space(self):
        return pj.Space(rate=pj.uniform(0.1, 0.5))

    @property
    def settings(self):
        return {"rows": 12}

    @property
    def watch(self):
        return lambda state, hparams, data: {"far": jnp.abs(state - data[hparams["fold"]].mean())}


def begin(key, hparams, data):
    return jnp.zeros(())


def nearer(state, hparams, data):
    mean = data[hparams["fold"]].mean()
    return state + hparams["rate"] * (mean - state), {"loss": (mean - state) ** 2}


def test_a_class_of_ones_own_says_what_else_a_task_knows(tmp_path):
    """It is cut into folds, searched without a space, watched, and not taken up again as another."""
    task = Cut(begin, nearer, np.arange(12.0)[None])
    results = pj.search(task, trials=4, epochs=3, folds=3, out=tmp_path / "run")
    means = [np.delete(np.arange(12.0), slice(at, None, 3)).mean() for at in range(3)]
    np.testing.assert_allclose(results.members["loss"][:, :, 0, 0], np.tile(np.square(means), (4, 1)), rtol=1e-6)
    assert results.run["task"] == {"rows": 12}
    session = pj.Session(task, {"rate": 0.25}, epochs=3)
    session.train(1)
    assert session.measure(task.watch)["far"] == pytest.approx(0.75 * 5.5)

    class Other(Cut):
        @property
        def settings(self):
            return {"rows": 13}

    with refused("rows was 12, now 13"):
        pj.search(Other(*task), trials=4, epochs=3, folds=3, out=tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("metric", "mode"),
    [("accuracy", "max"), (pj.Metric("speed", "max"), "max"), ("speed", "min"), (pj.Metric("loss", "max"), "max")],
)
def test_a_task_with_another_metric_has_its_mode(metric, mode):
    """Of a name that tells none, the mode stays."""
    task = pj.objective(lambda key, hparams: {"loss": hparams["x"], "accuracy": hparams["x"], "speed": hparams["x"]})
    assert task._replace(metric=metric).mode == mode
    assert task._replace(metric=metric, mode="min").mode == "min"


def test_the_unit_of_a_metric_that_ranks_is_recorded():
    task = pj.objective(lambda key, hparams: {"loss": hparams["x"], "latency": hparams["x"]})
    rank = pj.pareto("loss", pj.Metric("latency", "min", "ms"))
    results = pj.search(task, {"x": pj.uniform(0, 1)}, trials=4, rank=rank)
    assert results.run["rank"]["units"] == {"latency": "ms"}


def test_a_rule_of_ones_own_may_leave_the_mode_to_the_task():
    class Mine(pj.Rule):
        name = "mine"

    task = pj.objective(lambda key, hparams: {"speed": hparams["x"]}, metric="speed", mode="max")
    results = pj.search(task, {"x": pj.uniform(0, 1)}, trials=4, rank=Mine("speed", at="best"))
    assert results.best.trial == int(results.points["x"].argmax())


def test_what_was_replaced_in_a_task_stays_replaced_in_folds_and_on_all_rows(rows):
    task = pj.supervised(rows)
    count = lambda hparams: 7 * np.ones_like(hparams["learning_rate"])
    mine = task._replace(hints=task.hints._replace(parameters=count))
    for other in (mine, mine.in_folds(3), mine.in_folds(3).in_folds(2), mine.on_all_rows()):
        assert other.hints.parameters is count
    assert task.in_folds(3).hints.parameters is not count
    with refused("data", "folds=1"):
        task._replace(data=task.data).in_folds(3)
