"""The same search on any executor: the same bytes, whatever workers do, and no work left behind.

Imports the traits of an executor, which authors of one give, and the workers, whose caches a worker that is new lacks.
"""

import contextlib
import gc
import logging
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np
import pytest
import steering_task
import stopping
import warm
from conftest import refused, soaked
from sklearn.datasets import load_digits

import popjax as pj
from popjax.engine.backends import work as workers
from popjax.engine.backends.renewable_executor import Traits

FILES = ("trials.parquet", "curves.parquet", "decisions.jsonl", "best/arrays.safetensors")
SPACE = pj.Space(
    learning_rate=pj.log_uniform(1e-3, 1e-1),
    hidden=pj.integers(3, 9),
    batch_size=pj.choice(8, 16),
    depth=pj.choice(1, 2),
)
CNN = pj.Space(learning_rate=pj.log_uniform(1e-3, 1e-1), hidden=4, batch_size=32, depth=1)
SEARCHES = {
    "plain": dict(epochs=3),
    "rounds": dict(epochs=2, scheduler="rounds(3)"),
    "halving": dict(epochs=4, scheduler="halving(min_epochs=1)"),
    "pbt": dict(epochs=4, scheduler="pbt(warmup=1)"),
    "folds": dict(epochs=2, folds=2, repeats=2, plan="buckets"),
    "rests": dict(epochs=8, folds=2, rank=pj.best("val_loss", at="best", patience=1, keep=3)),
    "cnn": dict(epochs=1),
    "everything": dict(epochs=steering_task.EPOCHS, trials=11, scheduler=steering_task.everything),
    "set before it begins": dict(epochs=2, trials=4, scheduler=steering_task.sets_once(4, 3, ends=(0, 2), rate=0.5)),
}


def case(name, rows):
    """The task, the space and the arguments of a search."""
    asked = {"trials": 12, "seed": 2, **SEARCHES[name]}
    if callable(asked.get("scheduler")):
        return steering_task.TASK, steering_task.SPACE, asked
    if name == "cnn":
        x, y = load_digits(return_X_y=True)
        return pj.supervised((x[:300].reshape(-1, 8, 8), y[:300]), model="cnn"), CNN, asked | {"trials": 4}
    return pj.supervised(rows), SPACE, {"rank": pj.best(keep=3), **asked}


