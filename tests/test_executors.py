"""The same search on any executor: the same bytes, whatever workers do, and no work left behind."""

import contextlib
import gc
import logging
import multiprocessing
import os
import queue
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
import stopping
import warm
from conftest import soaked
from sklearn.datasets import load_digits

import popjax as pj
from popjax.engine.backends import remote
from popjax.engine.backends import work as workers
from popjax.engine.backends.renewable_executor import Traits
from popjax.executors.dask import Dask
from popjax.executors.processes import Processes
from popjax.executors.slurm import Slurm
from popjax.tuning.callbacks.progress import Lines

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
}


@pytest.fixture(scope="module")
def two_processes():
    """Two processes, which share what other tests have compiled."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in warm.CACHE.items():
            patch.setenv(name, value)
        pool = Processes(2)
        yield pool
        pool.shutdown()


@pytest.fixture(scope="module")
def dask():
    """A cluster of two worker processes."""
    from distributed import LocalCluster

    with pytest.MonkeyPatch.context() as patch:
        for name, value in warm.CACHE.items():
            patch.setenv(name, value)
        options = dict(dashboard_address=":0", worker_dashboard_address=":0", silence_logs=logging.ERROR)
        with LocalCluster(n_workers=2, threads_per_worker=1, **options) as cluster:
            executor = Dask(cluster)
            yield executor
            executor.shutdown()


def case(name, rows):
    """The task, the space and the arguments of a search."""
    if name == "cnn":
        x, y = load_digits(return_X_y=True)
        return pj.supervised((x[:300].reshape(-1, 8, 8), y[:300]), model="cnn"), CNN, {"trials": 4, **SEARCHES[name]}
    return pj.supervised(rows), SPACE, {"trials": 12, "seed": 2, "rank": pj.best(keep=3), **SEARCHES[name]}


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


class Unreliable:
    """An executor that delays, reorders, repeats, loses and fails work, and whose workers forget, by a seeded plan."""

    traits = Traits(patience=0.03)

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.waiting = queue.SimpleQueue()
        self.over = threading.Event()
        self.broken = False
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def submit(self, fn, *args):
        if self.broken:
            raise BrokenExecutor("broken already")
        future = Future()
        self.waiting.put((future, fn, args))
        return future

    def shutdown(self, wait=True):
        self.over.set()

    def serve(self):
        held = []
        while not self.over.is_set():
            with contextlib.suppress(queue.Empty):
                held.append(self.waiting.get(timeout=0.002))
            self.chance.shuffle(held)
            while held and (self.waiting.empty() or self.chance.random() < 0.5):
                self.treat(*held.pop())

    def treat(self, future, fn, args):
        fate = self.chance.random()
        if fate < 0.03 or not future.set_running_or_notify_cancel():
            return  # lost, or not wanted
        if fate < 0.12:
            self.broken = fate < 0.05
            future.set_exception(BrokenExecutor("a worker died") if self.broken else OSError("connection lost"))
            return
        if fate < 0.2:
            workers.TASK_CACHE._known.clear()  # a new worker
        if fate < 0.25:
            time.sleep(0.04)  # so long that the unit is given to another one
        if fate < 0.3:
            fn(*args)  # twice
        future.set_result(fn(*args))


def walk(key, hparams, data):
    return {"x": hparams["start"], "key": key}


def step(state, hparams, data):
    key, own = jax.random.split(state["key"])
    x = state["x"] * (1 - hparams["rate"]) + 0.1 * jax.random.normal(own)
    return {"x": x, "key": key}, {"loss": x**2}


WALK = pj.Task(walk, step, ())
WALKS = pj.Space(start=pj.uniform(-1, 1), rate=pj.log_uniform(0.01, 1))


@pytest.mark.soak
@pytest.mark.parametrize("part", range(4))
def test_an_unreliable_executor_changes_no_byte(part, monkeypatch):
    """200 plans of delays, duplicates, other orders, lost answers, errors and broken pools."""
    monkeypatch.setattr(remote, "POLL", 0.002)
    asked = dict(trials=7, epochs=3, scheduler="pbt(warmup=1)" if part % 2 else None)
    asked |= dict(rank=pj.best("loss", at="best", patience=1, keep=7)) if part > 1 else {}
    here = pj.search(WALK, WALKS, **asked)
    for seed in range(50 * part, 50 * part + 50):
        made = []

        def make(seed=seed, made=made):
            made.append(Unreliable(1000 * seed + len(made)))
            return made[-1]

        there = pj.search(WALK, WALKS, backend=pj.Remote(make, retries=100), **asked)
        assert here.curves["loss"].tobytes() == there.curves["loss"].tobytes(), seed
        assert {n: c.tobytes() for n, c in here.points.items()} == {n: c.tobytes() for n, c in there.points.items()}
        assert same_states(here, there)
        assert all(executor.over.is_set() for executor in made)


class Here(ThreadPoolExecutor):
    """Works in this process, and tells whether it was shut down."""

    def __init__(self):
        super().__init__(1)
        self.open = True

    @classmethod
    def into(cls, made):
        """A function that makes one and appends it to `made`."""
        return lambda: made.append(cls()) or made[-1]

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
    np.testing.assert_array_equal(there.members["loss"], pj.search(task, space, trials=6, epochs=2).members["loss"])


def test_no_executor_stays_open_where_the_costs_are_not_known():
    task = pj.Task(lambda key, hparams, data: 1.0, lambda x, hparams, data: (x, {"loss": x * hparams["rate"]}), ())
    made = []
    with pytest.raises(ValueError, match="rank by flops: the task does not define them"):
        pj.search(task, {"rate": pj.uniform(0, 1)}, trials=3, backend=Here.into(made), rank=pj.pareto("loss", "flops"))
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
    monkeypatch.setattr("popjax.executors.slurm.POLL", 0.001)
    jobs = [Job([False, True, True]), Job([True] * 10_000), Job([True, False] * 30)]

    class Jobs:
        folder = "."

        def submit(self, *args):
            return jobs.pop(0)

    executor = Slurm(Jobs())
    first, second, third = (executor.submit(max, 1, 2) for _ in range(3))
    assert (first.result(60), third.result(60)) == (7, 7)
    with pytest.raises(OSError, match="connection refused"):
        second.result(60)
    executor.shutdown()


class Fragile:
    """Breaks as a whole, as a standard pool does, where a unit has a trial that kills its worker."""

    def __init__(self, deadly):
        self.deadly = deadly
        self.waiting = []
        self.broken = False
        self.lock = threading.Condition()
        threading.Thread(target=self.serve, daemon=True).start()

    def submit(self, fn, *args):
        with self.lock:
            if self.broken:
                raise BrokenExecutor("broken already")
            self.waiting.append((Future(), fn, args))
            self.lock.notify()
            return self.waiting[-1][0]

    def shutdown(self, wait=True):
        with self.lock:
            self.broken = True
            self.lock.notify()

    def serve(self):
        while True:
            with self.lock:
                self.lock.wait_for(lambda: self.waiting or self.broken)
                if not self.waiting:
                    return
                future, fn, args = self.waiting[0]
                self.broken |= self.deadly in args[0].members.trial
                lost = self.waiting[:] if self.broken else []
                self.waiting = [] if self.broken else self.waiting[1:]
            for one, _, _ in lost:
                if one.set_running_or_notify_cancel():
                    one.set_exception(BrokenExecutor("a worker died"))
            if not lost and future.set_running_or_notify_cancel():
                future.set_result(fn(*args))


@pytest.mark.parametrize("deadly", [0, 5, 19])
def test_a_unit_that_breaks_its_pool_each_time_is_given_up_alone(deadly, caplog):
    """Though each time all units fail at once, and which worker died is unknown."""
    here = pj.search(WALK, WALKS, trials=20, epochs=3)
    made = []

    def make():
        made.append(Fragile(deadly))
        return made[-1]

    there = pj.search(WALK, WALKS, trials=20, epochs=3, backend=pj.Remote(make, retries=2))
    assert np.flatnonzero(there.stopped).tolist() == [deadly]
    assert f"trial {deadly}: given up after 2 failed tries" in caplog.text
    others = np.arange(20) != deadly
    assert here.curves["loss"][others].tobytes() == there.curves["loss"][others].tobytes()


class Full:
    """Takes no unit of a trial."""

    traits = Traits(seconds=1e-9)  # units of one member each

    def __init__(self, refused):
        self.refused = refused

    def submit(self, fn, *args):
        if self.refused in args[0].members.trial:
            raise OSError("no room for it")
        future = Future()
        future.set_result(fn(*args))
        return future


def test_a_unit_that_no_executor_takes_is_given_up_alone(caplog):
    """An executor may refuse a unit as it is submitted, each time."""
    here, there = (
        pj.search(WALK, WALKS, trials=5, epochs=3),
        pj.search(WALK, WALKS, trials=5, epochs=3, backend=pj.Remote(Full(2), retries=2)),
    )
    assert np.flatnonzero(there.stopped).tolist() == [2]
    assert re.search("trial 2: given up after 2 failed tries: .*: no room for it .*line", caplog.text)
    others = np.arange(5) != 2
    assert here.curves["loss"][others].tobytes() == there.curves["loss"][others].tobytes()


class Bounded:
    """Two threads, and no room for more than two units."""

    def __init__(self):
        self.pool = ThreadPoolExecutor(2)
        self.room = threading.Semaphore(2)

    def submit(self, fn, *args):
        if not self.room.acquire(blocking=False):
            raise RuntimeError("the queue is full")
        return self.pool.submit(self.slowly, fn, *args)

    def slowly(self, fn, *args):
        try:
            time.sleep(0.5)  # while which there are more looks than tries
            return fn(*args)
        finally:
            self.room.release()


def test_an_executor_that_is_full_for_a_while_loses_nothing():
    there = pj.search(WALK, WALKS, trials=6, epochs=2, backend=pj.Remote(Bounded(), retries=2))
    assert same_walks(there, pj.search(WALK, WALKS, trials=6, epochs=2))


class Lease:
    """Trains so many epochs, in units of one member and epoch, and breaks then."""

    traits = Traits(seconds=1e-9)

    def __init__(self, epochs):
        self.left = self.epochs = epochs

    def submit(self, fn, *args):
        if not self.left:
            raise BrokenExecutor("the lease is over")
        answer = fn(*args)
        self.left -= isinstance(answer, workers.Done)
        future = Future()
        future.set_result(answer)
        return future

    def shutdown(self):
        pass


class Silent(Lease):
    def submit(self, fn, *args):
        return None


@pytest.mark.parametrize(
    ("second", "says"),
    [
        (lambda: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda: None, "has no submit"),
        (lambda: Silent(9), "submit returned a NoneType"),
    ],
)
def test_an_executor_that_cannot_be_made_again_loses_nothing(second, says, tmp_path):
    """The run ends with the error, and with what was trained before it."""
    makes = iter([lambda: Lease(7), second])
    asked = dict(trials=3, epochs=4, out=tmp_path / "run")
    with pytest.raises(ValueError, match=says):
        pj.search(WALK, WALKS, **asked, backend=lambda: next(makes)())
    rest = Lease(100)
    there = pj.search(WALK, WALKS, **asked, resume=True, backend=rest)
    assert rest.epochs - rest.left == 3 * 4 - 7
    assert same_walks(there, pj.search(WALK, WALKS, trials=3, epochs=4))


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


@contextlib.contextmanager
def killed(pids, kills, seed):
    """Meanwhile workers are killed at random instants, one at a time, and all of them once; gives how many times."""
    over, done = threading.Event(), []

    def run():
        chance = random.Random(seed)
        while len(done) < kills and not over.wait(chance.uniform(0.3, 1.5)):
            if alive := pids():
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


def pids_of(executor):
    """The worker processes of an executor that are alive."""
    return [pid for pool in executor.pools for pid in dict(pool._processes or {})]


def same_walks(one, other):
    return all(one.curves[name].tobytes() == other.curves[name].tobytes() for name in one.curves)


def same_states(one, other):
    bits = lambda results: {t: {n: a.tobytes() for n, a in s.items()} for t, s in results.states.items()}
    return bits(one) == bits(other)


@pytest.mark.engine
@pytest.mark.soak
def test_workers_that_die_change_nothing(slow, monkeypatch):
    """Ten kills at random instants, in one of which all go at once; the best epochs are kept."""
    asked = dict(trials=64, epochs=8, rank=pj.best("loss", at="best", keep=64))
    made = []

    def make():
        made.append(Processes(2))
        return made[-1]

    with killed(lambda: pids_of(made[-1]) if made else [], 10, 0) as kills:
        there = pj.search(SLOW, WALKS, backend=pj.Remote(make, retries=20), **asked)
    assert len(kills) == 10
    assert not there.stopped.any()
    monkeypatch.delenv("NAP")
    here = pj.search(SLOW, WALKS, **asked)
    assert same_walks(there, here)
    assert same_states(there, here)
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
    assert there.curves["loss"][~lost].tobytes() == here.curves["loss"][~lost].tobytes()
    assert "given up after 2 failed tries: A worker process managed by the executor" in caplog.text
    monkeypatch.setenv("POISON", "-2")
    caplog.clear()
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
    killed = python(DRIVER, first, "new", 2.5)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    environment["NAP"] = "0"
    done = python(DRIVER, second, "resume", 0)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 24 * 8 - 48, "what was committed is not trained again"
    monkeypatch.setenv("NAP", "0")
    pj.search(SLOW, WALKS, trials=24, epochs=8, out=tmp_path / "alone")
    for file in ("trials.parquet", "curves.parquet"):
        assert (tmp_path / "run" / file).read_bytes() == (tmp_path / "alone" / file).read_bytes()
    until = time.monotonic() + 10
    while loky_processes(tmp_path) and time.monotonic() < until:
        time.sleep(0.1)
    assert not loky_processes(tmp_path)


def loky_processes(directory):
    """The worker processes that were begun in a directory."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if b"popen_loky" in (entry / "cmdline").read_bytes() and (entry / "cwd").readlink() == directory:
                found.append(int(entry.name))
    return found


