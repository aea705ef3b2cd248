"""Every kind of problem, against a plain loop of flax and optax in float64, and as a whole."""

import functools
import json
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sklearn.metrics as reference
from conftest import soaked
from flax import nnx
from problems import PROBLEMS, SPACE, TABLE, first, mean_square, task
from sklearn.linear_model import LogisticRegression, RidgeCV

import popjax as pj
from popjax.supervision import baselines

HERE = Path(__file__).parent
TRIALS, EPOCHS, FOLDS, REPEATS, SEED = 3, 3, 2, 2, 5


# The oracle: preprocessing, loss and metrics written again


def inputs_by_hand(name, train):
    """The features as a fold's models get them, by its training rows."""
    x = PROBLEMS[name]["data"][0]
    if name == "tokens":
        return x
    if name == "dict":
        table, rows = x["table"], x["table"][train]
        low, median, high = np.percentile(rows, (25, 50, 75), axis=0)
        z = (table - median) / (high - low)
        return {"tokens": x["tokens"], "table": z / np.sqrt(1 + (z / 3) ** 2)}
    if name == "transform":
        middle, most = np.median(x[train], 0), np.abs(x[train]).max(0)
        return np.hstack([x / most, np.abs(x - middle) / most])
    return (x - x[train].mean(0)) / x[train].std(0)


def targets_by_hand(name, x, train):
    """The targets of a fold, and what one unit of them is."""
    y = PROBLEMS[name]["data"][1]
    if name in ("values", "transform"):
        return (y - y[train].mean(0)) / y[train].std(0), y[train].std(0)
    return (x, 1.0) if name == "autoencoder" else (y, 1.0)


def loss_by_hand(name, outputs, y):
    """The mean loss of rows."""
    if name == "labels":
        return (jnp.logaddexp(0, outputs) - y * outputs).mean()
    if name in ("tokens", "dict"):
        logs = outputs - jax.nn.logsumexp(outputs, -1, keepdims=True)
        return -jnp.take_along_axis(logs, jnp.asarray(y)[:, None], 1).mean()
    return ((outputs.reshape(y.shape) - y) ** 2).mean()


def metrics_by_hand(name, outputs, y, unit):
    """What scikit-learn says of outputs."""
    if name == "labels":
        told, chances = outputs > 0, 1 / (1 + np.exp(-outputs))
        return {
            "accuracy": reference.accuracy_score(y, told),
            "f1": reference.f1_score(y, told, average="macro", zero_division=0),
            "auc": reference.roc_auc_score(y, chances, average="macro"),
        }
    if name in ("tokens", "dict"):
        told = outputs.argmax(1)
        return {"accuracy": reference.accuracy_score(y, told)}
    if name == "values":
        each = reference.r2_score(y, outputs, multioutput="raw_values")
        squared = reference.mean_squared_error(y * unit, outputs * unit, multioutput="raw_values")
        absolute = reference.mean_absolute_error(y * unit, outputs * unit, multioutput="raw_values")
        found = {"r2": each.mean()}
        for at in range(2):
            found |= {f"y{at}_r2": each[at], f"y{at}_mse": squared[at], f"y{at}_mae": absolute[at]}
        return found
    if name == "transform":
        outputs = outputs[:, 0]
        return {"r2": reference.r2_score(y, outputs), "mse": reference.mean_squared_error(y * unit, outputs * unit)}
    return {}


def taken(x, rows):
    return jax.tree.map(lambda one: jnp.asarray(one)[rows], x)


