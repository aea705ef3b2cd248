"""Folds and repeats as axes of the population; what is tuned; how the winner is chosen."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow.parquet as pq
import pytest
from test_compilations import compilations

import popjax as pj
from popjax.data.dataset import built_in, from_arrays
from popjax.data.splits import Splitting, split
from popjax.space.defaults import TIERS
from popjax.store.results import Results

SPACE = pj.Space(learning_rate=pj.log_uniform(1e-3, 1e-1), hidden=pj.integers(3, 9), depth=pj.integers(1, 2))


def test_folds_and_repeats_train_in_the_same_programs(rows, nothing_compiled):
    """One epoch program for all of trial x fold x repeat; a repeat alone has the bits it has among others."""
    task = pj.supervised(rows)
    with compilations() as events:
        results = pj.search(task, SPACE, trials=5, epochs=3, folds=3, repeats=2)
    assert sum("epoch" in str(name) for name in events) == 1
    assert results.members["val_loss"].shape == (5, 3, 2, 3)
    single = pj.search(task, SPACE, trials=5, epochs=3, folds=3)
    assert single.members["val_loss"][:, :, 0].tobytes() == results.members["val_loss"][:, :, 0].tobytes()
    repeats = results.members["val_loss"][..., -1]
    assert np.all(repeats[:, :, 0] != repeats[:, :, 1])


def test_the_winner_is_scored_and_predicts_as_the_mean_of_its_members(x64, rows, tmp_path):
    """test_value is the mean of the members' own accuracies, recomputed in numpy from best/ and raw rows."""
    x, y = rows
    results = pj.search(pj.supervised(rows, seed=2), SPACE, trials=6, epochs=5, folds=3, repeats=2, out=tmp_path)
    loaded, winner = Results.load(tmp_path), pj.load_best(tmp_path)
    params = loaded.params(loaded.best.trial)
    cut = split(from_arrays(x, y), Splitting(0.1, 0.1, 2), 3)
    depth = results.best.hparams["depth"]
    scores, probabilities = [], []
    for member in range(6):
        train = cut.train[member // 2]
        a = (x[cut.test] - x[train].mean(0)) / x[train].std(0)
        for layer in [*(params["hidden"][i] for i in range(depth)), params["out"]]:
            a = a @ layer["kernel"][member] + layer["bias"][member]
            a = a if layer is params["out"] else np.maximum(a, 0)
        scores.append((a.argmax(1) == y[cut.test]).mean())
        probabilities.append(np.exp(a) / np.exp(a).sum(1, keepdims=True))
    assert results.summary["test_value"] == pytest.approx(np.mean(scores))
    assert winner.predict_proba(x[cut.test]) == pytest.approx(np.mean(probabilities, 0))


def test_a_regression_over_folds_predicts_in_its_own_units(rows, tmp_path):
    """Each member's output goes back by its own fold's mean and scale before the mean is taken."""
    x, _ = rows
    y = 1e4 + 300 * x[:, 0] - 100 * x[:, 1]
    results = pj.search(pj.supervised((x, y)), {"learning_rate": 0.03}, trials=1, epochs=40, folds=3, out=tmp_path)
    test = split(from_arrays(x, y), Splitting(0.1, 0.1, 0), 3).test
    predicted = pj.load_best(tmp_path).predict(x[test])
    assert np.sqrt(((predicted - y[test]) ** 2).mean()) < 60
    assert results.summary["test"]["test_r2"] > 0.9


def made_up(values, parameters, rule=pj.one_se, **others):
    members = {"val_accuracy": np.asarray(values, float)[:, :, None, None]}
    points = {"x": np.arange(len(values), dtype=float)}
    return Results(points, members, rule("val_accuracy"), costs={"parameters": np.array(parameters)}, **others)


def test_the_error_of_a_trial_is_that_of_its_mean():
    """Where folds differ and repeats share their fold's rows, as where only the repeats of one fold differ."""
    rng, trials = np.random.default_rng(0), 20_000
    for folds, repeats, apart in ((5, 3, 0.05), (1, 4, 0.0), (4, 1, 0.05)):
        values = apart * rng.normal(size=(trials, folds, 1, 1)) + 0.01 * rng.normal(size=(trials, folds, repeats, 1))
        results = Results({"x": np.arange(trials)}, {"val_accuracy": values}, pj.best("val_accuracy"))
        variance = (results.errors["val_accuracy"] ** 2).mean()
        assert variance == pytest.approx(results.values["val_accuracy"].var(), rel=0.05)


def test_the_smallest_model_within_one_standard_error_wins():
    """Trial 0 has 0.90 +- 0.0058; trial 1 is within it and smaller, trial 2 smaller still but too far away."""
    values = [[0.89, 0.90, 0.91], [0.895, 0.895, 0.895], [0.89, 0.89, 0.89], [0.897, 0.897, 0.897]]
    assert made_up(values, [900, 100, 10, 100]).best.trial == 3, "of the same size, the better"
    assert made_up(values, [900, 100, 10, 200]).best.trial == 1
    assert made_up(values, [900, 100, 10, 200], rule=pj.best).best.trial == 0
    results = made_up(values, [900, 100, 10, 200])
    assert results.errors["val_accuracy"][0] == pytest.approx(0.01 / np.sqrt(3))
    assert results.trials["rank"].to_pylist() == [1, 3, 4, 2], "ranks are of the values"
    assert results.trials["val_accuracy_se"].to_pylist() == pytest.approx(results.errors["val_accuracy"].tolist())


@pytest.mark.soak
def test_parameters_are_counted_as_the_exact_model_has_them(rows):
    """The count of a masked member is that of the arrays trained at its exact shape."""
    task = pj.supervised(rows)
    space = SPACE.replace(hidden_1=pj.integers(2, 5))
    results = pj.search(task, space, trials=8, epochs=1, repeats=2, rank=pj.one_se())
    for trial in range(8):
        hparams = results.hparams(trial)
        read = {name: value for name, value in hparams.items() if name != "hidden" or hparams["depth"] > 1}
        exact = pj.search(task, read, trials=1, epochs=1)
        assert results.parameters[trial] == sum(array.size for array in jax.tree.leaves(exact.params(0)))


def test_a_chosen_trial_that_was_not_kept_is_trained_again(rows, tmp_path):
    """Its arrays are those that it had: the test value is the one of a search that keeps all."""
    task = pj.supervised(rows)
    one = pj.search(task, SPACE, trials=12, epochs=6, repeats=3, rank=pj.one_se(), seed=1, out=tmp_path)
    every = pj.search(task, SPACE, trials=12, epochs=6, repeats=3, rank=pj.one_se(keep=12), seed=1)
    assert one.best.trial != one.order[0], "else this test shows nothing"
    assert one.best == every.best
    assert one.summary["test"] == every.summary["test"]
    for name, array in every.states[every.best.trial].items():
        assert one.states[one.best.trial][name].tobytes() == array.tobytes()
    assert pj.load_best(tmp_path).hparams == one.best.hparams


def test_a_member_that_diverges_takes_its_trial_along(rows):
    """With one of its folds broken a trial is no winner; the others keep their bits."""
    whole = pj.supervised(rows).in_folds(3)

    def broken_above(rate):
        def epoch(state, hparams, data):
            state, metrics = whole.epoch(state, hparams, data)
            breaks = (hparams["fold"] == 1) & (hparams["learning_rate"] > rate)
            return state, {name: jnp.where(breaks, jnp.nan, value) for name, value in metrics.items()}

        return pj.search(whole._replace(epoch=epoch), SPACE, trials=4, epochs=3, folds=3)

    expected = broken_above(1e9)
    rates = expected.points["learning_rate"]
    results = broken_above(float(np.sort(rates)[-2]))
    assert not expected.diverged.any()
    assert np.flatnonzero(results.diverged).tolist() == [rates.argmax()]
    assert results.best.trial != rates.argmax()
    for name, values in expected.members.items():
        kept = np.ones(values.shape, bool)
        kept[rates.argmax(), 1] = False
        assert results.members[name][kept].tobytes() == values[kept].tobytes()


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({}, ["learning_rate", "momentum", "hidden", "depth", "batch_size", "decay"]),
        ({"priority": 1}, ["learning_rate"]),
        ({"priority": 2}, ["learning_rate", "momentum", "hidden", "batch_size"]),
        ({"priority": 2, "optimizer": "adam"}, ["learning_rate", "hidden", "batch_size"]),
        ({"optimizer": "rmsprop", "schedule": "cosine"}, ["learning_rate", "hidden", "depth", "batch_size"]),
    ],
)
def test_priorities_are_the_lectures_tiers(arguments, names):
    space = pj.default_space(**arguments)
    assert list(space) == names
    assert all(TIERS[name] <= arguments.get("priority", 3) for name in names)


