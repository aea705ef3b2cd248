"""Samplers that learn: they find what random search needs more trials for, ask the same again, and are told all."""

import importlib.util
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import optuna
import pytest
import stopping

import popjax as pj
from popjax.core.storage import Corrupt
from popjax.scheduler import Trials
from popjax.space.points import coordinates
from popjax.store.files import read_json, write_json
from popjax.tuning import proposals as module
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
            if len(trials.epochs) >= 16:
                stop.set()

    assert run(sampler, out=tmp_path / "run", stop=stop, callbacks=[Stopper()]).stopped.any()
    resumed = run(sampler, out=tmp_path / "run", resume=True)
    for name in SPACE:
        assert whole.points[name].tobytes() == again.points[name].tobytes() == resumed.points[name].tobytes()
    assert not np.array_equal(whole.points["rate"][10:], other.points["rate"][10:])
    assert resumed.run["sampler"] == sampler
    rounds = {"tpe": 4, "cmaes": 5, "gp": 3}[sampler]  # of 10, of a generation of 8, of 16
    assert resumed.run["rounds_in_all"] == rounds
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


def ackley(key, hparams):
    """With a condition: `z` exists on one of two sides, of which the other is worse."""
    side = 0.3 if hparams["side"] == "left" else (hparams["z"] - 0.7) ** 2
    x = jnp.stack([hparams["x"], hparams["y"]]) - 0.4
    waves = jnp.exp(jnp.cos(20 * jnp.pi * x).mean())
    return {"loss": -20 * jnp.exp(-2 * jnp.sqrt((x**2).mean())) - waves + 20 + jnp.e + side}


def plateau(key, hparams):
    """Steps, and a corner in which nothing is finite."""
    level = jnp.floor(8 * hparams["x"]) + jnp.floor(8 * hparams["y"])
    return {"loss": jnp.where(hparams["x"] * hparams["y"] > 0.8, jnp.nan, level)}


def noisy(key, hparams):
    return {"loss": (hparams["x"] - 0.7) ** 2 + (hparams["y"] - 0.2) ** 2 + 0.05 * jax.random.normal(key)}


PLANE = {"x": pj.uniform(0, 1), "y": pj.uniform(0, 1)}
FIVE = {
    "sphere": (lambda key, hparams: {"loss": (hparams["x"] - 0.3) ** 2 + (hparams["y"] - 0.6) ** 2}, PLANE),
    "rosenbrock": (
        lambda key, hparams: {"loss": (1 - hparams["x"]) ** 2 + 100 * (hparams["y"] - hparams["x"] ** 2) ** 2},
        {"x": pj.uniform(-2, 2), "y": pj.uniform(-1, 3)},
    ),
    "ackley": (ackley, PLANE | {"side": pj.choice("left", "right"), "z": pj.log_uniform(0.1, 1).when(side="right")}),
    "plateau": (plateau, PLANE),
    "noisy": (noisy, PLANE | {"many": pj.integers(1, 5)}),
}
CLASSES = ["CmaEsSampler", "NSGAIISampler", "QMCSampler", "TPESampler", "RandomSampler"]


def objective(name):
    """One of FIVE; the noisy one reads its third hyperparameter, which changes nothing."""
    function, space = FIVE[name]
    also = (
        (lambda key, hparams: {"loss": function(key, hparams)["loss"] + 0 * hparams["many"]})
        if "many" in space
        else function
    )
    return pj.objective(also), pj.Space(**space)


def asked_by_optuna(make, results):
    """Optuna's own loop, asked for the rounds of a search, and told what it found: name -> coordinates (trials,)."""
    space, column = results.space, {name: [] for name in results.space.searched}
    study = optuna.create_study(sampler=make(seed=3))
    for number in range(results.rounds.max() + 1):
        rows = np.flatnonzero(results.rounds == number).tolist()
        trials = [study.ask() for _ in rows]
        for trial in trials:
            for name in column:
                if not space[name].numeric:
                    column[name].append(trial.suggest_categorical(name, range(2)))
                else:
                    there = name not in space.conditions or column["side"][-1] == 1
                    column[name].append(trial.suggest_float(name, 0, 1) if there else np.nan)
        for row, trial in zip(rows, trials, strict=True):
            if results.diverged[row]:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            else:
                study.tell(trial, float(results.values["loss"][row]))
    return column


@pytest.mark.filterwarnings("ignore")  # Optuna's, of experimental samplers
@pytest.mark.parametrize("name", FIVE)
@pytest.mark.parametrize("sampler", ["cmaes", *CLASSES])
def test_a_search_is_optunas_own_loop_asked_in_rounds(name, sampler):
    """Point for point: one study for all rounds, so that what a sampler keeps from trial to trial is kept."""
    task, space = objective(name)
    made = getattr(optuna.samplers, "CmaEsSampler" if sampler == "cmaes" else sampler)
    results = pj.search(task, space, trials=64, seed=3, sampler=sampler if sampler == "cmaes" else made)
    assert results.rounds.max() >= 3
    for name, column in asked_by_optuna(made, results).items():
        ours = coordinates(space[name], results.points[name])
        back = coordinates(space[name], points_at(space[name], column))
        assert np.array_equal(ours, back, equal_nan=True), name


