"""One search on several executors: what leaving the process costs, and how much one driver can feed.

Every executor of `--only` is opened, trains the same search once, which is its start-up, and then in turn with the
others; each figure is over that of threads in the same turn. Then a search whose executor answers at once, with
made-up results, shows what the driver itself takes: epoch results a second, bytes a trial on the way there and back,
and peak memory. Dask and Ray are clusters of two workers of this machine:
`uv run --with ray --with distributed benchmarks/scale.py`.
"""

import argparse
import importlib.util
import json
import logging
import os
import pickle
import resource
import statistics
import subprocess
import sys
import time
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path

import numpy as np

import popjax as pj
from popjax.core.machine import device
from popjax.data.dataset import load
from popjax.engine.backends.renewable_executor import Traits
from popjax.engine.backends.work import Done, Missing
from popjax.executors.dask import Dask
from popjax.executors.processes import Processes
from popjax.executors.ray import Ray
from popjax.supervision.spaces import default_space

RESULTS = Path(__file__).parent / "results" / "scale.json"
ENGINES = ("threads", "processes:1", "processes:2", "dask", "ray")
NEEDS = {"dask": "distributed", "ray": "ray"}


def opened(engine: str, stack: ExitStack) -> object:
    """An executor of one or two workers of this machine; None for threads."""
    if engine == "threads":
        return None
    if engine == "dask":
        from distributed import LocalCluster

        options = {"dashboard_address": ":0", "worker_dashboard_address": ":0", "silence_logs": logging.ERROR}
        cluster = stack.enter_context(LocalCluster(n_workers=2, threads_per_worker=1, **options))
        executor: object = Dask(cluster)
    elif engine == "ray":
        os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"
        import ray

        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        executor = Ray("auto")
    else:
        executor = Processes(int(engine.partition(":")[2]))
    stack.callback(executor.shutdown)
    return executor


def timed(trials: int, epochs: int, executor: object, task: pj.Task, space: pj.Space) -> float:
    """Seconds of one search."""
    begin = time.perf_counter()
    pj.search(task, space, trials=trials, epochs=epochs, backend=executor)
    return time.perf_counter() - begin


def walls(engines: list[str], trials: int, epochs: int, turns: int) -> dict:
    """Seconds and their ratios to threads, for each executor."""
    task, space = pj.supervised(load("digits")), default_space()
    first, again = {}, {engine: [] for engine in engines}
    with ExitStack() as stack:
        executors = {}
        for engine in engines:
            begin = time.perf_counter()
            executors[engine] = opened(engine, stack)
            timed(trials, epochs, executors[engine], task, space)
            first[engine] = time.perf_counter() - begin
        for _ in range(turns):
            for engine in engines:
                again[engine].append(timed(trials, epochs, executors[engine], task, space))
                print(engine, round(again[engine][-1], 2), file=sys.stderr, flush=True)
    return {
        engine: {
            "seconds": round(statistics.median(seconds), 2),
            "over_threads": round(statistics.median(np.divide(seconds, again["threads"])), 3),
            "each": [round(one, 2) for one in seconds],
            "start_up": round(first[engine] - statistics.median(seconds), 2),
        }
        for engine, seconds in again.items()
    }


class AtOnce:
    """An executor that trains nothing: a unit comes back at once, with results of the right shapes.

    Attributes:
        sent, returned, task: bytes that would have travelled to workers, back, and of the task; counted if asked.
        units: that came back.
    """

    traits = Traits()

    def __init__(self, names: list[str], state: dict[str, np.ndarray], counts: bool) -> None:
        self.names = names
        self.state = state
        self.counts = counts
        self.sent = self.returned = self.task = self.units = 0
        self.known = False

    def submit(self, fn, unit, blob):
        future: Future = Future()
        future.set_result(self.answer(unit, blob))
        return future

    def answer(self, unit, blob):
        if blob is None and not self.known:
            return Missing("none")
        self.known = True
        members = len(unit.members.trial)
        values = np.linspace(0, 1, members)[:, None] + np.zeros(unit.until - unit.epoch)
        state = {name: np.zeros((members, *leaf.shape), leaf.dtype) for name, leaf in self.state.items()}
        done = Done("none", unit.until, dict.fromkeys(self.names, values), state)
        self.units += 1
        if self.counts:
            self.task = max(self.task, len(blob or b""))
            self.sent += len(pickle.dumps(unit))
            self.returned += len(pickle.dumps(done))
        return done


def state_of(task: pj.Task, space: pj.Space) -> tuple[list[str], dict[str, np.ndarray]]:
    """The names of the metrics, and the state of a member by name, from a search of one trial."""
    seen: list[Done] = []

    class Here:
        """Trains in the caller's thread."""

        def submit(self, fn, *args):
            future: Future = Future()
            answer = fn(*args)
            seen.extend([answer] if isinstance(answer, Done) else [])
            future.set_result(answer)
            return future

    pj.search(task, space, trials=1, epochs=1, backend=Here())
    return list(seen[0].metrics), {name: leaf[0] for name, leaf in seen[0].state.items()}


def walk(key, hparams):
    """A task of one number."""
    return {"loss": hparams["x"]}


def driver(which: str, trials: int, epochs: int, counts: bool) -> dict:
    """What the driver takes for a search that an executor answers at once."""
    if which == "digits":
        task, space = pj.supervised(load("digits")), default_space()
    else:
        task, space = pj.objective(walk), pj.Space(x=pj.uniform(0, 1))
    fake = AtOnce(*state_of(task, space), counts)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.perf_counter()
    pj.search(task, space, trials=trials, epochs=epochs, backend=fake)
    seconds = time.perf_counter() - begin
    row = {"task": which, "trials": trials, "epochs": epochs, "units": fake.units, "seconds": round(seconds, 2)}
    row["results_a_second"] = round(trials * epochs / seconds)
    row["peak_mib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    row["grown_mib"] = row["peak_mib"] - round(before / 1024)
    if counts:
        row |= {"task_bytes": fake.task, "sent": round(fake.sent / trials), "returned": round(fake.returned / trials)}
    return row


def apart(*request: object) -> dict:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--driver", json.dumps(request)]
    process = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(process.stdout)


def main() -> None:
    """Print one JSON object, and write it beside the others unless --quick."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few trials")
    parser.add_argument("--only", default=",".join(ENGINES), help="executors, threads first")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--driver", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.driver:
        print(json.dumps(driver(*json.loads(options.driver))))
        return
    asked = options.only.split(",")
    missing = {one: NEEDS[one] for one in asked if one in NEEDS and importlib.util.find_spec(NEEDS[one]) is None}
    engines = [engine for engine in asked if engine not in missing]
    large = 1000 if options.quick else 100_000
    drivers = []
    for request in [
        ("digits", 512, 20, True),
        ("digits", 512, 20, False),
        ("digits", large // 10, 20, False),
        ("digits", large, 20, False),
        ("objective", large, 1, False),
    ]:
        drivers.append(apart(*request))
        print(json.dumps(drivers[-1]), file=sys.stderr, flush=True)
    trials, epochs = (16, 2) if options.quick else (512, 20)
    found = {"device": device(), "not_installed": missing, "driver": drivers}
    found["walls"] = walls(engines, trials, epochs, 1 if options.quick else options.turns)
    if not options.quick:
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
