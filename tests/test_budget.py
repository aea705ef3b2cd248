"""A budget always has a winner: the best so far, and the run goes on as if it had never been stopped."""

import json
import threading

import jax.numpy as jnp
import numpy as np
import pytest
import stopping
from sklearn.exceptions import ConvergenceWarning

import popjax as pj
from popjax.engine.ending import contenders
from popjax.engine.members import MemberTable
from popjax.engine.numbering import Numbering
from popjax.pages.headline import optimism
from popjax.scheduler import Decision, Scheduler, Status
from popjax.store.listing import entry_of

CURVES = np.array(
    [
        [5, 1, 3, 4, 5, 6, 7, 8],
        [5, 4, 3, 2, 1, 0.5, 0.4, 0.3],
        [9, 8, 7, 6, 5, 4, 3, 2],
        [5, 4, np.nan, 1, 1, 1, 1, 1],
        [3, 2, 1, 0.2, 4, 4, 4, 4],
    ]
)
NAN = np.nan


class Stops(pj.Callback):
    """Stops before a decision is carried out, once a trial has finished so many epochs."""

    def __init__(self, epochs):
        self.epochs, self.stop = epochs, threading.Event()

    def decision(self, decision, trials):
        if trials.epochs.max(initial=0) == self.epochs:
            self.stop.set()


def epoch(at, hparams, data):
    return at + 1, {"loss": data[hparams["row"], at], "val_loss": data[hparams["row"], at]}


TASK = pj.Task(lambda key, hparams, data: jnp.int32(0), epoch, CURVES)


def told(at=None, when="last", epochs=8, keep=2, **more):
    """The results of the five trials, stopped after `at` epochs; to the end if it is None."""
    stops = Stops(at)
    given = dict(trials=5, epochs=epochs, sampler="grid", every=1) | more
    given["rank"] = pj.best("loss", "min", at=when, keep=keep)
    space = {"row": pj.integers(0, 4)}
    return stopping.search(TASK, space, stop=None if at is None else stops.stop, callbacks=[stops], **given)


@pytest.mark.parametrize("folds", [1, 2])
def test_where_the_best_epoch_counts_all_trials_rank_by_their_best_so_far(folds, tmp_path):
    results = told(3, "best", repeats=folds)
    assert [Status(one).word for one in results.status] == ["stopped"] * 3 + ["diverged", "stopped"]
    assert results.values["loss"][[0, 1, 2, 4]].tolist() == [1, 3, 7, 1]
    assert results.order.tolist() == [0, 4, 1, 2]
    assert results.trials["rank"].to_pylist() == [1, 3, 4, None, 2]
    assert (results.best.trial, results.best.value) == (0, 1)
    assert results.states[0][""].tolist() == [2] * folds, "the state of its best epoch, not of its present one"
    assert results.states[4][""].tolist() == [3] * folds
    assert set(results.states) == {0, 4}, "as many as the rule keeps"
    says = "stopped before its end: 4 of 5 trials rank, each by its best epoch, after epoch 3 of 8"
    assert results.cut_short == results.summary["cut_short"] == says
    assert says in results._repr_html_()
    assert f"S{says[1:]}." in results.report(tmp_path / "page.html").read_text()


def test_where_the_last_epoch_counts_those_trained_furthest_rank_by_their_present_value():
    results = told(4)
    assert results.order.tolist() == [4, 1, 0, 2]
    assert results.states[4][""].tolist() == [4]
    assert results.cut_short == "stopped before its end: 4 of 5 trials rank, after epoch 4 of 8"
    assert optimism(results) == "the best of 4, so optimistic"
    shorter = told(epochs=4)
    np.testing.assert_array_equal(shorter.order, results.order)
    assert shorter.best.value == results.best.value


def test_the_furthest_epoch_is_one_that_all_members_have_finished():
    """Trials are compared at one epoch: 0 is at 2, 1 at 3 and 2, 2 and 3 at 3."""
    table = MemberTable(("loss",), Numbering(folds=2), pj.best("loss", "min"), epochs=4, last=4)
    table.grow(4)
    for at, members in enumerate(([0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 2, 3, 4, 5, 6, 7], [2, 4, 5, 6, 7])):
        table.report(np.array(members), at, {"loss": np.full(len(members), 4.0 - at)})
    assert contenders(table, np.ones(8, bool)).tolist() == [False, False, True, True]


