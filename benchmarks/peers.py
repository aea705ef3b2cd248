# /// script
# requires-python = ">=3.12"
# dependencies = ["popjax"]
#
# [tool.uv.sources]
# popjax = { path = "..", editable = true }
# ///
"""The same search through other libraries, each in an environment and a process of its own: `uv run --script`.

All train the same trials on the same rows of digits for the same number of updates, on the CPU,
with the best settings found for each (`peers/`, a file each). Asserted: the number of updates, and
that the mean validation accuracies are within a point; the best accuracy of a few hundred trials
is a maximum of noise, so it is reported alone. Wall time is that of the process, with its imports.

A peer whose environment cannot be made here is skipped, and named with the reason.

`--work` compares what an update costs on eight other kinds of work (`works/`): the same network, rows and AdamW in
popjax, a jitted JAX loop, one plain vmap and PyTorch, in turn. An epoch of popjax's also validates a batch.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jax import __version__ as JAX

from popjax.core.machine import cores
from popjax.data.dataset import from_arrays, load
from popjax.data.splits import Splitting, split
from popjax.space.scales import log_uniform, one_minus_log_uniform
from popjax.space.space import Space

sys.path.insert(0, str(Path(__file__).parent / "works"))

import compare as works
from work import WORKS


class Peer(NamedTuple):
    """One way to search: its file in `peers/`, and the packages it needs; none: this environment has them."""

    label: str
    module: str
    packages: tuple[str, ...] = ()


PEERS = {
    "popjax": Peer("popjax, nothing compiled before", "popjax_search"),
    "popjax-again": Peer("popjax, compiled before", "popjax_search"),
    "vmap": Peer("JAX, one plain vmap", "jax_vmap"),
    "loop": Peer("JAX, a sequential jitted loop", "jax_loop"),
    "hyperoptax": Peer("Hyperoptax", "hyperoptax_grid", ("hyperoptax", f"jax=={JAX}", "numpy")),
    "torch.func": Peer("torch.func vmap", "torch_func", ("torch", "numpy")),
    "sklearn": Peer("scikit-learn RandomizedSearchCV(MLPClassifier)", "sklearn_search"),
    "optuna": Peer("Optuna + PyTorch", "optuna_torch", ("optuna", "torch", "numpy")),
    "ray": Peer("Ray Tune + PyTorch", "ray_torch", ("ray[tune]", "torch", "numpy")),
}
SPACE = Space(  # all of it trains well: how a diverging model fails is each library's own affair
    learning_rate=log_uniform(1e-3, 1e-2),
    momentum=one_minus_log_uniform(0.9, 0.98),
    hidden=100,
    depth=2,
    batch_size=32,
)
ROWS = 1760  # of digits: 80% of them are 44 whole batches, so a library that uses a rest has none
HERE = Path(__file__).parent


TORCH = Peer("PyTorch", "", ("torch", "numpy"))


def write_workload(path: Path, trials: int, epochs: int) -> int:
    """Write the rows, popjax's split of them and its points, for all peers; returns the updates."""
    digits = load("digits")
    x, y = digits.x[:ROWS].reshape(ROWS, -1), digits.y[:ROWS]
    rows = split(from_arrays(x, y), Splitting(0.1, 0.1, 0))
    points = SPACE.sample(trials, seed=0)
    np.savez(
        path,
        x=x,
        y=y,
        train=rows.train[0],
        validation=rows.validation[0],
        learning_rate=points["learning_rate"],
        momentum=points["momentum"],
        epochs=epochs,
        space=json.dumps(SPACE.to_dict()),
    )
    return trials * epochs * (rows.train.shape[1] // 32)


def command(peer: Peer) -> list[str]:
    """What runs Python in the peer's environment; raises CalledProcessError if it cannot be made."""
    if not peer.packages:
        return [sys.executable]
    packages = [argument for package in peer.packages for argument in ("--with", package)]
    make = ["uv", "run", "--quiet", "--no-project", "--python", sys._base_executable, *packages]  # type: ignore[attr-defined]
    subprocess.run([*make, "python", "-c", ""], check=True, capture_output=True, text=True)
    return [*make, "--offline", "python"]


def reason(error: subprocess.CalledProcessError | FileNotFoundError) -> str:
    """Why an environment could not be made, in one line."""
    if isinstance(error, FileNotFoundError):
        return "uv is not installed"
    lines = [line.strip() for line in error.stderr.splitlines()]
    return next((line for line in lines if line.startswith(("error", "×"))), lines[-1] if lines else "no reason given")


def run(peer: Peer, workload: Path, cache: Path) -> dict[str, Any]:
    """The figures of one peer."""
    try:
        python = command(peer)
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        return {"peer": peer.label, "skipped": reason(error)}
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    environment |= {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    environment |= {"JAX_COMPILATION_CACHE_DIR": str(cache)} if peer.module == "popjax_search" else {}
    begin = time.perf_counter()
    done = subprocess.run(
        [*python, HERE / "peers" / "run.py", peer.module, workload], env=environment, capture_output=True, text=True
    )
    wall = time.perf_counter() - begin
    if done.returncode:
        raise RuntimeError(f"{peer.label} failed:\n{done.stderr[-4000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    accuracies = np.array(found.pop("accuracies"))
    found |= {"wall_seconds": wall, "us_per_update": found["train_seconds"] / found["updates"] * 1e6}
    found |= {"trials": len(accuracies), "mean_accuracy": accuracies.mean(), "best_accuracy": accuracies.max()}
    return {"peer": peer.label} | {name: round(v, 4) if isinstance(v, float) else v for name, v in found.items()}


def check(rows: list[dict[str, Any]], updates: int) -> None:
    """Assert that the peers did the same work, and about as well."""
    for row in rows:
        assert row["updates"] == updates, f"{row['peer']}: {row['updates']} updates, not {updates}"
    means = {row["peer"]: row["mean_accuracy"] for row in rows}
    assert max(means.values()) - min(means.values()) <= 0.01, f"mean accuracies differ by more than a point: {means}"


def compare_works(names: list[str], pairs: int, path: Path | None) -> None:
    """What an update of each kind of work costs, as a table on stderr and as JSON."""
    rows = [works.compare(name, pairs, command(TORCH)) for name in names]
    print(works.table(rows), file=sys.stderr)
    text = json.dumps({"machine": machine(), "works": rows}, indent=1)
    print(text)
    if path:
        path.write_text(text + "\n")


def compare(rows: list[dict[str, Any]]) -> None:
    """Add how many times popjax's time each peer took, in training and from start to end."""
    base = next((row for row in rows if row["peer"] == PEERS["popjax"].label), None)
    for row in rows if base else []:
        row["train_ratio"] = round(row["us_per_update"] / base["us_per_update"], 2)
        row["wall_ratio"] = round(row["wall_seconds"] / base["wall_seconds"], 2)


def table(rows: list[dict[str, Any]], skipped: list[dict[str, Any]]) -> str:
    """The figures as Markdown."""
    columns = {
        "import s": ("import_seconds", ".1f"),
        "compile s": ("compile_seconds", ".1f"),
        "train s": ("train_seconds", ".1f"),
        "wall s": ("wall_seconds", ".1f"),
        "µs an update": ("us_per_update", ".1f"),
        "× popjax": ("train_ratio", ".1f"),
        "× popjax, wall": ("wall_ratio", ".1f"),
        "mean accuracy": ("mean_accuracy", ".4f"),
        "best": ("best_accuracy", ".4f"),
    }
    lines = [["", *columns, "settings"], ["---"] * (len(columns) + 2)]
    for row in rows:
        figures = [format(row[name], form) if name in row else "" for name, form in columns.values()]
        lines.append([row["peer"], *figures, row["settings"]])
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return "\n".join([text, *(f"skipped: {row['peer']}: {row['skipped']}" for row in skipped)])


def machine() -> dict[str, Any]:
    """What all this ran on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return {"cpu": next(named, platform.processor()), "cores": cores(), "python": platform.python_version()}


def main() -> None:
    """Run the peers, print one JSON object, and the table on stderr."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--quick", action="store_true", help="32 trials of 5 epochs, for a look; writes no file")
    parser.add_argument("--only", default=",".join(PEERS), help="some of the peers, by comma (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="where to write the JSON (default: results/peers.json if not quick)")
    parser.add_argument("--work", nargs="+", choices=list(WORKS), help="compare updates of these kinds of work")
    parser.add_argument("--pairs", type=int, default=7, help="runs of each side, in turn, with --work")
    options = parser.parse_args()
    if options.work:
        compare_works(options.work, options.pairs, options.json)
        return
    trials, epochs = options.trials or (32 if options.quick else 512), options.epochs or (5 if options.quick else 20)
    if unknown := set(options.only.split(",")) - set(PEERS):
        parser.error(f"unknown peers {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    found = []
    with tempfile.TemporaryDirectory() as folder:
        workload = Path(folder) / "workload.npz"
        updates = write_workload(workload, trials, epochs)
        for name in options.only.split(","):
            found.append(run(PEERS[name], workload, Path(folder) / "programs"))
            print(json.dumps(found[-1], ensure_ascii=False), file=sys.stderr, flush=True)
    rows, skipped = [row for row in found if "updates" in row], [row for row in found if "skipped" in row]
    check(rows, updates)
    compare(rows)
    print(table(rows, skipped), file=sys.stderr)
    text = json.dumps({"machine": machine(), "trials": trials, "epochs": epochs, "updates": updates, "peers": found})
    print(text)
    path = options.json or (None if options.quick else HERE / "results" / "peers.json")
    if path:
        path.write_text(json.dumps(json.loads(text), indent=1) + "\n")


if __name__ == "__main__":
    main()