def plain(name, split, hparams, trial, fold, repeat):
    """One model, trained: its metrics epoch by epoch, and its parameters."""
    train, validation = split.train[fold], split.validation[fold]
    x = inputs_by_hand(name, train)
    y, unit = targets_by_hand(name, x, train)
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(SEED), trial), repeat)
    init_key, key = jax.random.split(key)
    params_key, dropout_key = jax.random.split(init_key)
    model = PROBLEMS[name]["model"](hparams, nnx.Rngs(params=params_key, dropout=dropout_key))
    graph, params = nnx.split(model)
    adam = optax.adam(hparams["learning_rate"], b1=hparams["b1"])

    @jax.jit
    def step(params, state, rows):
        of = lambda params: loss_by_hand(name, nnx.merge(graph, params)(taken(x, rows)), jnp.asarray(y)[rows])
        gradient = jax.grad(of)(params)
        moves, state = adam.update(gradient, state, params)
        return optax.apply_updates(params, moves), state

    state, curves = adam.init(params), []
    for epoch in range(EPOCHS):
        shuffle, _ = jax.random.split(jax.random.fold_in(key, epoch))
        order = train[np.asarray(jax.random.permutation(shuffle, len(train)))]
        for at in range(len(train) // 16):
            params, state = step(params, state, order[at * 16 : (at + 1) * 16])
        outputs = nnx.merge(graph, params)(taken(x, validation))
        own = np.asarray(y)[validation]
        curves.append(
            {"loss": float(loss_by_hand(name, outputs, own))} | metrics_by_hand(name, np.asarray(outputs), own, unit)
        )
    return curves, params


@pytest.mark.parametrize("name", soaked(PROBLEMS))
def test_each_kind_is_a_plain_loop(x64, name):
    """Curves and parameters, of folds and repeats; each metric is scikit-learn's."""
    rule = pj.best(keep=TRIALS)
    results = pj.search(
        task(name), SPACE, trials=TRIALS, epochs=EPOCHS, seed=SEED, folds=FOLDS, repeats=REPEATS, rank=rule
    )
    split = task(name).in_folds(FOLDS).split
    for trial in range(TRIALS):
        params = results.params(trial)
        for fold, repeat in np.ndindex(FOLDS, REPEATS):
            curves, trained = plain(name, split, results.hparams(trial), trial, fold, repeat)
            for metric in curves[0]:
                found = results.members[f"val_{metric}"][trial, fold, repeat]
                expected = [one[metric] for one in curves]
                rtol = 1e-6 if metric == "auc" else 1e-9  # which counts pairs in float32
                np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-12, err_msg=metric)
            own = jax.tree.map(lambda array, at=fold * REPEATS + repeat: array[at], params)
            for path, leaf in jax.tree.leaves_with_path(nnx.to_pure_dict(trained)):
                ours = functools.reduce(lambda tree, key: tree[key.key], path, own)
                np.testing.assert_allclose(ours, leaf, rtol=1e-9, atol=1e-12)


def test_each_kind_ranks_by_its_own():
    ranks = {name: str(task(name).metric) for name in PROBLEMS}
    assert ranks == {
        "values": "val_loss",
        "labels": "val_loss",
        "autoencoder": "val_loss",
        "tokens": "val_accuracy",
        "dict": "val_accuracy",
        "transform": "val_mse",
    }


# As a whole

SCRIPT = """
import os, signal, sys
sys.path.insert(0, {here!r})
from problems import SPACE, task
import popjax as pj
from popjax.engine import checkpoint
from popjax.store.commits import Commits

name, folds, resume, dies = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "resume", int(sys.argv[4])
checkpoint.EVERY, whole, count = 0.0, Commits.commit, 0
def commit(self):
    global count
    whole(self)
    count += 1
    if count == dies:
        os.kill(os.getpid(), signal.SIGKILL)
Commits.commit = commit
pj.search(task(name), SPACE, trials=6, epochs=6, seed=5, folds=folds, scheduler=pj.halving(2), rank=pj.together(4),
          out="run", resume=resume)
"""
PREDICTS = """
import sys
sys.path.insert(0, {here!r})
import numpy as np
import popjax as pj
from problems import PROBLEMS, first
given = PROBLEMS[sys.argv[1]]
own = given.get("transform")
predictor = pj.load_best("run", model=given["model"], transform=own if isinstance(own, pj.Transform) else None)
np.savez("found.npz", predicted=predictor.predict(first(sys.argv[1])))
"""


def python(script, place, *arguments):
    return subprocess.run([sys.executable, "-c", script.format(here=str(HERE)), *map(str, arguments)], cwd=place)