def test_where_the_last_epoch_counts_complete_trials_rank_alone():
    """One batch after another is trained to the end."""

    def scheduler(problem):
        def step(number, trials):
            if number == 0:
                return 1, Decision(add=problem.propose(5), until={0: 8, 2: 8})
            return 2, Decision(until={} if number == 2 else {1: 8, 4: 8})

        return Scheduler(lambda: 0, step)

    class Late(Stops):
        def decision(self, decision, trials):
            if len(trials.epochs) and trials.epochs[4] == 6:
                self.stop.set()

    late = Late(None)
    rank = pj.best("loss", "min", keep=5)
    asked = dict(trials=5, epochs=8, sampler="grid", scheduler=scheduler, every=1, stop=late.stop)
    space = {"row": pj.integers(0, 4)}
    results = stopping.search(TASK, space, rank=rank, callbacks=[late], **asked)
    words = [Status(one).word for one in results.status]
    assert words == ["ok", "stopped", "ok", "pruned", "stopped"]
    assert results.order.tolist() == [2, 0]
    assert results.cut_short == "stopped before its end: 2 of 5 trials rank, those that were trained to the end"
    late.stop.clear()
    results = stopping.search(TASK, space, rank=pj.best("loss", "min", at="best", keep=5), callbacks=[late], **asked)
    assert results.order.tolist() == [4, 1, 0, 2], "with the best epoch all rank together, but for one not begun"
    assert results.cut_short.endswith("4 of 5 trials rank, each by its best epoch, after 6 to 8 of 8 epochs")


class Ends(pj.Callback):
    """Stops once so many trials have finished their last epoch of two."""

    def __init__(self, trials):
        self.left, self.stop = trials, threading.Event()

    def epoch(self, epoch):
        self.left -= len(epoch.trial) * (epoch.epoch == 1)
        if self.left == 0:
            self.stop.set()


@pytest.mark.parametrize("ended", [2, 4, 6])
def test_a_search_is_unfinished_between_two_rounds_and_finished_after_the_last(ended, tmp_path):
    """No trial waits there: only the scheduler knows that there are more to come."""
    ends, run = Ends(ended), tmp_path / "run"
    asked = dict(trials=6, epochs=2, scheduler="rounds(3)", rank=pj.best("loss", "min"))
    space = {"row": pj.integers(0, 2)}
    results = stopping.search(TASK, space, stop=ends.stop, callbacks=[ends], out=run, **asked)
    assert len(results.status) == ended
    assert (results.status == Status.COMPLETE).all()
    entry = entry_of(run)
    if ended == 6:
        assert (results.cut_short, entry.state) == ("", "finished")
        return
    assert (
        results.cut_short
        == f"stopped before its end: {ended} of {ended} trials rank, those that were trained to the end"
    )
    assert pj.Results.load(run).cut_short == results.cut_short
    assert entry.state == "stopped"
    whole = pj.search(TASK, space, **asked)
    again = pj.search(TASK, space, out=run, resume=True, **asked)
    assert again.cut_short == ""
    assert again.summary["scored_before"] == [
        {"cut_short": results.cut_short, "best": results.summary["best"], "test": {}}
    ]
    np.testing.assert_array_equal(again.curves["loss"], whole.curves["loss"])


def test_none_that_finished_an_epoch_is_no_winner():
    stop = threading.Event()
    stop.set()
    results = stopping.search(
        TASK, {"row": pj.integers(0, 4)}, trials=5, epochs=8, stop=stop, rank=pj.best("loss", "min")
    )
    assert results.best is None
    assert results.no_winner == "no trial has finished an epoch: 5 were stopped before it, 0 diverged"
    assert results.cut_short == ""


