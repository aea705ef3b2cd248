"""A member's outcome depends on itself alone, to the last bit."""

import dataclasses

import jax
import numpy as np
import pytest
from conftest import soaked

import popjax as pj
from popjax.core.clock import Clock
from popjax.core.trees import from_host, to_host
from popjax.engine.best_epoch import Training
from popjax.engine.member import AHEAD
from popjax.engine.roster import Roster
from popjax.engine.traced_task import Config, TracedTask
from popjax.study.replay import train_points
from popjax.supervision.spaces import default_space

CONFIG = Config(epochs=20, seed=5, repeats=1, folds=1, rule=pj.Rule("val_loss"), lanes=1, plan="one")


@pytest.fixture(scope="module")
def task(rows):
    return pj.supervised(rows)


@pytest.fixture(scope="module")
def space():
    return default_space().replace(batch_size=pj.choice(8, 16, 32), dropout=pj.uniform(0, 0.5))


def members_of(task, space, points, ids, **config):
    """The curves of all trials."""
    return train_points(task, space, points, dataclasses.replace(CONFIG, **config), np.asarray(ids)).members


def curves_of(task, space, points, ids, trial, **config):
    """The curves of one trial, trained with the given company."""
    row = list(ids).index(trial)
    return {name: values[row] for name, values in members_of(task, space, points, ids, **config).items()}


def take(points, rows):
    return {name: column[rows] for name, column in points.items()}


def assert_same_bits(left, right):
    assert left.keys() == right.keys()
    for name in left:
        assert left[name].tobytes() == right[name].tobytes(), name


@pytest.fixture(scope="module")
def alone(task, space):
    """Trial 7's curves when it trains alone."""
    return curves_of(task, space, take(space.sample(512, 5), [7]), [7], 7)


@pytest.mark.parametrize("trials", soaked([63, 8, 64, 512]))
def test_company_changes_no_bit(task, space, alone, trials):
    assert_same_bits(alone, curves_of(task, space, space.sample(trials, 5), range(trials), 7))


@pytest.mark.soak
def test_company_changes_no_bit_where_widths_are_capped(task, space, cheap_programs):
    """The caps follow from the space: not from which trials train, or how many."""
    wide = space.replace(hidden=pj.log_integers(4, 24))
    points = wide.sample(63, 5)
    widest, narrowest = int(points["hidden"].argmax()), int(points["hidden"].argmin())
    company = members_of(task, wide, points, range(63), plan="auto")
    for trial in (narrowest, widest):
        single = curves_of(task, wide, take(points, [trial]), [trial], trial, plan="auto")
        assert_same_bits(single, {name: curve[trial] for name, curve in company.items()})


def test_order_changes_no_bit(task, space, alone):
    rows = [40, 7, 3, 11, 2]
    assert_same_bits(alone, curves_of(task, space, take(space.sample(512, 5), rows), rows, 7))


def test_a_wild_neighbour_changes_no_bit(task, space, alone):
    points = space.sample(8, 5)
    points["learning_rate"][[6, 0]] = 1e30
    company = members_of(task, space, points, range(8))
    assert not np.isfinite(company["train_loss"][[6, 0], ..., -1]).any()
    assert_same_bits(alone, {name: values[7] for name, values in company.items()})


def test_vmapped_lanes_do_not_mix(task, space):
    """At the same number of lanes, neighbours and a padded lane change no bit either."""
    points = space.sample(64, 5)
    company = curves_of(task, space, points, range(64), 7, lanes=8)
    assert_same_bits(company, curves_of(task, space, take(points, [7]), [7], 7, lanes=8))
    points["learning_rate"][[6, 0]] = 1e30
    wild = members_of(task, space, points, range(64), lanes=8)
    assert not np.isfinite(wild["train_loss"][[6, 0], ..., -1]).any()
    assert_same_bits(company, {name: values[7] for name, values in wild.items()})


def test_another_seed_or_trial_or_repeat_is_another_model(task, space, alone):
    points = take(space.sample(512, 5), [7])
    other_trial = curves_of(task, space, points, [8], 8)
    other_seed = curves_of(task, space, points, [7], 7, seed=6)
    repeats = curves_of(task, space, points, [7], 7, repeats=2)
    assert not np.array_equal(other_trial["train_loss"], alone["train_loss"])
    assert not np.array_equal(other_seed["train_loss"], alone["train_loss"])
    assert not np.array_equal(repeats["train_loss"][:, 1], alone["train_loss"][:, 0])
    assert_same_bits({name: values[:, :1] for name, values in repeats.items()}, alone)