@pytest.mark.kill
@pytest.mark.parametrize(
    ("name", "folds"),
    soaked(
        [
            ("labels", 2),
            ("values", 1),
            ("autoencoder", 1),
            ("autoencoder", 2),
            ("tokens", 1),
            ("dict", 2),
            ("transform", 2),
        ]
    ),
)
def test_each_kind_is_killed_resumed_put_together_and_loaded(name, folds, tmp_path):
    """To the bytes of the run left alone; raw rows get the same predictions in another process, by one model's own."""
    place = tmp_path / "killed"
    place.mkdir()
    assert python(SCRIPT, place, name, folds, "new", 2).returncode == -signal.SIGKILL
    assert python(SCRIPT, place, name, folds, "resume", 0).returncode == 0
    rule = pj.together(4)
    alone = pj.search(
        task(name),
        SPACE,
        trials=6,
        epochs=6,
        seed=5,
        folds=folds,
        scheduler=pj.halving(2),
        rank=rule,
        out=tmp_path / "alone",
    )
    for table in ("trials.parquet", "curves.parquet"):
        assert (place / "run" / table).read_bytes() == (tmp_path / "alone" / table).read_bytes()
    if name == "autoencoder" and folds == 2:
        with pytest.raises(ValueError, match="each fold's models learned features that it transformed for itself"):
            alone.predict(first(name))
        return
    together = pj.ensemble(alone)
    rows = first(name)
    x = together.recipe.encoded(rows)
    one = np.mean([together.of_fold(x, fold) for fold in range(folds)], 0)
    expected = together.recipe.kind.decided(one.mean(0))
    np.testing.assert_allclose(together.predict(rows).astype(float), expected.astype(float), rtol=1e-6)
    scores = alone.summary["ensemble"]["test"]
    test = task(name).in_folds(folds).split.test
    chances = together.mean_of(jax.tree.map(lambda array: array[test], task(name).dataset.x))
    y = PROBLEMS[name]["data"][1][test]
    if name == "labels":
        assert scores["test_loss"] == pytest.approx(
            np.mean([reference.log_loss(*pair) for pair in zip(y.T, chances.T, strict=True)])
        )
        assert scores["test_accuracy"] == reference.accuracy_score(y, chances > 0.5)
    elif name == "values":
        assert scores["test_r2"] == pytest.approx(reference.r2_score(y, chances))
    elif name in ("tokens", "dict"):
        assert scores["test_loss"] == pytest.approx(reference.log_loss(y, chances, labels=[0, 1, 2]))
    elif name == "transform":
        assert scores["test_mse"] == pytest.approx(reference.mean_squared_error(y, chances))
    assert python(PREDICTS, place, name).returncode == 0
    found = np.load(place / "found.npz")["predicted"]
    np.testing.assert_array_equal(found, together.predict(rows))


@pytest.mark.soak
@pytest.mark.parametrize("name", ["labels", "autoencoder", "tokens", "dict", "transform"])
def test_each_kind_is_searched_and_tested_again_by_its_name(name, command, tmp_path):
    """A module's task: each trial is tested again on folds of its rows, a tenth of which validate."""
    lines = ["import sys", f"sys.path.insert(0, {str(HERE)!r})", "from problems import task", f"mine = task({name!r})"]
    (tmp_path / "mine.py").write_text("\n".join(lines))
    space = ("--set", "learning_rate=log_uniform(1e-3,3e-2)", "--set", "batch_size=16")
    done = command("sweep", "--task", "mine:mine", *space, "--trials", 8, "--epochs", 2, "--quiet", "--out", "run")
    assert done.returncode == 0, done.stderr
    again = command("retest", "run", "--task", "mine:mine", "--top", 2, "--background", 3, "--repeats", 3)
    assert again.returncode == 0, again.stderr
    found = json.loads((tmp_path / "run" / "retest.json").read_text())
    assert len(found["trials"]) == 5


# On the page


