"""Samplers that learn: they find what random search needs more trials for, ask the same again, and are told all."""

import importlib.util
import subprocess
import sys
import threading

import jax.numpy as jnp
import numpy as np
import optuna
import pytest
import stopping

import popjax as pj
from popjax.core.storage import Corrupt
from popjax.scheduler import Trials
from popjax.store.files import read_json, write_json
from popjax.tuning import proposals as module
from popjax.tuning.by_optuna import told_of, unit_distribution
from popjax.tuning.proposals import default_ends, proposals
from popjax.tuning.schedulers.rounds import further
from popjax.tuning.tpe import tpe

SPACE = pj.Space(
    rate=pj.log_uniform(1e-5, 1),
    momentum=pj.one_minus_log_uniform(0.5, 0.9999),
    width=pj.log_integers(4, 512),
    size=pj.choice(16, 32, 64),
    fixed=3.0,
)


def planted(seed):
    """An objective with its optimum at a random point of the space, in units of the scales' own axes."""
    units = np.random.default_rng(seed).uniform(0.1, 0.9, 4)
    searched = [SPACE[name] for name in SPACE.searched]
    goal = [float(scale.from_unit(unit)) for scale, unit in zip(searched, units, strict=True)]

    def loss(key, hparams):
        far = (jnp.log10(hparams["rate"]) - np.log10(goal[0])) / 5
        slow = (jnp.log10(1 - hparams["momentum"]) - np.log10(1 - goal[1])) / 3.7
        wide = (jnp.log2(hparams["width"] * 1.0) - np.log2(goal[2])) / 7
        return {"loss": far**2 + slow**2 + wide**2 + 0.01 * (hparams["size"] != goal[3]) + 0 * hparams["fixed"]}

    return pj.objective(loss)


# `uv run --with torch pytest tests/test_proposals.py` asks Gaussian processes too
WITH_TORCH = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
LEARN = pytest.mark.parametrize("sampler", ["tpe", "cmaes", pytest.param("gp", marks=WITH_TORCH)])


@LEARN
def test_a_planted_optimum_is_found_in_fewer_trials(sampler):
    """64 trials of it against 256 random ones, in the median over seeds."""
    losses = {"random": [], sampler: []}
    for seed in range(7):
        for name, trials in (("random", 256), (sampler, 64)):
            scheduler = None if name == "random" else pj.rounds(8)
            found = pj.search(planted(seed), SPACE, trials=trials, seed=seed, sampler=name, scheduler=scheduler)
            losses[name].append(found.best.value)
    assert np.median(losses[sampler]) < np.median(losses["random"])


def run(sampler="tpe", seed=3, **settings):
    return stopping.search(planted(0), SPACE, trials=40, seed=seed, sampler=sampler, **settings)


@LEARN
def test_the_same_seed_asks_the_same_points(sampler, tmp_path):
    """Also of a run that was stopped in between, which is asked again by another process's state."""
    whole, again, other = run(sampler), run(sampler), run(sampler, seed=4)
    stop = threading.Event()

    class Stopper(pj.Callback):
        def decision(self, decision, trials):
            if len(trials.epochs) == 20:
                stop.set()

    assert run(sampler, out=tmp_path / "run", stop=stop, callbacks=[Stopper()]).stopped.any()
    resumed = run(sampler, out=tmp_path / "run", resume=True)
    for name in SPACE:
        assert whole.points[name].tobytes() == again.points[name].tobytes() == resumed.points[name].tobytes()
    assert not np.array_equal(whole.points["rate"][10:], other.points["rate"][10:])
    assert resumed.run["sampler"] == sampler
    assert (resumed.run["rounds_in_all"], default_ends(40)) == (4, (10, 20, 30, 40))
    with pytest.raises(ValueError, match=f"sampler was {sampler}, now random"):
        pj.search(planted(0), SPACE, trials=40, seed=3, scheduler=pj.rounds(4), out=tmp_path / "run", resume=True)