@pytest.fixture(scope="module")
def shared_programs():
    """Worker processes share what other tests have compiled."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in warm.CACHE.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def two_processes(shared_programs):
    from popjax.executors.processes import Processes

    pool = Processes(2)
    yield pool
    pool.shutdown()


@pytest.fixture(scope="module")
def dask(shared_programs):
    """A cluster of two worker processes."""
    from distributed import LocalCluster

    options = dict(dashboard_address=":0", worker_dashboard_address=":0", silence_logs=logging.ERROR)
    with LocalCluster(n_workers=2, threads_per_worker=1, **options) as cluster:
        yield f"dask:{cluster.scheduler_address}"


@pytest.mark.engine
@pytest.mark.parametrize(
    ("where", "name"), soaked([(where, name) for where in ("two_processes", "dask") for name in SEARCHES])
)
def test_the_same_bytes_everywhere(where, name, rows, request, tmp_path):
    """Every kind of search, by two worker processes."""
    task, space, asked = case(name, rows)
    plan = asked.pop("plan", "auto")
    pj.search(task, space, out=tmp_path / "here", backend=pj.Local(plan=plan), **asked)
    there = pj.Remote(request.getfixturevalue(where), plan=plan)
    pj.search(task, space, out=tmp_path / "there", backend=there, **asked)
    for file in FILES:
        assert (tmp_path / "here" / file).read_bytes() == (tmp_path / "there" / file).read_bytes(), file


class Scripted:
    """An executor in this process, which treats each unit as `fate(executor, trials)` says.

    Attributes:
        traits: units of one member and epoch each, unless `seconds` is given.
        refused: the trial whose units it does not take.
        room: how many units it takes at a time; it begins with them once it has refused five others.
        done: how many units it has trained.
        over: set when it is shut down.
    """

    def __init__(self, fate=None, *, seed=None, seconds=1e-9, patience=None, room=None, refused=None):
        self.fate, self.chance = fate or (lambda executor, trials: "done"), seed and random.Random(seed)
        self.traits, self.room, self.refused = Traits(seconds=seconds, patience=patience), room, refused
        self.waiting, self.changed = [], threading.Condition()
        self.done, self.full, self.broken, self.over = 0, 0, False, threading.Event()
        threading.Thread(target=self.serve, daemon=True).start()

    def submit(self, fn, *args):
        trials = args[0].members.trial.tolist()
        with self.changed:
            if self.broken:
                raise BrokenExecutor("broken already")
            if self.refused in trials:
                raise OSError("no room for it")
            if len(self.waiting) == self.room:
                self.full += 1
                raise RuntimeError("the queue is full")
            self.waiting.append((Future(), trials, fn, args))
            self.changed.notify()
            return self.waiting[-1][0]

    def shutdown(self, wait=True):
        self.over.set()

    def serve(self):
        while not (self.over.is_set() or self.broken):
            with self.changed:
                if self.changed.wait_for(lambda: self.waiting and (self.room is None or self.full >= 5), 0.01):
                    at = self.chance.randrange(len(self.waiting)) if self.chance else 0
                    future, trials, fn, args = self.waiting[at]
                    self.treat(self.fate(self, trials), future, fn, args)
                    del self.waiting[at : at + 1]

    def treat(self, fate, future, fn, args):
        if fate == "breaks":  # as a standard pool does: all units fail at once
            self.broken = True
            for each, *_ in self.waiting:
                if each.set_running_or_notify_cancel():
                    each.set_exception(BrokenExecutor("a worker died"))
            self.waiting = []
        elif fate == "lost" or not future.set_running_or_notify_cancel():
            pass
        elif fate == "fails":
            future.set_exception(OSError("connection lost"))
        else:
            if fate == "forgets":
                workers.TASK_CACHE._known.clear()  # a new worker
            if fate == "late":
                time.sleep(0.04)  # so long that the unit is given to another one
            if fate == "twice":
                fn(*args)
            answer = fn(*args)
            self.done += isinstance(answer, workers.Done)
            future.set_result(answer)


def walk(key, hparams, data):
    return {"x": hparams["start"], "key": key}


def step(state, hparams, data):
    key, own = jax.random.split(state["key"])
    x = state["x"] * (1 - hparams["rate"]) + 0.1 * jax.random.normal(own)
    return {"x": x, "key": key}, {"loss": x**2}


WALK = pj.Task(walk, step, ())
WALKS = pj.Space(start=pj.uniform(-1, 1), rate=pj.log_uniform(0.01, 1))


def assert_same(one, other, trials=None):
    """Curves, points and states have the same bits; or curves and points of these trials alone."""
    rows = slice(None) if trials is None else trials
    for table in ("curves", "points"):
        bits = lambda results, table=table: {n: a[rows].tobytes() for n, a in getattr(results, table).items()}
        assert bits(one) == bits(other)
    states = lambda results: {t: {n: a.tobytes() for n, a in s.items()} for t, s in results.states.items()}
    assert trials is not None or states(one) == states(other)


@pytest.mark.parametrize("seed", soaked(range(100), 3))
def test_an_unreliable_executor_changes_no_byte(seed):
    """Delays, duplicates, other orders, lost answers, errors, workers that forget, and pools that break."""
    chance, made = random.Random(seed), []
    fates = ["done"] * 14 + ["lost", "fails", "forgets", "late", "twice", "breaks"]
    asked = dict(trials=7, epochs=3, scheduler="pbt(warmup=1)" if seed % 2 else None)
    asked |= dict(rank=pj.best("loss", at="best", patience=1, keep=7)) if seed % 4 > 1 else {}

    def make():
        made.append(Scripted(lambda *_: chance.choice(fates), seed=1 + len(made), seconds=2.0, patience=0.03))
        return made[-1]

    there = pj.search(WALK, WALKS, backend=pj.Remote(make, retries=100), **asked)
    assert_same(there, pj.search(WALK, WALKS, **asked))
    assert all(executor.over.is_set() for executor in made)


@pytest.mark.parametrize("fate", ["breaks", "refused", "fails"])
@pytest.mark.parametrize("bad", [0, 5, 19])
def test_a_unit_that_fails_each_time_is_given_up_alone(fate, bad, caplog):
    """Though others fail with it each time its pool breaks, and which unit broke it is unknown."""
    fated = lambda executor, trials: fate if bad in trials else "done"
    make = lambda: Scripted(refused=bad) if fate == "refused" else Scripted(fated)
    there = pj.search(WALK, WALKS, trials=20, epochs=3, backend=pj.Remote(make, retries=2))
    assert np.flatnonzero(there.stopped).tolist() == [bad]
    assert f"trial {bad}: given up after 2 failed tries" in caplog.text
    assert_same(there, pj.search(WALK, WALKS, trials=20, epochs=3), np.arange(20) != bad)


def test_an_executor_that_is_full_for_a_while_loses_nothing():
    """It takes two units, and begins with them after more looks than there are tries."""
    there = pj.search(WALK, WALKS, trials=6, epochs=2, backend=pj.Remote(lambda: Scripted(room=2), retries=2))
    assert_same(there, pj.search(WALK, WALKS, trials=6, epochs=2))


def test_units_of_any_work_train_to_the_end(rows):
    task = pj.supervised(rows)  # whose cost is known
    there = pj.search(task, SPACE, trials=4, epochs=3, backend=lambda: Scripted(seconds=float("inf")))
    assert_same(there, pj.search(task, SPACE, trials=4, epochs=3))


class Silent(Scripted):
    def submit(self, fn, *args):
        return None


@pytest.mark.parametrize(
    ("second", "names"),
    [
        (lambda: 1 / 0, ["ZeroDivisionError"]),
        (lambda: None, ["submit"]),
        (lambda: Silent(), ["submit", "NoneType"]),
    ],
)
def test_an_executor_that_cannot_be_made_again_loses_nothing(second, names, tmp_path):
    """The run ends with the error, and with what was trained before it."""
    lease = lambda executor, trials: "done" if executor.done < 7 else "breaks"
    makes = iter([lambda: Scripted(lease), second])
    asked = dict(trials=3, epochs=4, out=tmp_path / "run")
    with refused(*names):
        pj.search(WALK, WALKS, **asked, backend=lambda: next(makes)())
    rest = Scripted()
    there = pj.search(WALK, WALKS, **asked, resume=True, backend=rest)
    assert rest.done == 3 * 4 - 7
    assert_same(there, pj.search(WALK, WALKS, trials=3, epochs=4))


class Here(ThreadPoolExecutor):
    """Works in this process, and tells whether it was shut down."""

    def __init__(self):
        super().__init__(1)
        self.open = True

    def shutdown(self, *args, **kwargs):
        self.open = False
        super().shutdown(*args, **kwargs)


def test_a_hint_may_compare_texts_on_an_executor_too():
    """A text is a Python value in it, as in a program."""

    def epoch(x, hparams, data):
        x = x * hparams["rate"] * (1.0 if hparams["kind"] == "big" else 0.5)
        return x, {"loss": x}

    hints = pj.Hints(flops=lambda hparams: 2000 if hparams["kind"] == "big" else 1000, updates=lambda hparams: 10)
    task = pj.Task(lambda key, hparams, data: 1.0, epoch, (), hints=hints)
    space = pj.Space(rate=pj.uniform(0.3, 0.99), kind=pj.choice("big", "small"))
    there = pj.search(task, space, trials=6, epochs=2, backend=Here)
    assert there.curves["loss"].tobytes() == pj.search(task, space, trials=6, epochs=2).curves["loss"].tobytes()


def test_no_executor_stays_open_where_the_costs_are_not_known():
    task = pj.Task(lambda key, hparams, data: 1.0, lambda x, hparams, data: (x, {"loss": x * hparams["rate"]}), ())
    made = []
    make = lambda: made.append(Here()) or made[-1]
    with refused("flops", "define"):
        pj.search(task, {"rate": pj.uniform(0, 1)}, trials=3, backend=make, rank=pj.pareto("loss", "flops"))
    assert not any(one.open for one in made)


def test_a_worker_has_the_data_once_and_forgets_those_of_old_tasks():
    """Whatever the number of programs of a task; a card's memory would not hold a copy for each."""
    shape = (173, 11)

    def epoch(x, hparams, data):
        x = x * hparams["rate"] * hparams["size"]
        return x, {"loss": x + data.mean()}

    def copies():
        gc.collect()
        return len({array.unsafe_buffer_pointer() for array in jax.live_arrays() if array.shape == shape})

    space = pj.Space(rate=pj.uniform(0.3, 0.9), size=pj.choice(1, 2, 3, 4, static=True))
    for number in range(workers.TASKS + 2):
        task = pj.Task(lambda key, hparams, data: 1.0, epoch, np.full(shape, number, np.float32))
        results = pj.search(task, space, trials=16, epochs=1, backend=Here)
        assert results.summary["buckets"] > 2
        del results, task
        assert copies() <= min(number + 1, workers.TASKS)