@pytest.mark.engine
def test_ctrl_c_leaves_no_worker(environment, tmp_path):
    """The command exits with 130 and the line that goes on; what was trained is ranked; no process is left."""
    words = ["--trials", "400", "--epochs", "400", "--executor", "processes:2", "--out", "run"]
    code = "import runpy, signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)  # also of a shell's job\n"
    code += "runpy.run_module('popjax.sweep', None, '__main__', True)"
    settings = {"cwd": tmp_path, "env": {**os.environ, **environment}, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code, *words], start_new_session=True, **settings) as process:
        try:
            while not (tmp_path / "run" / "state").exists():
                assert process.poll() is None, process.stderr.read()
                time.sleep(0.1)
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
    """Also one that is at a unit which takes a minute."""
    monkeypatch.setenv("NAP", "60")
    monkeypatch.setenv("BEGUN", str(tmp_path / "begun"))
    monkeypatch.setattr(remote, "GRACE", 0.1)
    monkeypatch.chdir(tmp_path)
    stop = threading.Event()

    def wait():
        while not (tmp_path / "begun").exists():
            time.sleep(0.05)
        stop.set()

    threading.Thread(target=wait, daemon=True).start()
    partial = stopping.search(SLOW, WALKS, trials=4, epochs=1, backend="processes:1", stop=stop)
    assert partial.stopped.all()
    deadline = time.monotonic() + 5
    while loky_processes(tmp_path):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.engine
