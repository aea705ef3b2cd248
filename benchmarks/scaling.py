"""How cost and memory grow with the population: wall time and peak memory of whole commands.

An MLP 64-100-100-10 on digits, SGD with momentum, batch 32, from 1 to 8192 trials. What an
update costs is the difference of two runs over the difference of their updates; its share of the
peak is against a large matrix product measured here, in the same minute.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp

from popjax.core.machine import device

RESULTS = Path(__file__).parent / "results" / "scaling.json"
PARAMETERS = 65 * 100 + 101 * 100 + 101 * 10


def sweep(trials: int, epochs: int, batch: int) -> tuple[float, int, float]:
    """Wall seconds, updates and peak MiB of one command."""
    with tempfile.TemporaryDirectory() as out:
        fixed = [f"--set={setting}" for setting in ("hidden=100", "depth=2", f"batch_size={batch}")]
        rates = "--set=learning_rate=log_uniform(1e-4,1e-1)"
        size = ["--trials", str(trials), "--epochs", str(epochs), "--out", f"{out}/run", "--quiet"]
        command = [sys.executable, "-m", "popjax.sweep", *size, *fixed, rates]
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise RuntimeError(f"the command failed: {status}")
        wall = time.perf_counter() - begin
        summary = json.loads(Path(f"{out}/run/summary.json").read_text())
    return wall, summary["model_steps"], usage.ru_maxrss / 1024


def peak() -> float:
    """GFLOP/s of a large matrix product."""
    size, repeats = 1536, 10
    x = jnp.ones((size, size), jnp.float32)
    multiply = jax.jit(lambda x: x @ x)
    jax.block_until_ready(multiply(x))
    best = 0.0
    for _ in range(3):
        begin = time.perf_counter()
        for _ in range(repeats):
            jax.block_until_ready(multiply(x))
        best = max(best, repeats * 2 * size**3 / (time.perf_counter() - begin) / 1e9)
    return best


def row(trials: int, batch: int, peak_gflops: float) -> dict:
    """The figures of one size of population."""
    epochs = max(2, min(400, 40960 // trials))
    (long, more, memory), (short, fewer, _) = sweep(trials, epochs, batch), sweep(trials, max(1, epochs // 4), batch)
    microseconds = (long - short) / (more - fewer) * 1e6
    gflops = 6 * PARAMETERS * batch / microseconds / 1e3
    return {
        "trials": trials,
        "batch": batch,
        "us_per_update": round(microseconds, 1),
        "share_of_peak": round(gflops / peak_gflops, 2),
        "peak_mib": round(memory),
    }


def main() -> None:
    """Print one JSON object, and write it beside the others unless --quick."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two small populations")
    options = parser.parse_args()
    sweep(2, 1, 32)  # fills the compilation cache
    sweep(2, 1, 128)
    sizes = [(2, 32), (16, 32)] if options.quick else [(n, 32) for n in (1, 8, 64, 512, 2048, 8192)] + [(512, 128)]
    peak_gflops = peak()
    rows = []
    for trials, batch in sizes:
        rows.append(row(trials, batch, peak_gflops))
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    found = {"device": device(), "peak_gflops": round(peak_gflops), "rows": rows}
    if not options.quick:
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
