"""Selection is honest, and ranks are what the documentation says."""

import numpy as np
import pandas as pd
import pytest
from conftest import soaked

import popjax as pj
from popjax.store.results import Results
from popjax.study import run

SPACE = pj.Space(learning_rate=pj.log_uniform(1e-3, 1e-1), hidden=pj.integers(4, 9), momentum=pj.uniform(0.5, 0.9))


def test_permuting_the_test_labels_changes_no_byte(rows, tmp_path):
    """Trials and curves are those of the run that never had other test labels; only the test value moves."""
    task = pj.supervised(rows)
    wrong = task.data.test._replace(y=np.roll(task.data.test.y, 5))
    other = task._replace(data=task.data._replace(test=wrong))
    values = []
    for name, each in (("right", task), ("wrong", other)):
        asked = {"rank": pj.best(keep=12), "scheduler": "halving", "out": tmp_path / name}
        results = pj.search(each, SPACE, trials=12, epochs=8, **asked)
        values.append(results.summary["test_value"])
    for file in ("trials.parquet", "curves.parquet", "decisions.jsonl", "best/arrays.safetensors"):
        assert (tmp_path / "right" / file).read_bytes() == (tmp_path / "wrong" / file).read_bytes()
    assert values[0] > values[1]


def test_the_test_rows_are_asked_once_for_the_winner(rows):
    """The test value is the winner's own, recomputed here in numpy from its arrays."""
    task = pj.supervised(rows)
    results = pj.search(task, SPACE, trials=12, epochs=8)
    params = results.params(results.best.trial)
    x, y = task.data.test
    for layer in (params["hidden"][0], params["hidden"][1], params["out"]):
        x = x @ layer["kernel"] + layer["bias"]
        x = x if layer is params["out"] else np.maximum(x, 0)
    assert results.summary["test_value"] == pytest.approx((x.argmax(1) == y).mean(), abs=1e-6)
    recalls = [(x.argmax(1) == y)[y == c].mean() for c in np.unique(y)]
    assert results.summary["test"]["test_balanced_accuracy"] == pytest.approx(np.mean(recalls), abs=1e-6)


def made_up(mode="max", **metrics):
    members = {name: np.asarray(values, float)[:, None, None, None] for name, values in metrics.items()}
    trials = len(next(iter(members.values())))
    return Results({"x": np.arange(trials, dtype=float)}, members, pj.best(next(iter(metrics)), mode))


def test_the_winner_alone_is_scored_and_once(rows, monkeypatch):
    scored = []
    score = run.score
    monkeypatch.setattr(run, "score", lambda roster, trial, *rest: scored.append(trial) or score(roster, trial, *rest))
    space = {"learning_rate": pj.log_uniform(1e-3, 1e-1)}
    results = pj.search(pj.supervised(rows), space, trials=30, epochs=2, scheduler=pj.rounds(3))
    assert scored == [results.best.trial]


def test_ties_rank_by_validation_loss_then_trial():
    results = made_up(val_accuracy=[0.9, 0.95, 0.95, 0.95, np.nan], val_loss=[0.1, 0.3, 0.2, 0.2, np.nan])
    assert results.trials["rank"].to_pylist() == [4, 3, 1, 2, None]
    assert results.best == (2, {"x": 2.0}, 0.95)


def test_a_loss_ranks_from_the_bottom():
    results = made_up("min", loss=[0.3, 0.1, np.nan, 0.2])
    assert results.trials["rank"].to_pylist() == [3, 1, None, 2]
    assert results.trials["status"].to_pylist() == ["ok", "ok", "diverged", "ok"]


def test_ranking_is_lexicographic():
    values = {"m": np.array([1.0, 1.0, 0.5]), "val_loss": np.array([2.0, 1.0, 9.0])}
    assert pj.best("m", "max").order(values).tolist() == [1, 0, 2]
    assert pj.best("m", "min").order(values).tolist() == [2, 1, 0]


def test_the_best_so_far_keeps_are_the_best_of_all(rows):
    """best(keep=5) holds the five of rank 1 to 5, from whichever part, bucket and thread they come."""
    space = SPACE.replace(activation=pj.choice("relu", "tanh"))
    results = pj.search(pj.supervised(rows), space, trials=60, epochs=3, rank=pj.best(keep=5))
    assert set(results.states) == set(results.order[:5].tolist())
    with pytest.raises(ValueError, match=r"was not kept .*search with a rank that keeps more"):
        results.params(int(results.order[5]))


