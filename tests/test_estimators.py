"""scikit-learn's estimators: its own checks, what they give beside the search that is behind them, and its tools."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import popjax as pj
from popjax.supervision.spaces import table_space

SPACE = {"learning_rate": pj.log_uniform(3e-3, 3e-2), "hidden": 16, "depth": 1, "batch_size": 8}
SMALL = {"trials": 3, "epochs": 10, "folds": 1}
MLP = SMALL | {"model": "mlp"}
UNEQUAL = {
    "check_sample_weight_equivalence_on_dense_data": "rows that count twice are split off once, copies of rows each"
}
RNG = np.random.default_rng(5)
X = RNG.normal(size=(90, 4))
LABELS = np.array(["low", "middle", "high"])[np.digitize(X[:, 0] + 0.3 * RNG.normal(size=90), [-0.5, 0.5])]
VALUES = 10 + 3 * X[:, 0] - X[:, 1]
FRAME = pd.DataFrame(X[:, :2], columns=["a", "b"]).assign(colour=np.where(X[:, 2] > 0, "red", "blue"))


@pytest.mark.soak
@parametrize_with_checks(
    [pj.PopulationClassifier(SPACE, **SMALL), pj.PopulationRegressor(SPACE, **SMALL)],
    expected_failed_checks=lambda estimator: UNEQUAL,
)
def test_scikit_learns_own_checks(cheaply_compiled, estimator, check):
    check(estimator)


TABULAR = {"rank": pj.together(25, "greedy", "val_loss", at="best", patience=16), "scheduler": "halving(2, 1)"}


@pytest.mark.parametrize("folds", [1, 3])
@pytest.mark.parametrize(("model", "more"), [("tabular", TABULAR), ("mlp", {"rank": pj.together()})], ids=["t", "m"])
def test_it_predicts_as_the_search_behind_it(folds, model, more):
    small = SMALL | {"folds": folds}
    classifier = pj.PopulationClassifier(SPACE, **small, model=model, random_state=4).fit(X, LABELS)
    task = pj.supervised((X, LABELS), model, "adamw", test=0, seed=4)
    results = pj.search(task, SPACE, **small, seed=4, **more)
    assert np.array_equal(classifier.predict_proba(X), results.predictor().predict_proba(X))
    assert np.array_equal(classifier.predict(X), results.predict(X))
    assert classifier.classes_.tolist() == ["high", "low", "middle"]
    assert classifier.best_index_ == results.best.trial
    assert classifier.best_params_ == results.best.hparams
    sign = 1 if results.metric.mode == "max" else -1
    assert classifier.best_score_ == pytest.approx(sign * results.best.value)


def test_one_trial_may_be_chosen():
    regressor = pj.PopulationRegressor(SPACE, **SMALL, rank=pj.best()).fit(X, VALUES)
    assert regressor.predictor_.trials == [regressor.best_index_]
    assert regressor.score(X, VALUES) > 0.5


def test_the_trials_have_the_keys_of_scikit_learns_searches():
    searched = RandomizedSearchCV(LogisticRegression(), {"C": [0.1, 1, 10]}, n_iter=3, cv=3).fit(X, LABELS)
    theirs = {name for name in searched.cv_results_ if not name.startswith("param_")}
    space = {
        "learning_rate": pj.log_uniform(1e-3, 1e-1),
        "depth": pj.integers(1, 2),
        "hidden_2": pj.integers(4, 8).when(depth=2),
        "hidden_1": 8,
    }
    classifier = pj.PopulationClassifier(space, trials=8, epochs=2, folds=3, model="mlp").fit(X, LABELS)
    table = classifier.cv_results_
    assert {name for name in table if not name.startswith("param_")} == theirs
    results = classifier.results_
    assert table["split1_test_score"] == pytest.approx(results.members["val_accuracy"][:, 1, 0, -1])
    assert table["mean_test_score"] == pytest.approx(results.curves["val_accuracy"][:, -1])
    assert np.argsort(table["rank_test_score"]).tolist() == results.order.tolist()
    assert (table["param_hidden_2"].mask == (table["param_depth"] == 1)).all()
    assert table["params"][3] == results.hparams(3)


def test_what_is_less_where_better_is_scored_with_its_sign_turned():
    space = {"learning_rate": pj.log_uniform(1e-3, 1e3), "hidden": 8}
    regressor = pj.PopulationRegressor(space, trials=8, epochs=2, folds=1, optimizer="sgd", rank="rmse").fit(X, VALUES)
    scores, results = regressor.cv_results_["mean_test_score"], regressor.results_
    assert np.nanargmax(scores) == regressor.best_index_
    assert regressor.best_score_ == pytest.approx(-results.best.value)
    assert results.metric == "val_rmse"
    assert 0 < results.diverged.sum() < 8
    assert np.isnan(scores[results.diverged]).all()
    assert (regressor.cv_results_["rank_test_score"][results.diverged] == 8).all()


def test_it_goes_through_scikit_learns_tools():
    classifier = pj.PopulationClassifier(SPACE, **SMALL)
    scores = cross_val_score(make_pipeline(StandardScaler(), classifier), X, LABELS, cv=3)
    assert scores.min() > 0.5
    grid = GridSearchCV(classifier, {"epochs": [1, 10]}, cv=2).fit(X, LABELS)
    assert grid.best_params_ == {"epochs": 10}
    again = clone(classifier).set_params(trials=2)
    assert (again.trials, again.space, classifier.trials) == (2, SPACE, 3)


def test_a_pickle_predicts_the_same_and_holds_no_rows():
    classifier = pj.PopulationClassifier(SPACE, **SMALL).fit(X, LABELS)
    again = pickle.loads(pickle.dumps(classifier))
    assert np.array_equal(again.predict_proba(X), classifier.predict_proba(X))
    assert again.results_.task is None
    assert classifier.results_.task is not None
    assert again.results_.best == classifier.results_.best


def test_frames_have_columns_of_text_and_are_checked_by_name():
    classifier = pj.PopulationClassifier(SPACE, **SMALL).fit(FRAME, pd.Series(LABELS))
    assert classifier.feature_names_in_.tolist() == ["a", "b", "colour"]
    assert classifier.predictor_.recipe.levels == {"colour": ("blue", "red")}
    assert classifier.score(FRAME, LABELS) > 0.5
    with pytest.raises(ValueError, match="feature names should match"):
        classifier.predict(FRAME.rename(columns={"b": "c"}))


def test_missing_cells_are_refused_or_filled_in():
    holes = X.copy()
    holes[3, 1] = np.nan
    with pytest.raises(ValueError, match="contains NaN"):
        pj.PopulationRegressor(SPACE, **MLP).fit(holes, VALUES)
    regressor = pj.PopulationRegressor(SPACE, **MLP, missing="median").fit(holes, VALUES)
    filled = X[:5].copy()
    filled[3, 1] = np.median(np.delete(X[:, 1], 3))
    assert np.array_equal(regressor.predict(holes[:5]), regressor.predict(filled))


@pytest.mark.parametrize("rows", [X, FRAME], ids=["array", "frame"])
@pytest.mark.parametrize("lost", [None, float("nan"), pd.NA])
def test_labels_that_are_missing_are_said_to_be(rows, lost):
    labels = LABELS.astype(object)
    labels[[3, 7]] = lost
    for y in (labels, labels.tolist(), pd.Series(labels)):
        with pytest.raises(ValueError, match=r"^y has 2 missing cells, the first in row 4; fill them in, or leave"):
            pj.PopulationClassifier(SPACE, **SMALL).fit(rows, y)


def test_arrays_with_texts_are_predicted_as_the_frame():
    classifier = pj.PopulationClassifier(SPACE, **SMALL).fit(FRAME, LABELS)
    for rows in (FRAME.to_numpy(), FRAME.to_numpy().tolist()):
        with pytest.warns(UserWarning, match="X does not have valid feature names"):
            assert np.array_equal(classifier.predict_proba(rows), classifier.predict_proba(FRAME))
    with (
        pytest.warns(UserWarning, match="feature names"),
        pytest.raises(ValueError, match=r"rows of shape \(90, 3\) do not fit.*text in 'colour'"),
    ):
        classifier.predict(X[:, :3])


def test_labels_that_only_validate_keep_their_letters():
    """The type of y has room for its own texts alone; and y may be categories."""
    labels = np.where(X[:, 0] > 0, "a", "b")
    rank = np.where(X[:40, 1] > 0, labels[:40], "longer")
    classifier = pj.PopulationClassifier(SPACE, trials=2, epochs=2).fit(X, labels, X_val=X[:40], y_val=rank)
    assert classifier.classes_.tolist() == ["a", "b", "longer"]
    assert set(classifier.predict(X)) <= {"a", "b", "longer"}
    categories = pj.PopulationClassifier(SPACE, trials=2, epochs=2, folds=2).fit(X, pd.Categorical(labels))
    plain = pj.PopulationClassifier(SPACE, trials=2, epochs=2, folds=2).fit(X, labels)
    assert categories.predict(X).tolist() == plain.predict(X).tolist()


def test_rows_of_their_own_rank_and_groups_stay_together():
    classifier = pj.PopulationClassifier(SPACE, trials=3, epochs=10)
    given = classifier.fit(X[:60], LABELS[:60], X_val=X[60:], y_val=LABELS[60:])
    rows = given.results_.task.in_folds(1).split
    assert rows.validation.tolist() == [list(range(60, 90))]
    weighed = clone(classifier).fit(X[:60], LABELS[:60], X[60:], LABELS[60:], np.ones(60))
    assert np.array_equal(weighed.predict_proba(X), given.predict_proba(X))
    groups = np.arange(90) // 9
    grouped = pj.PopulationClassifier(SPACE, **SMALL).fit(X, LABELS, groups=groups)
    rows = grouped.results_.task.in_folds(1).split
    assert not set(groups[rows.train[0]]) & set(groups[rows.validation[0]])
    with pytest.raises(ValueError, match="X_val and y_val belong together"):
        given.fit(X, LABELS, X_val=X)


@pytest.mark.parametrize("state", [None, np.random.RandomState(3)])
def test_seeds_come_from_numpy_where_they_are_none(state):
    np.random.seed(0)
    one, two = (pj.PopulationRegressor(SPACE, **SMALL, random_state=state).fit(X, VALUES) for _ in range(2))
    assert not np.array_equal(one.predict(X), two.predict(X))


def test_nothing_that_learned_is_an_error():
    with pytest.raises(ValueError, match=r"all 3 trials diverged \(not finite: .*\); give a space with lower"):
        pj.PopulationRegressor({"learning_rate": 1e30, "hidden": 4}, **SMALL, optimizer="sgd").fit(X, VALUES)


def test_without_a_space_small_models_decay():
    regressor = pj.PopulationRegressor(trials=4, epochs=1, folds=3, model="mlp").fit(X[:24], VALUES[:24])
    assert regressor.results_.space.entries() == table_space(16).entries()
    assert {"hidden", "weight_decay"} <= regressor.best_params_.keys()
    small = {"trials": 2, "epochs": 1, "folds": 3, "model": "mlp"}
    others = pj.PopulationRegressor(**small, optimizer="adam").fit(X[:24], VALUES[:24])
    assert others.results_.space.entries() == pj.default_space(optimizer="adam", rows=16).entries()


@pytest.mark.soak
def test_the_default_space_fits_into_each_fold():
    """Of 146 rows 131 train without folds, 116 in each of five: there a batch of 128 is too large."""
    x = RNG.normal(size=(146, 3))
    task = pj.supervised((x, x[:, 0] > 0), test=0)
    assert task.space["batch_size"].values == (16, 32, 64, 128)
    results = pj.search(task, trials=2, epochs=1, folds=5)
    assert results.space["batch_size"].values == (16, 32, 64)
    pj.PopulationClassifier(trials=2, epochs=1, model="mlp").fit(x, x[:, 0] > 0)


def test_the_default_space_is_the_rows_own():
    """Of 22 rows, 20 of which train: of the batch sizes only 16 fits."""
    results = pj.search(pj.supervised((X[:22], LABELS[:22]), test=0), trials=2, epochs=1)
    assert results.hparams(0)["batch_size"] == 16
    assert set(results.space.searched) == {"learning_rate", "momentum", "hidden", "depth", "decay"}
    with pytest.raises(ValueError, match="this task has no space of its own; give one"):
        pj.search(pj.objective(lambda key, hparams: 1.0), trials=2)
    with pytest.raises(ValueError, match="this task has no space of its own"):
        pj.search(pj.supervised((X, LABELS), model=lambda hparams, rngs: None), trials=2)
    with pytest.raises(ValueError, match=r"the space is LogUniform\(.*; give names with scales"):
        pj.search(pj.supervised((X, LABELS)), pj.log_uniform(1e-3, 1), trials=2)


def test_rows_are_predicted_in_parts_of_few_sizes(monkeypatch):
    """Whatever their number: as many programs as sizes, and each row as if it were alone."""
    regressor = pj.PopulationRegressor(SPACE, trials=1, epochs=1, folds=1).fit(X, VALUES)
    whole = regressor.predict(X)
    alone = np.concatenate([regressor.predict(X[[row]]) for row in range(90)])
    assert alone == pytest.approx(whole, rel=1e-6)
    (stack,) = regressor.predictor_._stacks.values()
    assert stack.apply._cache_size() == 2, "128 rows and 8"
    monkeypatch.setattr("popjax.supervision.stack.PART", 32)
    assert regressor.predict(X) == pytest.approx(whole, rel=1e-6)
    assert stack.apply._cache_size() == 3, "and 32"


@pytest.mark.parametrize("folds", [1, 3])
def test_importances_are_those_of_permuted_columns(folds):
    """By hand: each fold's validation rows, predicted by the ensemble's models that did not train on them."""
    rng = np.random.default_rng(0)
    x = pd.DataFrame({"noise": rng.normal(size=240), "strong": rng.normal(size=240), "weak": rng.normal(size=240)})
    x["kind"] = np.where(x["weak"] > 0, "a", "b")
    y = 3 * x["strong"] + x["weak"] + 0.1 * rng.normal(size=240)
    space = {"learning_rate": 0.02, "hidden": 16, "batch_size": 16}
    how = {"trials": 2, "epochs": 20, "folds": folds, "rank": "mse"}
    fit = pj.PopulationRegressor(space, **how, importances=True).fit(x, y)
    plain = pj.PopulationRegressor(space, **how).fit(x, y)
    assert not hasattr(plain, "feature_importances_")
    np.testing.assert_array_equal(fit.predict(x), plain.predict(x))
    assert fit.feature_importances_.argmax() == 1
    assert abs(fit.feature_importances_[0]) < 0.1 * fit.feature_importances_[1]
    task, predictor, draw = fit.results_.task, fit.predictor_, np.random.default_rng(0)
    expected = np.zeros((folds, 4))
    for fold, rows in enumerate(task.split.validation):
        coded, target = task.dataset.x[rows], task.dataset.y[rows]
        mean = lambda rows, fold=fold: predictor.of_fold(rows, fold).mean(0)
        usual = ((mean(coded) - target) ** 2).mean()
        for column in range(4):
            worse = []
            for order in [draw.permutation(coded[:, column]) for _ in range(3)]:
                changed = coded.copy()
                changed[:, column] = order
                worse.append(((mean(changed) - target) ** 2).mean() - usual)
            expected[fold, column] = np.mean(worse)
    np.testing.assert_allclose(fit.feature_importances_, expected.mean(0), rtol=1e-4, atol=1e-5)


def test_importances_of_dates_and_of_columns_without_a_value():
    """A number a column of X, in its order; the parts of a date are one."""
    frame = pd.DataFrame({"empty": [np.nan] * 120, "day": pd.date_range("2024-01-01", periods=120), "x": range(120)})
    frame["x"] = np.random.default_rng(0).normal(size=120)
    y = frame["day"].dt.day_of_week.to_numpy().astype(float)
    space = {"learning_rate": 0.05, "hidden": 32, "batch_size": 16}
    fit = pj.PopulationRegressor(space, trials=2, epochs=40, folds=2, importances=True).fit(frame, y)
    empty, day, x = fit.feature_importances_
    assert empty == 0
    assert day > 5 * abs(x)


def test_importances_are_in_the_order_of_columns_of_any_names():
    """Numbers as names, too, which scikit-learn does not keep; rows of no columns are refused at once."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(120, 3)), columns=[1, 2, 3])
    space = {"learning_rate": 0.05, "hidden": 16, "batch_size": 16}
    fit = pj.PopulationRegressor(space, trials=1, epochs=20, folds=2, importances=True).fit(frame, 5 * frame[1])
    assert fit.feature_importances_.argmax() == 0
    with pytest.raises(ValueError, match="importances=True: X has 3 axes; give rows and columns"):
        pj.PopulationRegressor(importances=True).fit(rng.normal(size=(40, 3, 3)), rng.normal(size=40))
    wide = rng.normal(size=(60, 400))
    fit = pj.PopulationRegressor(space, trials=1, epochs=5, folds=2, importances=True).fit(wide, wide[:, 7])
    assert np.count_nonzero(fit.feature_importances_) == 400, "however many columns there are, each is measured"


