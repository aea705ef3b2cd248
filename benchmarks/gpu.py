"""One accelerator from end to end, in stages of at most eight minutes: run it where you have one.

`python benchmarks/gpu.py` runs all stages in order, each in a process of its own; `--stages mlp plans` those. A stage
writes `results/gpu-<device>-<stage>.json` after each measurement, so that what was measured stays if its time is over.
`--quick` runs it on a CPU, in small. Needs jax, optax, flax and numpy; `ppo` needs gymnax too, and is left out without.
"""

import argparse
import functools
import importlib.util
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

import popjax as pj
from popjax.core.machine import device, versions
from popjax.engine import memory
from popjax.engine.backends import local
from popjax.engine.backends.local import Batch
from popjax.supervision.spaces import default_space

HERE = Path(__file__).parent
sys.path += [str(HERE / "works"), str(HERE / "rl")]
ROWS, BATCH, LIMIT = 1797, 64, 450.0
PASSES = {"sgd": 6, "adam": 8}  # how often an update reads or writes all parameters, at the least
PARAMETERS = 65 * 100 + 101 * 100 + 101 * 10  # of 64-100-100-10
RATE = pj.log_uniform(1e-4, 1e-2)
MLP = pj.Space(learning_rate=RATE, hidden=100, depth=2, batch_size=BATCH)
Row = dict[str, Any]


