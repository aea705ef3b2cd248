"""What the tabular model costs: an update beside an MLP's, `fit` in a fresh process, and predictions.

Tables of normal numbers, whose target is a wave along one direction and a product. The updates of both models take
turns in one process, at equal widths, with AdamW and dropout; `fit` is that of `PopulationRegressor()`, with an empty
compilation cache and with the one that this left. Imports are not counted. Prints one JSON object.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from typing import Any

import numpy as np

SHAPES = ((10, 64, 32), (10, 128, 32), (20, 128, 128), (20, 256, 128))  # columns, width, batch
TABLES = ((300, 10), (2000, 20), (12_000, 30))  # rows, columns
MILLION = 1_000_000


def made(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Features and targets."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, columns))
    return x, np.sin(x @ rng.normal(size=columns) / 2) + x[:, 0] * x[:, 1] + 0.3 * rng.normal(size=rows)


def update(model: str, columns: int, width: int, batch: int) -> float:
    """Microseconds of an update of one of eight members, compiling left out."""
    import popjax as pj

    task = pj.supervised(made(3200, columns), model, "adamw", kind="regression", test=0, validation=0.1)
    fixed = {"hidden": width, "depth": 3, "batch_size": batch}
    space = pj.Space(learning_rate=pj.log_uniform(1e-3, 3e-3), dropout=pj.uniform(0.1, 0.2), **fixed)
    done = pj.search(task, space, trials=8, epochs=8, progress=False).summary
    return 1e6 * float(done["train_seconds"]) / int(done["steps_run"])


def updates(shapes: Iterable[tuple[int, int, int]], runs: int) -> list[dict[str, Any]]:
    """Both models in turn, shape by shape: medians, and the median of the ratios of neighbours."""
    rows = []
    for shape in shapes:
        pairs = np.array([[update(model, *shape) for model in ("mlp", "tabular")] for _ in range(runs)])
        mlp, tabular = np.median(pairs, 0).round(1).tolist()
        ratio = float(np.median(pairs[:, 1] / pairs[:, 0]))
        rows.append({"columns, width, batch": shape, "mlp_us": mlp, "tabular_us": tabular, "ratio": round(ratio, 2)})
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return rows


def fit(rows: int, columns: int) -> dict[str, float]:
    """Seconds of one `fit` in this process, and of compiling in it."""
    import popjax as pj

    x, y = made(rows, columns)
    model = pj.PopulationRegressor(random_state=0)
    wall, used = time.perf_counter(), time.process_time()
    model.fit(x, y)
    seconds = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - used}
    seconds |= {"compiling": float(model.results_.summary["compile_seconds"])}
    return {name: round(value, 2) for name, value in seconds.items()} | predictions(model, x)


def predictions(model: Any, x: np.ndarray) -> dict[str, float]:
    """Milliseconds of a prediction for one row after the first; seconds and MiB above the input of a million rows."""
    model.predict(x[:1])
    times = []
    for _ in range(200):
        begin = time.perf_counter()
        model.predict(x[:1])
        times.append(1e3 * (time.perf_counter() - begin))
    many = np.tile(x, (-(-MILLION // len(x)), 1))[:MILLION]
    before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    model.predict(many)
    seconds, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "row_ms": round(statistics.median(times), 2),
        "million_seconds": round(seconds, 1),
        "million_mib": round((after - before) / 1024),
    }


def fits(tables: Iterable[tuple[int, int]], runs: int) -> list[dict[str, Any]]:
    """`fit` in fresh processes: the first with an empty cache."""
    rows = []
    for table in tables:
        with tempfile.TemporaryDirectory() as cache:
            environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": cache}
            command = [sys.executable, __file__, "--fit", *map(str, table)]
            run = lambda command=command, environment=environment: json.loads(
                subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
            )
            cold, warm = run(), [run() for _ in range(runs)]
            rows.append({"rows, columns": table, "cold": cold, "warm": sorted(warm, key=lambda one: one["wall"])})
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return rows


def main() -> None:
    """Print the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one shape, one table, one run")
    parser.add_argument("--fit", nargs=2, type=int, metavar=("ROWS", "COLUMNS"), help="one fit, in this process")
    options = parser.parse_args()
    if options.fit:
        print(json.dumps(fit(*options.fit)))
        return
    most, runs = (1, 1) if options.quick else (None, options.runs)
    print(json.dumps({"updates": updates(SHAPES[:most], runs), "fits": fits(TABLES[:most], runs)}))


if __name__ == "__main__":
    main()