@pytest.mark.parametrize("segments", [1, 3, 20])
def test_segments_change_no_bit(task, space, alone, segments):
    """The state leaves for the host between segments and comes back."""
    roster = Roster(TracedTask(task, space, CONFIG), take(space.sample(512, 5), [7]), np.array([7]))
    programs, members = roster.programs(0, roster.lanes(0), Clock()), roster.members(0, np.zeros(16, int))
    counts = np.ones(1, np.int32)
    data = jax.tree.map(jax.numpy.asarray, task.data)
    like = roster.abstract(0).state
    stacked = jax.tree.map(lambda aval: jax.ShapeDtypeStruct((16, *aval.shape), aval.dtype), like)
    training = programs.init.result()(np.uint32(5), members, data, counts)
    losses = []
    for segment in np.array_split(np.arange(20), segments):
        arrays = jax.tree.map(np.copy, to_host(training.state))
        training = Training(jax.jit(lambda a: from_host(stacked, a))(arrays), training.alive)
        for calls in np.array_split(segment, -(-len(segment) // AHEAD)):
            epochs = np.int32(len(calls))
            training, metrics, _ = programs.epoch.result()(training, members, data, counts, epochs)
            losses.append(np.asarray(metrics["val_loss"])[0, :epochs])
            assert np.isnan(metrics["val_loss"][:, epochs:]).all()
    assert np.concatenate(losses).tobytes() == alone["val_loss"].tobytes()


@pytest.mark.parametrize(
    "asked",
    [{}, {"scheduler": pj.halving()}, {"rank": pj.best("val_loss", at="best", patience=3, keep=3)}],
    ids=["plain", "halving", "patience"],
)
def test_epochs_in_one_call_change_no_bit(task, space, monkeypatch, asked):
    """As many as are left, or one after another."""
    results = []
    for span in (0.0, 1e9):
        monkeypatch.setattr("popjax.engine.backends.local.SPAN", span)
        results.append(pj.search(task, space, trials=20, epochs=20, **asked))
    one, several = results
    assert one.best == several.best
    assert_same_bits(one.curves, several.curves)
    for name, array in one.states[one.best.trial].items():
        assert array.tobytes() == several.states[one.best.trial][name].tobytes()


def test_divergence_is_data(task, space):
    """A member whose metrics stop being finite is marked there, keeps its last record and never wins."""
    points = space.sample(6, 5)
    points["learning_rate"][:], points["momentum"][:] = 0.01, 0.9
    points["learning_rate"][2] = 1e6
    results = train_points(task, space, points, CONFIG)
    rows = results.trials.to_pylist()
    assert rows[2]["status"] == "diverged"
    assert rows[2]["rank"] is None
    assert rows[2]["epochs"] < 20
    assert np.isnan(results.curves["val_accuracy"][2, rows[2]["epochs"] :]).all()
    assert [row["status"] for i, row in enumerate(rows) if i != 2] == ["ok"] * 5
    assert sorted(row["rank"] for row in rows if row["rank"]) == [1, 2, 3, 4, 5]


def test_the_last_finite_record_is_kept():
    """A metric that turns NaN in the third epoch leaves two epochs and the second's record."""

    def init(key, hparams, data):
        return jax.numpy.zeros(())

    def epoch(count, hparams, data):
        bad = (hparams["x"] > 0.5) & (count >= 2)
        return count + 1, {"loss": jax.numpy.where(bad, jax.numpy.nan, hparams["x"] + count), "other": count}

    task = pj.Task(init, epoch, ())
    results = pj.search(task, pj.Space(x=pj.uniform(0, 1)), trials=8, epochs=5)
    for row in results.trials.to_pylist():
        diverged = row["x"] > 0.5
        assert row["status"] == ("diverged" if diverged else "ok")
        assert row["epochs"] == (2 if diverged else 5)
        other, loss = (results.curves[name][row["trial"], row["epochs"] - 1] for name in ("other", "loss"))
        assert other == row["epochs"] - 1
        assert loss == pytest.approx(row["x"] + row["epochs"] - 1, rel=1e-6)
        assert (row["other"], row["loss"]) == ((None, None) if diverged else (other, loss))
    assert results.best.hparams["x"] == min(results.points["x"])


def test_all_diverged_has_no_best():
    task = pj.objective(lambda key, hparams: {"loss": hparams["x"] * jax.numpy.nan})
    results = pj.search(task, pj.Space(x=pj.uniform(0, 1)), trials=3)
    assert results.best is None
    assert results.summary["best"] is None
    assert results.summary["diverged"] == 3


def test_programs_are_shared_by_populations_of_all_sizes(task, space):
    """What makes the above hold: one executable, whatever the number of members."""
    traced = TracedTask(task, space, CONFIG)
    one, many = Roster(traced, take(space.sample(2, 5), [0])), Roster(traced, space.sample(100, 5))
    first, second = (roster.programs(0, roster.lanes(0), Clock()) for roster in (one, many))
    assert first is second


@pytest.mark.parametrize(
    "settings",
    soaked(
        [
            {"folds": 2, "repeats": 2},
            {},
            {"scheduler": "rounds(2)"},
            {"backend": pj.Local(4)},
            {"backend": pj.Local(plan="buckets")},
        ]
    ),
    ids=str,
)
def test_a_trial_is_replayed_to_the_last_bit(task, settings, tmp_path):
    """Alone, and from the files too, where the task must be given."""
    space = default_space().replace(batch_size=pj.choice(8, 16), depth=pj.integers(1, 2))
    results = pj.search(task, space, trials=24, epochs=3, out=tmp_path / "run", **settings)
    loaded = pj.Results.load(tmp_path / "run")
    for trial in (0, 17):
        assert_same_bits(results.replay(trial), {name: curve[trial] for name, curve in results.curves.items()})
    assert_same_bits(pj.replay(loaded, 23, task), {name: curve[23] for name, curve in results.curves.items()})
    with pytest.raises(ValueError, match="give the task"):
        loaded.replay(0)
    with pytest.raises(ValueError, match=r"no trial 24; choose 0\.\.23"):
        results.replay(24)
