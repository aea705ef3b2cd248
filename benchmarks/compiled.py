# /// script
# requires-python = ">=3.12"
# dependencies = ["popjax", "jax[cuda12]"]
#
# [tool.uv.sources]
# popjax = { path = "..", editable = true }
# ///
"""What XLA compiles for an H100, on a machine that has none: kernels of a step, bytes that they move, memory.

`uv run --script benchmarks/compiled.py` prints a JSON object a case: one program of many members,
and a vmapped loop by hand. Nothing runs, so there are no timings, and tile sizes are not searched
for. What a kernel moves is its operands and results, without the rows that a gather chooses from.
"""

import argparse
import functools
import itertools
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ |= {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_gpu_autotune_level=0", "TF_CPP_MIN_LOG_LEVEL": "3"}

import jax
import numpy as np
from jax import lax
from jax.experimental import topologies

import popjax as pj
from popjax.core.trees import abstract
from popjax.engine.member import advance
from popjax.engine.roster import Roster
from popjax.engine.traced_task import Config, TracedTask
from popjax.rewriting.target import rewriting_for
from popjax.supervision.spaces import default_space

sys.path.insert(0, str(Path(__file__).parent / "works"))

from jax_networks import NETWORKS
from work import WORKS, rows_of

H100 = """
gpu_device_info {
  threads_per_block_limit: 1024  threads_per_warp: 32  threads_per_core_limit: 2048
  thread_dim_limit_x: 1024  thread_dim_limit_y: 1024  thread_dim_limit_z: 64
  block_dim_limit_x: 2147483647  block_dim_limit_y: 65535  block_dim_limit_z: 65535
  shared_memory_per_block: 49152  shared_memory_per_core: 233472  shared_memory_per_block_optin: 232448
  registers_per_core_limit: 65536  registers_per_block_limit: 65536
  core_count: 132  fpus_per_core: 128  clock_rate_ghz: 1.98
  memory_bandwidth: 3352320000000  l2_cache_size: 52428800  device_memory_size: 84942979072
  cuda_compute_capability { major: 9 feature_extension: ACCELERATED_FEATURES }
  driver_version: "13.0.0"  runtime_version: "12.8.0"  compile_time_toolkit_version: "12.8.0"
  dnn_version: "9.10.0"  name: "NVIDIA H100 80GB HBM3"
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
ROWS, BATCH, SIZES = 1797, 32, (64, 100, 100, 10)
BYTES = {"pred": 1, "s8": 1, "f32": 4, "s32": 4, "u32": 4}
FREE = ("parameter", "constant", "get-tuple-element", "tuple", "bitcast")
OPERATION = re.compile(r"(?:ROOT )?%([\w.\-]+) = (.*?) ([a-z\-]+)\((.*?)\)")


def compiled(function: Callable[..., Any], *arguments: Any) -> Any:
    """The executable for one H100 of a function of such arguments."""
    topology = topologies.get_topology_desc(platform="cuda", target_config=H100, topology="1x1x1")
    there = jax.sharding.SingleDeviceSharding(topology.devices[0])
    place = lambda aval: jax.ShapeDtypeStruct(aval.shape, aval.dtype, sharding=there)
    return jax.jit(function).lower(*jax.tree.map(place, abstract(arguments))).compile()


def population(task: pj.Task, space: pj.Space, members: int) -> Any:
    """The executable of one epoch of a population."""
    config = Config(20, 0, pj.Rule(task.metric), lanes=members, plan="one")
    member = Roster(TracedTask(task, space, config), space.sample(members)).buckets[0]
    data = abstract(task.data)
    training, metrics, _ = member.trace(data)
    epoch = functools.partial(advance, member, metrics, members)
    stack = lambda aval: jax.ShapeDtypeStruct((members, *aval.shape), aval.dtype)
    return compiled(epoch, *jax.tree.map(stack, (training, member.example)), data, np.zeros(1, np.int32))


def by_hand(members: int) -> Any:
    """The executable of one epoch of vmapped SGD with momentum, exact shapes."""

    def loss(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        for w, b in params[:-1]:
            x = jax.nn.relu(x @ w + b)
        w, b = params[-1]
        return -(jax.nn.log_softmax(x @ w + b) * jax.nn.one_hot(y, 10)).sum(1).mean()

    def epoch(params: Any, velocity: Any, key: jax.Array, rate: Any, momentum: Any, x: Any, y: Any) -> Any:
        def step(carry: Any, rows: jax.Array) -> Any:
            params, velocity = carry
            value, gradient = jax.value_and_grad(loss)(params, x[rows], y[rows])
            velocity = jax.tree.map(lambda v, g: momentum * v + g, velocity, gradient)
            return (jax.tree.map(lambda p, v: p - rate * v, params, velocity), velocity), value

        order = jax.random.permutation(key, len(x))[: len(x) // BATCH * BATCH].reshape(-1, BATCH)
        return lax.scan(step, (params, velocity), order)

    number = lambda *shape: jax.ShapeDtypeStruct((members, *shape), np.float32)
    params = [(number(a, b), number(b)) for a, b in itertools.pairwise(SIZES)]
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), members))
    x, y = jax.ShapeDtypeStruct((1437, 64), np.float32), jax.ShapeDtypeStruct((1437,), np.int32)
    vmapped = jax.vmap(epoch, (0, 0, 0, 0, 0, None, None))
    return compiled(vmapped, params, params, keys, number(), number(), x, y)


def size(shape: str) -> int:
    """The bytes of a shape, or of all shapes of a tuple, as HLO spells them."""
    arrays = re.findall(r"([a-z]+\d*)\[([\d,]*)\]", shape)
    return sum(BYTES[kind] * int(np.prod([int(n) for n in dims.split(",") if n])) for kind, dims in arrays)


def operations(text: str, computation: str) -> Iterator[tuple[str, str, str, str]]:
    """(name, shape, kind, operands) of what a computation of a module does."""
    body = re.search(rf"^%{re.escape(computation)} \(.*?^}}", re.sub(r"/\*.*?\*/", "", text), re.M | re.S)
    return (found.groups() for line in body[0].splitlines()[1:] if (found := OPERATION.match(line.strip())))


def step(executable: Any) -> dict[str, Any]:
    """The kernels of one update, the megabytes that they move, and the program's temporary memory."""
    text = executable.as_text()
    loops = re.findall(r'body=%([\w.\-]+).*?known_trip_count":\{"n":"(\d+)"', text)
    body = max(loops, key=lambda loop: int(loop[1]))[0]
    known = {name: size(shape) for name, shape, _, _ in operations(text, body)}
    kernels, moved = 0, 0
    for name, shape, kind, operands in operations(text, body):
        if kind not in FREE:
            kernels += 1
            read = [known.get(operand, 0) for operand in re.findall(r"%([\w.\-]+)", operands)]
            moved += size(shape) + (0 if "gather" in name else sum(read))
    temporary = executable.memory_analysis().temp_size_in_bytes
    return {"kernels": kernels, "moved_MB": round(moved / 1e6, 1), "temporary_MB": round(temporary / 1e6, 1)}


def main() -> None:
    """Print the cases, and write them to results/ unless --quick."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=512)
    parser.add_argument("--quick", action="store_true", help="the first case and the loop by hand")
    parser.add_argument("--only", nargs="+", default=(), help="these cases, and nothing is written")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(ROWS, 64)), rng.integers(0, 10, ROWS)
    images = rows[0].reshape(-1, 8, 8, 1), rows[1]
    rate = pj.log_uniform(1e-3, 1e-1)
    fixed = pj.Space(learning_rate=rate, momentum=pj.uniform(0, 0.9), hidden=100, depth=2, batch_size=BATCH)
    without = pj.Space(learning_rate=rate, hidden=100, depth=2, batch_size=BATCH)
    channels = pj.Space(learning_rate=rate, hidden=pj.integers(8, 32), depth=pj.integers(1, 3), batch_size=BATCH)
    one_size = default_space().replace(batch_size=BATCH)
    own = pj.supervised(rows_of(WORKS["cnn32"]), NETWORKS["cnn32"], "adamw", transform="none")
    one_batch = pj.Space(learning_rate=rate, batch_size=BATCH)
    cases = {
        "mlp, sgd": lambda members: population(pj.supervised(rows), fixed, members),
        "mlp, sgd, by hand": by_hand,
        "mlp, adam": lambda members: population(pj.supervised(rows, optimizer="adam"), without, members),
        "default space": lambda members: population(pj.supervised(rows), default_space(), members),
        "default space, one batch size": lambda members: population(pj.supervised(rows), one_size, members),
        "cnn": lambda members: population(pj.supervised(images, model="cnn"), channels, members),
        "cnn32, a network of one's own": lambda members: population(own, one_batch, members),
    }
    found = []
    for name in options.only or list(cases)[: 2 if options.quick else None]:
        with rewriting_for("cuda"):
            found.append({"case": name, "members": options.members, **step(cases[name](options.members))})
        print(json.dumps(found[-1]), flush=True)
    if not options.quick and not options.only:
        content = {"device": "H100, compiled for", "jax": jax.__version__, "cases": found}
        (Path(__file__).parent / "results" / "compiled.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