def rows(count: int = ROWS, features: int = 64, classes: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Noisy prototypes, like the rows of digits, which need no dataset."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, classes, count)
    return (rng.normal(size=(classes, features))[y] + rng.normal(size=(count, features))).astype(np.float32), y


def seconds(function: Callable[[], Any], repeats: int = 3) -> float:
    """The best of some runs."""
    readings = []
    for _ in range(repeats):
        begin = time.perf_counter()
        jax.block_until_ready(function())
        readings.append(time.perf_counter() - begin)
    return min(readings)


def population(task: pj.Task, space: pj.Space, members: int, plan: str = "one", lanes: int | None = None) -> Row:
    """Updates a second, from the difference of two runs; and the seconds of compiling."""
    trained = lambda epochs: (
        pj.search(task, space, trials=members, epochs=epochs, backend=pj.Local(lanes, plan)).summary
    )
    first = trained(1)
    epochs = int(np.clip(1.0 / max(first["train_seconds"], 1e-3), 1, 40)) + 1
    short, long = trained(1)["train_seconds"], trained(1 + epochs)["train_seconds"]
    rate = first["model_steps"] * epochs / max(long - short, 1e-9)
    return {"members": members, "updates_per_second": rate, "compile_seconds": first["compile_seconds"]}


def by_hand(vmapped: int, steps: int) -> float:
    """Updates a second of a plain loop over one model's jitted training (0), or of one vmap over many."""
    x, y = (jnp.asarray(part) for part in rows())
    sizes = (64, 100, 100, 10)

    def loss(params: Any, index: jax.Array) -> jax.Array:
        h = x[index]
        for w, b in params[:-1]:
            h = jax.nn.relu(h @ w + b)
        w, b = params[-1]
        return -(jax.nn.log_softmax(h @ w + b) * jax.nn.one_hot(y[index], 10)).sum(1).mean()

    def train(key: jax.Array) -> jax.Array:
        shapes = zip(jax.random.split(key, 3), sizes, sizes[1:], strict=False)
        params = [(jax.random.normal(k, (a, b)) * jnp.sqrt(2 / a), jnp.zeros(b)) for k, a, b in shapes]

        def step(carry: Any, i: jax.Array) -> tuple[Any, None]:
            params, velocity = carry
            gradient = jax.grad(loss)(params, (i * BATCH + jnp.arange(BATCH)) % ROWS)
            velocity = jax.tree.map(lambda v, g: 0.9 * v + g, velocity, gradient)
            return (jax.tree.map(lambda p, v: p - 0.01 * v, params, velocity), velocity), None

        return lax.scan(step, (params, jax.tree.map(jnp.zeros_like, params)), jnp.arange(steps))[0][0][0][0].sum()

    keys = jax.random.split(jax.random.key(0), vmapped or 1)
    program = jax.jit(jax.vmap(train)) if vmapped else jax.jit(lambda keys: train(keys[0]))
    jax.block_until_ready(program(keys))
    return max(vmapped, 1) * steps / seconds(lambda: program(keys))


def machine(quick: bool) -> Iterator[Row]:
    """Device, versions, memory; bytes a second of a copy, and operations a second of a product at each precision."""
    yield {"versions": versions(), "flags": os.environ.get("XLA_FLAGS", ""), "total": memory.total()}
    yield {"memory_stats": {name: int(value) for name, value in (jax.devices()[0].memory_stats() or {}).items()}}
    big, size = jnp.ones(2**24 if quick else 2**28, jnp.float32), 1024 if quick else 8192
    copy = jax.jit(lambda x: x + 1)
    yield {"copy_bytes": 2 * big.nbytes / seconds(lambda: copy(big), 5)}
    for dtype, precision in ((jnp.bfloat16, "default"), (jnp.float32, "default"), (jnp.float32, "highest")):
        square = jnp.ones((size, size), dtype)
        product = jax.jit(functools.partial(jnp.matmul, precision=precision))
        rate = 2 * size**3 / seconds(lambda product=product, square=square: product(square, square), 5)
        yield {"product": np.dtype(dtype).name, "precision": precision, "flops": rate}


def mlp(quick: bool) -> Iterator[Row]:
    """64-100-100-10 and the default space, beside a loop by hand and one vmap."""
    sizes, steps = ((8, 16), 20) if quick else ((512, 4096, 16384), 500)
    yield {"by": "loop by hand", "updates_per_second": by_hand(0, steps)}
    for members in sizes:
        yield {"by": "one vmap by hand", "members": members, "updates_per_second": by_hand(members, steps)}
        for optimizer, passes in PASSES.items():
            row = population(pj.supervised(rows(), optimizer=optimizer), MLP, members)
            moved = row["updates_per_second"] * 4 * PARAMETERS * passes
            yield row | {"by": "popjax", "optimizer": optimizer, "bytes_at_least": moved}
        yield population(pj.supervised(rows()), default_space(), members) | {"by": "popjax, default space"}


class Wide(nnx.Module):
    """Layers of one width, in a precision; the trained numbers are float32."""

    def __init__(self, hparams: Any, rngs: nnx.Rngs, *, width: int, dtype: Any) -> None:
        sizes = [64, *[width] * hparams["depth"], 10]
        linear = functools.partial(nnx.Linear, dtype=dtype, rngs=rngs)
        self.layers = nnx.List([linear(*pair) for pair in itertools.pairwise(sizes)])

    def __call__(self, x: jax.Array) -> jax.Array:
        for layer in self.layers[:-1]:
            x = nnx.relu(layer(x))
        return self.layers[-1](x).astype(jnp.float32)


def tabpack(quick: bool) -> Iterator[Row]:
    """TabPack's shape (arXiv 2607.05380): 64 MLPs of width 384 with 1 to 4 layers, batch 256, in two precisions."""
    members, width, data = (4, 16, rows(600)) if quick else (64, 384, rows(20_000))
    space = pj.Space(learning_rate=RATE, depth=pj.choice(1, 2, 3, 4, static=True), batch_size=256)
    for dtype in (jnp.bfloat16, jnp.float32):
        model = functools.partial(Wide, width=width, dtype=dtype)
        task = pj.supervised(data, model, optimizer="adamw", transform="none")
        yield population(task, space, members, "buckets") | {"dtype": np.dtype(dtype).name}


def cnn(quick: bool) -> Iterator[Row]:
    """The CNN by patches, by XLA's convolution in groups, as vmap makes it, and by one of each member alone."""
    data = rows()[0].reshape(-1, 8, 8, 1), rows()[1]
    space = pj.Space(learning_rate=RATE, hidden=16, depth=2, batch_size=BATCH)
    for by, rewrite, lanes in (("patches", "fast", None), ("groups", "none", None), ("one by one", "none", 1)):
        members = 2 if quick else 8 if lanes else 512
        task = pj.supervised(data, model="cnn", rewrite=rewrite)
        yield population(task, space, members, lanes=lanes) | {"by": by}


def plans(quick: bool) -> Iterator[Row]:
    """Each plan on the default space."""
    for members in (16,) if quick else (512, 4096):
        for plan in ("one", "widths", "buckets"):
            yield population(pj.supervised(rows()), default_space(), members, plan) | {"plan": plan}


def precision(quick: bool) -> Iterator[Row]:
    """The precisions of a product, which is TF32 by default on some cards."""
    for name in ("default", "high", "highest"):
        with jax.default_matmul_precision(name):
            yield population(pj.supervised(rows()), MLP, 16 if quick else 4096) | {"precision": name}


def tabular(quick: bool) -> Iterator[Row]:
    """The estimator on a table."""
    from popjax import PopulationClassifier

    for count in (300,) if quick else (2_000, 10_000):
        x, y = rows(count, 20, 2)
        options = {"trials": 4, "epochs": 2} if quick else {}
        begin = time.perf_counter()
        PopulationClassifier(**options).fit(x, y)
        yield {"rows": count, "seconds": time.perf_counter() - begin}


def ppo(quick: bool) -> Iterator[Row]:
    """Agents of PPO on CartPole, an epoch of 10,240 steps each."""
    from programs import ppo_task

    task, space = ppo_task()
    for members in (2,) if quick else (64, 512):
        trained = lambda epochs, members=members: pj.search(task, space, trials=members, epochs=epochs).summary
        short, long = (trained(epochs)["train_seconds"] for epochs in (1, 4))
        yield {"members": members, "seconds_of_one_epoch": short, "seconds_of_four": long}


def resume(quick: bool) -> Iterator[Row]:
    """A run that is killed and goes on in another process: are the bits those of one that was left alone?

    That one compiles with what the autotuner chose for the other, since each process tunes anew.
    """
    with tempfile.TemporaryDirectory() as place:
        code = lambda out, commits: SEARCH.format(out=f"{place}/{out}", trials=4 if quick else 512, commits=commits)
        killed, resumed = child(code("b", 3), killed=True), child(code("b", 0))
        if (tuned := Path(place, "b", "autotuning")).is_dir():
            shutil.copytree(tuned, Path(place, "a", "autotuning"))
        alone = child(code("a", 0))
        same = bits_of(f"{place}/a") == bits_of(f"{place}/b")
        yield {"alone": alone, "killed": killed, "resumed": resumed, "same_bits": same}


def bits(quick: bool) -> Iterator[Row]:
    """Two processes without a cache, with and without deterministic kernels: are the bits the same, at what cost?"""
    for flags in ("",) if quick else ("", "--xla_gpu_exclude_nondeterministic_ops=true", "--xla_gpu_autotune_level=0"):
        with tempfile.TemporaryDirectory() as place:
            code = lambda out, place=place: SEARCH.format(out=f"{place}/{out}", trials=4 if quick else 512, commits=0)
            took = [child(code(out), XLA_FLAGS=flags, JAX_ENABLE_COMPILATION_CACHE="false") for out in "ab"]
            yield {"flags": flags, "seconds": took, "same_bits": bits_of(f"{place}/a") == bits_of(f"{place}/b")}


def full(quick: bool) -> Iterator[Row]:
    """Memory that runs out while members train: is what was donated to the program that failed still there?

    All members are in one batch, and popjax's own check is off, so that the allocator refuses. On a CPU an error stands
    in for it.
    """
    arrays_left: list[bool] = []
    stopped, reach = Batch.stopped, Batch.reach

    def watched(progress: Batch, until: int) -> Any:
        if progress.training is not None and progress.epoch < until:
            arrays_left.append(not any(leaf.is_deleted() for leaf in jax.tree.leaves(progress.training)))
        return stopped(progress, until)

    def refused(progress: Batch, trained: Any) -> None:
        if jax.default_backend() == "cpu" and len(progress.job.members.trial) > 4:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1.00MiB.")
        reach(progress, trained)

    with mock.patch.multiple(Batch, stopped=watched, reach=refused), mock.patch.object(local, "check_fits"):
        members = 8 if quick else int(1.2 * (memory.total() or 8e10) / (12 * PARAMETERS))
        space = MLP.replace(batch_size=16)
        results = pj.search(pj.supervised(rows()), space, trials=members, epochs=2, backend=pj.Local(lanes=members))
    if not results.run["narrowed"] or not arrays_left:
        raise SystemExit(f"full: memory did not run out with {members} members")
    names = "lanes", "part", "narrowed"
    yield {name: results.run[name] for name in names} | {"members": members, "arrays_left": arrays_left}


SEARCH = """
import os, sys
sys.path.insert(0, "benchmarks")
import popjax as pj
from gpu import default_space, rows
from popjax.engine import checkpoint
from popjax.store.commits import Commits
commits, commit, checkpoint.EVERY = {commits}, Commits.commit, 0.0
def until_killed(own):
    global commits
    commit(own)
    commits -= 1
    if commits == 0:
        os._exit(9)
Commits.commit = until_killed
pj.search(pj.supervised(rows()), default_space(), trials={trials}, epochs=8, out={out!r}, resume=True)
"""


def child(code: str, killed: bool = False, **environment: str) -> float:
    """The seconds of a process of Python, which is to end well, or to be killed."""
    begin = time.perf_counter()
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=HERE.parent, env=os.environ | environment, capture_output=True)
    if done.returncode != (9 if killed else 0):
        raise SystemExit(f"exit {done.returncode}: {done.stderr.decode()[-2000:]}")
    return round(time.perf_counter() - begin, 1)