def test_saved_results_come_back(rows, tmp_path):
    """Tables, curves, order, winner and arrays, from the files alone."""
    space = SPACE.replace(activation=pj.choice("relu", "tanh"), learning_rate=pj.choice(0.1, 1e30))
    results = pj.search(pj.supervised(rows), space, trials=10, epochs=4, repeats=2, out=tmp_path)
    loaded = Results.load(tmp_path)
    assert results.diverged.any()
    assert not results.diverged.all()
    assert loaded.trials.equals(results.trials)
    assert loaded.best == results.best
    assert loaded.summary == results.summary
    for name, values in results.members.items():
        assert loaded.members[name].tobytes() == values.tobytes()
    for name, array in results.states[results.best.trial].items():
        assert np.array_equal(loaded.states[results.best.trial][name], array)
    assert loaded.to_pandas()["rank"].dropna().astype(int).tolist() == loaded.trials["rank"].drop_null().to_pylist()
    with pytest.raises(ValueError, match="holds a run; choose another"):
        pj.search(pj.supervised(rows), space, trials=2, out=tmp_path)


@pytest.mark.parametrize("kind", soaked(["classes", "regression"]))
def test_the_winner_predicts_raw_rows_as_it_was_scored(rows, tmp_path, kind):
    import pandas as pd
    from frames import from_frame

    from popjax.data.splits import Splitting, split

    x, y = rows
    target = np.array(["low", "mid", "high"])[y] if kind == "classes" else 50 + 9 * x[:, 0]
    frame = pd.DataFrame(x, columns=list("abcde")).assign(answer=target)
    space = SPACE.replace(dropout=pj.uniform(0, 0.2), depth=pj.integers(1, 2))
    results = pj.search(
        pj.supervised(frame, target="answer", seed=4), space, trials=8, epochs=6, repeats=2, out=tmp_path
    )
    test = split(from_frame(frame, "answer"), Splitting(0.1, 0.1, 4)).test
    winner = pj.load_best(tmp_path)
    shuffled = frame[["e", "answer", "d", "c", "b", "a"]].iloc[test]
    predicted = winner.predict(shuffled)
    assert np.array_equal(predicted, winner.predict(x[test]))
    assert winner.hparams == results.best.hparams
    if kind == "regression":
        assert predicted == pytest.approx(target[test], abs=9)
        with pytest.raises(ValueError, match="is a regression; use predict"):
            winner.predict_proba(x)
    else:
        probabilities = winner.predict_proba(x[test])
        np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
        assert set(predicted) <= {"low", "mid", "high"}
        assert (predicted == target[test]).mean() > 0.6
    with pytest.raises(ValueError, match="do not fit"):
        winner.predict(x[:, :3])
    with pytest.raises(ValueError, match="lack the column 'c'"):
        winner.predict(shuffled.drop(columns="c"))


def test_a_winner_of_ones_own_model_needs_the_model(rows, tmp_path):
    from flax import nnx

    def model(hparams, rngs):
        return nnx.Sequential(nnx.Linear(5, 6, rngs=rngs), nnx.relu, nnx.Linear(6, 3, rngs=rngs))

    results = pj.search(pj.supervised(rows, model=model), {"learning_rate": 0.1}, trials=2, epochs=20, out=tmp_path)
    with pytest.raises(ValueError, match=r"pass it: load_best\(dir, model=\.\.\.\)"):
        pj.load_best(tmp_path)
    predicted = pj.load_best(tmp_path, model=model).predict(rows[0])
    assert (predicted == rows[1]).mean() > 0.7
    assert results.best.value > 0.5
    task = pj.objective(lambda key, hparams: {"loss": hparams["x"]})
    pj.search(task, {"x": pj.uniform(0, 1)}, trials=2, out=tmp_path / "objective")
    with pytest.raises(ValueError, match="a custom task"):
        pj.load_best(tmp_path / "objective")
    with pytest.raises(ValueError, match="holds no winner"):
        pj.load_best(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("metric", "mode"), [("val_loss", "min"), ("val_balanced_accuracy", "max"), ("train_loss", "min")]
)
def test_another_metric_ranks_in_its_own_direction(rows, metric, mode):
    results = pj.search(
        pj.supervised(rows), {"learning_rate": pj.log_uniform(1e-4, 1)}, trials=9, epochs=2, rank=metric
    )
    assert results.metric.mode == mode
    assert results.best.value == getattr(np, mode)(results.values[metric])


