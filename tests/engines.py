"""What the suite cannot wait for: the same bytes on Ray and on jobs of submitit; Dask's and Ray's workers that die.

`uv run --with ray --with submitit python tests/engines.py [dask] [ray] [slurm]` prints a line a search, and exits with
1 on a difference.
"""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import numpy as np
from test_executors import FILES, SEARCHES, SLOW, WALKS, case

import popjax as pj
from popjax.executors.dask import Dask
from popjax.executors.ray import Ray
from popjax.executors.slurm import Slurm

KILLS = 10


def rows():
    """As conftest's."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(170, 5))
    return x, (x[:, 0] > 0).astype(int) + (x[:, 3] > 1)


def same_bytes(make) -> bool:
    """Whether every kind of search ends with the same files as here."""
    good = True
    for name in SEARCHES:
        with tempfile.TemporaryDirectory() as place:
            task, space, asked = case(name, rows())
            here, there = Path(place, "here"), Path(place, "there")
            plan = asked.pop("plan", "auto")
            pj.search(task, space, out=here, backend=pj.Local(plan=plan), **asked)
            begun = time.perf_counter()
            pj.search(task, space, out=there, backend=pj.Remote(make, plan=plan), **asked)
            same = all((here / file).read_bytes() == (there / file).read_bytes() for file in FILES)
        print(
            f"  {name}: {'the same bytes' if same else 'OTHER BYTES'}, {time.perf_counter() - begun:.1f} s", flush=True
        )
        good &= same
    return good


def ray_workers() -> list[int]:
    """Ray's processes that have run something."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "cmdline").read_bytes().startswith((b"ray::call", b"ray::IDLE")):
                found.append(int(entry.name))
    return found


def workers_that_die(make, pids) -> bool:
    """Whether kills at random instants, one of them of all workers, change nothing."""
    asked = {"trials": 64, "epochs": 12}
    here = pj.search(SLOW, WALKS, **asked)
    over, killed = threading.Event(), []

    def kill() -> None:
        chance = random.Random(0)
        while not over.wait(chance.uniform(1, 4)) and len(killed) < KILLS:
            while not (alive := pids()) and not over.is_set():
                time.sleep(0.1)
            for pid in alive if len(killed) == KILLS // 2 else chance.sample(alive, min(1, len(alive))):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            killed.append(len(alive))

    thread = threading.Thread(target=kill)
    thread.start()
    there = pj.search(SLOW, WALKS, backend=make, **asked)
    over.set()
    thread.join()
    same = all(here.curves[name].tobytes() == there.curves[name].tobytes() for name in here.curves)
    same &= not there.stopped.any()
    print(f"  {len(killed)} kills: {'the same bytes, none given up' if same else 'OTHER BYTES'}", flush=True)
    return same


def on_dask() -> bool:
    """A scheduler and two workers as the guide starts them; which nannies begin again."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    dask = [sys.executable, "-m", "dask"]
    scheduler = [*dask, "scheduler", "--port", address.rpartition(":")[2], "--dashboard-address", ":0"]
    worker = [*dask, "worker", address, "--nworkers", "2", "--nthreads", "1"]
    environment = {**os.environ, "NAP": "0.1"}
    begun = [subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) for command in (scheduler, worker)]
    try:
        executor = Dask(address)
        good = workers_that_die(executor, lambda: [*executor._client.run(os.getpid, on_error="ignore").values()])
        executor.shutdown()
    finally:
        for process in reversed(begun):
            process.terminate()
            process.wait()
    return good


def on_ray() -> bool:
    """A local cluster of two workers."""
    os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"
    import ray

    environment = {"PYTHONPATH": os.path.dirname(__file__), "NAP": "0.1"}
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": environment})
    executor = Ray("auto")
    good = same_bytes(executor)
    good &= workers_that_die(executor, ray_workers)
    executor.shutdown()
    return good


def on_slurm() -> bool:
    """Jobs that are processes of this machine."""
    import submitit

    with tempfile.TemporaryDirectory() as place:
        executor = Slurm(submitit.LocalExecutor(place))
        good = same_bytes(executor)
        executor.shutdown()
    return good


ENGINES = {"dask": on_dask, "ray": on_ray, "slurm": on_slurm}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    os.environ["PYTHONPATH"] = os.path.dirname(os.path.abspath(__file__))
    results = []
    for engine in sys.argv[1:] or ENGINES:
        print(engine, flush=True)
        results.append(ENGINES[engine]())
    sys.exit(not all(results))