@pytest.mark.soak
def test_a_pool_that_cannot_be_made_again_ends_the_run(slow, caplog, tmp_path):
    """As Ctrl-C does: what was trained is there, and it can be gone on with; one that can be made again is."""
    context = multiprocessing.get_context("spawn")

    class Kill(pj.Callback):
        def epoch(self, result):
            for process in list(pools[-1]._processes.values())[: self.kills]:
                process.kill()
            self.kills = 0

        def begin(self, run):
            self.kills = 1

    def make():
        pools.append(ProcessPoolExecutor(1, mp_context=context))
        return pools[-1]

    pools = []
    asked = dict(trials=6, epochs=4, callbacks=[Kill()])
    partial = pj.search(SLOW, WALKS, backend=make(), out=tmp_path / "run", **asked)
    assert 0 < partial.done.sum() < 24
    assert partial.stopped.any()
    assert "the executor broke: A process in the process pool was terminated abruptly" in caplog.text
    there = pj.search(SLOW, WALKS, backend=make, out=tmp_path / "run", resume=True, **asked)
    assert len(pools) == 3
    assert same_walks(there, pj.search(SLOW, WALKS, trials=6, epochs=4))


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

    space = {"start": pj.uniform(-1, 1)}

    def init(key, hparams, data):
        return hparams["start"]

    def broken_step(state, hparams, data):
        x = jax.pure_callback(fails, jax.ShapeDtypeStruct((), "float32"), hparams["start"])
        return state, {"loss": x}

    task = pj.Task(init, broken_step, ())
    with pytest.raises(jax.errors.JaxRuntimeError, match="no such file") as here:
        pj.search(task, space, trials=2, epochs=1)
    with pytest.raises(jax.errors.JaxRuntimeError, match="no such file") as there:
        pj.search(task, space, trials=2, epochs=1, backend=two_processes)
    assert str(here.value).splitlines()[0] == str(there.value).splitlines()[0]
    assert re.fullmatch(r"in training trial [01]", there.value.__notes__[0])
    lock = threading.Lock()
    stuck = pj.Task(init, lambda state, hparams, data: ((state, {"loss": state}), lock)[0], ())
    with pytest.raises(ValueError, match=r"the task cannot be sent to processes: .*lock.*; create such"):
        pj.search(stuck, space, trials=2, epochs=1, backend=two_processes)