def test_the_page_shows_each_output(opened, tmp_path):
    search = lambda name: pj.search(task(name), SPACE, trials=3, epochs=3, out=tmp_path / name)
    page = opened(search("values"))
    assert page.locator("#predicted-0 .scatterlayer").count() == 1
    assert page.locator("#predicted-1 .scatterlayer").count() == 1
    assert "y0, true" in page.locator("#predicted-0").inner_text()
    text = page.locator("main").inner_text()
    assert "y0, y1" in text
    results = search("labels")
    page = opened(results)
    tables = page.locator(".confusion")
    assert tables.count() == 3
    told, y = results.predict(TABLE), PROBLEMS["labels"]["data"][1]
    test = task("labels").split.test
    for at in range(3):
        counts = reference.confusion_matrix(y[test, at], told[test, at], labels=[False, True]).ravel()
        cells = tables.nth(at).locator(".cell").all_inner_texts()
        assert [int(cell or 0) for cell in cells] == counts.tolist()
    page = opened(search("dict"))
    text = page.locator("main").inner_text()
    assert "tokens 4, table 5" in text
    assert page.locator(".confusion").count() == 1
    assert opened(search("tokens")).locator(".confusion").count() == 1
    assert opened(search("transform")).locator("#predicted .scatterlayer").count() == 1
    page = opened(search("autoencoder"))
    assert "of a loss of its own" in page.locator("main").inner_text()


# What is no problem


def ragged():
    return [[1.0, 2.0]] * 30 + [[1.0]] * 60


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"data": (TABLE, ragged())}, "y has rows of 1 to 2 values; give as many in each"),
        ({"data": (TABLE, TABLE[:, :1])}, r"y has shape \(90, 1\); give y\[:, 0\]"),
        ({"data": (TABLE, TABLE[:, None])}, r"y has shape \(90, 1, 5\); give a custom loss=, or one value"),
        ({"data": (TABLE, TABLE[:80])}, r"y has shape \(80, 5\) for 90 rows of x; give one value a row"),
        ({"data": (TABLE, np.tile([True, False], (90, 1)))}, "column 0 of y is True in every row; nothing to learn"),
        ({"data": (TABLE, TABLE[:, :2]), "kind": "multilabel"}, "several labels are truth values, and y holds"),
        ({"data": (TABLE, TABLE[:, 0]), "kind": "multilabel"}, r"truth values \(rows, labels\), and y is \[90\]"),
        ({"data": (TABLE, TABLE[:, 0]), "kind": "own"}, 'kind="own" needs a custom loss; give loss='),
        ({"data": (TABLE, TABLE)}, "y is x, which needs a custom loss; give loss=, or another y"),
        ({"data": ({"a": TABLE, "b": TABLE[:50]}, TABLE[:, 0])}, "entries of x differ in rows: 'a' 90, 'b' 50"),
        ({"data": ({"a": TABLE.astype(str)}, TABLE[:, 0])}, "entry 'a' of x is <U.*; give numbers"),
        ({"data": ({}, TABLE[:, 0])}, "x is an empty dict; give an array, or a dict of arrays"),
        ({"data": ({"a": TABLE}, TABLE[:, 0])}, "built-in model 'mlp' does not take a dict of arrays; give"),
        (
            {"data": ({"a": np.where(TABLE > 2, np.nan, TABLE)}, TABLE[:, 0])},
            "entry 'a' of x has a missing cell, in row",
        ),
        (
            {"data": ({"a": TABLE}, TABLE[:, 0]), "transform": {"b": "none"}},
            "unknown entry of transform 'b'; there are a",
        ),
        ({"data": (TABLE, TABLE[:, :2]), "class_weight": "balanced"}, "a regression has no classes; use sample_weight"),
        ({"data": (TABLE, TABLE[:, :2] > 0), "class_weight": {"z": 2}}, "there is no label 'z'; there are 'y0', 'y1'"),
        ({"data": (TABLE, TABLE[:, :2] > 0), "metrics": ["mcc"]}, "unknown metric of a multilabel 'mcc'; there are f1"),
    ],
)
def test_what_is_no_problem_is_one_line(given, says):
    with pytest.raises(ValueError, match=says) as caught:
        pj.supervised(**given)
    assert "\n" not in str(caught.value)


