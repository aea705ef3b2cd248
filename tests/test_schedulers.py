"""A scheduler may let trials rest and go on, copy them, change them and add others: as a plain loop would."""

import functools
import json
import re
import shutil
import threading
from collections import Counter

import jax
import numpy as np
import pytest
import stopping
import warm
from conftest import compilations, refused, soaked
from steering_task import DATA, EPOCHS, SPACE, TASK, everything, search, sets_once

import popjax as pj
from popjax.engine.memory import host_total
from popjax.engine.trainer import Trainer
from popjax.scheduler import best_first
from popjax.store.files import read_arrays

FILES = ("trials.parquet", "curves.parquet", "decisions.jsonl", "best/arrays.safetensors")


class Loop:
    """What a scheduler decides, carried out member by member in plain Python, with none of popjax's engine."""

    def __init__(self, folds=2, seed=2):
        self.folds, self.seed = folds, seed
        self.points, self.states, self.losses, self.epochs = [], [], [], []

    def hparams(self, trial, fold):
        values = self.points[trial]
        return pj.HParams({n: v if n == "size" else np.float64(v) for n, v in values.items()} | {"fold": fold})

    def begin(self, trial):
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(self.seed), trial), 0)
        self.states.append([TASK.init(key, self.hparams(trial, fold), DATA) for fold in range(self.folds)])
        self.losses.append([[None] * EPOCHS for _ in range(self.folds)])
        self.epochs.append(0)

    def apply(self, decision):
        first = len(self.points)
        for row in range(len(next(iter(decision.add.values()))) if decision.add else 0):
            self.points.append({name: column[row] for name, column in decision.add.items()})
            self.begin(first + row)
        states, points = list(self.states), list(self.points)
        for target, source in decision.copy.items():
            self.states[target], self.points[target] = states[source], points[source]
        for trial in decision.fresh:
            other = lambda leaf, trial=trial: jax.random.fold_in(jax.random.fold_in(leaf, trial), self.epochs[trial])
            self.states[trial] = [
                {"x": s["x"], "key": other(s["key"]), "keys": jax.numpy.stack([other(key) for key in s["keys"]])}
                for s in self.states[trial]
            ]
        for trial, values in decision.set.items():
            self.points[trial] = self.points[trial] | values

    def train(self, until):
        for trial, target in until.items():
            for fold in range(self.folds):
                for epoch in range(self.epochs[trial], target):
                    state = self.states[trial][fold]
                    state, metrics = TASK.epoch(state, self.hparams(trial, fold), DATA)
                    self.states[trial] = [*self.states[trial][:fold], state, *self.states[trial][fold + 1 :]]
                    self.losses[trial][fold][epoch] = float(metrics["loss"])
            self.epochs[trial] = target

    def trials(self):
        losses = np.array(self.losses, float).reshape(-1, self.folds, EPOCHS)
        epochs = np.array(self.epochs, int)
        mean = losses.mean(1)
        loss = mean[np.arange(len(epochs)), epochs - 1] if len(epochs) else np.zeros(0)
        points = {n: np.array([values[n] for values in self.points]) for n in SPACE} if self.points else {}
        return pj.Trials(points, epochs, loss, {"loss": mean}, np.zeros(len(epochs), bool))

    def run(self):
        propose = lambda n, trials=None, space=None: {
            name: column[0 if trials is None else len(trials.epochs) :]
            for name, column in SPACE.sample(n + (0 if trials is None else len(trials.epochs)), self.seed).items()
        }
        scheduler = everything(pj.Problem(SPACE, 11, EPOCHS, self.seed, pj.best("loss"), propose))
        state = scheduler.init()
        while True:
            state, decision = scheduler.step(state, self.trials())
            if not decision.until:
                return self
            self.apply(decision)
            self.train(decision.until)


def test_a_scheduler_that_does_everything_is_a_plain_loop(x64):
    """Over two programs and two folds: trials that rest, go on, are copied, changed, and come late."""
    loop, results = Loop().run(), search()
    losses = np.array(loop.losses, float)
    np.testing.assert_allclose(results.members["loss"][:, :, 0], losses, rtol=1e-9)
    assert results.done[:, :, 0].tolist() == [[epoch] * 2 for epoch in loop.epochs]
    for name, column in results.points.items():
        assert column.tolist() == [values[name] for values in loop.points]
    status = results.trials["status"].to_pylist()
    assert status == ["ok" if epoch == EPOCHS else "pruned" for epoch in loop.epochs]
    assert set(status) == {"ok", "pruned"}
    assert set(results.order.tolist()) == {t for t, epoch in enumerate(loop.epochs) if epoch == EPOCHS}
    best = results.best.trial
    for fold in range(2):
        np.testing.assert_allclose(results.params(best)["x"][fold], loop.states[best][fold]["x"], rtol=1e-9)