def test_workers_of_another_kind_are_refused(monkeypatch):
    """By name, with both kinds; unless they are accepted."""

    class Here:
        def submit(self, fn, *args):
            future = Future()
            future.set_result(fn(*args))
            return future

    monkeypatch.setattr(workers, "kin", lambda: "jax 0.1 on a toaster")
    with pytest.raises(ValueError, match=r"worker \S+:\d+:\d+ has jax 0.1 on a toaster, this process jax .* mixed"):
        pj.search(WALK, WALKS, trials=2, epochs=1, backend=Here())
    assert same_walks(
        pj.search(WALK, WALKS, trials=2, epochs=1, backend=pj.Remote(Here(), mixed=True)),
        pj.search(WALK, WALKS, trials=2, epochs=1),
    )


@pytest.mark.parametrize(
    ("executor", "says"),
    [
        ("processes", "processes='': give a whole number of at least 1"),
        ("proceses:4", "unknown executor 'proceses:4'; there are threads, processes, dask"),
        ("dask:tcp://host", "executor 'dask:tcp://host' needs the scheduler's address: dask:tcp://host:8786"),
        ("dask:tcp://127.0.0.1:1", "executor 'dask:tcp://127.0.0.1:1': .*; start a scheduler there"),
        ("dask", "executor 'dask:' needs the scheduler's address: dask:tcp://host:8786"),
        (
            3,
            r"backend is a int; give popjax.Local\(\), an executor with submit\(fn, \*args\), a function",
        ),
    ],
)
def test_what_is_no_executor_is_refused(executor, says, monkeypatch):
    monkeypatch.setattr("popjax.executors.dask.TIMEOUT", 1)
    with pytest.raises(ValueError, match=says):
        pj.search(WALK, WALKS, trials=2, epochs=1, backend=executor)


