"""What successive halving saves on the default search: full and halved in turn, seed by seed, at 20 and at 81 epochs.

Both have the same split, points and initial weights. Counted are the epochs, the optimizer updates and the seconds of
training; the difference is that of the winners' accuracies on rows that no trial saw. Prints one JSON object, and
writes it beside the others unless --quick.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

import popjax as pj
from popjax.core.machine import device

RESULTS = Path(__file__).parent / "results" / "halving.json"
COUNTED = ("epochs", "updates", "seconds")


def search(trials: int, epochs: int, seed: int, scheduler: str | None) -> list[float]:
    """The epochs, the updates and the seconds of a search, and the accuracy of its winner on the test rows."""
    task = pj.supervised("digits", seed=seed)
    results = pj.search(task, None, trials=trials, epochs=epochs, seed=seed, scheduler=scheduler)
    summary = results.summary
    seconds, updates = summary["train_seconds"], summary["model_steps"]
    return [float(results.done.sum()), updates, seconds, summary["test"]["test_accuracy"]]


def measure(trials: int, epochs: int, seeds: int) -> dict[str, Any]:
    """How many times less halving takes, the geometric mean over the seeds, and the difference seed by seed."""
    search(trials, epochs, 0, "halving")  # programs are compiled
    found = []
    for seed in range(seeds):
        found.append([search(trials, epochs, seed, scheduler) for scheduler in (None, "halving")])
        print(f"{epochs} epochs: {seed + 1} of {seeds}", file=sys.stderr, flush=True)
    values = np.array(found)  # (seeds, 2, 4)
    ratios = np.exp(np.log(values[:, 0, :3] / values[:, 1, :3]).mean(0))
    difference = values[:, 1, 3] - values[:, 0, 3]
    return {f"times fewer {name}": float(f"{ratio:.3g}") for name, ratio in zip(COUNTED, ratios, strict=True)} | {
        "full, test accuracy": float(f"{values[:, 0, 3].mean():.4f}"),
        "halving minus full": float(f"{difference.mean():.4f}"),
        "its standard error": float(f"{difference.std(ddof=1) / np.sqrt(seeds):.4f}"),
    }


def main() -> None:
    """Measure at both lengths."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=512)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="40 trials of 8 epochs, two seeds")
    options = parser.parse_args()
    trials, seeds = (40, 2) if options.quick else (options.trials, options.seeds)
    report: dict[str, Any] = {"trials": trials, "seeds": seeds, "device": device()}
    for epochs in (8,) if options.quick else (20, 81):
        report[f"{epochs} epochs"] = measure(trials, epochs, seeds)
    if not options.quick:
        RESULTS.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
