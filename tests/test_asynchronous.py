"""Halving beside a sampler that learns: batches are proposed from all that is known while earlier trials train on."""

import math
import threading

import numpy as np
import pytest
import stopping
from test_compilations import compilations, epochs_compiled

import popjax as pj
from popjax.scheduler import Trials
from popjax.tuning.proposals import BESIDE, LEARNING, Learning, default_ends
from popjax.tuning.schedulers.halving import rungs_of
from popjax.tuning.tpe import ENOUGH, good_and_others

SPACE = pj.Space(rate=pj.log_uniform(1e-3, 1.5), shift=pj.uniform(-1, 1))
ASKED = {"trials": 96, "epochs": 12, "seed": 2, "sampler": "tpe", "scheduler": "halving"}


def epoch(x, hparams, data):
    return x - hparams["rate"] * (x - hparams["shift"]), {"loss": abs(x - 0.3)}


TASK = pj.Task(lambda key, hparams, data: 1.0, epoch, ())


class Watch(pj.Callback):
    """What each decision saw, and what it said."""

    def __init__(self, stop=None, after=math.inf):
        self.seen, self.stop, self.after = [], stop, after

    def decision(self, decision, trials):
        self.seen.append((trials.epochs.copy(), {n: c.copy() for n, c in trials.curves.items()}, dict(decision.until)))
        if len(self.seen) > self.after:
            self.stop.set()


def going_on(epochs, curve, rungs, factor):
    """Trial -> next rung by a plain loop: the best share of all that ever reached a rung, those that wait there."""
    found = {}
    for at, rung in enumerate(rungs[:-1]):
        reached = [trial for trial in range(len(epochs)) if epochs[trial] >= rung]
        fit = sorted(
            (curve[trial, rung - 1], trial) for trial in reached if np.isfinite(curve[trial, : epochs[trial]]).all()
        )
        for _, trial in fit[: math.ceil(len(reached) / factor)]:
            if epochs[trial] == rung:
                found[trial] = rungs[at + 1]
    return found


@pytest.mark.parametrize(
    ("scheduler", "rungs", "factor"), [("halving", (2, 4, 8, 12), 2), ("halving(3, 1)", (1, 3, 9, 12), 3)]
)
def test_each_decision_is_that_of_a_plain_loop(scheduler, rungs, factor):
    assert tuple(rungs_of(12, factor, rungs[0])) == rungs
    watch = Watch()
    results = pj.search(TASK, SPACE, **ASKED | {"scheduler": scheduler}, callbacks=[watch])
    count = 0
    for epochs, curves, until in watch.seen:
        expected = going_on(epochs, curves["loss"], rungs, factor) if len(epochs) else {}
        new = [trial for trial in until if trial >= len(epochs)]
        assert until == expected | dict.fromkeys(new, rungs[0])
        count += len(new)
    assert count == len(results.trials) == 96
    assert going_on(results.done[:, 0, 0], results.curves["loss"], rungs, factor) == {}
    beside = [bool(until.keys() - set(range(len(epochs), 96))) for epochs, _, until in watch.seen[1:-3]]
    assert sum(beside) >= 2


def test_batches_are_proposed_from_all_that_is_known(monkeypatch):
    asked = []

    def spy(seed, n, trials, space, epochs):
        asked.append((n, trials.epochs.tolist()))
        return {name: np.random.default_rng(seed).random(n) for name in space.searched}

    monkeypatch.setitem(LEARNING, "spy", Learning(spy))
    results = pj.search(TASK, SPACE, **ASKED | {"sampler": "spy"})
    sizes = np.diff([0, *default_ends(96, BESIDE)]).tolist()
    assert [n for n, _ in asked[::2]] == sizes[
        1:
    ]  # the first batch are Sobol points; each answer is checked by a second
    assert np.bincount(results.rounds).tolist() == sizes
    assert all(min(epochs) >= 2 for _, epochs in asked)
    assert all(len({*epochs}) > 1 for _, epochs in asked[2:])  # some were already on their way to the end


