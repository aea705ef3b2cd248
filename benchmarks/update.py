"""What one optimizer update of one model costs, as a user sees it: wall time from outside.

Runs the sweep on a homogeneous population (hidden 100, depth 2, batch 32) for 30 and for 10
epochs and divides the difference in wall time by the difference in updates, so that start-up
and compiling cancel. `hand.py` is the yardstick; both in one call, in turn.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent


def sweep(trials: int, epochs: int) -> tuple[float, int]:
    """Wall seconds and updates of one run of the command."""
    with tempfile.TemporaryDirectory() as out:
        fixed = [f"--set={setting}" for setting in ("hidden=100", "depth=2", "batch_size=32")]
        rates = "--set=learning_rate=log_uniform(1e-4,1e-1)"
        size = ["--trials", str(trials), "--epochs", str(epochs), "--out", f"{out}/run", "--json"]
        command = [sys.executable, "-m", "popjax.sweep", *size, *fixed, rates]
        begin = time.perf_counter()
        summary = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        return time.perf_counter() - begin, summary["model_steps"]


def hand() -> float:
    """The hand-written loop, the best of its runs."""
    command = [sys.executable, HERE / "hand.py", "--members", "64"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return min(json.loads(printed)["us_per_update"])


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=256)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="64 trials, one run")
    options = parser.parse_args()
    trials, runs = (64, 1) if options.quick else (options.trials, options.runs)
    sweep(2, 1)  # fills the compilation cache
    readings = []
    for _ in range(runs):
        (long, more), (short, fewer) = sweep(trials, 30), sweep(trials, 10)
        readings.append({"popjax": round((long - short) / (more - fewer) * 1e6, 1), "hand": hand()})
        print(json.dumps({"us_per_update": readings[-1]}), file=sys.stderr, flush=True)
    print(json.dumps({"trials": trials, "us_per_update": readings}))


if __name__ == "__main__":
    main()
