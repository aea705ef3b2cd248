"""The tree-structured Parzen estimator: Optuna's densities, samples of them, and where their ratio is largest."""

import numpy as np
import optuna
import pytest
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator, _ParzenEstimatorParameters
from optuna.samplers._tpe.sampler import _split_trials, default_gamma, default_weights
from scipy import stats

import popjax as pj
from popjax.scheduler import Trials
from popjax.space.parzen import CANDIDATES, Density, parzen
from popjax.tuning.tpe import GOOD, OTHERS, good_and_others, known_together, tpe

SIZES = [0, 0, 3, 0, 5]


def points(n, seed=0, sizes=SIZES):
    rng = np.random.default_rng(seed)
    columns = [rng.integers(0, size, n) if size else rng.random(n) ** 3 for size in sizes]
    return np.array(columns, float).reshape(len(sizes), n).T


def theirs(tried, sizes=SIZES):
    """Optuna's estimator, as its sampler makes one by default."""
    axes = {
        str(axis): optuna.distributions.CategoricalDistribution(range(size))
        if size
        else optuna.distributions.FloatDistribution(0, 1)
        for axis, size in enumerate(sizes)
    }
    parameters = _ParzenEstimatorParameters(1.0, True, False, default_weights, True)
    return _ParzenEstimator(named(tried), axes, parameters)


def named(rows):
    return {str(axis): column for axis, column in enumerate(rows.T)}


@pytest.mark.parametrize("n", [0, 1, 2, 3, 24, 25, 26, 60, 300])
def test_the_density_is_optunas(n):
    tried, where = points(n), points(50, seed=1)
    assert Density(tried, SIZES).log(where) == pytest.approx(theirs(tried).log_pdf(named(where)), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("n", [0, 1, 40])
def test_samples_follow_the_density(n):
    """Along every axis, against the distribution that its components add up to."""
    density = Density(points(n), SIZES)
    drawn = density.sample(20_000, np.random.default_rng(3))
    assert ((drawn >= 0) & (drawn <= np.where(np.equal(SIZES, 0), 1, np.array(SIZES) - 1))).all()
    for column, axis in enumerate([0, 1, 3]):
        centres, widths = density.centres[:, column], density.widths[:, column]
        part = stats.truncnorm(-centres / widths, (1 - centres) / widths, centres, widths)
        assert stats.kstest(drawn[:, axis], lambda x, part=part: part.cdf(x[:, None]) @ density.weights).pvalue > 1e-4
    for axis in (2, 4):
        counts = np.bincount(drawn[:, axis].astype(int), minlength=SIZES[axis])
        assert stats.chisquare(counts, len(drawn) * density.weights @ density.chances[axis]).pvalue > 1e-4


def test_the_axes_of_a_sample_come_from_one_component():
    """Points far apart along both axes: what is near one of them along one axis is near it along the other."""
    tried = np.array([[0.1, 0.1, 0], [0.12, 0.12, 0], [0.9, 0.9, 1], [0.88, 0.88, 1]] * 20)
    drawn = Density(tried, [0, 0, 2]).sample(4000, np.random.default_rng(0))
    assert np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1] > 0.9
    assert np.corrcoef(drawn[:, 0], drawn[:, 2])[0, 1] > 0.8


def test_the_point_taken_is_the_best_of_optunas_ratio_with_those_before_it_among_the_others():
    good, others = points(12), points(6, seed=1)
    found = parzen(16, good, others, SIZES, seed=7)
    candidates = Density(good, SIZES).sample(16 * CANDIDATES, np.random.default_rng(7))
    for row, several in enumerate(candidates.reshape(16, CANDIDATES, -1)):
        far = theirs(np.concatenate([others, found[:row]]))
        ratio = theirs(good).log_pdf(named(several)) - far.log_pdf(named(several))
        assert found[row].tolist() == several[ratio.argmax()].tolist()


RULE = pj.best("loss")


def trials_of(epochs, loss):
    """Trials with the same loss after each epoch."""
    after = np.arange(20) < np.array(epochs)[:, None]
    curves = {"loss": np.where(after, np.array(loss)[:, None], np.nan)}
    return Trials({}, np.array(epochs), np.array(loss), curves, np.zeros(len(epochs), bool))


@pytest.mark.parametrize("n", [1, 9, 10, 11, 40])
def test_the_good_trials_are_those_of_optuna(n):
    """As long as few have got anywhere: complete before pruned, later before earlier, less loss before more; diverged
    last, pending never.
    """
    states = optuna.trial.TrialState
    rng = np.random.default_rng(n)
    epochs, loss = rng.choice([0, 2, 8, 20], n, p=[0.1, 0.6, 0.25, 0.05]), rng.uniform(size=n)
    loss[rng.random(n) < 0.3] = np.inf
    study = optuna.create_study()
    for number, (epoch, value) in enumerate(zip(epochs.tolist(), loss.tolist(), strict=True)):
        known = {"state": states.RUNNING}
        if epoch:
            known = {"state": states.PRUNED, "intermediate_values": {epoch: value} if np.isfinite(value) else {}}
        if epoch == 20 and np.isfinite(value):
            known = {"state": states.COMPLETE, "value": value}
        study.add_trial(optuna.trial.create_trial(**known, user_attrs={"number": number}))
    below, above = _split_trials(study, study.trials, default_gamma(int((epochs > 0).sum())))
    good, others = good_and_others(trials_of(epochs, loss), 0, RULE)
    assert good.tolist() == [trial.user_attrs["number"] for trial in below]
    assert others.tolist() == [trial.user_attrs["number"] for trial in above]


def test_of_a_long_search_it_takes_a_hundred_and_a_sample_of_the_others():
    """A tenth as Optuna, but of at most 100 where Optuna has 25; and all that have not begun."""
    rng = np.random.default_rng(0)
    epochs, loss = rng.choice([0, 2, 20], 3000, p=[0.02, 0.2, 0.78]), rng.uniform(size=3000)
    trials = trials_of(epochs, loss)
    good, others = good_and_others(trials, 1, RULE)
    ended = np.flatnonzero(epochs == 20)
    assert set(good.tolist()) == set(sorted(ended.tolist(), key=lambda trial: loss[trial])[:GOOD])
    assert (epochs[others] == 20).sum() == OTHERS
    assert not (epochs[others] == 2).any()
    assert set(np.flatnonzero(epochs == 0)) <= set(others.tolist())
    assert (
        others.tolist() == sorted({*others.tolist()} - {*good.tolist()}) == good_and_others(trials, 1, RULE)[1].tolist()
    )
    assert others.tolist() != good_and_others(trials, 2, RULE)[1].tolist()


def test_groups_of_hyperparameters_are_asked_for_with_chances_of_their_own():
    """Two that stand beside each other never, with the same values and losses: their points differ."""
    space = pj.Space(a=pj.uniform(0, 1), b=pj.uniform(0, 1))
    values, odd = np.linspace(0, 1, 10).repeat(2), np.arange(20) % 2 == 1
    points = {"a": np.where(odd, np.nan, values), "b": np.where(odd, values, np.nan)}
    found = tpe(0, 8, trials_of([1] * 20, values)._replace(points=points), space, 1, RULE, 0)
    assert not set(found["a"].tolist()) & set(found["b"].tolist())


def test_hyperparameters_that_the_same_trials_have_are_asked_for_together():
    gap = np.array([0.1, np.nan, 0.3])
    assert known_together({"a": np.ones(3), "b": gap, "c": gap + 1, "d": np.zeros(3)}) == [["a", "d"], ["b", "c"]]