@pytest.mark.parametrize("every", [1, 3])
def test_looking_more_often_changes_no_bit(every, tmp_path):
    """`every` cuts the segments; each cut is a decision of its own, and the scheduler is not asked in between."""
    whole, cut = search(), search(out=tmp_path / "run", every=every)
    for name, values in whole.members.items():
        assert values.tobytes() == cut.members[name].tobytes()
    states = [json.loads(line)["state"] for line in (tmp_path / "run" / "decisions.jsonl").read_text().splitlines()]
    assert sorted(set(states)) == list(range(1, 8))
    assert len(states) == (15 if every == 1 else 8)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    place = tmp_path_factory.mktemp("whole") / "run"
    search(out=place)
    return place


RUN = "from steering_task import search\nsearch(out=sys.argv[1], resume=True)"
FOUR = f"""
import jax
jax.config.update("jax_enable_x64", True)
assert jax.local_device_count() == 4
{RUN}
"""


@pytest.mark.kill
@pytest.mark.soak
def test_on_four_devices_killed_often_it_is_a_plain_loop(x64, tmp_path, environment):
    """Over two programs and two folds."""
    four = environment | {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    stopping.killed_often(functools.partial(warm.python, cwd=tmp_path, environment=four), FOUR, (3, 5, 4, 6))
    loop, results = Loop().run(), pj.Results.load(tmp_path / "run")
    np.testing.assert_allclose(results.members["loss"][:, :, 0], np.array(loop.losses, float), rtol=1e-9)
    assert results.done[:, :, 0].tolist() == [[epoch] * 2 for epoch in loop.epochs]
    for name, column in results.points.items():
        assert column.tolist() == [values[name] for values in loop.points]


@pytest.mark.parametrize("cut", [1, 30])
def test_a_torn_decision_is_made_again_and_a_damaged_one_is_refused(tmp_path, uninterrupted, cut):
    run = tmp_path / "run"
    shutil.copytree(uninterrupted, run, ignore=shutil.ignore_patterns("state"))
    journal = run / "decisions.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-cut])
    search(out=run, resume=True)
    stopping.same_files(uninterrupted, run)
    journal.write_bytes(whole[:40] + bytes([whole[40] ^ 1]) + whole[41:])
    with refused("line 1", "damaged", error=Exception):
        search(out=run, resume=True)


class Stops(pj.Callback):
    """Sets the event once so many epochs of members are trained."""

    def __init__(self, epochs):
        self.left, self.stop = epochs, threading.Event()

    def epoch(self, result):
        self.left -= len(result.trial)
        if self.left <= 0:
            self.stop.set()


@pytest.mark.parametrize("epochs", soaked([30, 5, 40, 55, 70, 85, 100]))
def test_states_that_are_given_up_are_trained_again_to_the_same_bits(tmp_path, uninterrupted, monkeypatch, epochs):
    """No memory for waiting trials: sources of copies too, heard of once, also where the run is stopped meanwhile."""
    monkeypatch.setattr("popjax.engine.trainer.WAITING", 0)
    recorder, stops = Recorder(), Stops(epochs)
    results = search(callbacks=[recorder])
    np.testing.assert_array_equal(recorder.losses, results.members["loss"])
    stopped = search(out=tmp_path / "run", stop=stops.stop, callbacks=[stops])
    np.testing.assert_array_equal(stopped.done, np.isfinite(stopped.members["loss"]).sum(-1))
    search(out=tmp_path / "run", resume=True)
    stopping.same_files(uninterrupted, tmp_path / "run")


def test_rungs_copies_and_changes_compile_nothing():
    """Trials at different epochs, resting and copied, take the one program of their bucket."""
    search()
    with compilations() as events:
        search(seed=2)
    assert events == []


def median_stopping(problem):
    """The median stopping rule (Golovin et al. 2017): a trial behind the median of the others' curves is pruned."""

    def step(epoch, trials):
        if epoch == 0:
            return 1, pj.Decision(add=problem.propose(problem.trials), until=dict.fromkeys(range(problem.trials), 1))
        here = np.flatnonzero((trials.epochs == epoch) & np.isfinite(trials.loss))
        if epoch == problem.epochs or not len(here):
            return epoch, pj.Decision()
        median = np.median(trials.loss[here])
        better = here[trials.loss[here] <= median].tolist()
        return epoch + 1, pj.Decision(until=dict.fromkeys(better, epoch + 1))

    return pj.Scheduler(lambda: 0, step)


def test_a_users_scheduler_prunes_and_a_pruned_curve_is_the_beginning_of_the_whole_one(rows, tmp_path):
    task = pj.supervised(rows)
    space = {"learning_rate": pj.log_uniform(1e-3, 1), "hidden": pj.integers(3, 9)}
    settings = {"epochs": 4, "rank": "val_loss"}
    whole = pj.search(task, space, trials=32, **settings)
    found = pj.search(task, space, trials=32, scheduler=median_stopping, out=tmp_path / "run", **settings)
    assert found.summary["pruned"] == 28
    assert sorted(np.unique(found.done, return_counts=True)[1].tolist()) == [4, 4, 8, 16]
    for trial, epochs in enumerate(found.done[:, 0, 0].tolist()):
        for name, values in found.members.items():
            assert values[trial, ..., :epochs].tobytes() == whole.members[name][trial, ..., :epochs].tobytes()
    loaded = pj.Results.load(tmp_path / "run")
    assert loaded.trials["status"].to_pylist() == found.trials["status"].to_pylist()
    assert loaded.pruned.tolist() == found.pruned.tolist()
    assert loaded.best == found.best
    again = pj.search(task, space, trials=32, scheduler=median_stopping, out=tmp_path / "run", resume=True, **settings)
    assert again.summary["steps_run"] == 0


def deciding(*decisions):
    """A scheduler of these decisions, after four trials of two epochs of eight."""

    def scheduler(problem):
        first = pj.Decision(add=problem.propose(4), until=dict.fromkeys(range(4), 2))

        def step(number, trials):
            return number + 1, [first, *decisions, pj.Decision()][number]

        return pj.Scheduler(lambda: 0, step)

    return scheduler


POINT = {"rate": np.array([0.2]), "shift": np.array([0.2]), "size": np.array([2])}


@pytest.mark.parametrize(
    ("decision", "names"),
    [
        (pj.Decision(until={9: 3}), ["9", "0..3"]),
        (pj.Decision(until={True: 3}), ["True"]),
        (pj.Decision(until={0: 1}), ["trial 0", "epoch 2", "later"]),
        (pj.Decision(until={0: 9}), ["trial 0", "9", "at most 8"]),
        (pj.Decision(set={1: {"size": 3}}, until={0: 3}), ["size", "shape"]),
        (pj.Decision(set={1: {"speed": 3}}, until={0: 3}), ["speed", "rate, shift, size"]),
        (pj.Decision(set={1: {"rate": "fast"}}, until={0: 3}), ["rate='fast'", "number"]),
        (pj.Decision(copy={0: 7}, until={0: 3}), ["7"]),
        (pj.Decision(add=POINT, fresh=(4,), until={4: 3}), ["fresh 4"]),
        (pj.Decision(add=POINT | {"zz": np.zeros(1)}, until={4: 3}), ["zz", "rate, shift, size"]),
        (pj.Decision(add={"rate": np.array([0.2])}, until={4: 3}), ["shift"]),
        (pj.Decision(add=POINT | {"rate": [0.2]}, until={4: 3}), ["rate", "list", "NumPy array"]),
        (pj.Decision(add=POINT | {"rate": np.zeros((1, 2))}, until={4: 3}), ["rate", "(1, 2)"]),
        (pj.Decision(add=POINT | {"rate": np.zeros(2)}, until={4: 3}), ["rate has 2", "shift has 1"]),
        (pj.Decision(add=POINT | {"rate": np.array([np.nan])}, until={4: 3}), ["rate", "0"]),
        (pj.Decision(add=POINT | {"rate": np.array([np.inf])}, until={4: 3}), ["rate=inf", "finite"]),
        (pj.Decision(add=POINT | {"rate": np.array(["a"])}, until={4: 3}), ["rate", "<U1", "numbers"]),
        (pj.Decision(until=[0]), ["until", "list", "dict"]),
        (pj.Decision(copy=[(0, 1)], until={0: 3}), ["copy", "list", "dict"]),
        (pj.Decision(fresh=3, until={0: 3}), ["fresh", "int"]),
        (pj.Decision(set={0: 0.3}, until={0: 3}), ["set 0", "0.3", "dict"]),
        (pj.Decision(until={0: 3}, notes=float("nan")), ["notes", "JSON"]),
    ],
    ids=str,
)
def test_a_decision_that_cannot_be_carried_out_is_one_line_and_changes_nothing(decision, names, tmp_path):
    with refused(*names):
        pj.search(TASK, SPACE, trials=4, epochs=8, scheduler=deciding(decision), out=tmp_path / "run")
    (written,) = (tmp_path / "run" / "decisions.jsonl").read_text().splitlines()
    assert "add" in json.loads(written), "it is checked before it is written"


@pytest.mark.parametrize("change", [{"set": {0: {"rate": 0.123}}}, {"fresh": (0,)}], ids=str)
def test_a_complete_trial_is_changed_no_more(change):
    """Its record would say that it was trained with what it was given afterwards."""
    decision = pj.Decision(until={1: 3}, **change)
    with refused(f"{next(iter(change))} 0"):
        pj.search(TASK, SPACE, trials=4, epochs=8, scheduler=deciding(pj.Decision(until={0: 8}), decision))


def test_a_value_that_is_not_among_the_choices_is_not_added():
    space = SPACE.replace(size=pj.choice(1, 2, static=True))
    add = {"rate": np.array([0.2]), "shift": np.array([0.2]), "size": np.array([7], object)}
    with refused("size=7", "choice(1, 2, static=True)"):
        pj.search(TASK, space, trials=4, epochs=8, scheduler=deciding(pj.Decision(add=add, until={4: 3})))


def test_copies_between_shapes_or_epochs_are_refused():
    points = SPACE.sample(4, 0)
    sizes = points["size"].tolist()
    other = next(trial for trial in range(1, 4) if sizes[trial] != sizes[0])
    same = next(trial for trial in range(1, 4) if sizes[trial] == sizes[0])
    for decisions, names in (
        ([pj.Decision(copy={0: other}, until={0: 3})], ["shape"]),
        (
            [pj.Decision(until={0: 3}), pj.Decision(copy={0: same}, until={0: 4})],
            ["trial 0", "3", f"trial {same} at 2"],
        ),
    ):
        with refused(*names):
            pj.search(TASK, SPACE, trials=4, epochs=8, scheduler=deciding(*decisions))


def test_a_budget_of_minutes_stops_and_is_noted_and_the_run_goes_on(rows, tmp_path):
    task = pj.supervised(rows)
    space = {"learning_rate": pj.log_uniform(1e-3, 1e-1)}
    settings = {"trials": 20, "epochs": 3, "out": tmp_path / "run"}
    whole = pj.search(task, space, trials=20, epochs=3)
    stopped = pj.search(task, space, minutes=1e-6, **settings)
    assert stopped.stopped.any()
    lines = (tmp_path / "run" / "decisions.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["stopped"] == "minutes"
    last = pj.search(task, space, resume=True, **settings)
    for name, values in whole.members.items():
        assert values.tobytes() == last.members[name].tobytes()


class Recorder(pj.Callback):
    """Puts together from the callbacks what the results say."""

    def begin(self, run):
        self.run = run
        self.losses = np.full((run.trials, run.folds, run.repeats, run.epochs), np.nan)
        self.decisions, self.results = [], None

    def epoch(self, result):
        self.losses[result.trial, result.fold, result.repeat, result.epoch] = result.metrics["loss"]

    def decision(self, decision, trials):
        self.decisions.append((dict(decision.until), trials.epochs.tolist()))

    def end(self, results):
        self.results = results


def test_a_callback_sees_every_epoch_of_every_member_and_every_decision():
    recorder = Recorder()
    results = search(callbacks=[recorder])
    np.testing.assert_array_equal(recorder.losses, results.members["loss"])
    assert recorder.results is results
    assert len(recorder.decisions) == 7
    assert recorder.decisions[1] == (dict.fromkeys(range(4), 4), [2] * 8)
    assert (recorder.run.programs, recorder.run.metrics) == (2, ("first", "loss"))


def test_a_callback_knows_from_the_first_decision_on_what_may_be_set(tmp_path):
    """Also where a run that was killed goes on with a first decision of which only the line in the log is left."""

    class Settable(pj.Callback):
        def __init__(self):
            self.seen = []

        def decision(self, decision, trials):
            self.seen.append(trials.settable)

    first, again = Settable(), Settable()
    search(tmp_path / "whole", callbacks=[first])
    assert set(first.seen) == {("rate", "shift")}
    (tmp_path / "killed").mkdir()
    shutil.copy(tmp_path / "whole" / "run.json", tmp_path / "killed" / "run.json")
    (line, *_) = (tmp_path / "whole" / "decisions.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "killed" / "decisions.jsonl").write_text(line)
    search(tmp_path / "killed", callbacks=[again], resume=True)
    assert again.seen == first.seen


def test_a_callback_that_fails_is_reported_once_and_the_run_goes_on(capsys):
    class Failing(pj.Callback):
        calls = closed = 0

        def epoch(self, result):
            self.calls += 1
            raise RuntimeError("no such server\nat all")

        def close(self):
            self.closed += 1
            raise OSError("nothing to close")

    failing, recorder = Failing(), Recorder()
    results = search(callbacks=[failing, recorder])
    assert (failing.calls, failing.closed) == (1, 1)
    assert recorder.results is results
    (line,) = capsys.readouterr().err.splitlines()
    place = r"\(.*test_schedulers.py, line \d+, in .*Failing.epoch\)"
    what = "popjax: the callback Failing: epoch raised RuntimeError: no such server"
    assert re.fullmatch(f"{what} {place}; the run goes on", line)


def test_best_first_is_the_order_of_the_results(rows):
    """Ties by the second metric, then by number; diverged trials and those behind are left out."""
    results = pj.search(pj.supervised(rows), {"learning_rate": pj.log_uniform(1e-3, 1e12)}, trials=60, epochs=2)
    assert results.diverged.any()
    epochs = np.full(60, 2)
    loss = np.where(results.diverged, np.inf, -results.values["val_accuracy"])
    trials = pj.Trials(results.points, epochs, loss, results.curves, np.zeros(60, bool))
    problem = pj.Problem(pj.Space(x=1), 60, 2, 0, pj.best("val_accuracy"), None)
    assert len(np.unique(loss[np.isfinite(loss)])) < len(results.order), "there are ties"
    assert best_first(problem, trials).tolist() == results.order.tolist()


def test_rounds_of_an_inner_scheduler(rows):
    """The rounds' trials are decided about by an inner scheduler each; the zoom sees which trials are complete."""
    task = pj.supervised(rows)
    space = {"learning_rate": pj.log_uniform(1e-4, 1), "hidden": pj.integers(3, 9)}
    plainly = pj.search(task, space, trials=40, epochs=4, scheduler=pj.rounds(2))
    same = pj.search(task, space, trials=40, epochs=4, scheduler=pj.rounds(2, functools.partial(mine, 4)))
    for name, values in plainly.members.items():
        assert values.tobytes() == same.members[name].tobytes()
    pruned = pj.search(task, space, trials=40, epochs=4, scheduler=pj.rounds(2, median_stopping))
    assert pruned.rounds.tolist() == [0] * 20 + [1] * 20
    assert pruned.pruned[:20].any()
    assert pruned.pruned[20:].any()
    assert pruned.points["learning_rate"][:20].tolist() == plainly.points["learning_rate"][:20].tolist()
    with refused("rounds=50", "40"):
        pj.search(task, space, trials=40, scheduler=pj.rounds(50))


@pytest.mark.parametrize("first", [pj.Decision(), pj.Decision(add=SPACE.sample(3)), pj.Decision(until={0: 1})], ids=str)
def test_a_first_decision_that_trains_nothing_is_one_line(first, tmp_path):
    scheduler = lambda problem: pj.Scheduler(lambda: 0, lambda state, trials: (state, first))
    with pytest.raises(ValueError, match=r"first decision trains nothing|there is no trial 0"):
        pj.search(TASK, SPACE, trials=3, scheduler=scheduler, out=tmp_path / "run")
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_callback_is_closed_also_where_the_run_fails():
    class Closing(pj.Callback):
        closed = 0

        def close(self):
            self.closed += 1

    closing = Closing()
    search(callbacks=[closing])
    with pytest.raises(ValueError):
        pj.search(TASK, SPACE, trials=4, scheduler=deciding(pj.Decision(until={9: 3})), callbacks=[closing])
    assert closing.closed == 2


def test_states_that_wait_on_disk_are_read_together(tmp_path, monkeypatch):
    """A file with the states of many cohorts is read once for those that train on, and the results are the same."""
    trials, leaf = 256, 1024
    init = lambda key, hparams, data: jax.random.normal(key, (leaf,))

    def epoch(state, hparams, data):
        state = state * hparams["rate"]
        return state, {"loss": (state**2).sum()}

    task, space = pj.Task(init, epoch, ()), pj.Space(rate=pj.uniform(0.3, 0.99))
    asked = {"trials": trials, "epochs": 4, "scheduler": "halving"}
    free = pj.search(task, space, **asked)
    apply, reads = Trainer._apply, Counter()

    def counted(path, *digest):
        reads[path.name] += 1
        return read_arrays(path, *digest)

    monkeypatch.setattr("popjax.store.commits.read_arrays", counted)
    monkeypatch.setattr("popjax.engine.trainer.WAITING", 1.5 * trials * 4 * leaf / host_total())
    monkeypatch.setattr(Trainer, "_apply", lambda trainer, decision: (trainer.commit(), apply(trainer, decision)))
    bounded = pj.search(task, space, out=tmp_path / "run", **asked)
    assert max(reads.values()) == 1
    np.testing.assert_array_equal(bounded.members["loss"], free.members["loss"])


@pytest.mark.parametrize("state", [[], {}, 0, False, ""], ids=repr)
def test_an_empty_state_is_there_again_when_a_run_goes_on(tmp_path, state):
    """It tells a scheduler that it has begun, as any other does."""

    def whole(problem):
        def step(known, trials):
            if known is None:
                until = dict.fromkeys(range(problem.trials), 1)
                return state, pj.Decision(add=problem.propose(problem.trials), until=until)
            going = range(problem.trials if trials.epochs.max() < problem.epochs else 0)
            return known, pj.Decision(until={trial: int(trials.epochs[trial]) + 1 for trial in going})

        return pj.Scheduler(lambda: None, step)

    stop = threading.Event()

    class Stopping(pj.Callback):
        def epoch(self, result):
            if result.epoch == 1:
                stop.set()

    again = functools.partial(stopping.search, TASK, SPACE, trials=4, epochs=4, scheduler=whole)
    stopped = again(out=tmp_path / "run", stop=stop, callbacks=[Stopping()])
    assert stopped.epochs_run.max() < 4
    resumed = again(out=tmp_path / "run", resume=True)
    np.testing.assert_array_equal(resumed.members["loss"], again().members["loss"])


def test_the_progress_shows_what_ranks(capsys):
    """The best of where all stand now, by the mean over folds: not the best that any epoch ever gave."""

    def epoch(state, hparams, data):
        return state + 1, {"loss": 1.0 + hparams["rate"] * state + data[hparams["fold"]]}

    task = pj.Task(lambda key, hparams, data: 0.0, epoch, np.array([0.0, 2.0]))
    from popjax.tuning.callbacks.progress import Lines

    lines = Lines()
    space = {"rate": pj.uniform(1, 2)}
    results = pj.search(task, space, trials=40, epochs=10, folds=2, progress=lines)
    assert lines.best() == pytest.approx(results.best.value)
    assert results.best.value > 10 > results.curves["loss"].min()
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"trained 100%, best now {results.best.value:.4g}, 0 s left"


class Quiet(pj.Callback):
    pass


def returning(step):
    return lambda problem: pj.Scheduler(lambda: 0, lambda state, trials: step(problem))


def noting(problem):
    return 1, pj.Decision(add=problem.propose(2), until={0: 1, 1: 1}, notes={"loss": np.ones(1)})


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"scheduler": lambda problem: None}, ["<lambda>", "NoneType", "popjax.Scheduler"]),
        ({"scheduler": pj.halving}, ["halving", "call it"]),
        ({"scheduler": returning(lambda problem: (1, None))}, ["(1, None)", "popjax.Decision"]),
        ({"scheduler": returning(noting)}, ["notes", "float64[1]", "numbers"]),
        ({"callbacks": Quiet()}, ["Quiet", "[callback]"]),
        ({"callbacks": 3}, ["int", "list"]),
        ({"callbacks": [Quiet]}, ["Quiet", "call it"]),
        ({"callbacks": [print]}, ["builtin_function_or_method"]),
    ],
)
def test_what_is_no_scheduler_and_no_callback_is_one_line(given, names):
    """Before anything is trained, also where nothing is written."""
    task = pj.objective(lambda key, hparams: {"loss": hparams["x"]})
    with refused(*names):
        pj.search(task, {"x": pj.uniform(0, 1)}, trials=4, **given)