def test_targets_that_are_objects_are_read_as_before():
    x = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2)), columns=["a", "b"])
    space = {"learning_rate": 0.01, "hidden": 4}
    floats = pj.PopulationRegressor(space, trials=1, epochs=1, folds=2).fit(x, x["a"].astype(object))
    assert len(floats.predict(x)) == 60
    with pytest.raises(ValueError, match="no regression"):
        pj.PopulationRegressor(space, trials=1, epochs=1).fit(x, np.array(["u", "v"] * 30, object))


def test_a_regressor_fits_targets_of_one_value():
    """It says so, and predicts it, of one output or several; fitted to others later it is as any other."""
    x = np.random.default_rng(0).normal(size=(60, 3))
    regressor = pj.PopulationRegressor({"learning_rate": 0.01, "hidden": 4}, trials=1, epochs=1, importances=True)
    with pytest.warns(pj.DataWarning, match="y is 3.5 in every row: that is what is predicted"):
        regressor.fit(x, np.full(60, 3.5))
    assert regressor.predict(x[:4]).tolist() == [3.5] * 4
    assert regressor.feature_importances_.tolist() == [0, 0, 0]
    assert pickle.loads(pickle.dumps(regressor)).predict(x[:1]).tolist() == [3.5]
    with pytest.raises(ValueError, match="X has 2 features"):
        regressor.predict(x[:, :2])
    with pytest.warns(pj.DataWarning, match="in every row"):
        several = clone(regressor).fit(x, np.tile([1.0, 2.0], (60, 1)))
    assert several.predict(x[:2]).tolist() == [[1, 2], [1, 2]]
    regressor.fit(x, x[:, 0])
    assert not hasattr(regressor, "constant_")
    assert len(set(regressor.predict(x).tolist())) > 1
    with pytest.warns(pj.DataWarning, match="in every row"):
        regressor.fit(x, np.ones(60))
    assert not {"results_", "predictor_", "best_params_", "cv_results_"} & set(vars(regressor))