class Job:
    """A job of Slurm's whose state cannot be told at some looks; it ends at the tenth that can."""

    state = "RUNNING"

    def __init__(self, failing):
        self.failing, self.looks = iter(failing), 0

    def done(self):
        if next(self.failing, False):
            raise OSError("connection refused")
        self.looks += 1
        return self.looks == 10

    def result(self):
        return 7

    def cancel(self):
        pass


def test_slurm_may_fail_to_tell_a_jobs_state_for_a_while(monkeypatch):
    """Else a search would wait for ever for jobs that nothing looks at."""
    from popjax.executors.slurm import Slurm

    class Jobs:
        folder = "."

        def submit(self, *args):
            return jobs.pop(0)

    monkeypatch.setattr("popjax.executors.slurm.POLL", 0.001)
    jobs = [Job([False, True, True]), Job([True] * 10_000), Job([True, False] * 30)]
    executor = Slurm(Jobs())
    first, second, third = (executor.submit(max, 1, 2) for _ in range(3))
    assert (first.result(60), third.result(60)) == (7, 7)
    with pytest.raises(OSError, match="connection refused"):
        second.result(60)
    executor.shutdown()


def nap(x):
    """Say that it begins in the file BEGUN, take a while where NAP says so; die where POISON does."""
    Path(os.environ.get("BEGUN", os.devnull)).touch()
    time.sleep(float(os.environ.get("NAP", "0")))
    if x > float(os.environ.get("POISON", "inf")):
        os._exit(1)
    return x


