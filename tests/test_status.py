"""What a trial is, is written where it happens, in one column, and read alike everywhere."""

import json
from concurrent.futures import Future

import jax.numpy as jnp
import numpy as np
import pyarrow.parquet as pq
import pytest

import popjax as pj
from popjax.engine.backends.renewable_executor import Traits
from popjax.engine.members import MemberTable
from popjax.engine.numbering import Numbering
from popjax.live.search import Live
from popjax.scheduler import Decision, Scheduler, Status, Trials
from popjax.store.decisions import Step
from popjax.store.files import read_json, write_json
from popjax.tuning.person import Change, steered

WAITING, COMPLETE, PRUNED, STOPPED, DIVERGED = Status
LAST = 4


def table_of(status, patience=2):
    """Two trials of two folds after two epochs, the first with a status."""
    rule = pj.best("loss", "min", at="best", patience=patience)
    table = MemberTable(("loss",), Numbering(folds=2), rule, epochs=LAST, last=LAST)
    table.grow(2)
    table.aim({0: LAST, 1: LAST})
    for epoch in range(2):
        table.report(np.arange(4), epoch, {"loss": np.full(4, 3.0 - epoch)}, np.ones(4, bool))
    table.status[0] = status
    return table


def reports(loss, improved=True):
    return lambda table: table.report(np.array([0, 1]), 2, {"loss": np.array([1.0, loss])}, np.full(2, improved))


def ends(table):
    """Both members are at the last epoch."""
    for epoch in range(2, LAST):
        table.report(np.array([0, 1]), epoch, {"loss": np.array([1.0, 1.0])}, np.ones(2, bool))
    table.end_segment(np.array([0, 1]), LAST)


def rests(table):
    """Both members are out of patience after epoch 4; one alone is not enough."""
    for epoch in range(2, LAST):
        table.report(np.array([0, 1]), epoch, {"loss": np.array([9.0, 9.0])}, np.zeros(2, bool))
    table.last = 9
    assert table.end_segment(np.array([0, 1]), LAST).tolist() == [0]


def becomes(source):
    def copy(table):
        table.status[1] = source
        table.descend([0], [1])

    return copy


EVENTS = {  # event -> what it does, and the status after it of a trial that was waiting, complete, stopped, diverged
    "an epoch": (reports(0.5), (WAITING, COMPLETE, STOPPED, DIVERGED)),
    "an epoch that is not finite": (reports(np.nan), (DIVERGED, DIVERGED, DIVERGED, DIVERGED)),
    "a segment": (lambda table: table.end_segment(np.array([0, 1]), 2), (WAITING, COMPLETE, STOPPED, DIVERGED)),
    "the last epoch": (ends, (COMPLETE, COMPLETE, STOPPED, DIVERGED)),
    "out of patience": (rests, (COMPLETE, COMPLETE, STOPPED, DIVERGED)),
    "a stop": (lambda table: table.hold([0]), (STOPPED, COMPLETE, STOPPED, DIVERGED)),
    "a lift": (lambda table: table.hold([], [0]), (WAITING, COMPLETE, WAITING, DIVERGED)),
    "a lift and a stop": (lambda table: table.hold([0], [0]), (STOPPED, COMPLETE, STOPPED, DIVERGED)),
    "a copy of one that waits": (becomes(WAITING), (WAITING, WAITING, WAITING, WAITING)),
    "a copy of one that diverged": (becomes(DIVERGED), (DIVERGED, DIVERGED, DIVERGED, DIVERGED)),
    "no retries left": (lambda table: table.give_up(np.array([1])), (STOPPED, COMPLETE, STOPPED, DIVERGED)),
    "the scheduler's end": (lambda table: table.prune(), (PRUNED, COMPLETE, STOPPED, DIVERGED)),
    "loaded alive": (lambda table: table.judge(np.ones(4, bool)), (WAITING, WAITING, WAITING, WAITING)),
    "loaded lost": (lambda table: table.judge(np.arange(4) != 1), (DIVERGED, DIVERGED, DIVERGED, DIVERGED)),
}


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize(("at", "status"), list(enumerate((WAITING, COMPLETE, STOPPED, DIVERGED))))
def test_an_event_writes_the_status(event, at, status):
    happens, after = EVENTS[event]
    table = table_of(status)
    happens(table)
    assert Status(table.status[0]) == after[at]
    if not event.startswith(("a copy", "the scheduler", "loaded")):
        assert Status(table.status[1]) == WAITING, "the other trial is not concerned"


def test_a_trial_is_trained_where_it_is_named_and_neither_stopped_nor_resting_nor_given_up():
    table = table_of(DIVERGED)
    assert table.goals().tolist() == [LAST] * 4, "a diverged one has other members, whose curves go on"
    table.give_up(np.array([0]))
    assert table.goals().tolist() == [0, 0, LAST, LAST], "or work that is lost each time would be sent for ever"
    table = table_of(STOPPED)
    table.since[1, 1, 0] = 2
    assert table.goals().tolist() == [0, 0, LAST, 0]


def test_what_is_reported_again_is_judged_again():
    """As where memory ran out in an epoch that was not finite, and the members go on with fewer at once."""
    table = table_of(WAITING)
    reports(np.nan)(table)
    assert table.status[0] == DIVERGED
    table.end_segment(np.array([0, 1]), 2)
    assert (table.status[0], table.epochs[0].ravel().tolist()) == (WAITING, [2, 2])


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
ENDS = [COMPLETE, DIVERGED, PRUNED, STOPPED, COMPLETE, COMPLETE]


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
    seen, page = [], Live(port=0)

    def scheduler(problem):
        def step(number, trials):
            seen.append(trials)
            count = len(trials.epochs)
            if number == 0:
                return 1, Decision(add=problem.propose(6), until=dict.fromkeys(range(6), 4))
            left = {trial: 8 for trial in range(count) if trial != 2 and not trials.complete[trial]}
            return 2, Decision(until=left if number == 1 else {})

        return Scheduler(lambda: 0, step)

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
    assert Status(results.status[5]) == STOPPED
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
    assert list(map(Status, results.status)) == ENDS
    assert words(results) == ["ok", "diverged", "pruned", "stopped", "ok", "ok"]
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
    summary = read_json(tmp_path / "summary.json")
    del summary["files"]["trials.parquet"]
    write_json(tmp_path / "summary.json", summary)
    with pytest.raises(ValueError, match="'done' is missing or wrong"):
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


def test_a_diverged_trial_is_not_stopped_by_hand():
    """It stays diverged, so a stop would say nothing; another may be cloned onto it."""
    trials = Trials({"rate": np.array([0.1, 0.2])}, np.array([1, 1]), np.array([np.inf, 2.0]), {})
    step = Step(Decision(until={0: 5, 1: 5}))
    with pytest.raises(ValueError, match="trial 0 has diverged; clone another one onto it"):
        steered(step, Change("stop", 0), trials, 5)
    assert steered(step, Change("clone", 0, source=1), trials, 5).decision.copy == {0: 1}


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