def test_a_run_goes_on_in_the_rounds_that_it_began_with(tmp_path, monkeypatch):
    """Also where another number is today's default."""
    whole = run(out=tmp_path / "whole")
    stop = threading.Event()
    stop.set()
    run(out=tmp_path / "run", stop=stop)
    monkeypatch.setattr(module, "FEWEST_ROUNDS", 8)
    resumed = run(out=tmp_path / "run", resume=True)
    assert resumed.points["rate"].tolist() == whole.points["rate"].tolist()
    assert resumed.run["rounds_in_all"] == 4
    assert run().run["rounds_in_all"] == 8


@pytest.mark.parametrize("scheduler", [None, "hyperband(2, 1)"])
def test_more_trials_come_in_further_rounds(tmp_path, scheduler):
    """Twice, and stopped in between: what one search in rounds of that size finds, to the last bit."""

    def epoch(x, hparams, data):
        return x - hparams["rate"] * (x - hparams["shift"]), {"loss": (x - 0.3) ** 2}

    task = pj.Task(lambda key, hparams, data: 1.0, epoch, ())
    space = pj.Space(rate=pj.uniform(0, 1), shift=pj.uniform(-1, 1))
    search = lambda trials, **settings: stopping.search(
        task, space, trials=trials, epochs=4, seed=1, sampler="tpe", **{"scheduler": scheduler, **settings}
    )
    search(80, scheduler=f"rounds(8, {scheduler})" if scheduler else pj.rounds(8), out=tmp_path / "whole")
    search(40, out=tmp_path / "run")
    search(60, out=tmp_path / "run", resume=True)
    stop = threading.Event()
    stop.set()
    assert search(80, out=tmp_path / "run", resume=True, stop=stop).run["rounds_in_all"] == 8
    search(80, out=tmp_path / "run", resume=True)
    for name in ("trials.parquet", "curves.parquet", "best/arrays.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    odd = search(95, out=tmp_path / "run", resume=True).run
    assert (odd["rounds_in_all"], odd["ends"]) == (10, [10, 20, 30, 40, 50, 60, 70, 80, 88, 95])
    again = search(96, out=tmp_path / "run", resume=True)
    assert again.run["ends"] == [*odd["ends"], 96]
    assert (again.done[again.rounds == 10] == 4).all()


def test_fewer_trials_or_other_rounds_are_refused(tmp_path):
    run(out=tmp_path / "run")
    search = lambda trials, scheduler=None: pj.search(
        planted(0),
        SPACE,
        trials=trials,
        seed=3,
        sampler="tpe",
        scheduler=scheduler,
        out=tmp_path / "run",
        resume=True,
    )
    with pytest.raises(ValueError, match="trials was 40, now 30"):
        search(30)
    with pytest.raises(ValueError, match="rounds was 4, now 5"):
        search(40, pj.rounds(5))
    assert search(50, pj.rounds(4)).run["rounds_in_all"] == 5
    run_json = read_json(tmp_path / "run" / "run.json")
    for ends in (7, [], [10, 10, 50], [10, 20.0, 50], [10, 50, 60], ["a" * 99]):
        write_json(tmp_path / "run" / "run.json", run_json | {"ends": ends})
        with pytest.raises(Corrupt, match=r"^run.json: ends=.{1,60} are no ends of rounds; start again"):
            search(60)


@pytest.mark.parametrize(
    ("trials", "size", "ends"),
    [
        (512, 16, tuple(range(64, 513, 16))),
        (512, 64, tuple(range(64, 513, 64))),
        (513, 64, (64, 120, 176, 232, 288, 345, 401, 457, 513)),
        (113, 16, (29, 43, 57, 71, 85, 99, 113)),
        (40, 16, (10, 20, 30, 40)),
        (40, 64, (10, 20, 30, 40)),
        (3, 16, (1, 2, 3)),
        (1, 16, (1,)),
    ],
)
def test_a_first_round_of_64_and_then_of_at_most_a_size(trials, size, ends):
    assert default_ends(trials, size) == ends


@pytest.mark.parametrize(("scheduler", "size"), [(None, 16), ("halving(2, 1)", 32), ("hyperband", 64)])
def test_the_size_is_16_or_64_where_most_are_pruned_or_32_where_earlier_ones_train_on(scheduler, size):
    results = pj.search(planted(0), SPACE, trials=320, epochs=1, sampler="tpe", scheduler=scheduler)
    assert np.bincount(results.rounds).tolist() == [64] + [size] * (256 // size)


def test_further_rounds_are_as_large_as_those_after_the_first():
    assert further((64, 80, 96), 130) == (64, 80, 96, 107, 119, 130)
    assert further(default_ends(512), 1024) == default_ends(1024)
    assert further((32,), 80) == (32, 56, 80)
    assert further((64, 80), 80) == (64, 80)


def test_the_first_round_is_sobols_and_the_others_are_in_range():
    results = run()
    first = SPACE.sample(10, 3, "sobol")
    for name, scale in SPACE.items():
        assert results.points[name][:10].tolist() == first[name].tolist()
        assert results.points[name].dtype == first[name].dtype
        assert ((results.points[name] >= scale.low) & (results.points[name] <= scale.high)).all()
    assert set(results.points["size"].tolist()) <= {16, 32, 64}
    assert len({tuple(point) for point in zip(*(results.points[n].tolist() for n in SPACE), strict=True)}) > 36


def trials_of(points, epochs, loss):
    curves = {"loss": np.array(loss)[:, None].repeat(max(epochs), 1)}
    return Trials(points, np.array(epochs), np.array(loss), curves, np.zeros(len(epochs), bool))


def test_what_optunas_are_told():
    """Complete, pruned with loss and epoch, diverged as pruned at once, and pending; in the order of trials."""
    states = optuna.trial.TrialState
    trials = trials_of(SPACE.sample(4), [8, 4, 8, 0], [0.3, 0.5, np.inf, np.nan])
    told = told_of(trials, SPACE, {name: unit_distribution(SPACE[name]) for name in SPACE.searched}, 8)
    assert [trial.state for trial in told] == [states.COMPLETE, states.PRUNED, states.PRUNED, states.RUNNING]
    assert told[0].value == 0.3
    assert [trial.intermediate_values for trial in told[1:]] == [{4: 0.5}, {}, {}]
    for row, trial in enumerate(told):
        for name in SPACE.searched:
            assert trial.params[name] == pytest.approx(SPACE[name].to_unit(trials.points[name][row]))


def test_pending_points_are_taken_into_account():
    """Points that are asked for together do not crowd where one alone would go."""
    space = pj.Space(x=pj.uniform(0, 1), y=pj.uniform(0, 1))
    points = space.sample(60, 1)
    loss = (points["x"] - 0.7) ** 2 + (points["y"] - 0.2) ** 2
    units = tpe(0, 32, trials_of(points, [1] * 60, loss), space, 1, pj.best("loss"), 0)
    near = (abs(units["x"] - 0.7) < 0.2) & (abs(units["y"] - 0.2) < 0.2)
    assert near.sum() > 10  # of 32, where chance gives 5
    assert len({tuple(np.round(point, 3)) for point in zip(units["x"], units["y"], strict=True)}) == 32


def test_another_seed_asks_for_other_points_after_the_same_trials():
    trials = trials_of(SPACE.sample(20), [1] * 20, np.linspace(0, 1, 20).tolist())
    first, again, other = (
        proposals("tpe", SPACE, seed, 1, rule=pj.best("loss"), budget=40)(8, trials)["rate"] for seed in (0, 0, 1)
    )
    assert first.tolist() == again.tolist()
    assert not set(first.tolist()) & set(other.tolist())


def test_texts_are_asked_for_by_name():
    space = pj.Space(x=pj.uniform(0, 1), kind=pj.choice("a", "b", "c"))

    def loss(key, hparams):
        return {"loss": hparams["x"] ** 2 + {"a": 1.0, "b": 0.0, "c": 1.0}[hparams["kind"]]}

    results = pj.search(pj.objective(loss), space, trials=60, sampler="tpe", scheduler=pj.rounds(6))
    assert (results.points["kind"][30:] == "b").mean() > 0.6
    assert set(results.points["kind"].tolist()) == {"a", "b", "c"}


def test_a_class_of_optunas_and_one_of_ones_own():
    results = pj.search(planted(1), SPACE, trials=24, sampler=optuna.samplers.RandomSampler, scheduler=pj.rounds(3))
    assert len({*results.points["rate"].tolist()}) == 24
    assert results.run["sampler"] == "RandomSampler"


@pytest.mark.parametrize(
    ("sampler", "says"),
    [
        ("tpo", "unknown sampler 'tpo'; there are random, sobol, grid, tpe, cmaes, gp, and the classes of optuna"),
        (optuna.samplers.TPESampler(), "sampler is a TPESampler; there are random"),
        (None, "sampler is a NoneType"),
    ],
)
def test_what_is_no_sampler_is_refused(sampler, says):
    with pytest.raises(ValueError, match=r".") as caught:
        pj.search(planted(0), SPACE, trials=4, sampler=sampler)
    assert says in str(caught.value)


def test_one_round_is_refused_since_nothing_could_be_learned():
    with pytest.raises(ValueError, match="rounds=1: a sampler that learns has nothing to learn from"):
        pj.search(planted(0), SPACE, trials=4, sampler="tpe", scheduler=pj.rounds(1))


def test_what_is_not_installed_is_said_before_anything_is_trained(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "torch" else find(name, *more))
    with pytest.raises(ValueError, match=r"sampler 'gp' needs torch, which is not installed: (uv )?pip install torch"):
        pj.search(planted(0), SPACE, trials=4, sampler="gp")


def test_optuna_is_imported_for_its_own_samplers_alone():
    code = """
import sys
import popjax as pj
sys.modules["optuna"] = None  # an import of it fails
task = pj.objective(lambda key, hparams: {"loss": hparams["x"]})
for sampler in ("random", "tpe"):
    pj.search(task, {"x": pj.uniform(0, 1)}, trials=8, sampler=sampler)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_command_learns(command, tmp_path):
    done = command("sweep", "--dataset", "wine", "--trials", 16, "--epochs", 2, "--set", "hidden=4", "--out", "run",
                   "--sampler", "tpe", "--scheduler", "halving(min_epochs=1)")  # fmt: skip
    assert done.returncode == 0, done.stderr
    results = pj.Results.load(tmp_path / "run")
    assert results.run["sampler"] == "tpe"
    assert results.rounds.max() == 3
    assert "TPE search over 16 trials" in (tmp_path / "run" / "report.html").read_text()


def test_rounds_of_a_schedulers_own_are_not_put_into_others():
    """As `scheduler="halving"` and so many rounds: a sampler that learns would have had rounds in rounds."""
    task = pj.objective(lambda key, hparams: {"loss": hparams["x"] ** 2})
    space = {"x": pj.uniform(0, 1)}
    own = pj.search(task, space, trials=64, sampler="tpe", scheduler=pj.rounds(4))
    named = pj.search(task, space, trials=64, sampler="tpe", scheduler="rounds(4)")
    assert np.bincount(named.rounds).tolist() == [16, 16, 16, 16]
    assert np.bincount(own.rounds).tolist() == [16, 16, 16, 16]
    assert own.points["x"].tolist() == named.points["x"].tolist()
    with pytest.raises(ValueError, match="rounds=2 of a scheduler that has rounds itself"):
        pj.search(task, space, trials=64, scheduler=pj.rounds(2, pj.rounds(4)))


def test_a_search_in_named_rounds_goes_on_more_than_once(tmp_path):
    """With further rounds, by the same arguments each time."""
    task = pj.objective(lambda key, hparams: {"loss": hparams["x"] ** 2})
    asked = dict(sampler="tpe", scheduler=pj.rounds(3), out=tmp_path / "run")
    pj.search(task, {"x": pj.uniform(0, 1)}, trials=24, **asked)
    more = pj.search(task, {"x": pj.uniform(0, 1)}, trials=50, resume=True, **asked)
    again = pj.search(task, {"x": pj.uniform(0, 1)}, trials=50, resume=True, **asked)
    assert again.points["x"].tolist() == more.points["x"].tolist()
    assert np.bincount(again.rounds)[:3].tolist() == [8, 8, 8]
    with pytest.raises(ValueError, match="rounds was 7, now 2"):
        pj.search(task, {"x": pj.uniform(0, 1)}, trials=50, resume=True, **asked | {"scheduler": pj.rounds(2)})