@pytest.mark.engine
def test_a_cluster_that_does_not_answer_leaves_no_run_behind(monkeypatch, tmp_path, capsys):
    """It is known before anything is written or compiled, so the same directory can be used."""
    monkeypatch.setattr("popjax.executors.dask.TIMEOUT", 1)
    with pytest.raises(ValueError, match="start a scheduler there"):
        pj.search(
            WALK, WALKS, trials=2, epochs=1, backend="dask:tcp://127.0.0.1:1", out=tmp_path / "run", progress=Lines()
        )
    assert "compiling" not in capsys.readouterr().err
    pj.search(WALK, WALKS, trials=2, epochs=1, out=tmp_path / "run")


@pytest.mark.engine
@pytest.mark.soak
def test_the_commands_take_an_executor(command, refused_in_one_line, tmp_path):
    """Sweep and retest, to the same files; and what is wrong in one line, before JAX."""
    small = ["--trials", 12, "--epochs", 2, "--dataset", "wine", "--quiet"]
    for out, more in (("here", []), ("there", ["--executor", "processes:1"])):
        process = command("sweep", *small, "--out", out, *more)
        assert process.returncode == 0, process.stderr
        process = command("retest", out, "--top", 2, "--background", 2, "--repeats", 3, *more)
        assert process.returncode == 0, process.stderr
    for file in (*FILES, "retest.json"):
        assert (tmp_path / "here" / file).read_bytes() == (tmp_path / "there" / file).read_bytes()
    refused_in_one_line("sweep", "--executor", "grid", says=["unknown executor 'grid'"])
    refused_in_one_line("sweep", "--executor", "processes:1", "--retries", 0, says=["--retries 0: give at least 1"])
    for command in (["sweep"], ["retest", "runs/none"]):
        for option in (["--retries", 5], ["--mixed"]):
            refused_in_one_line(*command, *option, says=[f"{option[0]} needs --executor"])
    refused_in_one_line("retest", "here", "--executor", "dask", says=["needs the scheduler's address"])


