"""The model for tables: what it computes, written out in plain flax; masks against exact shapes; data with holes."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest
from conftest import soaked
from flax import nnx
from problems import initial_state

import popjax as pj
from popjax.engine.tracer import Tracer
from popjax.models.dense import mish
from popjax.models.periodic import cos_of_turns, weighted_waves
from popjax.study.effort import effort_of

ROWS = 140
MANY = tuple(f"t{at:02}" for at in range(20))


def frame(seed=0, rows=ROWS):
    """Two numbers, a text of three levels, one of twenty, and a target that all of them move."""
    draws = np.random.default_rng(seed)
    found = pd.DataFrame({"a": draws.normal(size=rows), "side": draws.choice(["n", "s", "w"], rows)})
    found["shop"], found["b"] = draws.choice(MANY, rows), draws.exponential(size=rows)
    found["y"] = np.sin(3 * found.a) + (found.side == "n") + found.shop.str[1:].astype(int) / 10 - found.b
    return found


class Plain(nnx.Module):
    """The model in plain flax and jax.numpy, of exact shape, from the arrays that popjax begins with."""

    def __init__(self, arrays, hparams):
        self.depth = hparams["depth"]
        given = jax.tree.map(jnp.asarray, arrays)
        self.shops = nnx.Param(given["texts"]["levels"][0])
        wave = given["periodic"].get(0)
        self.wave = None if wave is None else nnx.Dict({name: nnx.Param(value) for name, value in wave.items()})
        self.scale = nnx.Param(given["scale"])
        layers = [*(given["layers"]["hidden"][at] for at in range(self.depth)), given["layers"]["out"]]
        rngs = nnx.Rngs(0)
        self.layers = nnx.List(nnx.Linear(*layer["kernel"].shape, param_dtype=float, rngs=rngs) for layer in layers)
        for linear, layer in zip(self.layers, layers, strict=True):
            linear.kernel[...], linear.bias[...] = layer["kernel"], layer["bias"]

    def __call__(self, numbers, codes):
        side = jnp.eye(4)[codes[:, 0]][:, 1:]
        shop = jnp.concatenate([jnp.zeros((1, 8)), self.shops[...]])[codes[:, 1]]
        parts = [side, shop, numbers]
        if self.wave is not None:
            turns = numbers[:, :, None] * self.wave["frequencies"][...][None] + self.wave["phases"][...][None]
            waves = jnp.einsum("rcf,ncf->rnc", jnp.cos(2 * jnp.pi * turns), self.wave["weights"][...])
            parts.append((waves + self.wave["bias"][...][None]).reshape(len(numbers), -1))
        x = jnp.concatenate(parts, 1) * (1 + 6 * self.scale[...])[None]
        for layer in self.layers[:-1]:
            x = jax.nn.mish(layer(x))
        return self.layers[-1](x)[:, 0]


def exact(params, hparams):
    """The arrays in use of padded ones, checked to be 0 elsewhere."""
    width, depth, numbers = (int(hparams[name]) for name in ("hidden", "depth", "embedding"))
    params = jax.tree.map(np.asarray, params)
    inputs = 3 + 8 + 2 * numbers
    layers, hidden = params["layers"], []
    for at in range(depth):
        shape = (inputs if at == 0 else width, width)
        layer = layers["hidden"][at]
        hidden.append({"kernel": cut(layer["kernel"], shape), "bias": cut(layer["bias"], (width,))})
    out = {"kernel": cut(layers["out"]["kernel"], (width, 1)), "bias": layers["out"]["bias"]}
    wave = params["periodic"].get(0)
    waves = {}
    if numbers > 1:
        room = {"weights": cut(wave["weights"], (numbers - 1, 2, 16)), "bias": cut(wave["bias"], (numbers - 1, 2))}
        waves = {0: wave | room}
    scale = params["scale"][:inputs]
    return {"texts": params["texts"], "periodic": waves, "scale": scale, "layers": {"hidden": hidden, "out": out}}


def cut(array, shape):
    inside = tuple(slice(size) for size in shape)
    rest = array.copy()
    rest[inside] = 0
    assert not rest.any(), "arrays out of use are 0"
    return array[inside]


def trained(model, task, key, hparams, epochs):
    """Train the plain model on popjax's rows in popjax's order; the validation loss of each epoch."""
    data, fold = task.data, jax.tree.map(lambda stacked: np.asarray(stacked)[0], task.data.folds)
    numbers, codes, y = (jnp.asarray(one) for one in (data.rows.x["numbers"], data.rows.x["codes"], data.rows.y))
    rate, batch = hparams["learning_rate"], int(hparams["batch_size"])
    optimizer = optax.inject_hyperparams(optax.adamw)(rate, b2=hparams["b2"], weight_decay=hparams["weight_decay"])
    graph, params = nnx.split(model)
    state, curve = optimizer.init(params), []

    def loss(params, rows):
        return ((nnx.merge(graph, params)(numbers[rows], codes[rows]) - y[rows]) ** 2).mean()

    @jax.jit
    def step(params, state, rows):
        moves, state = optimizer.update(jax.grad(loss)(params, rows), state, params)
        return optax.apply_updates(params, moves), state

    for epoch in range(epochs):
        shuffle, _ = jax.random.split(jax.random.fold_in(key, epoch))
        order = fold.train[np.asarray(jax.random.permutation(shuffle, len(fold.train)))]
        middle = (epoch + 0.5) / epochs
        state.hyperparams["learning_rate"] = rate * (1 + np.cos(np.pi * max(0, 2 * middle - 1))) / 2
        for begin in range(0, len(order) // batch * batch, batch):
            params, state = step(params, state, order[begin : begin + batch])
        curve.append(float(loss(params, fold.validation)))
    return curve


SPACE = pj.Space(
    learning_rate=pj.log_uniform(1e-3, 1e-2),
    hidden=pj.integers(3, 6),
    depth=pj.integers(1, 3),
    embedding=pj.integers(1, 4),
    frequency_scale=pj.log_uniform(0.1, 1),
    batch_size=pj.choice(16, 32),
    weight_decay=pj.log_uniform(1e-3, 1e-1),
    b2=pj.one_minus_log_uniform(0.9, 0.999),
)


def test_members_of_one_population_are_plain_flax_models(x64):
    """Of embeddings, widths and depths of their own, in one program, from the same weights: the same curves."""
    task, epochs, trials = pj.supervised(frame(), "tabular", target="y"), 4, 6
    results = pj.search(task, SPACE, trials=trials, epochs=epochs, rank=pj.best("val_loss", keep=trials))
    assert results.summary["buckets"] == 1
    assert len({results.hparams(trial)["embedding"] for trial in range(trials)}) > 2
    tracer = Tracer(task, SPACE, SPACE.sample(trials), epochs)
    for trial in range(trials):
        hparams, state = results.hparams(trial), initial_state(tracer, tracer.static_names(set()), trial)
        curve = trained(Plain(exact(state.params, hparams), hparams), task, state.key, hparams, epochs)
        np.testing.assert_allclose(results.curves["val_loss"][trial], curve, rtol=1e-9, err_msg=str(hparams))
        exact(results.params(trial), hparams)


def test_folds_stops_and_company_change_no_bit(tmp_path):
    """In folds, alone or among others, stopped and gone on with."""
    task = pj.supervised(frame(), "tabular", target="y", missing="auto")
    how = {"epochs": 4, "folds": 3, "rank": pj.together(2, "greedy", "val_loss", at="best", patience=2)}
    whole = pj.search(task, SPACE, trials=6, **how)
    fewer = pj.search(task, SPACE, trials=3, out=tmp_path / "run", **how)
    further = pj.search(task, SPACE, trials=6, out=tmp_path / "run", resume=True, **how)
    assert np.array_equal(fewer.members["val_loss"], whole.members["val_loss"][:3])
    assert np.array_equal(further.members["val_loss"], whole.members["val_loss"])
    rows = frame(1)
    assert np.array_equal(pj.load_best(tmp_path / "run").predict(rows), whole.predictor().predict(rows))


def learned(results):
    """What a search chose, and all that its models are made of, by trial: arrays (members, ...)."""
    chosen = results.order.tolist(), results.ensemble, results.best.trial
    return chosen, {trial: results.states[trial] for trial in results.order.tolist()}


def greedily(task, trials=6):
    """Results of a search in three folds that keeps all its trials."""
    rule = pj.together(trials, "greedy", "val_loss")
    return pj.search(task, SPACE, trials=trials, epochs=3, folds=3, rank=rule)


def test_a_target_reaches_no_model_that_did_not_train_on_its_row():
    """Two rows of a fold change targets: the models that validate on them stay, bit for bit; the others do not.

    Targets are eighths, of which sums are exact, so that the scale of all targets stays, too.
    """
    rows = frame()
    rows["y"] = (8 * rows.y).round() / 8
    task = pj.supervised(rows, "tabular", target="y")
    validation = task.in_folds(3).split.validation[1]
    first, last = validation[np.argsort(rows.y.to_numpy()[validation])[[0, -1]]]
    swapped = rows.copy()
    swapped.loc[[first, last], "y"] = rows.y[[last, first]].to_numpy()
    other = pj.supervised(swapped, "tabular", target="y")
    assert np.array_equal(task.in_folds(3).split.train, other.in_folds(3).split.train)
    (_, before), (_, after) = learned(greedily(task)), learned(greedily(other))
    for trial in before:
        weights = [name for name, values in before[trial].items() if values.dtype == np.float32]
        for name in weights:
            assert np.array_equal(before[trial][name][1], after[trial][name][1]), name
        assert any((before[trial][name][0] != after[trial][name][0]).any() for name in weights)


def test_rows_that_test_are_nowhere_in_what_is_chosen_and_trained():
    """Neither their targets nor their features, holes and texts included."""
    rows = frame()
    test = pj.supervised(rows, "tabular", target="y").in_folds(3).split.test
    other = rows.copy()
    other.loc[test, ["a", "b", "side", "shop", "y"]] = [9.0, np.nan, "w", MANY[3], -70.0]
    first, second = (greedily(pj.supervised(x, "tabular", target="y", missing="auto")) for x in (rows, other))
    (chosen, before), (same, after) = learned(first), learned(second)
    assert chosen == same
    for trial in before:
        for name, values in before[trial].items():
            assert np.array_equal(values, after[trial][name]), name


def test_what_no_training_row_has_is_unknown():
    """A text, of a few or of many, that only rows that validate have is none; a hole in these has no indicator."""
    rows = frame()
    validation = pj.supervised(rows, "tabular", target="y").split.validation[0]
    rows.loc[validation[0], "side"], rows.loc[validation[1], "shop"] = "only", "alone"
    rows.loc[validation[2], "b"] = np.nan
    results = pj.search(pj.supervised(rows, "tabular", target="y"), SPACE, trials=2, epochs=2)
    predictor, known = results.predictor(), rows.iloc[validation[:3]]
    unknown = known.assign(
        side=known.side.replace("only", "unheard of"), shop=known.shop.replace("alone", "unheard of")
    )
    assert predictor.predict(known).tobytes() == predictor.predict(unknown).tobytes()
    filled = known.assign(b=known.b.fillna(rows.b[results.task.split.train[0]].median()))
    np.testing.assert_allclose(predictor.predict(known), predictor.predict(filled), rtol=1e-6)


@pytest.mark.parametrize("function", ["mish", "cos_of_turns"])
def test_a_faster_function_is_jaxs_own(function, x64):
    """To rounding in float32, exactly in float64; so are its slopes, also far out."""
    ours, theirs = {
        "mish": (mish, jax.nn.mish),
        "cos_of_turns": (cos_of_turns, lambda turns: jnp.cos(2 * jnp.pi * turns)),
    }[function]
    for dtype, tolerance in (("float32", 3e-6), ("float64", 1e-12)):
        x = jnp.linspace(-30, 30, 6001, dtype=dtype)
        for one, other in ((ours, theirs), (jax.vmap(jax.grad(ours)), jax.vmap(jax.grad(theirs)))):
            exact = np.asarray(other(x.astype("float64")))
            scale = 2 * np.pi if function == "cos_of_turns" else np.maximum(1, abs(exact))
            assert one(x).dtype == dtype
            assert np.max(np.abs(np.asarray(one(x)) - exact) / scale) < tolerance
    far = jnp.asarray([-1e30, -500.0, 500.0, 1e30], "float32")
    if function == "mish":
        assert mish(far).tolist() == [0, 0, 500, far[-1]]
        assert jax.vmap(jax.grad(mish))(far).tolist() == [0, 0, 1, 1]


def test_the_derivative_of_embeddings_is_that_of_their_formula(x64):
    def by_formula(x, frequencies, phases, weights):
        turns = x.T[:, :, None] * frequencies[:, None] + phases[:, None]
        return jnp.einsum("crf,ncf->cnr", jnp.cos(2 * jnp.pi * turns), weights)

    keys = jax.random.split(jax.random.key(0), 9)
    shapes = (7, 2), (2, 16), (2, 16), (3, 2, 16)
    at, along = ([jax.random.normal(key, shape) for key, shape in zip(keys[i:], shapes, strict=False)] for i in (0, 4))
    weight = jax.random.normal(keys[8], (2, 3, 7))
    for ours, exact in (
        (jax.jvp(weighted_waves, at, along), jax.jvp(by_formula, at, along)),
        (jax.vjp(weighted_waves, *at)[1](weight), jax.vjp(by_formula, *at)[1](weight)),
    ):
        for one, other in zip(ours, exact, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11)


def holed():
    rows = frame()
    rows.loc[::7, "a"] = np.nan
    rows.loc[::5, "side"] = None
    return rows


def test_missing_cells_become_each_folds_median_an_indicator_and_a_level():
    task = pj.supervised(holed(), "tabular", target="y", test=0).in_folds(3)
    assert task.dataset.levels["side"] == ("", "n", "s", "w")
    recipe, lost = task.recipe, holed().a.isna().to_numpy()
    for fold, rows in enumerate(task.split.train):
        seen = recipe.features(recipe.encoded(holed()), fold)
        assert seen["numbers"].shape == (ROWS, 3), "two numbers, one of which has holes"
        assert seen["numbers"][:, 2].tolist() == lost.astype(float).tolist()
        filled = holed()[["a", "b"]].fillna({"a": np.nanmedian(holed().a[rows])})
        low, median, high = np.quantile(filled.to_numpy()[rows], (0.25, 0.5, 0.75), axis=0)
        z = (filled.to_numpy() - median) / (high - low)
        np.testing.assert_allclose(seen["numbers"][:, :2], z / np.sqrt(1 + (z / 3) ** 2), rtol=1e-12)
        sides = [1 + ["", "n", "s", "w"].index(side) for side in holed().side.fillna("")]
        assert seen["codes"][:, 0].tolist() == sides
        assert recipe.features(task.dataset.x, fold)["codes"][:, 0].tolist() == sides
    medians = {float(one["numbers"].median[0]) for one in recipe.transforms}
    assert len(medians) == 3, "the folds have medians of their own"


@pytest.mark.parametrize("model", soaked(["tabular", "mlp"]))
def test_a_predictor_takes_holes_where_training_had_none_and_texts_it_has_not_seen(model, tmp_path):
    """From the directory too; what training rows lacked in no column is the median, or no level."""
    task = pj.supervised(frame(), model, "adamw", target="y", missing="auto")
    results = pj.search(task, {"learning_rate": 0.01}, trials=1, epochs=2, folds=2, out=tmp_path / "run")
    rows = frame(1).drop(columns="y")[:4]
    rows.loc[0, "a"], rows.loc[1, "side"], rows.loc[2, "shop"] = np.nan, None, "new"
    told = results.predictor().predict(rows)
    assert np.isfinite(told).all()
    assert np.array_equal(pj.load_best(tmp_path / "run").predict(rows), told)
    filled = [
        rows.fillna({"a": one["numbers"].median[0] if model == "tabular" else one.median[0]})
        for one in results.predictor().recipe.transforms
    ]
    assert len({float(one.a[0]) for one in filled}) == 2, "the folds have medians of their own"
    predictor, recipe = results.predictor(), results.predictor().recipe
    of_folds = [predictor.of_fold(recipe.encoded(one), fold).mean(0) for fold, one in enumerate(filled)]
    assert told[0] == pytest.approx(np.mean(of_folds, 0)[0], rel=1e-6)


def test_a_missing_cell_is_refused_where_nothing_takes_it(refused_in_one_line, command, tmp_path):
    holed()[:60].to_csv(tmp_path / "table.csv", index=False)
    given = ["--dataset", "table.csv", "--target", "y", "--trials", 2, "--epochs", 1, "--out", "run"]
    refused_in_one_line("sweep", *given, says="21 missing cells, the first in column 'a', row 1")
    done = command("sweep", *given, "--model", "tabular", "--quiet")
    assert done.returncode == 0, done.stderr
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["task"] == run["task"] | {"model": "tabular", "optimizer": "adamw", "schedule": "flat"}


STRANGE = {  # what is done to the table, and the R² that is left to learn, at least
    "5,000 levels": (lambda rows: rows.assign(shop=[f"t{at}" for at in range(len(rows))]), 0.7),
    "nothing but holes": (lambda rows: rows.assign(b=np.nan), 0.25),
    "a constant": (lambda rows: rows.assign(b=3.0), 0.25),
    "truth values": (lambda rows: rows.assign(b=rows.b > 1), 0.5),
    "categories": (lambda rows: rows.assign(side=rows.side.astype("category")), 0.85),
    "whole categories": (lambda rows: rows.assign(side=pd.Categorical(rows.side.map({"n": 1, "s": 2, "w": 3}))), 0.85),
    "texts alone": (lambda rows: rows[["side", "shop", "y"]], 0.05),
    "numbers alone": (lambda rows: rows[["a", "b", "y"]], 0.6),
}


@pytest.mark.parametrize("change", soaked(STRANGE, 2))
def test_tables_as_people_have_them(change):
    """What the rest of the table tells of new rows is learned, and how rare a class is."""
    many, (changed, least) = change == "5,000 levels", STRANGE[change]
    rows, new = (changed(frame(seed, rows=5000 if many else 300)) for seed in (0, 1))
    x = rows.drop(columns="y")
    regressor = pj.PopulationRegressor(trials=2, epochs=4 if many else 24, folds=2, random_state=0).fit(x, rows.y)
    assert regressor.score(new.drop(columns="y"), new.y) > least
    rare = pj.PopulationClassifier(trials=2, epochs=8, folds=2, random_state=0).fit(x[:60], np.arange(60) < 2)
    assert 0.01 < rare.predict_proba(new.drop(columns="y"))[:, 1].mean() < 0.1


def test_the_effort_follows_from_rows_and_columns_alone():
    """A search of many cells has fewer folds, epochs and trials; what is asked for is kept."""
    draws = np.random.default_rng(0)

    def effort(rows, columns, *asked):
        x = draws.normal(size=(rows, columns))
        return effort_of(pj.supervised((x, x[:, 0]), "tabular", "adamw", test=0), *asked)

    small, wide, large, huge = effort(300, 10), effort(3000, 300), effort(60_000, 30), effort(60_000, 200)
    assert (small.trials, small.epochs, small.folds) == (32, 32, 5)
    assert (small.space["hidden"].high, small.space["batch_size"].high) == (64, 32)
    assert wide.folds < small.folds
    assert large.epochs < small.epochs
    assert large.trials == small.trials  # since operations grow with rows
    assert huge.trials < small.trials
    assert large.space["batch_size"].high == 256
    assert large.space["ema"].value == 0.98
    assert "ema" not in small.space
    assert (effort(300, 10, 7, 2).epochs, effort(300, 10, 7, 2).folds) == (7, 2)
    assert (small.rule.at, small.rule.method) == ("best", "greedy")
    x = draws.normal(size=(300, 3))
    equal = pj.supervised((x, x[:, 0]), "tabular", "adamw", test=0, sample_weight=np.full(300, 2.0))
    assert effort_of(equal).rule == small.rule
    assert effort(4, 2, None, 2).space["batch_size"].high == 1
    batches = [pj.default_space(model="tabular", rows=rows)["batch_size"] for rows in (9, 1000, 30_000)]
    assert [(batch.low, batch.high) for batch in batches] == [(9, 9), (32, 32), (256, 256)]


@pytest.mark.parametrize(
    "given", soaked([{"class_weight": "balanced"}, {"sample_weight": "balanced"}]), ids=["class", "row"]
)
def test_the_unweighted_loss_does_not_undo_weights(given):
    """One row in ten is of the rare class, and hard to tell: half of its rows are found, of which few are without."""
    draws = np.random.default_rng(2)
    y = (np.arange(300) < 30).astype(int)
    x = draws.normal(size=(300, 3)) + 0.7 * y[:, None]
    weights = {"sample_weight": np.where(y == 1, 5.0, 0.55)} if "sample_weight" in given else {}
    effort = {"trials": 4, "folds": 2, "random_state": 0}
    plain = pj.PopulationClassifier(**effort).fit(x, y)
    weighted = pj.PopulationClassifier(**effort, class_weight=given.get("class_weight")).fit(x, y, **weights)
    fresh = draws.normal(size=(2000, 3)) + 0.7
    found = [model.predict(fresh).mean() for model in (plain, weighted)]
    assert found[0] < 0.25
    assert found[1] > 0.5
