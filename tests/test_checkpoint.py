"""When progress is committed: every two seconds, with where everybody stands then."""

import threading

import jax
import numpy as np
import pytest

import popjax as pj
from popjax.core.clock import Clock
from popjax.engine import checkpoint
from popjax.engine.backend import Order, Part, Report, RollCall, Stand, train
from popjax.engine.checkpoint import Checkpoint
from popjax.engine.collect import Collector
from popjax.engine.member import Training
from popjax.engine.population import Config, prepare
from popjax.store.commits import Commits

EPOCHS = 9
STATE = Training(jax.ShapeDtypeStruct((), np.float32), jax.ShapeDtypeStruct((), bool))


@pytest.fixture
def clock(monkeypatch):
    """The seconds that the checkpoint sees, as clock[0]."""
    now = [100.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def saver(clock, tmp_path):
    return Checkpoint(Commits(tmp_path / "state"), 0, [STATE], np.zeros(6, int))


@pytest.fixture
def collector():
    return Collector((6, 1, 1, EPOCHS), ("loss",), "loss", "min", 1)


def report(members, epoch, stands=False, trained=False, long=False):
    """What a worker says of a part after its epoch number `epoch`, counted from 1."""
    index = np.array(members)
    state = Training(np.full(len(index), epoch, np.float32), np.ones(len(index), bool))
    part = Part(Stand(0, index), np.arange(len(index)), None, None, None)
    stand = Stand(0, index, epoch, state) if stands else None
    return Report(part, epoch - 1, {"loss": np.ones(len(index))}, stand, state.state if trained else None, long)


def committed(saver):
    """Member -> the epochs that the latest commit on the disk has of it."""
    commits = Commits.load(saver.commits.directory)
    return {int(member): one.epoch for one in commits.finished + commits.standing for member in one.index}


@pytest.fixture
def say(saver, collector):
    """Messages that come together."""

    def say(*messages):
        for message in messages:
            collector.add(message)
            saver.take(message, collector)
        saver.save(collector)

    return say


def test_a_commit_waits_until_every_part_in_training_has_answered(saver, say, clock):
    say(report([0, 1], 1), report([2, 3], 1))
    clock[0] += 1.9
    say(report([0, 1], 2))
    assert committed(saver) == {}  # nothing is due
    clock[0] += 0.1
    say(report([0, 1], 3, stands=True))
    say(report([0, 1], 4))
    assert committed(saver) == {}  # one has answered
    say(report([2, 3], 2, stands=True))
    assert committed(saver) == {0: 3, 1: 3, 2: 2, 3: 2}
    clock[0] += 1.9
    say(report([0, 1], 5), report([2, 3], 3))
    clock[0] += 0.1
    say(report([0, 1], 9, trained=True))  # a part that ends has answered
    say(report([4, 5], 1))
    assert saver.commits.number == 1
    say(report([2, 3], 5, stands=True), report([4, 5], 2, stands=True))
    assert (saver.commits.number, committed(saver)) == (2, {0: 9, 1: 9, 2: 5, 3: 5, 4: 2, 5: 2})


def test_who_stopped_answering_is_not_waited_for_longer_than_a_commit_may_be_away(saver, say, clock):
    say(report([0, 1], 1), report([2, 3], 1))
    clock[0] += 3.9
    say(report([0, 1], 3, stands=True))
    assert committed(saver) == {}
    clock[0] += 0.1
    say(report([0, 1], 4))
    assert committed(saver) == {0: 3, 1: 3}


def test_every_long_epoch_is_committed(saver, say, clock):
    """Whoever else trains, and however short the last commit is ago."""
    say(report([0, 1], 1), report([2, 3], 1))
    clock[0] += 0.1
    say(report([2, 3], 2, stands=True, long=True))
    assert committed(saver) == {2: 2, 3: 2}
    say(report([2, 3], 3, stands=True, long=True), report([4, 5], 1, stands=True, long=True))
    assert (saver.commits.number, committed(saver)) == (2, {2: 3, 3: 3, 4: 1, 5: 1})  # one commit for both
    clock[0] += 2
    say(report([0, 1], 2, stands=True))  # the long ones are not waited for
    assert (saver.commits.number, committed(saver)) == (3, {0: 2, 1: 2, 2: 3, 3: 3, 4: 1, 5: 1})
    say(report([2, 3], 9, trained=True, long=True))
    assert committed(saver)[2] == 9
    say(report([4, 5], 2, long=True))  # it had nothing new to say: the last commit was being written
    assert saver.commits.number == 4


@pytest.mark.parametrize("every", [1e9, 0.0], ids=["short epochs", "long epochs"])
def test_a_part_stands_once_a_commit_when_it_is_due_or_its_epoch_was_long(rows, every):
    space = pj.Space(learning_rate=pj.log_uniform(1e-3, 1e-1))
    config = Config(epochs=EPOCHS, seed=0, metric="val_loss", mode="min", lanes=1)
    run = prepare(pj.supervised(rows), space, space.sample(2, 0), config)
    part = run.parts(run.stands()[0], Clock())[0]
    calls, answers = RollCall(every, due=float("inf")), {}

    def say(message):
        assert message.long is (every == 0)
        if message.stand is not None:
            answers[message.epoch + 1] = message.stand
        if message.epoch + 1 in (3, 6):
            calls.number += 1
            calls.due = 0.0
        if message.epoch + 1 == EPOCHS - 1:
            calls.number += 1

    train(part, Order(0, run.data, EPOCHS, Clock(), threading.Event(), calls), say, lambda: False)
    due = {4: 4, 7: 7}  # after the last epoch there is no need
    assert {after: stand.epoch for after, stand in answers.items()} == due | ({1: 1} if every == 0 else {})
    assert answers[4].training.alive.tolist() == [True] * len(part.index)