def slow_step(state, hparams, data):
    state, metrics = step(state, hparams, data)
    return state, metrics | {"echo": jax.pure_callback(nap, jax.ShapeDtypeStruct((), "float32"), hparams["start"])}


SLOW = pj.Task(walk, slow_step, (), metric="loss", mode="min")


@pytest.fixture
def slow(monkeypatch):
    """Workers take 50 ms an epoch."""
    for name, value in warm.CACHE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NAP", "0.05")


def loky_processes(directory):
    """The worker processes that were begun in a directory."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if b"popen_loky" in (entry / "cmdline").read_bytes() and (entry / "cwd").readlink() == directory:
                found.append(int(entry.name))
    return found


def wait_for(event, process=None):
    """Until it is so; a minute at most."""
    until = time.monotonic() + 60
    while not event():
        assert process is None or process.poll() is None, process.stderr.read()
        assert time.monotonic() < until
        time.sleep(0.05)


@contextlib.contextmanager
def killed(directory, kills, seed):
    """Meanwhile workers are killed at random instants, one at a time, and all of them once; gives how many times."""
    over, done = threading.Event(), []

    def run():
        chance = random.Random(seed)
        while len(done) < kills and not over.wait(chance.uniform(0.3, 1.5)):
            if alive := loky_processes(directory):
                for pid in alive if len(done) == kills // 2 else chance.sample(alive, 1):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                done.append(alive)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield done
    finally:
        over.set()
        thread.join()


@pytest.mark.engine
@pytest.mark.soak
def test_workers_that_die_change_nothing(slow, monkeypatch, tmp_path):
    """Ten kills at random instants, in one of which all go at once; the best epochs are kept."""
    monkeypatch.chdir(tmp_path)
    asked = dict(trials=64, epochs=8, rank=pj.best("loss", at="best", keep=64))
    with killed(tmp_path, 10, 0) as kills:
        there = pj.search(SLOW, WALKS, backend=pj.Remote("processes:2", retries=20), **asked)
    assert len(kills) == 10
    assert not there.stopped.any()
    monkeypatch.delenv("NAP")
    here = pj.search(SLOW, WALKS, **asked)
    assert_same(there, here)
    assert (here.best_epochs < 8).any()


@pytest.mark.engine
@pytest.mark.soak
def test_a_unit_that_always_dies_is_given_up(slow, monkeypatch, caplog):
    """Its trials are stopped, with a warning; no other is."""
    asked = dict(trials=20, epochs=2)
    monkeypatch.setenv("NAP", "0")
    here = pj.search(SLOW, WALKS, **asked)
    third, second = np.sort(here.points["start"])[-3:-1]
    monkeypatch.setenv("POISON", str((third + second) / 2))
    bad = here.points["start"] > third
    there = pj.search(SLOW, WALKS, backend=pj.Remote("processes:2", retries=2), **asked)
    lost = there.stopped
    assert lost[bad].all()
    assert lost.sum() <= 2 * bad.sum(), "at most those of its unit"
    assert_same(there, here, ~lost)
    assert "given up after 2 failed tries: A worker process managed by the executor" in caplog.text
    monkeypatch.setenv("POISON", "-2")
    all_lost = pj.search(SLOW, WALKS, trials=2, epochs=2, backend=pj.Remote("processes:2", retries=1))
    assert all_lost.stopped.all()
    assert all_lost.best is None


DRIVER = """
import os, sys, threading, time
import popjax as pj
from test_executors import SLOW, WALKS
executor, resume, wait = sys.argv[1], sys.argv[2] == "resume", float(sys.argv[3])
class Seen(pj.Callback):
    epochs, dies = 0, wait > 0
    def epoch(self, result):
        self.epochs += len(result.trial)
        if self.dies and self.epochs > 48 and os.path.exists("run/state"):
            threading.Timer(wait, os.kill, (os.getpid(), 9)).start()
            self.dies = False