def test_a_trial_without_a_state_is_passed_over():
    """Its state was given up, or lost; one that has ended needs none."""
    table = MemberTable(("loss",), Numbering(folds=2), pj.best("loss", "min", at="best"), epochs=4, last=4)
    table.grow(4)
    for at in range(4):
        members = np.arange(8) if at == 0 else np.array([0, 1])
        table.report(members, at, {"loss": np.full(len(members), 4.0 - at)}, np.ones(len(members), bool))
    table.end_segment(np.array([0, 1]), 4)
    held = np.array([False, False, True, True, True, False, True, True])
    assert contenders(table, held).tolist() == [True, True, False, True]
    table.report(np.array([6]), 1, {"loss": np.array([NAN])}, np.zeros(1, bool))
    assert contenders(table, held).tolist() == [True, True, False, False], "a diverged one never wins"


def test_a_trial_is_trained_as_far_as_the_member_whose_epochs_may_count():
    """By best epochs a member counts that was trained further than the others; by the last one all count alike."""
    for when, trained in (("best", [3, 1]), ("last", [1, 1])):
        table = MemberTable(("loss",), Numbering(folds=2), pj.best("loss", "min", at=when), epochs=4, last=4)
        table.grow(2)
        for at, members in enumerate(([0, 1, 2, 3], [0], [0])):
            better = np.ones(len(members), bool) if when == "best" else None
            table.report(np.array(members), at, {"loss": np.full(len(members), 4.0 - at)}, better)
        assert table.trained.tolist() == trained