def test_a_trial_goes_on_later_if_worse_ones_come(monkeypatch):
    """And of better ones more go on than of the first."""

    def shifted(to):
        def ask(seed, n, trials, space, epochs):
            return {"rate": np.full(n, 0.9), "shift": np.full(n, to) + np.linspace(0, 0.01, n)}

        return ask

    shares = {}
    for name, to in (("worse", 0.02), ("better", 0.65)):
        monkeypatch.setitem(LEARNING, name, Learning(shifted(to)))
        results = pj.search(TASK, SPACE, **ASKED | {"sampler": name})
        first = results.rounds == 0
        ended = results.done[:, 0, 0] == 12
        shares[name] = ended[first].mean(), ended[~first].mean()
    assert shares["worse"][0] > 2 * 1 / 8
    assert shares["worse"][1] < 0.1
    assert shares["better"][1] > shares["better"][0]


def test_a_resumed_search_decides_as_one_never_stopped(tmp_path):
    search = lambda out, **more: stopping.search(TASK, SPACE, **ASKED, out=tmp_path / out, **more)
    whole = search("whole")
    stop = threading.Event()
    assert search("run", stop=stop, callbacks=[Watch(stop, 3)]).stopped.any()
    again = search("run", resume=True)
    assert again.best == whole.best
    for name in ("trials.parquet", "curves.parquet", "decisions.jsonl", "best/arrays.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_more_trials_are_further_batches(tmp_path):
    """A run that has ended goes on: what it trained stays, and what it left may still go on."""
    search = lambda trials, **more: pj.search(TASK, SPACE, **ASKED | {"trials": trials}, out=tmp_path / "run", **more)
    first = search(96)
    more = search(150, resume=True)
    assert more.run["rounds_in_all"] > first.run["rounds_in_all"]
    assert {name: column[:96].tolist() for name, column in more.points.items()} == {
        name: column.tolist() for name, column in first.points.items()
    }
    assert (more.done[:96] >= first.done).all()
    assert going_on(more.done[:, 0, 0], more.curves["loss"], (2, 4, 8, 12), 2) == {}


def test_batches_compile_nothing(nothing_compiled):
    with compilations() as few:
        pj.search(TASK, SPACE, **ASKED | {"trials": 48})
    with compilations() as more:
        pj.search(TASK, SPACE, **ASKED | {"trials": 192})
    assert epochs_compiled(few) == 1
    assert epochs_compiled(more) <= 1  # for other lanes


def test_rounds_that_are_asked_for_come_one_after_another():
    results = pj.search(TASK, SPACE, **ASKED | {"scheduler": pj.rounds(4, pj.halving())})
    for number in range(4):
        done = sorted(results.done[results.rounds == number, 0, 0].tolist())
        assert done == [2] * 12 + [4] * 6 + [8] * 3 + [12] * 3


def test_a_cut_among_equal_trials_is_said_once(capsys):
    equal = pj.Task(lambda key, h, data: 1.0, lambda x, h, data: (x, {"loss": x + 0 * h["rate"] + 0 * h["shift"]}), ())
    pj.search(equal, SPACE, **ASKED)
    said = capsys.readouterr().err
    assert said.count("the cut falls among them by their numbers") == 1


def test_trials_are_compared_after_the_epoch_that_enough_have_reached():
    """One that was left before it is neither good nor bad; a diverged one is bad."""
    count = 2 * ENOUGH
    epochs = np.where(np.arange(count) < ENOUGH + 2, 4, 2)
    epochs[:3] = 8
    curve = np.tile(np.linspace(1, 2, count)[:, None], 8)
    curve[:, 3] = curve[::-1, 3]  # after epoch 4 it is the other way round
    loss = curve[np.arange(count), epochs - 1]
    loss[5] = np.inf
    trials = Trials({}, epochs, loss, {"loss": curve})
    good, others = good_and_others(trials, 0, pj.best("loss"))
    reached = [trial for trial in range(ENOUGH + 2) if trial != 5]
    assert good.tolist() == sorted(reached[-math.ceil((ENOUGH + 2) / 10) :])
    assert sorted([*good, *others]) == list(range(ENOUGH + 2))
    assert 5 in others
    few = Trials({}, epochs[: ENOUGH - 2], loss[: ENOUGH - 2], {"loss": curve[: ENOUGH - 2]})
    assert good_and_others(few, 0, pj.best("loss"))[0].tolist() == [0, 1, 2]  # the furthest
