"""What a trial is, is written where it happens, in one column, and read alike everywhere.

`popjax.engine.backends.renewable_executor`: what an executor says of itself, so that a unit of work is one member's.
"""

import json
from concurrent.futures import Future

import jax.numpy as jnp
import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import refused
from stopping import edit

import popjax as pj
from popjax.engine.backends.renewable_executor import Traits

CURVES = np.array(
    [
        [5, 4, 3, 2, 1, 0.5, 0.4, 0.3],  # complete
        [5, 4, np.nan, 2, 1, 1, 1, 1],  # diverges
        [9, 8, 7, 6, 5, 4, 3, 2],  # is left by the scheduler after epoch 4
        [5, 4, 3, 2, 1, 1, 1, 1],  # its work is lost after epoch 4
        [3, 2, 4, 4, 4, 4, 4, 4],  # is out of patience after epoch 5
        [6, 5, 4, 3, 2.5, 2, 1.5, 1.2],  # complete
    ]
)
ENDS = ["ok", "diverged", "pruned", "stopped", "ok", "ok"]


def epoch(at, hparams, data):
    return at + 1, {"loss": data[hparams["row"], at]}


class Loses:
    """Takes no work of trial 3 after epoch 4."""

    traits = Traits(seconds=1e-9)  # units of one member and epoch each

    def submit(self, fn, *args):
        if 3 in args[0].members.trial and args[0].epoch >= 4:
            raise OSError("no room for it")
        future = Future()
        future.set_result(fn(*args))
        return future


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The results of all five, what the scheduler saw last, and the live page."""
    seen, page = [], pj.live.Live()

    def scheduler(problem):
        def step(number, trials):
            seen.append(trials)
            count = len(trials.epochs)
            if number == 0:
                return 1, pj.Decision(add=problem.propose(6), until=dict.fromkeys(range(6), 4))
            left = {trial: 8 for trial in range(count) if trial != 2 and not trials.complete[trial]}
            return 2, pj.Decision(until=left if number == 1 else {})

        return pj.Scheduler(lambda: 0, step)

    task = pj.Task(lambda key, hparams, data: jnp.int32(0), epoch, CURVES)
    out = tmp_path_factory.mktemp("status") / "run"
    results = pj.search(
        task,
        {"row": pj.integers(0, 5)},
        trials=6,
        epochs=8,
        sampler="grid",
        scheduler=scheduler,
        rank=pj.best("loss", "min", at="best", patience=3, keep=6),
        backend=pj.Remote(Loses(), retries=1),
        live=page,
        out=out,
    )
    return results, seen[-1], page, out


def test_lost_work_of_a_diverged_trial_ends_the_search_too():
    """It stays diverged, and no scheduler is asked to train it for ever."""

    class Lost(Loses):
        def submit(self, fn, *args):
            if 1 in args[0].members.trial and args[0].epoch >= 4:
                raise OSError("no room for it")
            return super().submit(fn, *args)

    task = pj.Task(lambda key, hparams, data: jnp.int32(0), epoch, CURVES)
    asked = dict(trials=6, epochs=8, sampler="grid", backend=pj.Remote(Lost(), retries=1))
    for every in (None, 2):
        results = pj.search(task, {"row": pj.integers(0, 5)}, every=every, **asked)
        assert words(results) == ["ok", "diverged", "ok", "stopped", "ok", "ok"]
        assert results.best is not None


def test_lost_work_is_in_the_journal(tmp_path):
    """So that a resumed run, whose workers live, ends with the same trials stopped, and ranks the same."""

    class Lost(Loses):
        def submit(self, fn, *args):
            if 5 in args[0].members.trial and args[0].epoch >= 1:
                raise OSError("no room for it")
            return super().submit(fn, *args)

    task = pj.Task(lambda key, hparams, data: jnp.int32(0), epoch, CURVES)
    asked = dict(trials=6, epochs=8, sampler="grid", scheduler=pj.halving(min_epochs=2), out=tmp_path / "run")
    results = pj.search(task, {"row": pj.integers(0, 5)}, backend=pj.Remote(Lost(), retries=1), **asked)
    assert words(results)[5] == "stopped"
    lines = list(map(json.loads, (tmp_path / "run" / "decisions.jsonl").read_text().splitlines()))
    assert [line.get("stopped", []) for line in lines] == [[], *[[5]] * (len(lines) - 1)]
    again = pj.search(task, {"row": pj.integers(0, 5)}, resume=True, **asked)
    assert again.status.tolist() == results.status.tolist()
    assert again.order.tolist() == results.order.tolist()


def words(results):
    return results.trials["status"].to_pylist()


def test_results_read_it(run):
    results, *_ = run
    assert results.points["row"].tolist() == list(range(6))
    assert words(results) == ENDS
    assert np.flatnonzero(results.diverged).tolist() == [1]
    assert np.flatnonzero(results.pruned).tolist() == [2]
    assert np.flatnonzero(results.stopped).tolist() == [3]
    assert results.order.tolist() == [0, 5, 4]
    assert sorted(results.states) == [0, 4, 5]
    assert results.cut_short == "", "its budget did not end it"


def test_files_read_it(run):
    results, _, _, out = run
    loaded = pj.Results.load(out)
    assert loaded.status.tolist() == results.status.tolist()
    assert loaded.order.tolist() == results.order.tolist()
    summary = json.loads((out / "summary.json").read_text())
    assert [summary[name] for name in ("diverged", "pruned", "stopped")] == [1, 1, 1]


def test_a_word_that_is_none_is_damage(run, tmp_path):
    results, *_ = run
    results.save(tmp_path)
    table = pq.read_table(tmp_path / "trials.parquet")
    at = table.column_names.index("status")
    pq.write_table(table.set_column(at, "status", [["ok"] * 5 + ["done"]]), tmp_path / "trials.parquet")
    edit(tmp_path / "summary.json", lambda summary: summary["files"].pop("trials.parquet"))
    with refused("'done'"):
        pj.Results.load(tmp_path)


def test_the_scheduler_reads_it(run):
    _, trials, *_ = run
    assert np.isinf(trials.loss).tolist() == [False, True, False, False, False, False]
    assert trials.stopped.tolist() == [False, False, False, True, False, False]
    assert trials.complete.tolist() == [True, True, False, False, True, True]


def test_pages_read_it(run):
    results, _, page, _ = run
    assert "6 trials, 1 diverged, 1 pruned" in results._repr_html_()
    counts = page.board.figures["counts"]
    assert [counts[name] for name in ("done", "diverged", "wait", "stopped")] == [3, 1, 1, 1]


def test_a_simulation_reads_it(run):
    results, *_ = run
    for trial in (2, 3):
        with pytest.raises(ValueError, match=f"trial {trial} was not trained to the end"):
            pj.simulate(pj.halving(), results, np.array([0, trial]))
    found = pj.simulate(pj.halving(min_epochs=4), results, np.array([0, 1, 4, 5])).results
    assert words(found)[1] == "diverged"
    assert set(words(found)) == {"ok", "diverged", "pruned"}


def test_what_the_program_says_is_what_the_curves_say(run):
    """Which epochs became the best: of a loaded run they are compared again."""
    results, *_, out = run
    loaded = pj.Results.load(out)
    assert results.improved is not None
    assert loaded.improved is None
    np.testing.assert_array_equal(results.best_epochs, loaded.best_epochs)
    kept = np.array([0, 4, 5])
    np.testing.assert_array_equal(results.best_epochs[kept].ravel(), [8, 2, 8])


@pytest.mark.parametrize("rank", ["loss", pj.best("loss", at="best")], ids=["last", "best"])
@pytest.mark.parametrize("repeats", [1, 2])
def test_a_diverged_trial_has_no_values(rank, repeats, tmp_path):
    """A Task's as an objective's: the last finite epoch is in its curve alone."""
    grow = lambda x, hparams, data: (x * hparams["rate"], {"loss": x})
    task = pj.Task(lambda key, hparams, data: 1.0, grow, ())
    space = {"rate": pj.log_uniform(1, 1e30)}
    results = pj.search(task, space, trials=16, epochs=6, rank=rank, repeats=repeats, out=tmp_path / "run")
    lost = results.diverged
    assert 0 < lost.sum() < 16
    for one in (results, pj.Results.load(tmp_path / "run")):
        assert np.isnan(one.values["loss"]).tolist() == lost.tolist()
        assert np.isfinite(one.curves["loss"][lost]).any(1).all()
        assert all(np.isnan(error).tolist() == lost.tolist() for error in one.errors.values())
    assert [value is None for value in results.trials["loss"].to_pylist()] == lost.tolist()
