# /// script
# requires-python = ">=3.12"
# dependencies = ["popjax", "jax[cuda12]"]
#
# [tool.uv.sources]
# popjax = { path = "..", editable = true }
# ///
"""What XLA compiles for an H100, on a machine that has none: kernels of an epoch, bytes that they move, memory.

`uv run --script benchmarks/compiled.py` prints a JSON object a case of `works/programs.py`: populations, and vmapped
loops by hand. All is counted for one epoch of all members, evaluation included, whatever the number of programs; the
memory is that of the program that takes most. Nothing runs, so there are no timings, and tile sizes are not searched
for. What a kernel moves is its operands and results, without the rows that a gather chooses from.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ |= {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_gpu_autotune_level=0", "TF_CPP_MIN_LOG_LEVEL": "3"}

import jax
import jaxlib
import numpy as np
from jax.experimental import topologies

from popjax.core.trees import abstract
from popjax.engine.memory import KEPT_FREE, executable_bytes
from popjax.rewriting.target import made_for

sys.path.insert(0, str(Path(__file__).parent / "works"))

from programs import CASES, Program, digest

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
MEMORY = int(re.findall(r"device_memory_size: (\d+)", H100)[0])
BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f32": 4, "s32": 4, "u32": 4, "s64": 8, "u64": 8}
FREE = ("parameter", "constant", "get-tuple-element", "tuple", "bitcast")
OPERATION = re.compile(r"(?:ROOT )?%([\w.\-]+) = (.*?) ([a-z\-]+)\((.*?)\)(.*)")


def compiled(program: Program) -> Any:
    """The executable for one H100."""
    topology = topologies.get_topology_desc(platform="cuda", target_config=H100, topology="1x1x1")
    there = jax.sharding.SingleDeviceSharding(topology.devices[0])
    place = lambda aval: jax.ShapeDtypeStruct(aval.shape, aval.dtype, sharding=there)
    return program.jitted.lower(*jax.tree.map(place, abstract(program.arguments))).compile()


def size(shape: str) -> int:
    """The bytes of a shape, or of all shapes of a tuple, as HLO spells them."""
    arrays = re.findall(r"([a-z]+\d*)\[([\d,]*)\]", shape)
    return sum(BYTES[kind] * int(np.prod([int(n) for n in dims.split(",") if n])) for kind, dims in arrays)


class Module:
    """The text of an optimized module.

    Attributes:
        computations: name -> lines of each.
        entry: the name of the one that is called.
    """

    def __init__(self, text: str) -> None:
        text = re.sub(r"/\*.*?\*/", "", text)
        bodies = re.findall(r"^(ENTRY )?%([\w.\-]+) \(.*?\{$\n(.*?)^\}", text, re.M | re.S)
        self.computations = {name: body.splitlines() for _, name, body in bodies}
        self.entry = next(name for entry, name, _ in bodies if entry)

    def operations(self, computation: str) -> Iterator[tuple[str, str, str, str, str]]:
        """(name, shape, kind, operands, attributes) of what a computation does."""
        lines = self.computations[computation]
        return (match.groups() for line in lines if (match := OPERATION.match(line.strip())))  # type: ignore[misc]

    def cost(self, computation: str) -> np.ndarray:
        """Int (2,), the kernels of a computation and the bytes that they move.

        The passes of a loop count as often as they run; where that is not known, as for chunks of members, once.
        """
        shapes = {name: size(shape) for name, shape, *_ in self.operations(computation)}
        found = np.zeros(2, np.int64)
        for name, shape, kind, operands, attributes in self.operations(computation):
            called = re.findall(r"(?:body|to_apply|branch_computations|calls)=\{?%([\w.\-]+)", attributes)
            if kind in ("while", "call", "conditional"):
                times = re.search(r'known_trip_count":\{"n":"(\d+)"', attributes)
                found += (int(times[1]) if times else 1) * sum(map(self.cost, called))
            elif kind not in FREE and not kind.endswith("-done"):
                read = [shapes.get(operand, 0) for operand in re.findall(r"%([\w.\-]+)", operands)]
                found += 1, size(shape) + (0 if "gather" in name else sum(read))
        return found


def measured(programs: list[Program]) -> dict[str, Any]:
    """The kernels of an epoch of all programs, the megabytes that they move, and the most temporary memory."""
    executables = [compiled(program) for program in programs]
    modules = [Module(executable.as_text()) for executable in executables]
    kernels, moved = sum(module.cost(module.entry) for module in modules).tolist()
    temporary = max(executable.memory_analysis().temp_size_in_bytes for executable in executables)
    pairs = zip(executables, programs, strict=True)
    a_member = max(executable_bytes(executable) / program.members for executable, program in pairs)
    fit = int((1 - KEPT_FREE) * MEMORY / a_member)
    memory = {"temporary_MB": round(temporary / 1e6), "members_that_fit": fit}
    return {"kernels": kernels, "moved_MB": round(moved / 1e6), **memory}


def main() -> None:
    """Print the cases, and write them to results/ unless --quick."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=512)
    parser.add_argument("--quick", action="store_true", help="the first case and the loop by hand")
    parser.add_argument("--only", nargs="+", default=(), choices=CASES, help="these cases, and nothing is written")
    options = parser.parse_args()
    found = []
    for name in options.only or list(CASES)[: 2 if options.quick else None]:
        with made_for("cuda"):
            programs = CASES[name](options.members)
            known = {"case": name, "members": options.members, "programs": len(programs), "digest": digest(programs)}
            found.append(known | measured(programs))
        print(json.dumps(found[-1]), flush=True)
    if not options.quick and not options.only:
        versions = {"jax": jax.__version__, "jaxlib": jaxlib.__version__}
        content = {"device": "H100, compiled for", **versions, "cases": found}
        (Path(__file__).parent / "results" / "compiled.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
