"""The same search on any executor: the same bytes, whatever workers do, and nobody left at work."""

import contextlib
import logging
import os
import queue
import random
import signal
import threading
import time
from concurrent.futures import BrokenExecutor, Future

import jax
import numpy as np
import pytest
import warm
from sklearn.datasets import load_digits

import popjax as pj
from popjax.engine import work as workers
from popjax.engine.backends import remote
from popjax.engine.backends.door import Traits
from popjax.executors.dask import Dask
from popjax.executors.processes import Processes

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
    "rounds": dict(epochs=2, rounds=3),
    "halving": dict(epochs=4, scheduler="halving(min_epochs=1)"),
    "pbt": dict(epochs=4, scheduler="pbt(warmup=1)"),
    "folds": dict(epochs=2, folds=2, repeats=2, plan="buckets"),
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
    return pj.supervised(rows), SPACE, {"trials": 12, "seed": 2, "keep": 3, **SEARCHES[name]}


@pytest.mark.parametrize("where", ["two_processes", "dask"])
def test_the_same_bytes_everywhere(where, rows, request, tmp_path):
    """Every kind of search, by two worker processes."""
    for name in SEARCHES:
        task, space, asked = case(name, rows)
        here, there = tmp_path / name / "here", tmp_path / name / "there"
        pj.search(task, space, out=here, **asked)
        pj.search(task, space, out=there, executor=request.getfixturevalue(where), **asked)
        for file in FILES:
            assert (here / file).read_bytes() == (there / file).read_bytes(), (name, file)


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
            return  # lost, or wanted by nobody
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


@pytest.mark.parametrize("part", range(4))
def test_an_unreliable_executor_changes_no_byte(part, monkeypatch):
    """200 plans of delays, duplicates, other orders, lost answers, errors and broken pools."""
    monkeypatch.setattr(remote, "POLL", 0.002)
    asked = dict(trials=7, epochs=3, scheduler="pbt(warmup=1)")
    here = pj.search(WALK, WALKS, **asked)
    for seed in range(50 * part, 50 * part + 50):
        made = []

        def make(seed=seed, made=made):
            made.append(Unreliable(1000 * seed + len(made)))
            return made[-1]

        there = pj.search(WALK, WALKS, executor=make, retries=100, **asked)
        assert here.curves["loss"].tobytes() == there.curves["loss"].tobytes(), seed
        assert {n: c.tobytes() for n, c in here.points.items()} == {n: c.tobytes() for n, c in there.points.items()}
        assert all(executor.over.is_set() for executor in made)


def nap(x):
    """Take a while where NAP says so; die where POISON does."""
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


def kill_some(pids, kills, seed):
    """Kill workers at random instants, some at a time, and all of them once; gives the thread."""

    def run():
        chance = random.Random(seed)
        for number in range(kills):
            time.sleep(chance.uniform(1, 4))
            for pid in pids() if number == kills // 2 else chance.sample(pids(), 1):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def pids_of(executor):
    """The worker processes of an executor that are alive."""
    if isinstance(executor, Dask):
        return list(executor._client.run(os.getpid).values()) or [0]
    return [pid for pool in executor.pools for pid in dict(pool._processes or {})]


def same_walks(one, other):
    return all(one.curves[name].tobytes() == other.curves[name].tobytes() for name in one.curves)


def test_workers_that_die_change_nothing(slow, monkeypatch):
    """Ten kills at random instants, in one of which all go at once."""
    asked = dict(trials=48, epochs=8)
    made = []

    def make():
        made.append(Processes(2))
        return made[-1]

    def pids():
        while not (made and pids_of(made[-1])):
            time.sleep(0.01)
        return pids_of(made[-1])

    thread = kill_some(pids, 10, 0)
    there = pj.search(SLOW, WALKS, executor=make, **asked)
    thread.join()
    assert not there.stopped.any()
    monkeypatch.delenv("NAP")
    assert same_walks(there, pj.search(SLOW, WALKS, **asked))


def test_who_always_dies_is_given_up(slow, monkeypatch, caplog):
    """Its trials are stopped, with a warning; no other is."""
    asked = dict(trials=20, epochs=2)
    monkeypatch.setenv("NAP", "0")
    here = pj.search(SLOW, WALKS, **asked)
    third, second = np.sort(here.points["start"])[-3:-1]
    monkeypatch.setenv("POISON", str((third + second) / 2))
    bad = here.points["start"] > third
    there = pj.search(SLOW, WALKS, executor="processes:2", retries=2, **asked)
    lost = there.stopped
    assert lost[bad].all()
    assert lost.sum() <= 2 * bad.sum(), "at most those of its unit"
    assert there.curves["loss"][~lost].tobytes() == here.curves["loss"][~lost].tobytes()
    assert "given up after 2 tries, none of which came back: A worker process managed by the executor" in caplog.text
    monkeypatch.setenv("POISON", "-2")
    caplog.clear()
    all_lost = pj.search(SLOW, WALKS, trials=2, epochs=2, executor="processes:2", retries=1)
    assert all_lost.stopped.all()
    assert all_lost.best is None