def test_callbacks_may_come_from_a_generator():
    recorder = Recorder()
    results = search(callbacks=(one for one in [recorder]))
    assert recorder.results is results


def mine(step, problem):
    """Trains all trials, `step` epochs at a time."""

    def decide(state, trials):
        if not state:
            return [1], pj.Decision(
                add=problem.propose(problem.trials), until=dict.fromkeys(range(problem.trials), step)
            )
        ends = {trial: min(epoch + step, problem.epochs) for trial, epoch in enumerate(trials.epochs.tolist())}
        return [1], pj.Decision(until={t: end for t, end in ends.items() if end > trials.epochs[t]})

    return pj.Scheduler(list, decide)


def test_the_arguments_of_a_partial_belong_to_a_run(tmp_path):
    """Those without a name too: a run is not resumed with others."""
    task = pj.Task(lambda key, h, data: h["x"], lambda x, h, data: (x, {"loss": x}), ())
    asked = {"space": {"x": pj.uniform(0, 1)}, "trials": 4, "epochs": 4, "out": tmp_path / "run"}
    pj.search(task, **asked, scheduler=functools.partial(mine, 1))
    pj.search(task, **asked, scheduler=functools.partial(mine, 1), resume=True)
    with refused("scheduler"):
        pj.search(task, **asked, scheduler=functools.partial(mine, 2), resume=True)


