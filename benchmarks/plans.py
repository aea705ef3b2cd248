"""What the plans cost, compiling included, and how far the default search is from exact shapes.

Spaces are drawn from `--seed`. For each, every plan runs in a process of its own that has
nothing compiled; "auto" is right where its choice takes at most 1.1 times the best. Then the
default search's training time is set against the sum of what its exact shapes cost: the cost of
an update is measured for depths, batch sizes and some widths of one shape each, as the difference
of two runs, and interpolated between these widths. Beside
them stands one space in which the widths differ much.
"""

import argparse
import itertools
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import popjax as pj
from popjax.core.machine import device
from popjax.data.dataset import load
from popjax.engine.roster import Roster
from popjax.engine.traced_task import Config, TracedTask
from popjax.supervision.spaces import default_space

RESULTS = Path(__file__).parent / "results" / "plans.json"
WIDTHS = (50, 75, 100)


def task() -> pj.Task:
    """The default command's task."""
    return pj.supervised(load("digits"))


def drawn(rng: np.random.Generator) -> pj.Space:
    """A space of some width, depths and batch sizes."""
    low, factor = int(rng.choice([8, 16, 32, 64])), float(rng.choice([1.5, 2, 4, 8]))
    scale = pj.log_integers if factor > 3 else pj.integers
    batches = sorted(rng.choice([16, 32, 64, 128], int(rng.integers(1, 5)), replace=False).tolist())
    shallow = int(rng.integers(1, 4))
    return default_space().replace(
        hidden=scale(low, int(low * factor)),
        depth=pj.integers(shallow, shallow + int(rng.integers(0, 3))),
        batch_size=pj.choice(*batches) if len(batches) > 1 else batches[0],
    )


def once(space: dict, plan: str, trials: int, epochs: int) -> dict:
    """Wall seconds of one search in this process, and the plan that it took."""
    prepared = task()
    begin = time.perf_counter()
    results = pj.search(prepared, pj.Space.from_dict(space), trials=trials, epochs=epochs, backend=pj.Local(plan=plan))
    wall = time.perf_counter() - begin
    return {"seconds": wall, "plan": results.run["plan"], "buckets": results.summary["buckets"]}


def apart(space: pj.Space, plan: str, trials: int, epochs: int) -> dict:
    """The same in a process of its own."""
    request = json.dumps([space.to_dict(), plan, trials, epochs])
    process = subprocess.run([sys.executable, __file__, "--once", request], check=True, capture_output=True, text=True)
    return json.loads(process.stdout)


def compare(space: pj.Space, trials: int, epochs: int) -> dict:
    """All plans, and what auto does."""
    seconds = {plan: round(apart(space, plan, trials, epochs)["seconds"], 2) for plan in ("one", "widths", "buckets")}
    traced = TracedTask(task(), space, Config(epochs, 0, pj.Rule("val_accuracy", "max")))
    chosen = Roster(traced, space.sample(trials)).plan.name
    row = {"space": {name: space.to_dict()[name] for name in ("hidden", "depth", "batch_size")}}
    ratio = seconds[chosen] / min(seconds.values())
    return row | {"trials": trials, "epochs": epochs, "seconds": seconds, "auto": chosen, "over_best": round(ratio, 2)}


def training_seconds(prepared: pj.Task, space: pj.Space, trials: int, epochs: int) -> float:
    """Seconds of training of a search that is already compiled."""
    return pj.search(prepared, space, trials=trials, epochs=epochs).summary["train_seconds"]


def microseconds(prepared: pj.Task, width: int, depth: int, batch: int) -> float:
    """What one update of one model of an exact shape costs, over all cores."""
    space = pj.Space(learning_rate=pj.log_uniform(1e-3, 1e-2), hidden=width, depth=depth, batch_size=batch, decay=0.1)
    training_seconds(prepared, space, 32, 1)
    long, short = (min(training_seconds(prepared, space, 32, e) for _ in range(2)) for e in (6, 2))
    return (long - short) / (32 * 4 * (1437 // batch)) * 1e6


def exact(trials: int, epochs: int) -> dict:
    """The default search's training time against the sum of its exact shapes'."""
    prepared, space = task(), default_space()
    points = space.sample(trials)
    depths, batches = range(2, 5), (16, 32, 64, 128)
    cost = {
        (depth, batch): [microseconds(prepared, width, depth, batch) for width in WIDTHS]
        for depth, batch in itertools.product(depths, batches)
    }
    shapes = zip(points["hidden"].tolist(), points["depth"].tolist(), points["batch_size"].tolist(), strict=True)
    total = sum(np.interp(w, WIDTHS, cost[d, b]) * epochs * (1437 // b) for w, d, b in shapes) / 1e6
    training_seconds(prepared, space, trials, 1)
    took = training_seconds(prepared, space, trials, epochs)
    table = {f"depth {d}, batch {b}": [round(us, 1) for us in row] for (d, b), row in cost.items()}
    figures = {"exact_seconds": round(float(total), 2), "one_program_seconds": round(took, 2)}
    return figures | {"ratio": round(took / float(total), 2), "us_per_update_at_width_50_75_100": table}


def main() -> None:
    """Print one JSON object, and write it beside the others unless --quick."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--spaces", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one space, few trials")
    parser.add_argument("--once", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        print(json.dumps(once(*json.loads(options.once))))
        return
    rng = np.random.default_rng(options.seed)
    rows = []
    for _ in range(1 if options.quick else options.spaces):
        space = drawn(rng)
        for trials, epochs in ((16, 2),) if options.quick else ((64, 20), (2048, 2)):
            rows.append(compare(space, trials, epochs))
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    wide = {} if options.quick else compare(default_space().replace(hidden=pj.log_integers(8, 512)), 512, 4)
    right = sum(row["over_best"] <= 1.1 for row in rows)
    found = {"device": device(), "seed": options.seed, "auto_is_right": f"{right} of {len(rows)}", "plans": rows}
    found["wide"] = wide
    found["exact_shapes"] = exact(64 if options.quick else 512, 2 if options.quick else 20)
    if not options.quick:
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