def test_a_finished_run_is_ranked_by_another_rule(rows, tmp_path):
    """As a search by that rule ranks; loaded ones too. No test row is scored for it, and what is not known is said."""
    asked = {"space": {"learning_rate": pj.log_uniform(1e-4, 1)}, "trials": 9, "epochs": 2, "folds": 2, "repeats": 2}
    results = pj.search(pj.supervised(rows), **asked, rank=pj.one_se(keep=9), out=tmp_path / "run")
    for rank in ("val_loss", pj.best("train_loss"), pj.one_se("val_loss"), pj.best(mode="min"), pj.together(3)):
        there = pj.search(pj.supervised(rows), **asked, rank=rank)
        for known in (results, pj.Results.load(tmp_path / "run")):
            again = known.ranked(rank)
            assert again.rule == there.rule
            assert again.order.tolist() == there.order.tolist()
            assert again.best == there.best
            assert not {"test", "test_value", "best", "ensemble"} & again.summary.keys()
            assert again.summary["trials"] == 9
    assert results.ranked(pj.together(3)).predictor().trials == results.ranked(pj.together(3)).order[:3].tolist()
    assert results.best == pj.Results.load(tmp_path / "run").best  # as it was
    with pytest.raises(ValueError, match="unknown metric 'val_f1'; the trials have train_loss, val_accuracy"):
        results.ranked("val_f1")
    plain = pj.search(pj.supervised(rows), **asked)
    with pytest.raises(
        ValueError, match=r"one-se: the run does not know the parameters of its trials; search with rank=one_se\("
    ):
        plain.ranked(pj.one_se())
    with pytest.raises(ValueError, match="one member has no standard error"):
        pj.search(pj.supervised(rows), {"learning_rate": 0.1}, trials=2, epochs=1).ranked(pj.one_se())


def test_a_metric_of_unknown_direction_needs_a_mode():
    task = pj.objective(lambda key, hparams: {"loss": hparams["x"], "speed": hparams["x"]})
    with pytest.raises(ValueError, match="metric 'speed': is less or more of it better"):
        pj.search(task, {"x": pj.uniform(0, 1)}, trials=4, rank="speed")
    results = pj.search(task, {"x": pj.uniform(0, 1)}, trials=4, rank=pj.best("speed", mode="max"))
    assert results.best.value == results.values["speed"].max()


@pytest.mark.parametrize("unit", soaked([1e-12, 1.0, 1e12]))
def test_r2_has_no_unit_and_a_constant_part_nothing_to_explain(unit):
    """Prices in any unit have the same r2, also where the squares of its errors are near the ends of float32."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 3))
    y = unit * (x[:, 0] + 3)
    results = pj.search(pj.supervised((x, y)), {"learning_rate": 0.05}, trials=1, epochs=3, rank="val_r2")
    assert results.best.value == pytest.approx(0.5537, abs=1e-4)
    assert results.values["val_mse"][0] < unit**2
    few = pj.search(pj.supervised((x[:14], y[:14])), {"learning_rate": 0.01}, trials=1, epochs=3)  # one row validates
    assert not few.diverged.any()
    assert few.values["val_r2"][0] == 0


@pytest.mark.parametrize("unit", [1e-300, 1e-170, 1e-20, 1e20])
def test_a_target_whose_square_is_no_float32_is_refused(unit):
    x = np.random.default_rng(0).normal(size=(40, 3))
    with pytest.raises(ValueError, match=r"the target varies by .*, which has no square in float32"):
        pj.supervised((x, unit * x[:, 0]))


def test_a_choice_of_several_types_comes_back_with_them(tmp_path):
    """A table keeps such a column as texts; loaded, the values are the space's own."""
    space = pj.Space(flag=pj.choice(False, "auto"), rate=pj.choice(0, 0.2, 0.5), name=pj.choice("0", "1"))

    def loss(key, hparams):
        return {"loss": hparams["rate"] + (0.0 if not hparams["flag"] else 1.0) + float(hparams["name"])}

    task = pj.objective(loss)
    results = pj.search(task, space, trials=20, out=tmp_path / "run")
    loaded = pj.Results.load(tmp_path / "run")
    for name, column in results.points.items():
        assert [(type(value), value) for value in loaded.points[name]] == [(type(value), value) for value in column]
    for trial in range(20):
        assert pj.replay(loaded, trial, task)["loss"][0] == results.curves["loss"][trial, 0]
    assert str(pj.refine(space, loaded)) == str(pj.refine(space, results))


