"""A finished run in Optuna's eyes, and in TensorBoard's."""

import numpy as np
import optuna
import pytest
from conftest import soaked
from steering_task import sets_once
from test_golden import GOLDEN, KINDS
from test_tracking import events, series

import popjax as pj
from popjax.tracking.optuna_study import storage_in, write_study

STATES = {"ok": "COMPLETE", "pruned": "PRUNED", "diverged": "FAIL", "stopped": "FAIL"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The directory of a search, some of whose trials diverge and are pruned, with what a search can have."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(170, 5))
    out = tmp_path_factory.mktemp("runs") / "mine"
    space = pj.Space(
        learning_rate=pj.log_uniform(1e-3, 1e4),
        momentum=pj.one_minus_log_uniform(0.5, 0.999),
        hidden=pj.log_integers(3, 9),
        depth=pj.integers(1, 2),
        hidden_2=pj.integers(3, 9).when(depth=2),
        activation=pj.choice("relu", "tanh"),
        batch_size=pj.choice(16, 32),
        decay=0.1,
    )
    task = pj.supervised((x, (x[:, 0] > 0).astype(int)))
    pj.search(task, space, trials=30, epochs=4, scheduler="halving(min_epochs=1)", rank="val_loss", out=out)
    return out


@pytest.mark.parametrize("name", soaked(["study.journal", "study.db"]))
def test_a_study_says_what_the_results_say(run, name, tmp_path, request):
    """Through Optuna's own door: states, real values, curves; its importance works on it."""
    results = pj.Results.load(run)
    write_study(results, tmp_path / name, "mine")
    storage = storage_in(tmp_path / name)
    if name.endswith("db"):
        request.addfinalizer(storage.engine.dispose)
    study = optuna.load_study(storage=storage, study_name="mine")
    assert study.best_trial.number == results.best.trial
    assert study.best_value == pytest.approx(results.best.value)
    statuses = results.trials["status"].to_pylist()
    assert {"ok", "pruned", "diverged"} == set(statuses)
    for trial, status in zip(study.trials, statuses, strict=True):
        assert trial.state.name == STATES[status]
        hparams = results.hparams(trial.number)
        assert trial.params == {n: hparams[n] for n in results.space.searched if hparams.get(n) is not None}
        curve = results.curves["val_loss"][trial.number]
        assert trial.intermediate_values == {e + 1: v for e, v in enumerate(curve.tolist()) if np.isfinite(v)}
    known = study.trials[0].distributions
    assert known["learning_rate"] == optuna.distributions.FloatDistribution(1e-3, 1e4, log=True)
    assert known["momentum"] == optuna.distributions.FloatDistribution(0.5, 0.999)
    assert known["hidden"] == optuna.distributions.IntDistribution(3, 9, log=True)
    assert known["activation"] == optuna.distributions.CategoricalDistribution(("relu", "tanh"))
    assert study.user_attrs["scales"]["momentum"] == str(results.space["momentum"])
    assert sum(
        optuna.importance.get_param_importances(study, params=["learning_rate", "hidden"]).values()
    ) == pytest.approx(1)


@pytest.mark.parametrize("kind", KINDS)
def test_runs_of_all_formats_are_written(kind, tmp_path):
    """Also of popjax 0.1.0."""
    results = pj.Results.load(GOLDEN / kind)
    write_study(results, tmp_path / "study.journal", kind)
    study = optuna.load_study(storage=storage_in(tmp_path / "study.journal"), study_name=kind)
    values = [trial.value for trial in study.trials if trial.value is not None]
    assert sorted(values) == sorted(results.values[results.metric][results.order].tolist())
    assert study.best_value == results.best.value


def test_the_command_writes_a_study_once(run, command, refused_in_one_line, tmp_path):
    process = command("export", run, "--to", "optuna", "--out", "mine.journal")
    assert (process.returncode, process.stdout) == (0, "mine.journal\n"), process.stderr
    written = (tmp_path / "mine.journal").read_bytes()
    refused_in_one_line("export", run, "--to", "optuna", "--out", "mine.journal", says=["'mine.journal' exists"])
    refused_in_one_line("export", "nothing", "--to", "optuna", says=["nothing"])
    refused_in_one_line("export", run, "--to", "aim", says=["aim"])
    refused_in_one_line("export", run, "--to", "mlflow", "--top", 0, says=["--top 0: give at least 1"])
    assert (tmp_path / "mine.journal").read_bytes() == written


def test_a_finished_run_in_tensorboard_is_as_one_that_was_tracked(run, command, tmp_path):
    process = command("export", run, "--to", "tensorboard", "--top", 2)
    assert process.returncode == 0, process.stderr
    results = pj.Results.load(run)
    scalars, _ = events(tmp_path / "runs" / "tensorboard" / "mine")
    for name, values in series(results).items():
        np.testing.assert_allclose([value for _, value in scalars[f"epoch/{name}"]], values, rtol=1e-6)
    places = [*(tmp_path / "runs" / "tensorboard" / "mine").glob("trial-*")]
    assert len(places) == len(results.order[:20])
    assert sum("trial/val_loss" in events(place)[0] for place in places) == 2


def test_several_objectives_are_a_study_of_several(tmp_path):
    def costs(key, hparams):
        return {"loss": hparams["x"], "gain": hparams["x"] ** 2}

    space = {"x": pj.log_uniform(0.1, 1)}
    results = pj.search(pj.objective(costs), space, trials=8, rank=pj.pareto("loss", pj.Metric("gain", "max")))
    write_study(results, tmp_path / "study.journal", "front")
    study = optuna.load_study(storage=storage_in(tmp_path / "study.journal"), study_name="front")
    assert [direction.name for direction in study.directions] == ["MINIMIZE", "MAXIMIZE"]
    assert sorted(trial.number for trial in study.best_trials) == sorted(results.front())


def test_a_value_set_below_a_log_range_is_written(tmp_path):
    space = {"learning_rate": pj.log_uniform(1e-3, 1)}
    results = pj.search(pj.supervised("wine"), space, trials=2, epochs=2, scheduler=sets_once(2, 0, learning_rate=0.0))
    write_study(results, tmp_path / "study.journal", "set")
    study = optuna.load_study(storage=storage_in(tmp_path / "study.journal"), study_name="set")
    assert study.trials[0].params == {"learning_rate": 0.0}