def test_rows_that_do_not_fit_are_one_line():
    predictor = pj.search(task("dict"), SPACE, trials=2, epochs=1).predictor()
    rows = first("dict")
    holes = rows["tokens"].astype(float)
    holes[1, 1] = np.nan
    for given, says in (
        (
            rows | {"tokens": holes},
            r"entry 'tokens' of the rows are whole numbers \(int64\), and hold float64 that are",
        ),
        (rows | {"table": rows["table"][:3]}, "the entries differ in rows: {'tokens': 7, 'table': 3}"),
        ({"table": rows["table"]}, "the rows lack the entry 'tokens'"),
        (rows["table"], "the rows are a ndarray; give a dict of the arrays 'tokens', 'table'"),
        (rows | {"table": rows["table"][:, :2]}, r"entry 'table' of the rows has shape \(7, 2\); give \(rows, 5\)"),
    ):
        with pytest.raises(ValueError, match=says):
            predictor.predict(given)
    assert (
        predictor.predict(rows | {"tokens": rows["tokens"].astype(float)}).tolist() == predictor.predict(rows).tolist()
    )


def test_a_label_that_no_training_row_has_is_said(doubted):
    labels = PROBLEMS["labels"]["data"][1].copy()
    labels[:, 2] = False
    labels[[3, 5], 2] = True
    pj.supervised((TABLE, labels), validation=[3, 5])
    assert "fewer than 2 rows that train have the label 'y2': give more, or leave it out" in doubted.text


def test_one_hot_classes_are_said(doubted):
    """As integers they are labels, as real numbers values; which they are is asked for by a kind without a word."""
    codes = np.arange(len(TABLE)) % 3
    for dtype, taken in ((int, "labels"), (float, "values")):
        doubted.caught.clear()
        pj.supervised((TABLE, np.eye(3, dtype=dtype)[codes]))
        assert f"y is one-hot, so its columns are taken as several {taken}; if they are one class a row" in doubted.text
    doubted.caught.clear()
    pj.supervised((TABLE, np.eye(3)[codes]), kind="regression")
    assert "one-hot" not in doubted.text


@pytest.mark.parametrize(("y", "kind"), [((TABLE[:, :2] > 0).astype(int), "labels"), (TABLE[:, :2].round(), None)])
def test_whole_numbers_that_may_be_labels_are_said(doubted, y, kind):
    task = pj.supervised((TABLE, y))
    assert task.dataset.kind == ("multilabel" if kind else "regression")
    assert ("are 0 and 1, so they are taken as labels; if they are values, say kind=" in doubted.text) == bool(kind)
    assert pj.supervised((TABLE, y), kind="regression").dataset.kind == "regression"


# Weights


@pytest.mark.parametrize("whole", [list, str])
def test_integers_beyond_64_bits_are_numbers(whole, tmp_path):
    """As they are, and in a file; not as many classes as there are values."""
    x, y = np.arange(60.0)[:, None], [10**20 + 10**12 * row for row in range(60)]

    def made(y):
        if whole is list:
            return pj.supervised((x, y))
        (tmp_path / "y.csv").write_text("x,y\n" + "".join(f"{row},{value}\n" for row, value in enumerate(y)))
        return pj.supervised(tmp_path / "y.csv", target="y")

    dataset = made(y).dataset
    assert (dataset.kind, dataset.y.tolist()) == ("regression", [float(value) for value in y])
    with pytest.raises(ValueError, match=r"the target 'y' has integers beyond 1e\+100; replace them"):
        made([*y[:-1], 10**400])


def test_the_weights_of_labels_count_in_the_loss_alone():
    """A label that weighs nothing is not learned; a balanced one counts as scikit-learn has it."""
    labels = PROBLEMS["labels"]["data"][1]
    plain = pj.supervised((TABLE, labels))
    rows = plain.split.train[0]
    balanced = pj.supervised((TABLE, labels), class_weight="balanced").data.weight
    kept = np.delete(np.arange(90), plain.split.test)
    for at in range(3):
        have = labels[rows, at].sum()
        weight = np.where(labels[kept, at], len(rows) / (2 * have), len(rows) / (2 * (len(rows) - have)))
        np.testing.assert_allclose(balanced[:, at] / balanced[0, at], weight / weight[0])
    space = {"learning_rate": 0.1, "hidden": 8, "batch_size": 8}
    lost = pj.search(pj.supervised((TABLE, labels), class_weight={"y0": 0.0}), space, trials=1, epochs=40)
    learned = (lost.predict(TABLE) == labels)[rows].mean(0)
    assert learned[1] > 0.9
    assert learned[2] > 0.9
    assert learned[0] < 0.8