def test_winners_and_results_are_shown_in_one_line(rows, tmp_path):
    results = pj.search(pj.supervised(rows), {"learning_rate": 0.1}, trials=2, epochs=3, out=tmp_path / "run")
    assert repr(results).startswith("Results(trials=2, folds=1, repeats=1, epochs=3, metric='val_accuracy', best=Best(")
    winner = pj.load_best(tmp_path / "run")
    assert repr(winner) == "Predictor(learning_rate 0.1)"
    assert winner.classes == (0, 1, 2)


def test_rows_that_are_none_or_no_table_or_infinite(rows, tmp_path):
    pj.search(pj.supervised(rows), {"learning_rate": 0.1}, trials=1, epochs=1, out=tmp_path / "run")
    winner, (x, _) = pj.load_best(tmp_path / "run"), rows
    assert winner.predict(x[:0]).shape == (0,)
    assert winner.predict_proba(x[:0]).shape == (0, 3)
    with pytest.raises(ValueError, match="a cell is infinite, column 2, row 2; give a finite number"):
        winner.predict(np.where(np.arange(10).reshape(2, 5) == 7, np.inf, x[:2]))
    with pytest.raises(ValueError, match="the rows are no table of cells, but a dict; give a DataFrame"):
        winner.predict({"a": 1})


def test_rows_are_taken_flat_or_in_the_shape_of_the_training_rows_alone(tmp_path):
    """Images in another layout have as many pixels, and are not what was trained on."""
    x, y = np.random.default_rng(0).normal(size=(60, 4, 4, 3)), np.arange(60) % 2
    pj.search(pj.supervised((x, y)), {"learning_rate": 0.1}, trials=1, epochs=1, out=tmp_path / "run")
    winner = pj.load_best(tmp_path / "run")
    assert winner.predict_proba(x).tolist() == winner.predict_proba(x.reshape(60, -1)).tolist()
    with pytest.raises(ValueError, match=r"rows of shape \(60, 3, 4, 4\) do not fit"):
        winner.predict(x.transpose(0, 3, 1, 2))


def test_a_frame_without_names_in_training_is_an_array(tmp_path):
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 3)), columns=["a", "b", "c"])
    pj.search(pj.supervised((frame, frame["a"] > 0)), {"learning_rate": 0.1}, trials=1, epochs=1, out=tmp_path / "run")
    winner = pj.load_best(tmp_path / "run")
    assert winner.predict_proba(frame).tolist() == winner.predict_proba(frame.to_numpy()).tolist()


def test_a_run_that_is_read_under_another_rule_has_no_scores_on_test_rows(rows, tmp_path):
    space = {"learning_rate": pj.log_uniform(1e-4, 1)}
    pj.search(
        pj.supervised(rows), space, trials=9, epochs=2, rank=pj.together(3, metric="val_loss"), out=tmp_path / "run"
    )
    same, other = (pj.Results.load(tmp_path / "run", rank=rank) for rank in (pj.together(metric="val_loss"), pj.best()))
    assert {"test", "best", "ensemble"} <= same.summary.keys()
    assert same.ensemble
    assert not {"test", "test_value", "best", "ensemble"} & other.summary.keys()
    assert not other.ensemble
    with pytest.raises(ValueError, match="rank has metric='val_lose', the run metric='val_loss'"):
        pj.Results.load(tmp_path / "run", rank=pj.best("val_lose"))