seen = Seen()
pj.search(SLOW, WALKS, trials=24, epochs=8, backend=executor, resume=resume, out="run", callbacks=[seen])
print(seen.epochs)
"""


@pytest.mark.engine
@pytest.mark.parametrize(("first", "second"), soaked([("processes:2", "threads"), ("threads", "processes:1")]))
def test_a_killed_run_goes_on_with_another_executor(first, second, slow, python, tmp_path, environment, monkeypatch):
    """To the bytes of a run that was left alone; and the workers of the killed one end by themselves."""
    environment |= {"NAP": "0.05", "PYTHONPATH": os.path.dirname(__file__)}
    dead = python(DRIVER, first, "new", 2.5)
    assert dead.returncode == -signal.SIGKILL, dead.stderr
    environment["NAP"] = "0"
    done = python(DRIVER, second, "resume", 0)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 24 * 8 - 48, "what was committed is not trained again"
    monkeypatch.setenv("NAP", "0")
    pj.search(SLOW, WALKS, trials=24, epochs=8, out=tmp_path / "alone")
    stopping.same_files(tmp_path / "run", tmp_path / "alone", ("trials.parquet", "curves.parquet"))
    wait_for(lambda: not loky_processes(tmp_path))


@pytest.mark.engine
def test_ctrl_c_leaves_no_worker(environment, tmp_path):
    """The command exits with 130 and the line that goes on; what was trained is ranked; no process is left."""
    words = ["--trials", "400", "--epochs", "400", "--executor", "processes:2", "--out", "run"]
    code = "import runpy, signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)  # also of a shell's job\n"
    code += "runpy.run_module('popjax.sweep', None, '__main__', True)"
    settings = {"cwd": tmp_path, "env": {**os.environ, **environment}, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code, *words], start_new_session=True, **settings) as process:
        try:
            wait_for((tmp_path / "run" / "state").exists, process)
            assert len(loky_processes(tmp_path)) == 2
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
            said = process.communicate(timeout=240)[1]
        finally:
            with contextlib.suppress(ProcessLookupError):  # where it has ended with all of its own
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert not loky_processes(tmp_path)
    results = pj.Results.load(tmp_path / "run")
    assert results.best is not None
    assert results.stopped.any()


@pytest.mark.engine
def test_a_search_that_is_over_ends_its_workers(slow, monkeypatch, tmp_path):
    """Also one that is at a unit which takes an hour."""
    monkeypatch.setenv("NAP", "3600")
    monkeypatch.setenv("BEGUN", str(tmp_path / "begun"))
    monkeypatch.chdir(tmp_path)

    def interrupt():
        wait_for((tmp_path / "begun").exists)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        pj.search(SLOW, WALKS, trials=4, epochs=1, backend="processes:1")
    wait_for(lambda: not loky_processes(tmp_path))


@pytest.mark.engine
@pytest.mark.soak
def test_a_pool_that_cannot_be_made_again_ends_the_run(slow, caplog, tmp_path):
    """As Ctrl-C does: what was trained is there, and it can be gone on with; one that can be made again is."""
    context = multiprocessing.get_context("spawn")

    class Kill(pj.Callback):
        def epoch(self, result):
            for process in multiprocessing.active_children()[: self.kills]:
                process.kill()
            self.kills = 0

        def begin(self, run):
            self.kills = 1

    def make():
        pools.append(ProcessPoolExecutor(1, mp_context=context))
        return pools[-1]

    pools = []
    asked = dict(trials=6, epochs=4, every=1, callbacks=[Kill()])  # so that work is left after the first epoch
    partial = pj.search(SLOW, WALKS, backend=make(), out=tmp_path / "run", **asked)
    assert 0 < partial.done.sum() < 24
    assert partial.stopped.any()
    assert "the executor broke: A process in the process pool was terminated abruptly" in caplog.text
    there = pj.search(SLOW, WALKS, backend=make, out=tmp_path / "run", resume=True, **asked)
    assert len(pools) == 3
    assert_same(there, pj.search(SLOW, WALKS, trials=6, epochs=4))


OWN = """
import flax.nnx as nnx, jax.numpy as jnp, numpy as np, popjax as pj