# A table's


@pytest.fixture
def tables(tmp_path):
    """Files of two values and two labels beside numbers and texts."""
    pandas = pytest.importorskip("pandas")
    draws = np.random.default_rng(3)
    frame = pandas.DataFrame({"size": draws.normal(size=120), "colour": draws.choice(["red", "blue"], 120)})
    red = frame["colour"] == "red"
    frame["price"], frame["weight"] = 3 * frame["size"] + red, 100 * frame["size"] - 50 * red
    frame["heavy"], frame["dear"] = frame["weight"] > 0, frame["price"] > 0
    frame.to_csv(tmp_path / "rows.csv", index=False)
    frame.to_parquet(tmp_path / "rows.parquet")
    return frame


@pytest.mark.soak
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_command_learns_several_columns(tables, command, refused_in_one_line, tmp_path, suffix):
    """Of a file, as of a frame; they are re-tested, and the winner predicts raw rows."""
    common = ("--dataset", f"rows.{suffix}", "--trials", 6, "--epochs", 4, "--set", "hidden=8", "--folds", 2)
    named = ("--drop", "heavy,dear", "--target", "price,weight")
    done = command("sweep", *common, *named, "--out", "run")
    assert done.returncode == 0, done.stderr
    assert "120 rows, regression, 2 values" in done.stdout
    results = pj.Results.load(tmp_path / "run")
    assert {"val_price_r2", "val_weight_mae", "val_r2"} <= results.curves.keys()
    frame = tables.drop(columns=["heavy", "dear"])
    task = pj.supervised(frame, target=["price", "weight"])
    assert task.recipe.identity["outputs"] == ["price", "weight"]
    assert task.dataset.digest == results.run["data"]["data"]
    winner = pj.load_best(tmp_path / "run")
    assert winner.predict(frame[["size", "colour"]]).shape == (120, 2)
    assert winner.score(frame, frame[["price", "weight"]]) > 0.3
    again = command("retest", "run", "--dataset", f"rows.{suffix}", "--target", "price,weight", "--top", 2)
    assert again.returncode == 0, again.stderr
    ranked = command("sweep", *common, *named, "--metric", "val_weight_r2", "--out", "ranked")
    assert ranked.returncode == 0, ranked.stderr
    assert pj.Results.load(tmp_path / "ranked").metric.mode == "max"
    done = command("sweep", *common, "--drop", "price,weight", "--target", "heavy,dear", "--out", "labels")
    assert done.returncode == 0, done.stderr
    assert "120 rows, multilabel, 2 labels" in done.stdout
    assert pj.load_best(tmp_path / "labels").predict(frame[["size", "colour"]]).dtype == bool
    refused_in_one_line(
        *("retest", "run", "--dataset", f"rows.{suffix}", "--target", "weight,price"),
        says=["the targets are 'weight', 'price', those of the search 'price', 'weight'; give the same"],
    )
    refused_in_one_line(
        *("sweep", *common, "--target", "price,colour"),
        says=["the target 'colour' is one of several, which are numbers or truth values, and holds text ('blue')"],
    )
    refused_in_one_line(*("sweep", *common, "--target", "price,prize"), says=["has no column 'prize'"])


def test_a_frame_of_targets_gives_their_names(tables):
    x, y = tables[["size", "colour"]], tables[["price", "weight"]]
    both = pj.supervised((x, y))
    assert both.dataset.outputs == ("price", "weight")
    names = ["price", "weight"]
    assert both.dataset.digest == pj.supervised(tables[["size", "colour", *names]], target=names).dataset.digest
    assert pj.supervised((x, tables[["heavy", "dear"]])).dataset.kind == "multilabel"
    three = ["weight", "heavy", "price"]
    found = pj.supervised(tables[["size", *three]], target=three).dataset
    assert found.y.tolist() == tables[three].astype(float).to_numpy().tolist()


