"""What one optimizer update of one model costs, as a user sees it: wall time from outside.

Runs the sweep on a homogeneous population (hidden 100, depth 2) for many and for few epochs and
divides the difference in wall time by the difference in updates, so that start-up and compiling
cancel. `hand.py`, which times its own epochs, is the yardstick; both in turn, for SGD and Adam,
several batch sizes, and a user's own nnx model of the same shape.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
OWN = """
import popjax as pj
from flax import nnx
from popjax.data.dataset import load

class Net(nnx.Module):
    def __init__(self, hparams, rngs):
        self.layers = nnx.List([nnx.Linear(64, 100, rngs=rngs), nnx.Linear(100, 100, rngs=rngs)])
        self.out = nnx.Linear(100, 10, rngs=rngs)

    def __call__(self, x):
        for layer in self.layers:
            x = nnx.relu(layer(x))
        return self.out(x)

task = pj.supervised(load("digits"), model=Net)
"""


def sweep(trials: int, epochs: int, optimizer: str, batch: int, own: bool) -> tuple[float, int]:
    """Wall seconds and updates of one run of the command."""
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "own.py").write_text(OWN)
        fixed = ["--task", "own:task"] if own else ["--set=hidden=100", "--set=depth=2", "--optimizer", optimizer]
        fixed += [f"--set=batch_size={batch}", "--set=learning_rate=log_uniform(1e-4,1e-2)"]
        size = ["--trials", str(trials), "--epochs", str(epochs), "--out", "run", "--json"]
        command = [sys.executable, "-m", "popjax.sweep", *size, *fixed]
        environment = {**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", str(HERE.parent))}
        begin = time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=place, env=environment)
        return time.perf_counter() - begin, json.loads(done.stdout)["model_steps"]


def hand(optimizer: str, batch: int) -> float:
    """The hand-written loop: what it reads of its own epochs, the median of its runs."""
    command = [sys.executable, HERE / "hand.py", "--members", "64", "--optimizer", optimizer, "--batch", str(batch)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return statistics.median(json.loads(printed)["us_per_update"])


def case(trials: int, runs: int, optimizer: str, batch: int, own: bool = False) -> dict:
    """Both, in turn."""
    sweep(2, 1, optimizer, batch, own)  # fills the compilation cache
    popjax, by_hand = [], []
    for _ in range(runs):
        (long, more), (short, fewer) = (sweep(trials, epochs, optimizer, batch, own) for epochs in (30, 10))
        popjax.append(round((long - short) / (more - fewer) * 1e6, 1))
        by_hand.append(hand(optimizer, batch))
    ratio = statistics.median(popjax) / statistics.median(by_hand)
    name = {"optimizer": optimizer, "batch": batch, "model": "own nnx" if own else "mlp"}
    return name | {"popjax": popjax, "hand": by_hand, "ratio_of_medians": round(ratio, 2)}


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=256)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="SGD with batch 32, 64 trials, one run")
    options = parser.parse_args()
    cases = [("sgd", 32), ("sgd", 16), ("sgd", 128), ("adam", 32), ("adam", 128), ("sgd", 32, True)]
    rows = []
    for chosen in cases[:1] if options.quick else cases:
        rows.append(case(64 if options.quick else options.trials, 1 if options.quick else options.runs, *chosen))
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    print(json.dumps({"us_per_update": rows}))


if __name__ == "__main__":
    main()