@pytest.mark.parametrize("when", ["last", "best"])
@pytest.mark.parametrize("more", [{}, {"scheduler": pj.halving(min_epochs=2)}, {"folds": 1, "repeats": 2}])
def test_it_goes_on_as_if_never_stopped(tmp_path, when, more):
    """And its files say so, and what was scored at the end before."""
    whole = told(when=when, out=tmp_path / "whole", **more)
    first = told(2, when, out=tmp_path / "run", **more)
    assert first.best is not None
    kept = pj.Results.load(tmp_path / "run")
    assert (kept.best, kept.cut_short, kept.order.tolist()) == (first.best, first.cut_short, first.order.tolist())
    assert kept.states[first.best.trial][""].tolist() == first.states[first.best.trial][""].tolist()
    again = told(None, when, out=tmp_path / "run", resume=True, **more)
    for name in ("trials.parquet", "curves.parquet", "best/arrays.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    assert again.best == whole.best
    assert again.cut_short == ""
    earlier = again.summary["scored_before"]
    assert [one["best"]["trial"] for one in earlier] == [first.best.trial]
    assert earlier[0]["cut_short"] == first.cut_short
    assert "scored_before" not in whole.summary


@pytest.mark.parametrize("when", ["last", "best"])
def test_a_session_goes_on_from_what_a_budget_left(rows, when):
    """With the bits of the search that was not stopped."""
    asked = dict(trials=4, epochs=6, rank=pj.best(at=when, keep=4), every=1)
    whole = pj.search(pj.supervised(rows), {"learning_rate": pj.log_uniform(1e-3, 1e-1)}, **asked)
    stops = Stops(3)
    task = pj.supervised(rows)
    space = {"learning_rate": pj.log_uniform(1e-3, 1e-1)}
    results = stopping.search(task, space, stop=stops.stop, callbacks=[stops], **asked)
    trial = results.best.trial
    session = pj.Session.of(results, trial)
    begun = session.epoch
    assert begun == (3 if when == "last" else results.best_epochs[trial].item())
    session.train(6 - begun)
    assert session.curves["val_loss"].tobytes() == whole.curves["val_loss"][trial].tobytes()


def test_the_ensemble_takes_those_that_rank(rows):
    stops = Stops(3)
    task = pj.supervised(rows)
    rank = pj.together(4, "greedy", "val_loss", at="best")
    asked = dict(trials=12, epochs=40, folds=2, rank=rank, scheduler="halving(min_epochs=2)", every=1)
    results = stopping.search(task, stop=stops.stop, callbacks=[stops], **asked)
    assert set(results.ensemble) <= set(results.order[:4].tolist())
    assert results.predict(rows[0][:3]).shape == (3,)
    assert not (results.status == Status.COMPLETE).any()


SLOW = """
import jax.numpy as jnp
import popjax as pj
from jax import lax

def epoch(x, hparams, data):
    for_ever = lax.fori_loop(0, 1_000_000, lambda at, y: jnp.sin(y), 1.0)  # some milliseconds
    return x * hparams["rate"], {"loss": x + 0 * for_ever}

slow = pj.Task(lambda key, hparams, data: 1.0, epoch, ())
"""
COMMAND = ("sweep", "--task", "mine:slow", "--set", "rate=uniform(0,1)", "--trials", 4, "--at", "best")
COMMAND += ("--epochs", 100_000, "--out", "run")  # more than a machine trains in that time


def test_the_command_prints_a_normal_end_and_how_to_go_on(command, tmp_path):
    (tmp_path / "mine.py").write_text(SLOW)
    ended = command(*COMMAND, "--minutes", 0.2)
    assert ended.returncode == 0, ended.stderr
    best = pj.Results.load(tmp_path / "run").best
    assert f"winner: trial {best.trial}, rate " in ended.stdout
    assert "popjax: stopped before its end: " in ended.stderr
    assert ended.stderr.splitlines()[-1].endswith("-m popjax.resume run --task mine:slow")


def test_json_is_printed_for_a_budget_too(command, tmp_path):
    (tmp_path / "mine.py").write_text(SLOW)
    ended = command(*COMMAND, "--minutes", 0.2, "--json")
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert told["best"]["trial"] >= 0
    assert "each by its best epoch" in told["cut_short"]


def test_a_budget_before_the_first_epoch_has_no_winner(command, tmp_path):
    (tmp_path / "mine.py").write_text(SLOW)
    ended = command(*COMMAND, "--minutes", 0.00001)
    assert ended.returncode == 1
    assert "no trial has finished an epoch" in ended.stdout


INTERRUPTED = """
import os, signal, sys, warnings
import numpy as np
import popjax as pj
from sklearn.datasets import load_wine

asked = []

def scheduler(problem):
    def step(number, trials):
        if number and not asked:
            asked.append(os.kill(os.getpid(), signal.SIGINT))
        add = problem.propose(problem.trials) if number == 0 else {}
        until = dict.fromkeys(range(problem.trials), number + 2) if number + 2 <= problem.epochs else {}
        return number + 1, pj.Decision(add=add, until=until)
    return pj.Scheduler(lambda: 0, step)

x, y = load_wine(return_X_y=True)
model = pj.PopulationClassifier(trials=4, epochs=50, model="mlp", folds=2, scheduler=scheduler)
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    try:
        model.fit(x, y)
    except KeyboardInterrupt:
        print("interrupted")
print([one.category.__name__ for one in said if "stopped before its end" in str(one.message)])
print(len(model.predict(x)) == len(y), model.results_.cut_short)
"""


def test_an_interrupted_estimator_is_fitted(python):
    ended = python(INTERRUPTED)
    assert ended.returncode == 0, ended.stderr
    first, second, third = ended.stdout.splitlines()
    assert (first, second) == ("interrupted", "['ConvergenceWarning']")
    assert third.startswith("True stopped before its end: 4 of 4 trials rank")


def test_an_estimator_with_minutes_is_fitted(rows):
    """By far too many epochs for the time; its one program compiles in a fraction of it. Nothing is trained again."""
    space = {"learning_rate": pj.log_uniform(1e-3, 1e-1), "hidden": 8, "depth": 1, "batch_size": 16}
    more = {"model": "mlp", "optimizer": "sgd", "minutes": 0.3, "refit": True}
    model = pj.PopulationClassifier(space, 4, 200_000, folds=2, **more)
    with pytest.warns(ConvergenceWarning, match="stopped before its end: .* trials rank"):
        model.fit(*rows)
    assert model.predict(rows[0][:5]).shape == (5,)
    scored = np.isfinite(model.cv_results_["mean_test_score"])
    assert np.flatnonzero(scored).tolist() == sorted(model.results_.order.tolist())
    assert model.predictor_.recipe.folds == 2


@pytest.mark.parametrize("when", ["last", "best"])
def test_what_ranks_after_a_budget_ranks_when_it_is_read_under_another_rule(when, tmp_path):
    results = told(3, when, keep=5)
    again = results.ranked(pj.best("val_loss", "min", at=when))
    assert again.best is not None
    again.save(tmp_path)
    read = pj.Results.load(tmp_path)
    assert read.best == again.best
    assert read.order.tolist() == again.order.tolist()
