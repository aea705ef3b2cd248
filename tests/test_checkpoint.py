"""When progress is committed: every two seconds, with the state of all members."""

import shutil

import numpy as np
import pytest
import steering_task

import popjax as pj
from popjax.core.clock import Clock
from popjax.engine import checkpoint
from popjax.engine.backends.local import Job, train
from popjax.engine.backends.protocol import CheckpointRequest, Context, Epoch, Position, Segment
from popjax.engine.checkpoint import Checkpoint
from popjax.engine.members import MemberTable
from popjax.engine.numbering import Numbering
from popjax.engine.on_devices import OnDevices
from popjax.engine.roster import Roster
from popjax.engine.states import States
from popjax.engine.traced_task import Config, TracedTask
from popjax.store.cohort import Cohort, OnHost
from popjax.store.commits import Commits

EPOCHS = 9


@pytest.fixture
def clock(monkeypatch):
    """The seconds that the checkpoint sees, as clock[0]."""
    now = [100.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def saver(clock, tmp_path):
    table = MemberTable(("loss",), Numbering(), pj.best("loss"), epochs=EPOCHS, last=EPOCHS)
    table.grow(6)
    return Checkpoint(Commits(tmp_path / "state"), table, States(table, None))


SEGMENTS = {members: Segment(Cohort(0, np.array(members)), EPOCHS) for members in ((0, 1), (2, 3), (4, 5))}


def report(members, epoch, stands=False, trained=False, long=False):
    """What a worker says of a segment after its epoch number `epoch`, counted from 1."""
    segment, index = SEGMENTS[tuple(members)], np.array(members)
    state = OnHost({"state": np.full(len(index), epoch, np.float32), "alive": np.ones(len(index), bool)})
    standing = Position(segment, Cohort(0, index, epoch, state), ended=trained)
    return Epoch(segment, epoch - 1, {"loss": np.ones(len(index))}, long=long), *(
        [standing] if stands or trained else []
    )


def committed(saver):
    """Member -> the epochs that the latest commit on the disk has of it."""
    commits = Commits.load(saver.commits.directory)
    return {int(member): one.cohort.epoch for one in commits.records() for member in one.cohort.members}


@pytest.fixture
def say(saver):
    """Messages that come together."""

    def say(*reports):
        for epoch, *standing in reports:
            saver.table.report(epoch.segment.cohort.members, epoch.epoch, epoch.metrics)
            for message in (epoch, *standing):
                saver.take(message)
        saver.save()

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


def test_a_silent_backend_is_waited_for_no_longer_than_a_commit_may_be_away(saver, say, clock):
    say(report([0, 1], 1), report([2, 3], 1))
    clock[0] += 3.9
    say(report([0, 1], 3, stands=True))
    assert committed(saver) == {}
    clock[0] += 0.1
    say(report([0, 1], 4))
    assert committed(saver) == {0: 3, 1: 3}


def test_every_long_epoch_is_committed(saver, say, clock):
    """In any company, and however recent the last commit."""
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


def test_commits_that_take_long_come_seldom(saver, say, clock, monkeypatch):
    """One that took two seconds is followed by none for forty, however much there is to say."""
    commit = saver.commits.commit
    monkeypatch.setattr(saver.commits, "commit", lambda: (commit(), clock.__setitem__(0, clock[0] + 2.0)))
    clock[0] += 2
    say(report([0, 1], 1, stands=True))
    assert saver.commits.number == 1
    clock[0] += 37.9
    say(report([0, 1], 2, stands=True))
    assert saver.commits.number == 1
    clock[0] += 2.2
    say(report([0, 1], 3, stands=True))
    assert (saver.commits.number, committed(saver)) == (2, {0: 3, 1: 3})


@pytest.mark.parametrize("every", [1e9, 0.0], ids=["short epochs", "long epochs"])
def test_a_part_stands_once_a_commit_when_it_is_due_or_its_epoch_was_long(rows, every):
    space = pj.Space(learning_rate=pj.log_uniform(1e-3, 1e-1))
    config = Config(epochs=EPOCHS, seed=0, rule=pj.Rule("val_loss"), lanes=1)
    roster = Roster(TracedTask(pj.supervised(rows), space, config), space.sample(2, 0))
    cohort, lanes = Cohort(0, np.arange(1)), roster.lanes(0)
    known = {"programs": roster.programs(0, lanes, Clock()), "seed": 0, "data": roster.data, "pace": {}}
    job = Job.of(Segment(cohort, EPOCHS), lanes, lambda numbers: roster.members(0, numbers), **known)
    request, answers, ends, said = CheckpointRequest(every, due=float("inf")), {}, [], []

    def say(message):
        if isinstance(message, Position):
            (ends if message.ended else answers.setdefault(said[-1].epoch + 1, [])).append(message.cohort)
            return
        said.append(message)
        assert message.long is (every == 0)
        if message.epoch + 1 in (3, 6):
            request.number += 1
            request.due = 0.0
        if message.epoch + 1 == EPOCHS - 1:
            request.number += 1

    train(job, Context(request=request), lambda told: list(map(say, told)), lambda: False)
    due = {4: 4, 7: 7}  # after the last epoch there is no need
    found = {after: cohort.epoch for after, (cohort,) in answers.items()}
    assert found == due | ({1: 1} if every == 0 else {})
    assert answers[4][0].arrays()["alive"].tolist() == [True]
    (end,) = ends
    assert end.epoch == EPOCHS
    assert isinstance(end.state, OnDevices)


def at_random(problem):
    """Changes, copies exactly and afresh, and leaves waiting what the step's number draws, until all are at the end."""

    def step(number, trials):
        rng, rates = np.random.default_rng(number), trials.points.get("rate")
        if number == 0:
            return 1, pj.Decision(add=problem.propose(12), until=dict.fromkeys(range(12), 1))
        left = np.flatnonzero(trials.epochs < problem.epochs).tolist()
        pairs = rng.permutation(left)[: 2 * (len(left) // 2)].reshape(-1, 2).tolist()
        alike = lambda one, other: all(values[one] == values[other] for values in (trials.bucket, trials.epochs))
        copy = {target: source for target, source in pairs[:3] if alike(target, source)}
        fresh = tuple(target for target in copy if rng.random() < 0.5)
        changed = {t: {"rate": float(np.clip(rates[t] * rng.uniform(0.5, 1.5), 0.01, 0.5))} for t in left[::4]}
        going = [trial for trial in left if rng.random() < 0.7] or left
        until = {trial: min(trials.epochs[trial] + rng.integers(1, 3), problem.epochs) for trial in going}
        return number + 1, pj.Decision(copy=copy, fresh=fresh, set=changed, until=until)

    return pj.Scheduler(lambda: 0, step)


def drawn(out, **settings):
    task, space = steering_task.TASK, steering_task.SPACE
    return pj.search(task, space, trials=12, epochs=EPOCHS, folds=2, scheduler=at_random, out=out, **settings)


@pytest.mark.kill
@pytest.mark.parametrize("every", [0.0, 1e9], ids=["all answer", "none answers"])
def test_from_any_commit_a_run_ends_as_the_one_left_alone(tmp_path, monkeypatch, every):
    """Commits come at random, so that many stand epochs behind what is decided; each is gone on with."""
    whole = drawn(tmp_path / "whole")
    assert (whole.done == EPOCHS).all()
    rng, commit, copies = np.random.default_rng(1), Checkpoint.commit, []

    def save(saver):
        if rng.random() < 0.6:
            commit(saver)
            copies.append(tmp_path / str(len(copies)))
            shutil.copytree(tmp_path / "run", copies[-1])

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "EVERY", every)
        patched.setattr(Checkpoint, "save", save)
        drawn(tmp_path / "run")
    assert len(copies) > 5
    behind = []
    for copy in [tmp_path / "run", *copies]:
        stands = Commits.load(copy / "state")
        behind.append(len({record.cohort.epoch for record in stands.records()}) > 2)
        drawn(copy, resume=True)
        for name in ("trials.parquet", "curves.parquet", "decisions.jsonl", "best/arrays.safetensors"):
            assert (copy / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), (copy.name, name)
    assert any(behind)


@pytest.mark.parametrize("change", [{"set": {0: {"rate": 0.3}}}, {"copy": {0: 1}}], ids=["set", "copy"])
def test_a_changed_trial_is_recorded_as_it_stood(tmp_path, monkeypatch, change):
    """A commit while it trains on goes on from where the change began, and not with it from epoch 0."""
    epochs, changed, copies, commit = 500, [], [], Checkpoint.commit

    def once(problem):
        def step(number, trials):
            if number == 0:
                return 1, pj.Decision(add=problem.propose(2), until={0: 2, 1: 2})
            if number == 1:
                changed.append(number)
                return 2, pj.Decision(**change, until={0: epochs})
            return 2, pj.Decision()

        return pj.Scheduler(lambda: 0, step)

    def save(saver):
        if changed and not copies and (saver._answered or saver._slow):  # in training
            commit(saver)
            copies.append(shutil.copytree(tmp_path / "run", tmp_path / "copy"))

    def search(out, **settings):
        return pj.search(
            steering_task.TASK, steering_task.SPACE, trials=2, epochs=epochs, scheduler=once, out=out, **settings
        )

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "EVERY", 1e9)
        patched.setattr(Checkpoint, "save", save)
        search(tmp_path / "run")
    (copy,) = copies
    search(copy, resume=True)
    for name in ("trials.parquet", "curves.parquet"):
        assert (copy / name).read_bytes() == (tmp_path / "run" / name).read_bytes(), name


def test_between_two_epochs_no_state_is_copied(rows, tmp_path, monkeypatch):
    """However often they are looked at: only those of the end are, which are kept."""
    epochs, arrays = [], Cohort.arrays
    monkeypatch.setattr(Cohort, "arrays", lambda cohort: epochs.append(cohort.epoch) or arrays(cohort))
    monkeypatch.setattr(checkpoint, "EVERY", 1e9)
    space = {"learning_rate": pj.log_uniform(1e-3, 1e-1)}
    pj.search(pj.supervised(rows), space, trials=8, epochs=EPOCHS, rank=pj.best(keep=8), every=1, out=tmp_path / "run")
    assert set(epochs) == {EPOCHS}
