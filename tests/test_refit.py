"""`pj.refit`: those that predict, trained once more on all rows but those that test."""

import collections
import pickle

import loop
import numpy as np
import pandas as pd
import pytest
from flax import nnx
from test_population_equals_loop import exact, exact_start, space_for

import popjax as pj
from popjax.engine.tracer import Tracer

EPOCHS = 12
RNG = np.random.default_rng(3)
X = RNG.normal(size=(120, 3))
Y = X[:, 0] + 0.5 * X[:, 1] ** 2
SPACE = {"learning_rate": pj.log_uniform(1e-3, 1e-1), "hidden": 8}
SMALL = {"trials": 4, "epochs": 6, "folds": 3}


@pytest.mark.parametrize(
    ("how", "rank"),
    [
        ({}, pj.together(3, "mean", "val_loss", at="best")),
        ({"shuffle": False}, pj.best("val_loss", at="best")),
        ({}, pj.best("val_loss")),
        ({}, pj.together(7, "greedy", "val_loss", at="best")),
    ],
    ids=["together", "in time", "last epoch", "greedy"],
)
def test_each_is_a_plain_fit_of_all_rows_to_the_mean_of_its_best_epochs(x64, rows, how, rank):
    """By a schedule whose horizon is the search's, from the trial's own key; weights and settings stay."""
    task = pj.supervised(rows, optimizer="adamw", schedule="cosine", **how)
    space = space_for("adamw", "cosine")
    results = pj.search(task, space, trials=6, epochs=EPOCHS, folds=3, rank=rank)
    again = pj.refit(results, repeats=1)
    expected = collections.Counter(results.ensemble or [results.best.trial])
    assert dict(zip(again.trials, again.weights, strict=True)) == expected
    method = rank.method if rank.together else ""
    assert method != "greedy" or max(expected.values()) > 1
    trained = np.setdiff1d(np.arange(len(rows[1])), task.split.test)
    checker = Tracer(task.on_all_rows(), space, space.sample(6), EPOCHS)
    static = checker.static_names(set())
    data = loop.standardized(*rows, trained, trained, 3)
    ends = []
    for one in again.trained:
        end = EPOCHS if rank.at == "last" else round(results.best_epochs[one.trial].mean())
        state, start = exact_start(checker, static, one.trial)
        _, expected = loop.train(start, state.key, data, one.hparams, "adamw", "cosine", end, 3, horizon=EPOCHS)
        assert one.hparams == results.hparams(one.trial)
        own = {name.removeprefix("params."): array[0] for name, array in one.arrays.items()}
        layers = [{"kernel": own[f"hidden.{at}.kernel"], "bias": own[f"hidden.{at}.bias"]} for at in range(3)]
        out = {"kernel": own["out.kernel"], "bias": own["out.bias"]}
        for ours, theirs in zip(exact({"hidden": layers, "out": out}, one.hparams), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
        ends.append(end)
    assert method != "mean" or min(ends) < EPOCHS, "a best epoch is before the last"


def test_so_many_models_as_the_search_trained_of_each_trial():
    """Each from a key of its own: the first is that of one repeat alone."""
    task = pj.supervised((X, Y), optimizer="adam", test=0)
    results = pj.search(task, {"learning_rate": 0.01, "hidden": 8}, trials=1, epochs=3, folds=3, repeats=2)
    arrays, alone = (pj.refit(results, repeats).arrays["params.out.kernel"] for repeats in (None, 1))
    assert arrays.shape[0] == 6
    assert len({array.tobytes() for array in arrays}) == 6
    np.testing.assert_array_equal(arrays[0], alone[0])


@pytest.mark.parametrize("refit", [None, False, True])
@pytest.mark.parametrize("shuffle", [True, False])
def test_an_estimator_of_rows_in_time_is_trained_on_the_latest(refit, shuffle):
    """Unless asked not to; that of shuffled rows if asked."""
    regressor = pj.PopulationRegressor(**SMALL, shuffle=shuffle, refit=refit).fit(X, Y)
    again = refit or (refit is None and not shuffle)
    expected = pj.refit(regressor.results_) if again else regressor.results_.predictor()
    assert regressor.predictor_.recipe.folds == (1 if again else 3)
    np.testing.assert_array_equal(regressor.predict(X), expected.predict(X))


def test_what_columns_are_worth_is_measured_by_models_that_did_not_see_the_rows():
    plain, again = (
        pj.PopulationRegressor(**SMALL, shuffle=False, refit=refit, importances=True).fit(X, Y)
        for refit in (False, None)
    )
    np.testing.assert_array_equal(plain.feature_importances_, again.feature_importances_)


def test_after_another_ranking_it_is_what_predicts_then():
    task = pj.supervised((X, Y), optimizer="adam", test=0)
    space = {"learning_rate": pj.log_uniform(1e-3, 1e-1), "hidden": 4}
    results = pj.search(task, space, trials=6, epochs=4, folds=2, rank=pj.best(keep=4)).ranked(pj.together(3, "mean"))
    assert pj.refit(results).trials == results.predictor().trials == results.best_trials(3)


def table(rows=90):
    frame = pd.DataFrame(X[:rows], columns=["a", "b", "c"])
    frame["colour"] = np.where(X[:rows, 2] > 0, "red", "blue")
    frame.loc[::7, "a"] = np.nan
    return frame


class Own(nnx.Module):
    """A custom model of three columns."""

    def __init__(self, hparams, rngs):
        self.layer = nnx.Linear(3, 1, rngs=rngs)

    def __call__(self, x):
        return self.layer(x)


@pytest.mark.parametrize(
    ("x", "y", "more"),
    [
        (table(), Y[:90], {"shuffle": False}),
        (table(), np.where(Y[:90] > 0, "yes", "no"), {"shuffle": False, "class_weight": "balanced"}),
        (X, np.stack([Y, X[:, 1]], 1), {"refit": True}),
        (X, np.stack([Y > 0, X[:, 1] > 0], 1).astype(int), {"refit": True}),
        (X, Y, {"shuffle": False, "model": Own, "optimizer": "adam", "space": {"learning_rate": 0.01}}),
        (X[:7], Y[:7], {"shuffle": False}),
    ],
    ids=["cells", "texts", "values", "labels", "custom", "few rows"],
)
@pytest.mark.filterwarnings("ignore::popjax.DataWarning")
def test_any_table_is_trained_again_and_kept_by_a_pickle(x, y, more):
    kind = pj.PopulationRegressor if y.dtype == float else pj.PopulationClassifier
    model = kind(**{"trials": 3, "epochs": 3, "folds": 3} | more).fit(x, y)
    assert model.predictor_.recipe.folds == 1
    read = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(read.predict(x), model.predict(x))


def test_rows_of_every_group_train_again():
    """Each fold leaves some out; the targets' mean is that of all rows."""
    groups = np.repeat(np.arange(9), [30, 25, 20, 15, 10, 8, 6, 4, 2])
    regressor = pj.PopulationRegressor(**SMALL, refit=True).fit(X, Y, groups=groups)
    np.testing.assert_allclose(regressor.predictor_.recipe.y_mean, [Y.mean()])


def test_other_rows_that_ranked_train_by_the_mean_of_the_weights():
    """Equal weights of any size are no weights."""
    fits = [
        pj.PopulationRegressor(trials=3, epochs=4, refit=True).fit(X[:80], Y[:80], X[80:], Y[80:], sample_weight=weight)
        for weight in (None, np.full(80, 1000.0))
    ]
    np.testing.assert_allclose(fits[0].predict(X), fits[1].predict(X), rtol=1e-5)


def test_what_diverges_on_all_rows_is_left_out():
    """Said once; if all do, it is an error."""
    task = pj.supervised((X, Y), optimizer="sgd", test=0)
    space = {"learning_rate": pj.log_uniform(1e-3, 1e-1), "hidden": 4, "momentum": 0.0}
    results = pj.search(task, space, trials=4, epochs=3, rank=pj.together(3))
    first = results.ensemble[0]
    results.points["learning_rate"].flags.writeable = True
    results.points["learning_rate"][first] = 1e20
    with pytest.warns(pj.DataWarning, match=f"trial {first} diverges; it is left out, of 3 that predict"):
        again = pj.refit(results)
    assert again.trials == list(results.ensemble[1:])
    results.points["learning_rate"][:] = 1e20
    with pytest.raises(ValueError, match=f"all diverge on all rows, trial {first} first; search with lower"):
        pj.refit(results)


def test_trials_that_changed_are_not_trained_again_unasked():
    """As PBT does; nor within a budget of minutes. Asked for, the first is refused."""
    more = {"model": "mlp", "trials": 8, "epochs": 6, "folds": 2, "shuffle": False, "space": SPACE}
    copied = pj.PopulationRegressor(scheduler=pj.pbt(warmup=1), **more).fit(X, Y)
    assert copied.results_.history is not None
    assert copied.predictor_.recipe.folds == 2
    assert pj.PopulationRegressor(minutes=5, **more).fit(X, Y).predictor_.recipe.folds == 2
    with pytest.raises(ValueError, match=r"hyperparameters changed as trials trained.*leave refit out"):
        pj.PopulationRegressor(scheduler=pj.pbt(warmup=1), refit=True, **more).fit(X, Y)


def test_what_cannot_be_trained_again_is_said(tmp_path):
    task = pj.supervised((X, Y), optimizer="adam", test=0)
    space = {"learning_rate": pj.log_uniform(1e-3, 1e-2), "hidden": 4}
    results = pj.search(task, space, trials=4, epochs=4, out=tmp_path / "run")
    copied = pj.search(task, space, trials=8, epochs=6, scheduler=pj.pbt(warmup=1))
    lost = pj.search(task, {"learning_rate": 1e30, "hidden": 4}, trials=1, epochs=2)
    cost = pj.search(pj.objective(lambda key, hparams: {"loss": hparams["x"]}), {"x": pj.uniform(0, 1)}, trials=2)
    for given, says in (
        (pj.Results.load(tmp_path / "run"), "in this process"),
        (cost, "give the results of pj.search of pj.supervised"),
        (copied, "hyperparameters changed as trials trained"),
        (lost, "diverged.*there is nothing to train again"),
    ):
        with pytest.raises(ValueError, match=says) as caught:
            pj.refit(given)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="repeats=0"):
        pj.refit(results, repeats=0)