@pytest.mark.parametrize("model", ["mlp", "tabular"])
@pytest.mark.parametrize(("rows", "folds"), [(3, 3), (6, 5)])
def test_few_rows_have_fewer_folds(model, rows, folds):
    """As many as there are rows at most, where the number was not asked for; and one row may rank."""
    x, y = np.arange(3.0 * rows).reshape(rows, 3), np.arange(rows) % 2
    classifier = pj.PopulationClassifier(trials=1, epochs=1, model=model).fit(x, y)
    assert classifier.results_.members["val_loss"].shape == (1, folds, 1, 1)
    with pytest.raises(ValueError, match=f"folds={rows + 1} and test=0 leave no row of {rows}"):
        pj.PopulationClassifier(trials=1, epochs=1, folds=rows + 1, model=model).fit(x, y)
    ranked = pj.PopulationClassifier(trials=1, epochs=1, model=model).fit(x, y, X_val=x[:1], y_val=y[:1])
    assert ranked.results_.members["val_loss"].shape == (1, 1, 1, 1)


def test_metrics_of_a_rule_are_reported_for_it():
    """Of its limits and its further objectives too, on the rows that rank; and `verbose` is any truth value."""
    x, y = load_breast_cancer(return_X_y=True)
    space = {"learning_rate": pj.log_uniform(1e-3, 1e-1), "hidden": 8}
    for limit in ("val_f1 >= 0.2", "f1 >= 0.2"):
        rank = pj.best("accuracy", subject_to=[limit, "parameters <= 900"])
        limited = pj.PopulationClassifier(space, 3, 2, model="mlp", rank=rank, verbose=0).fit(x, y)
        assert "val_f1" in limited.results_.members
        assert limited.results_.rule.subject_to == ("val_f1 >= 0.2", "parameters <= 900")
    both = pj.PopulationClassifier(space, 3, 2, model="mlp", rank=pj.pareto("accuracy", "f1", "parameters")).fit(x, y)
    assert [str(one) for one in both.results_.rule.objectives] == ["val_accuracy", "val_f1", "parameters"]


def test_groups_are_of_the_rows_that_train_beside_rows_that_rank():
    x = np.random.default_rng(0).normal(size=(80, 3))
    fit = lambda groups: pj.PopulationRegressor(trials=2, epochs=2).fit(
        x[:60], x[:60, 0], x[60:], x[60:, 0], groups=groups
    )
    alone = np.arange(60) // 4
    assert fit(alone).best_score_ == fit(np.append(alone, 100 + np.arange(20))).best_score_
    with pytest.raises(ValueError, match="groups has shape"):
        fit(alone[:50])
