"""`pj.refit`: those that predict, trained once more on all rows but those that test."""

import loop
import numpy as np
import pytest
from test_population_equals_loop import exact, exact_start, space_for

import popjax as pj
from popjax.engine.tracer import Tracer

EPOCHS = 12
RNG = np.random.default_rng(3)
X = RNG.normal(size=(120, 3))
Y = X[:, 0] + 0.5 * X[:, 1] ** 2
SMALL = {"trials": 4, "epochs": 6, "folds": 3}


@pytest.mark.parametrize(
    ("how", "rank"),
    [
        ({}, pj.together(3, "mean", "val_loss", at="best")),
        ({"shuffle": False}, pj.best("val_loss", at="best")),
        ({}, pj.best("val_loss")),
    ],
    ids=["together", "in time", "last epoch"],
)
def test_each_is_a_plain_fit_of_all_rows_to_the_mean_of_its_best_epochs(x64, rows, how, rank):
    """By a schedule whose horizon is the search's, from the trial's own key; weights and settings stay."""
    task = pj.supervised(rows, optimizer="adamw", schedule="cosine", **how)
    space = space_for("adamw", "cosine")
    results = pj.search(task, space, trials=6, epochs=EPOCHS, folds=3, rank=rank)
    again = pj.refit(results, repeats=1)
    assert again.trials == list(results.ensemble or [results.best.trial])
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
    assert rank.at == "last" or min(ends) < EPOCHS, "a best epoch is before the last"


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