def test_an_estimator_takes_several_outputs(tables):
    x = tables[["size"]].to_numpy()
    space = {"learning_rate": 0.01, "hidden": 8, "batch_size": 16}
    values = tables[["price", "weight"]].to_numpy()
    regressor = pj.PopulationRegressor(space, 2, 20, folds=2).fit(x, values)
    assert regressor.predict(x).shape == (120, 2)
    assert regressor.score(x, values) == pytest.approx(reference.r2_score(values, regressor.predict(x)))
    labels = tables[["heavy", "dear"]].to_numpy().astype(int)
    classifier = pj.PopulationClassifier(space, 2, 20, folds=2).fit(x, labels)
    assert classifier.predict(x).dtype == labels.dtype
    assert classifier.predict(x).tolist() == (classifier.predict_proba(x) > 0.5).astype(int).tolist()
    assert classifier.score(x, labels) == reference.accuracy_score(labels, classifier.predict(x))
    with pytest.raises(ValueError, match="several columns of more than two classes"):
        pj.PopulationClassifier(space, 2, 2).fit(x, np.stack([np.arange(120) % 3, np.arange(120) % 4], 1))


def test_the_module_of_several_values_gives_them_raw():
    predictor = pj.search(task("values"), SPACE, trials=1, epochs=2, folds=2).predictor()
    found = np.mean([module(first("values")) for module in predictor.module(raw=True)], 0)
    np.testing.assert_allclose(found, predictor.predict(first("values")), rtol=1e-4)


def test_an_autoencoder_is_scored_on_raw_rows():
    """Which are transformed as its own are: the loss is that of the test rows, negative."""
    results = pj.search(task("autoencoder"), SPACE, trials=2, epochs=3)
    test = task("autoencoder").split.test
    score = results.predictor().score(TABLE[test], TABLE[test])
    assert score == pytest.approx(-results.summary["test"]["test_loss"], rel=1e-5)


def test_an_autoencoder_of_several_folds_has_no_ensemble():
    for method in ("mean", "greedy"):
        results = pj.search(task("autoencoder"), SPACE, trials=3, epochs=2, folds=2, rank=pj.together(2, method=method))
        assert results.best is not None
        assert results.summary["ensemble"] is None
    with pytest.raises(ValueError, match="greedy: the features of each fold differ, so outputs have no mean"):
        pj.ensemble(results, size=2, method="greedy")


def test_constants_and_linear_models_are_of_each_output():
    for name in ("values", "labels"):
        problem = task(name)
        y, test = PROBLEMS[name]["data"][1], problem.split.test
        others = np.delete(np.arange(90), test)
        z = (TABLE - TABLE[others].mean(0)) / TABLE[others].std(0)
        found = baselines.linear_scores(problem, test)
        results = pj.search(problem, SPACE, trials=1, epochs=1)
        constant = np.tile(y[others].mean(0), (len(test), 1))
        if name == "values":
            ridge = [RidgeCV(alphas=np.logspace(-3, 3, 13)).fit(z[others], one[others]) for one in y.T]
            told = np.stack([model.predict(z[test]) for model in ridge], 1)
            assert found["r2"] == pytest.approx(reference.r2_score(y[test], told))
            assert found["y1_mse"] == pytest.approx(reference.mean_squared_error(y[test][:, 1], told[:, 1]))
            expected = (((constant - y[test]) / y[problem.split.train[0]].std(0)) ** 2).mean()
        else:
            logistic = [LogisticRegression(max_iter=1000).fit(z[others], one[others]) for one in y.T]
            told = np.stack([model.predict(z[test]) for model in logistic], 1)
            assert found["accuracy"] == reference.accuracy_score(y[test], told)
            expected = np.mean([reference.log_loss(*pair) for pair in zip(y[test].T, constant.T, strict=True)])
        assert results.summary["constant"]["test_loss"] == pytest.approx(expected)


def test_labels_with_missing_truth_values_are_labels(tables):
    """Their rows are left out; whole 0 and 1 are labels from a table as from an array, and said."""
    frame = tables[["size", "heavy", "dear"]].astype({"heavy": object})
    frame.loc[4, "heavy"] = None
    left = pj.supervised(frame, target=["heavy", "dear"], missing="drop").dataset
    assert left.kind == "multilabel"
    assert left.dropped.tolist() == [4]
    whole = tables[["size", "heavy", "dear"]].astype({"heavy": int, "dear": int})
    assert pj.supervised(whole, target=["heavy", "dear"]).dataset.kind == "multilabel"
    assert pj.supervised((whole[["size"]], whole[["heavy", "dear"]])).dataset.kind == "multilabel"