def bits_of(out: str) -> bytes:
    """The bits of a run's curves."""
    return bytes(pj.Results.load(out).curves["val_loss"].tobytes())


STAGES = {
    stage.__name__: stage for stage in (machine, full, resume, bits, mlp, tabpack, cnn, plans, precision, tabular, ppo)
}


def run(name: str, quick: bool, out: Path) -> None:
    """Run a stage, and write what it has measured after each row."""
    if name in ("resume", "bits"):  # the card is its children's
        os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    found: dict[str, Any] = {"stage": name, "device": device(), "rows": []}
    place = out / f"gpu-{re.sub(r'\W+', '-', device()).strip('-').lower()}-{name}.json"
    begin = time.perf_counter()
    for row in STAGES[name](quick):
        found["rows"].append(row)
        found["seconds"] = round(time.perf_counter() - begin, 1)
        print(json.dumps({"stage": name, **row}), flush=True)
        if not quick or out != HERE / "results":
            place.write_text(json.dumps(found, indent=1) + "\n")
        if time.perf_counter() - begin > LIMIT:
            print(f"{name}: its time is over", flush=True)
            return


def main() -> int:
    """Run the stages, each in a process of its own; the number of those that failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=[*STAGES])
    parser.add_argument(
        "--quick", action="store_true", help="in small, also for a CPU; nothing is written but to --out"
    )
    parser.add_argument("--out", type=Path, default=HERE / "results")
    options = parser.parse_args()
    if len(options.stages) == 1:
        run(options.stages[0], options.quick, options.out)
        return 0
    return sum(map(functools.partial(failed, options), options.stages))


def failed(options: argparse.Namespace, name: str) -> bool:
    """Whether a stage, in a process of its own, failed or took too long; all that it started ends with it."""
    if name == "ppo" and not importlib.util.find_spec("gymnax"):
        print("ppo: left out, gymnax is not installed", flush=True)
        return False
    command = [sys.executable, __file__, "--stages", name, "--out", str(options.out)]
    process = subprocess.Popen([*command, *["--quick"] * options.quick], start_new_session=True)
    try:
        return process.wait(timeout=LIMIT + 30) != 0
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        print(f"{name}: ended after {LIMIT + 30:.0f} s", flush=True)
        return True


if __name__ == "__main__":
    sys.exit(main())