class Net(nnx.Module):
    def __init__(self, hparams, rngs):
        self.layer = nnx.Linear(5, SIZE, rngs=rngs)
    def __call__(self, x):
        return self.layer(x)

SIZE = 3
x = np.random.default_rng(0).normal(size=(90, 5))
y = x[:, :3].argmax(1)
loss = lambda out, y: -jnp.take_along_axis(nnx.log_softmax(out), y[:, None], 1)[:, 0]
task = pj.supervised((x, y), model=Net, loss=loss)
space = {"learning_rate": pj.log_uniform(1e-3, 1), "batch_size": 16}

def median(problem):
    def step(state, trials):
        if not len(trials.epochs):
            return 1, pj.Decision(add=problem.propose(problem.trials), until={t: 1 for t in range(problem.trials)})
        good = np.flatnonzero(trials.loss <= np.median(trials.loss)).tolist()
        return 2, pj.Decision(until={t: problem.epochs for t in good} if state == 1 else {})
    return pj.Scheduler(lambda: 0, step)

found = [pj.search(task, space, trials=6, epochs=3, scheduler=median, backend=where) for where in (None, "processes:1")]
print(found[0].pruned.sum(), all(found[0].curves[n].tobytes() == c.tobytes() for n, c in found[1].curves.items()))
"""


@pytest.mark.engine
def test_what_a_script_defines_travels(python):
    """A model of `__main__`, a lambda as loss, a scheduler; the script is not run again by the workers."""
    process = python(OWN)
    assert process.returncode == 0, process.stderr
    assert process.stdout == "3 True\n"


def fails(x):
    raise KeyError("no such file")


@pytest.mark.engine
def test_errors_of_ones_own_read_as_here(two_processes):
    """The type and the text, with the trials; and what cannot travel is named."""
    init = lambda key, hparams, data: hparams["start"]
    asked = dict(space={"start": pj.uniform(-1, 1)}, trials=2, epochs=1)

    def broken_step(state, hparams, data):
        return state, {"loss": jax.pure_callback(fails, jax.ShapeDtypeStruct((), "float32"), hparams["start"])}

    lines = []
    for where in (None, two_processes):
        with pytest.raises(jax.errors.JaxRuntimeError, match="no such file") as error:
            pj.search(pj.Task(init, broken_step, ()), backend=where, **asked)
        lines.append(str(error.value).splitlines()[0])
    assert lines[0] == lines[1]
    assert re.fullmatch(r"in training trial [01]", error.value.__notes__[0])
    lock = threading.Lock()
    stuck = pj.Task(init, lambda state, hparams, data: ((state, {"loss": state}), lock)[0], ())
    with refused("lock", "sent", "create"):
        pj.search(stuck, backend=two_processes, **asked)


def test_workers_of_another_kind_are_refused(monkeypatch):
    """By name, with both kinds; unless they are accepted."""
    monkeypatch.setattr(workers, "kin", lambda: "jax 0.1 on a toaster")
    with refused("jax 0.1 on a toaster", f"jax {jax.__version__}", "mixed"):
        pj.search(WALK, WALKS, trials=2, epochs=1, backend=Scripted())
    there = pj.search(WALK, WALKS, trials=2, epochs=1, backend=pj.Remote(Scripted(), mixed=True))
    assert_same(there, pj.search(WALK, WALKS, trials=2, epochs=1))


@pytest.mark.parametrize(
    ("executor", "names"),
    [
        ("processes", ["processes=''", "at least 1"]),
        ("proceses:4", ["'proceses:4'", "threads, processes, dask"]),
        ("dask:tcp://host", ["'dask:tcp://host'", "dask:tcp://host:8786"]),
        ("dask", ["'dask:'", "dask:tcp://host:8786"]),
        (3, ["int", "submit(fn, *args)"]),
        pytest.param(
            "dask:tcp://127.0.0.1:1", ["'dask:tcp://127.0.0.1:1'", "start a scheduler"], marks=pytest.mark.engine
        ),
    ],
)
def test_what_is_no_executor_is_refused_before_anything_is_written(executor, names, tmp_path):
    with refused(*names):
        pj.search(WALK, WALKS, trials=2, epochs=1, backend=executor, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.engine
@pytest.mark.soak
def test_the_commands_take_an_executor(command, refused_in_one_line, tmp_path):
    """Sweep and retest, to the same files; and what is wrong in one line, before JAX."""
    small = ["--trials", 12, "--epochs", 2, "--dataset", "wine", "--quiet"]
    for out, more in (("here", []), ("there", ["--executor", "processes:1"])):
        for words in (["sweep", *small, "--out", out], ["retest", out, "--top", 2, "--background", 2, "--repeats", 3]):
            process = command(*words, *more)
            assert process.returncode == 0, process.stderr
    for file in (*FILES, "retest.json"):
        assert (tmp_path / "here" / file).read_bytes() == (tmp_path / "there" / file).read_bytes()
    refused_in_one_line("sweep", "--executor", "processes:1", "--retries", 0, says=["--retries 0", "at least 1"])
    for words in (["sweep", "--retries", 5], ["retest", "runs/none", "--mixed"]):
        refused_in_one_line(*words, says=[words[2 if words[0] == "retest" else 1], "--executor"])