def points_at(scale, column):
    """Values at coordinates of which some are NaN."""
    column = np.array(column)
    if not scale.numeric:
        return np.array([scale.values[int(index)] for index in column], object)
    values = scale.from_unit(np.nan_to_num(column))
    return np.where(np.isnan(column), np.nan, values)


def test_cma_es_arrives():
    """After 320 trials as near as Optuna's own loop, where one that begins anew in each round stays at 1e-4."""
    task, space = objective("sphere")
    assert max(pj.search(task, space, trials=320, seed=seed, sampler="cmaes").best.value for seed in range(3)) < 1e-9


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("sampler", ["cmaes", "NSGAIISampler", "QMCSampler"])
def test_killed_at_any_round_it_ends_as_the_run_left_alone(python, tmp_path, sampler):
    """Killed twice, once before a round's line is written and once after, with a scheduler that prunes."""
    code = KILLED.format(here=str(tmp_path), tests=__file__.rpartition("/")[0])
    for run, kills in (("whole", [0]), ("run", [3, 5, 0])):
        for kill_at in kills:
            ended = python(code, sampler, run, kill_at)
            assert ended.returncode == (-9 if kill_at else 0), ended.stderr
    for name in ("trials.parquet", "curves.parquet", "best/arrays.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


KILLED = """
import os, signal, sys
import optuna
import popjax as pj
sys.path.insert(0, {tests!r})
from test_proposals import noisy, objective
sampler, run, kill_at = sys.argv[1], sys.argv[2], int(sys.argv[3])
task, space = objective("noisy")
task = pj.Task(lambda key, hparams, data: (key, 1.0), lambda state, hparams, data: ((state[0], state[1] * 0.9),
    {{"loss": noisy(state[0], hparams)["loss"] + 0 * hparams["many"] + state[1]}}), ())
class Kill(pj.Callback):
    def decision(self, decision, trials):
        global kill_at
        kill_at -= bool(decision.add)
        if decision.add and kill_at == 0:
            os.kill(os.getpid(), signal.SIGKILL)
sampler = sampler if sampler == "cmaes" else getattr(optuna.samplers, sampler)
pj.search(task, space, trials=96, epochs=4, sampler=sampler, scheduler=pj.rounds(8, pj.halving(2, 1)),
    callbacks=[Kill()], out=run, resume=True)
"""


def test_points_that_were_not_asked_for_are_told_too():
    """Those to start with; and those that may not be trained are asked for again."""
    task, space = objective("sphere")
    held = space.where("x + y <= 1")
    start = [{"x": 0.25, "y": 0.5}, {"x": 0.5, "y": 0.25}]
    results = pj.search(task, held, trials=64, seed=3, sampler="cmaes", start=start)
    points = results.points
    assert (points["x"][:2].tolist(), points["y"][:2].tolist()) == ([0.25, 0.5], [0.5, 0.25])
    assert (points["x"] + points["y"] <= 1).all()
    assert results.best.value < 1e-3


def test_several_objectives_and_limits_are_told_as_places():
    def outcome(key, hparams):
        return {"loss": hparams["x"] ** 2 + hparams["y"], "other_loss": (1 - hparams["x"]) ** 2 + hparams["y"]}

    for rank in (pj.pareto("loss", "other_loss"), pj.best("loss", subject_to="other_loss <= 0.5")):
        results = pj.search(pj.objective(outcome), PLANE, trials=96, sampler="cmaes", rank=rank)
        assert np.median(results.points["y"][48:]) < 0.2


class Forgetful(optuna.samplers.RandomSampler):
    """Draws by no seed."""

    def __init__(self, seed=None):
        super().__init__()


def test_a_class_that_a_resumed_run_could_not_ask_again_is_refused():
    with pytest.raises(
        ValueError, match="the sampler Forgetful returned other points when it was asked again; draw by"
    ):
        pj.search(*objective("sphere"), trials=8, sampler=Forgetful)


def test_a_scheduler_that_asks_in_the_middle_of_a_round_is_refused():
    """A study is told of whole rounds; tpe follows from whatever there is."""

    def one_by_one(problem):
        def step(state, trials):
            count = len(trials.epochs)
            new = problem.propose(1, trials) if count < problem.trials else {}
            return state, pj.Decision(add=new, until={count: 1} if new else {})

        return pj.Scheduler(list, step)

    task, space = objective("sphere")
    search = lambda sampler: pj.search(task, space, trials=8, sampler=sampler, scheduler=pj.rounds(2, one_by_one))
    assert len(search("tpe").points["x"]) == 8
    with pytest.raises(
        ValueError, match="sampler cmaes learns from whole rounds, and is asked in the middle of one; use"
    ):
        search("cmaes")


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
        proposals("tpe", SPACE, seed, 1, rule=pj.best("loss"), ends=(20, 40))(8, trials)["rate"] for seed in (0, 0, 1)
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