def test_what_is_not_tuned_keeps_its_documented_default(rows):
    """Tuning the learning rate alone is tuning it beside the documented values, up to the key's rounding."""
    task = pj.supervised(rows)
    alone = pj.search(task, pj.default_space(1), trials=3, epochs=3)
    written = {"momentum": 0.9, "hidden": 100, "depth": 2, "batch_size": 32, "decay": 0.0, "activation": "relu"}
    beside = pj.search(task, pj.default_space(1).replace(**written), trials=3, epochs=3)
    assert alone.curves["val_loss"] == pytest.approx(beside.curves["val_loss"], rel=1e-4)


def test_the_command_cross_validates_and_tells_the_error(command, tmp_path):
    process = command("sweep", "--dataset", "wine", "--trials", 12, "--epochs", 3, "--folds", 3, "--repeats", 2,
                      "--choose", "one-se", "--priority", 2, "--rounds", 2, "--out", "run")  # fmt: skip
    assert process.returncode == 0, process.stderr
    table = pq.read_table(tmp_path / "run" / "trials.parquet")
    curves = pq.read_table(tmp_path / "run" / "curves.parquet").to_pandas()
    assert table["round"].to_pylist() == [0] * 6 + [1] * 6
    assert "depth" not in table.column_names
    last = curves[curves["epoch"] == 2]
    folds = last.groupby(["trial", "fold"])["val_accuracy"].mean().groupby("trial")
    assert table["val_accuracy"].to_pylist() == pytest.approx(last.groupby("trial")["val_accuracy"].mean().tolist())
    assert table["val_accuracy_se"].to_pylist() == pytest.approx(folds.sem().tolist())
    assert "round 2 of 2: learning_rate " in process.stderr
    assert process.stderr.count("compiling") == 1
    results = pj.Results.load(tmp_path / "run")
    smaller = results.best.trial != results.order[0]
    near = "the smallest model within one standard error of trial" if smaller else "no smaller model lies within"
    assert near in process.stdout
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["model_steps"] == sum(
        6 * 3 * (107 // size) for size in table["batch_size"].to_pylist()
    )
    wine = built_in("wine")
    assert (pj.load_best(tmp_path / "run").predict(wine.x) == np.array(wine.classes)[wine.y]).mean() > 0.8


def test_a_grid_tells_how_few_values_it_tries(command, tmp_path):
    arguments = ("--trials", 40, "--epochs", 1, "--sampler", "grid", "--priority", 2, "--out", "run")
    process = command("sweep", "--dataset", "wine", *arguments)
    (line,) = [line for line in process.stdout.splitlines() if line.startswith("grid: ")]
    table = pq.read_table(tmp_path / "run" / "trials.parquet").to_pydict()
    assert line.startswith(f"grid: {len(table['trial'])} of 40 trials; distinct values: ")
    for name in ("learning_rate", "momentum", "hidden", "batch_size"):
        assert f"{name} {len(set(table[name]))} (random " in line
    assert "learning_rate 3 (random 40)" in line


@pytest.mark.parametrize(
    ("arguments", "names", "remedy"),
    [
        (["--priority", 4], "--priority 4", "1, 2 or 3"),
        (["--rounds", 0], "--rounds 0", "at least 1"),
        (["--folds", 0], "--folds 0", "at least 1"),
        (["--repeats", -1], "--repeats -1", "at least 1"),
        (["--rounds", 9, "--trials", 3], "rounds=9", "at least one to each round"),
        (["--folds", 5000], "folds=5000", "lower them"),
        (["--choose", "one-se"], "one member has no standard error", "folds or repeats"),
        (["--choose", "worst"], "'worst'", "one-se"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(refused_in_one_line, arguments, names, remedy):
    refused_in_one_line("sweep", "--dataset", "wine", *arguments, says=(names, remedy))
