"""Limits, constraints and beliefs together: stopped, killed, elsewhere, beside schedulers, in estimators."""

import threading

import numpy as np
import pytest
import stopping

import popjax as pj

SPACE = pj.Space(
    learning_rate=pj.log_uniform(1e-3, 0.3).near(0.03, width=0.2),
    momentum=pj.one_minus_log_uniform(0.5, 0.99),
    hidden=pj.integers(2, 30).near(5, 9),
    depth=pj.integers(1, 3).when(optimizer="sgd"),
    optimizer=pj.choice("sgd", "adam").near("sgd", share=0.6),
).where("hidden * depth <= 40", "hidden >= 3")
RULE = pj.best("val_loss", keep=3, subject_to=["parameters <= 300", "train_loss <= 1.0"])
SETTINGS = {
    "random": {},
    "sobol, folds": {"sampler": "sobol", "folds": 2},
    "halving": {"scheduler": "halving"},
    "pbt": {"scheduler": "pbt"},
    "rounds": {"scheduler": pj.rounds(3)},
    "tpe": {"sampler": "tpe"},
    "tpe, halving": {"sampler": "tpe", "scheduler": "halving(2, 1)"},
}
FILES = ("trials.parquet", "curves.parquet", "decisions.jsonl", "best/arrays.safetensors")


@pytest.fixture(scope="module")
def task():
    draws = np.random.default_rng(3)
    x = draws.normal(size=(120, 4))
    return pj.supervised((x, (x[:, 0] + x[:, 1] > 0).astype(int)))


def search(task, out=None, **more):
    return stopping.search(task, SPACE, trials=24, epochs=6, seed=1, rank=RULE, out=out, **more)


class Stop(pj.Callback):
    def __init__(self, stop):
        self.stop = stop

    def epoch(self, result):
        self.stop.set()


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_it_holds_beside_all_of_them_and_after_a_stop(task, tmp_path, settings):
    whole = search(task, tmp_path / "whole", **settings)
    points = whole.history.table().to_pandas() if whole.history is not None else whole.trials.to_pandas()
    there = points["depth"].notna()
    assert (points["hidden"] * points["depth"])[there].max() <= 40
    assert points["hidden"].min() >= 3
    assert (points["optimizer"] == "sgd").mean() > 0.5
    assert whole.costs["parameters"].max() <= 300
    assert whole.feasible[whole.best.trial] or not whole.feasible[whole.order].any()
    stop = threading.Event()
    search(task, tmp_path / "run", **settings, stop=stop, callbacks=[Stop(stop)])
    again = search(task, tmp_path / "run", **settings, resume=True)
    assert again.best == whole.best
    for name in FILES:
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


@pytest.mark.engine
@pytest.mark.parametrize("name", ["halving", "pbt", "tpe, halving"])
def test_workers_find_the_same_bits(task, name):
    here, there = (search(task, backend=backend, **SETTINGS[name]) for backend in (None, "processes:2"))
    assert here.best == there.best
    assert here.feasible.tolist() == there.feasible.tolist()
    assert here.curves["val_loss"].tobytes() == there.curves["val_loss"].tobytes()


@pytest.mark.kill
@pytest.mark.parametrize("kills", [(3,), (9, 4), (16,)], ids=str)
def test_a_killed_command_ends_as_one_never_killed(python, command, tmp_path, kills):
    known = ("--where", "hidden * depth <= 160", "--subject-to", "parameters<=5000", "--subject-to", "train_loss<=0.9",
             "--set", "learning_rate=log_uniform(1e-3,0.3) near 0.03")  # fmt: skip
    asked = (
        "--dataset",
        "wine",
        "--trials",
        "24",
        "--epochs",
        "6",
        "--sampler",
        "tpe",
        "--scheduler",
        "halving",
        *known,
    )
    whole = command("sweep", *asked, "--out", "whole")
    assert whole.returncode == 0, whole.stderr
    stopping.killed(python, command, asked, kills)
    for name in FILES:
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_an_estimator_keeps_them():
    draws = np.random.default_rng(4)
    x = draws.normal(size=(150, 4))
    space = pj.Space(learning_rate=pj.log_uniform(1e-3, 0.3).near(0.03), hidden=pj.integers(2, 30)).where(
        "hidden <= 20"
    )
    rank = pj.together(10, metric="val_loss", subject_to="parameters <= 100")
    model = pj.PopulationClassifier(space, trials=16, epochs=4, folds=2, model="mlp", rank=rank, random_state=0)
    model.fit(x, (x[:, 0] > 0).astype(int))
    assert model.results_.points["hidden"].max() <= 20
    assert model.results_.costs["parameters"].max() <= 100
    assert model.score(x, (x[:, 0] > 0).astype(int)) > 0.6