def test_a_run_with_more_trials_than_asked_for_is_resumed_with_a_bar(tmp_path, capsys):
    def more(problem):
        def decide(state, trials):
            if not state:
                return [1], pj.Decision(add=problem.propose(12), until=dict.fromkeys(range(12), 2))
            return [1], pj.Decision()

        return pj.Scheduler(list, decide)

    task = pj.Task(lambda key, h, data: h["x"], lambda x, h, data: (x, {"loss": x}), ())
    asked = {"space": {"x": pj.uniform(0, 1)}, "trials": 8, "epochs": 2, "out": tmp_path / "run", "progress": True}
    first = pj.search(task, **asked, scheduler=more)
    again = pj.search(task, **asked, scheduler=more, resume=True)
    assert len(again.trials) == 12
    assert again.order.tolist() == first.order.tolist()
    assert "progress" not in capsys.readouterr().err.lower()


def test_a_number_set_between_the_choices_is_drawn(tmp_path):
    space = {"learning_rate": pj.choice(0.001, 0.01, 0.1)}
    results = pj.search(pj.supervised("wine"), space, trials=4, epochs=2, scheduler=sets_once(4, 0, learning_rate=0.03))
    assert results.hparams(0)["learning_rate"] == 0.03
    assert "0.03" in results.report(tmp_path / "page.html").read_text()


@pytest.mark.parametrize("value", [np.int64(2), jax.numpy.int32(2)])
def test_a_scheduler_sets_numbers_of_numpy_and_jax_in_a_run_with_a_directory(value, tmp_path):
    epoch = lambda state, hparams, data: (state + hparams["k"], {"loss": 1.0 * state})
    task = pj.Task(lambda key, hparams, data: jax.numpy.int32(0), epoch, ())
    space = {"k": pj.integers(1, 4)}
    results = pj.search(task, space, trials=2, epochs=2, scheduler=sets_once(2, 0, k=value), out=tmp_path / "run")
    assert results.hparams(0)["k"] == 2


def test_a_value_that_is_no_branch_is_not_set():
    """The program would take another branch without a word."""
    hints = pj.Hints(branches=("k",))
    epoch = lambda state, hparams, data: (state + hparams["k"], {"loss": 1.0 * state})
    task = pj.Task(lambda key, hparams, data: jax.numpy.int32(0), epoch, (), hints=hints)
    space = pj.Space(k=pj.choice(2, 4))
    session = pj.Session(task, space.sample(2), space=space)
    session.train(1)
    with refused("k=3", "2, 4"):
        session.set(0, k=3)
    session.set(0, k=4)
