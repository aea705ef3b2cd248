# /// script
# requires-python = ">=3.12"
# dependencies = ["popjax[optuna]", "palmerpenguins", "pandas"]
#
# [tool.uv.sources]
# popjax = { path = "..", editable = true }
# ///
"""Time to quality: how long searches take to a validation loss, each in a process of its own: `uv run --script`.

The same tables, rows, model, optimizer and space for all (`seekers/`, a file each); what differs is how they search.
The time counts from the start of the process, imports and compiling included; *begun* is when its first epoch was over.
Only trials that were trained to their last epoch count, with the loss that they had there. A peer whose environment
cannot be made here is skipped, and named with the reason.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from peers import machine, reason
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.model_selection import train_test_split
from tables import penguins

SECONDS = 60.0
HERE = Path(__file__).parent


class Seeker(NamedTuple):
    """One way to search: its file in `seekers/`, its method, and the packages it needs; none: this environment's."""

    label: str
    module: str
    method: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()


SEEKERS = {
    "full": Seeker("popjax, all to the end", "popjax_search", ("full",)),
    "halving": Seeker("popjax, halving", "popjax_search", ("halving",)),
    "hyperband": Seeker("popjax, hyperband", "popjax_search", ("hyperband",)),
    "tpe": Seeker("popjax, tpe", "popjax_search", ("tpe",)),
    "tpe+halving": Seeker("popjax, tpe + halving", "popjax_search", ("tpe+halving",)),
    "optuna": Seeker("Optuna, TPE + Hyperband + PyTorch", "optuna_torch", (), ("optuna", "torch", "numpy")),
    "ray": Seeker("Ray Tune, ASHA + PyTorch", "ray_torch", (), ("ray[tune]", "torch", "numpy")),
    "sklearn": Seeker("scikit-learn, HalvingRandomSearchCV", "sklearn_halving"),
}


def by_sex() -> tuple[np.ndarray, np.ndarray]:
    """The penguins of Palmer station as numbers."""
    frame, sex = penguins("sex")
    return pd.get_dummies(frame).to_numpy(float), (sex == "male").astype(int)


def bundled(load: Callable[..., Any]) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
    """A table of scikit-learn's."""
    return lambda: load(return_X_y=True)


TABLES: dict[str, Callable[[], tuple[np.ndarray, np.ndarray]]] = {
    "digits": bundled(load_digits),
    "breast_cancer": bundled(load_breast_cancer),
    "diabetes": bundled(load_diabetes),
    "penguins": by_sex,
}


def write_workload(path: Path, table: str, seed: int, seconds: float) -> None:
    """Write a table and its rows, a fifth for validation and a fifth for the test, for all seekers."""
    x, y = TABLES[table]()
    classes = y if y.dtype.kind == "i" else None
    rest, test = train_test_split(np.arange(len(y)), test_size=0.2, random_state=seed, stratify=classes)
    by = None if classes is None else classes[rest]
    train, validation = train_test_split(rest, test_size=0.25, random_state=seed, stratify=by)
    rows = {"train": np.sort(train), "validation": np.sort(validation), "test": np.sort(test)}
    np.savez(path, x=x, y=y, seed=seed, seconds=seconds, **rows)


def python_of(seeker: Seeker, folder: Path) -> Path | str:
    """What runs Python in the seeker's environment; raises CalledProcessError if it cannot be made."""
    if not seeker.packages:
        return sys.executable
    place = folder / seeker.module
    base = sys._base_executable  # type: ignore[attr-defined]
    install = ["pip", "install", "--compile-bytecode", "--python", place, *seeker.packages]
    for command in (["venv", "--python", base, place], install):
        subprocess.run(["uv", command[0], "--quiet", *command[1:]], check=True, capture_output=True, text=True)
    return place / "bin" / "python"