def test_an_autoencoder_may_be_of_a_frame(tables):
    frame = tables[["size", "colour", "weight"]]
    found = pj.supervised((frame, frame), loss=mean_square)
    assert found.dataset.mirrored
    assert found.fit.outputs == 4
    rows = np.arange(12)
    validation = (TABLE[rows], TABLE[rows].copy())
    with pytest.raises(ValueError, match=r"y is x in some parts of the data and not in others; give \(x, x\) for each"):
        pj.supervised((TABLE, TABLE), validation=validation, loss=mean_square)


def test_a_loss_of_ones_own_may_know_one_column(tables):
    """As it is, or standardized as a regression's."""
    own = pj.supervised(tables[["size", "price"]], target="price", loss=lambda o, t: (o[:, 0] - t) ** 2, kind="own")
    assert (own.dataset.kind, own.fit.outputs) == ("own", 1)
    assert own.dataset.y.tolist() == tables["price"].tolist()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"data": (None, TABLE[:, 0])}, "x is a NoneType; give numbers of shape"),
        ({"data": ({"a": 3.0}, TABLE[:, 0])}, "x is a float; give numbers of shape"),
        (
            {"data": ({"a": PROBLEMS["tokens"]["data"][0] + 2**32}, TABLE[:, 0])},
            "x holds 42949.*; give whole numbers",
        ),
        ({"data": pj.Dataset(TABLE, TABLE, None)}, "targets of the kind own need a custom loss; give loss="),
        ({"data": "wine", "kind": "regression"}, "kind='regression': wine is a classification already; leave kind out"),
        ({"data": (TABLE, TABLE[:, :1]), "loss": mean_square}, r"y has shape \(90, 1\); give y\[:, 0\]"),
        ({"data": (TABLE, TABLE[:, :2]), "metrics": {"y0_r2": mean_square}}, "val_y0_r2 is reported"),
        (
            {"data": (TABLE, TABLE), "loss": mean_square, "metrics": ["f1"]},
            "no named metric works with a custom loss",
        ),
    ],
)
def test_so_is_what_looks_like_one(given, says):
    with pytest.raises(ValueError, match=says):
        pj.supervised(**given)


@pytest.mark.soak
def test_a_column_with_a_comma_is_one(tables, command, tmp_path):
    tables.rename(columns={"price": "price, USD"}).to_csv(tmp_path / "rows.csv", index=False)
    common = ("--dataset", "rows.csv", "--trials", 2, "--epochs", 1, "--set", "hidden=4", "--drop", "heavy,dear")
    for target, says in (("price, USD", "regression"), ("weight, size", "regression, 2 values")):
        done = command("sweep", *common, "--target", target, "--out", target.replace(", ", "-"))
        assert f"120 rows, {says}" in done.stdout, done.stderr


def test_a_loss_that_compares_each_row_with_all_targets_is_refused():
    """(rows, 1) - (rows,) is (rows, rows): its mean over an axis has the right shape, and trains a constant."""
    x = np.random.default_rng(0).normal(size=(60, 3))
    own = lambda hparams, rngs: nnx.Linear(3, 1, rngs=rngs)

    def search(loss, model="mlp"):
        task = pj.supervised((x, x[:, 0]), model=model, loss=loss)
        return pj.search(task, {"learning_rate": 0.01}, trials=1, epochs=1)

    refused = pytest.raises(ValueError, match="compares each row with the targets of all; take outputs")
    with refused, jax.numpy_rank_promotion("allow"):
        search(lambda outputs, targets: abs(outputs - targets).mean(-1))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for right in (lambda o, t: abs(o[:, 0] - t), lambda o, t: o[:, 0] ** 2, lambda o, t: abs(o.squeeze(1) - t)):
            assert search(right).best is not None
            assert search(right, own).best is not None
    assert not said