@pytest.mark.engine
def test_each_process_has_its_share_of_a_card(monkeypatch):
    """Four of them on two cards; JAX reads these variables when it starts there."""
    monkeypatch.setattr("popjax.executors.processes.cards", lambda: ["0", "5"])
    executor = Processes(4)
    names = "CUDA_VISIBLE_DEVICES", "XLA_CLIENT_MEM_FRACTION"
    futures = [pool.submit(os.getenv, name) for pool in executor.pools for name in names]
    seen = [future.result() for future in futures]
    executor.shutdown()
    assert seen == ["0", "0.375", "5", "0.375", "0", "0.375", "5", "0.375"]


def test_a_unit_of_any_work_trains_to_the_end(rows):
    class Endless(Full):
        """Takes units of any size."""

        traits = Traits(seconds=float("inf"))

    task = pj.supervised(rows)  # whose cost is known
    here = pj.search(task, SPACE, trials=4, epochs=3)
    there = pj.search(task, SPACE, trials=4, epochs=3, backend=Endless(refused=-1))
    assert here.curves["val_loss"].tobytes() == there.curves["val_loss"].tobytes()


@pytest.mark.engine
def test_a_trial_that_has_not_begun_is_set_anywhere():
    """The executor is asked for its first state, and for no epoch."""

    def setting(problem):
        def step(state, trials):
            if state == 0:
                return 1, pj.Decision(add=problem.propose(4), until={0: 1, 1: 1})
            over = (
                pj.Decision() if state == 2 else pj.Decision(set={3: {"rate": 0.5}}, until=dict.fromkeys(range(4), 2))
            )
            return 2, over

        return pj.Scheduler(int, step)

    asked = {"trials": 4, "epochs": 2, "scheduler": setting}
    here = pj.search(WALK, WALKS, **asked)
    there = pj.search(WALK, WALKS, **asked, backend="processes:1")
    assert here.points["rate"][3] == 0.5
    assert same_walks(there, here)