def run(python: Path | str, seeker: Seeker, workload: Path, cache: Path) -> dict[str, Any]:
    """What one seeker found: [seconds, loss] of each trial that was better than those before it."""
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "CUDA_VISIBLE_DEVICES": "",
        "JAX_COMPILATION_CACHE_DIR": str(cache),
    }
    command = [python, HERE / "seekers" / "run.py", seeker.module, workload, *seeker.method]
    begun = time.time()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    wall = time.time() - begun
    if done.returncode:
        raise RuntimeError(f"{seeker.label} failed:\n{done.stderr[-4000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    steps: list[list[float]] = []
    for at, loss in sorted(found.pop("losses")):
        if not steps or loss < steps[-1][1]:
            steps.append([round(at - begun, 2), float(f"{loss:.5g}")])
    times = {name: round(found.pop(name) - begun, 2) for name in ("begun", "searched", "over") if name in found}
    return {"steps": steps, "wall": round(wall, 2)} | times | found


def reached(steps: list[list[float]], loss: float) -> float:
    """When a loss was reached; infinite if it was not."""
    return next((at for at, found in steps if found <= loss), np.inf)


def ratio(runs: list[dict[str, Any]], one: str, other: str, goal: str, start: bool, seconds: float) -> dict[str, Any]:
    """How long `one` takes in terms of `other`, to the loss that `goal` ends at; geometric mean over the runs.

    One that does not get there counts with all the time that there was, also where it ended before.
    """
    ratios, missed = [], {one: 0, other: 0}
    for row in runs:
        loss = row[goal]["steps"][-1][1]
        times = []
        for name in (one, other):
            at = reached(row[name]["steps"], loss)
            missed[name] += not np.isfinite(at)
            at = min(at, seconds)
            times.append(at if start else max(at - row[name]["begun"], 0.05))
        ratios.append(times[0] / times[1])
    return {"ratio": round(float(np.exp(np.mean(np.log(ratios)))), 3), "missed": missed}


def summary(found: dict[str, list[dict[str, Any]]], seconds: float) -> dict[str, Any]:
    """The ratios over all tables and seeds, of every setting of popjax to every peer."""
    rows = [row for runs in found.values() for row in runs]
    ours = [name for name in ("full", "halving", "hyperband", "tpe", "tpe+halving") if name in rows[0]]
    peers = [name for name in ("optuna", "ray", "sklearn") if name in rows[0]]
    answer: dict[str, Any] = {}
    for peer in peers:
        for one in ours:
            answer[f"{one} over {peer}, to the loss that {peer} ends at"] = ratio(rows, one, peer, peer, True, seconds)
            if "full" in ours:
                for start, how in ((True, "with start-up"), (False, "without")):
                    key = f"{one} over {peer}, to the loss that full ends at, {how}"
                    answer[key] = ratio(rows, one, peer, "full", start, seconds)
    return answer


def main() -> None:
    """Run the seekers in turn, print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--add", action="store_true", help="go on after the seeds that the file holds: ten take hours")
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="how long a search may take (default: %(default)s)"
    )
    parser.add_argument("--tables", default=",".join(TABLES))
    parser.add_argument(
        "--only", default=",".join(SEEKERS), help="some of the seekers, by comma (default: %(default)s)"
    )
    parser.add_argument("--quick", action="store_true", help="one seed of penguins, 15 seconds; writes no file")
    parser.add_argument(
        "--json", type=Path, help="where to write the JSON (default: results/quality.json if not quick)"
    )
    options = parser.parse_args()
    tables = ["penguins"] if options.quick else options.tables.split(",")
    seeds, seconds = (1, 15.0) if options.quick else (options.seeds, options.seconds)
    path = options.json or (None if options.quick else HERE / "results" / "quality.json")
    if unknown := set(options.only.split(",")) - set(SEEKERS):
        parser.error(f"unknown seekers {', '.join(sorted(unknown))}; there are {', '.join(SEEKERS)}")
    found: dict[str, list[dict[str, Any]]] = {table: [] for table in tables}
    if options.add and path and path.exists():
        before = json.loads(path.read_text())
        if (before["machine"], before["seconds"]) != (machine(), seconds):
            parser.error(f"--add: {path} is of {before['machine']} and {before['seconds']:g} s; give another --json")
        found = before["tables"] | {table: before["tables"].get(table, []) for table in tables}
    with tempfile.TemporaryDirectory() as folder:
        pythons, skipped = {}, {}
        for name in options.only.split(","):
            try:
                pythons[name] = python_of(SEEKERS[name], Path(folder))
            except (subprocess.CalledProcessError, FileNotFoundError) as error:
                skipped[SEEKERS[name].label] = reason(error)
        workload, cache = Path(folder) / "workload.npz", Path(folder) / "programs"
        for _, table in itertools.product(range(seeds), tables):
            seed = len(found[table])
            write_workload(workload, table, seed, seconds)
            row = {}
            for name, python in pythons.items():
                row[name] = run(python, SEEKERS[name], workload, cache)
                last = row[name]["steps"][-1]
                print(f"{table} {seed} {name}: {last}, begun {row[name]['begun']}", file=sys.stderr, flush=True)
            found[table].append(row)
            report = {"machine": machine(), "seconds": seconds, "skipped": skipped, "tables": found}
            report |= {"summary": summary(found, seconds)}
            if path:  # after each, since all take hours
                path.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
