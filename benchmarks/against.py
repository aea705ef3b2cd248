"""What a change costs: two checkouts run the same work in turn, and the seconds are compared, of processors and wall.

`python benchmarks/against.py OLD NEW [--pairs 7]`: each checkout with its own environment (`.venv`), programs
cached. Prints for each workload the ratio new over old, its mean and 95% interval by Student's t over the pairs.
Two commands are compared by `--commands`, also in one checkout: `python benchmarks/against.py . . --commands
"-m popjax.sweep --quiet --out {out}" "-m popjax.sweep --quiet --out {out} --at best"`.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

OBJECTIVE = """
import jax
import popjax as pj
def rosenbrock(key, hparams):
    x = hparams["x"] + 0.01 * jax.random.normal(key)
    return {"loss": (1 - x) ** 2 + 100 * (hparams["y"] - x**2) ** 2}
pj.search(pj.objective(rosenbrock), pj.Space(x=pj.uniform(-2, 2), y=pj.uniform(-1, 3)), trials=100_000)
"""
MANY = """
import popjax as pj
from sklearn.datasets import load_wine
task = pj.supervised(load_wine(return_X_y=True))
space = pj.Space(learning_rate=pj.log_uniform(1e-4, 1e-1), hidden=8, depth=1, batch_size=128)
pj.search(task, space, trials=20_000, epochs=2)
"""
HAND = """
import popjax as pj
from sklearn.datasets import load_digits
task = pj.supervised(load_digits(return_X_y=True))
space = pj.Space(learning_rate=pj.log_uniform(1e-3, 1e-1), hidden=100, depth=2, batch_size=32)
pj.search(task, space, trials=64, epochs=20)
"""
FIT = """
import numpy as np
import popjax as pj
rng = np.random.default_rng(0)
x = rng.normal(size=(1200, 8))
pj.PopulationRegressor().fit(x, x[:, 0] * x[:, 1] + np.sin(3 * x[:, 2]) + rng.normal(size=1200) / 10)
"""
SWEEP = ["-m", "popjax.sweep", "--quiet", "--out", "{out}"]
WORK = {
    "default command": SWEEP,
    "halving": [*SWEEP, "--scheduler", "halving"],
    "PBT": [*SWEEP, "--scheduler", "pbt", "--trials", "128"],
    "best epoch with patience": [*SWEEP, "--at", "best", "--patience", "5"],
    "a tabular fit": ["-c", FIT],
    "64 x 64-100-100-10": ["-c", HAND],
    "objective, 100,000 trials": ["-c", OBJECTIVE],
    "20,000 trials x 2 epochs": ["-c", MANY],
}


def seconds(checkout: Path, arguments: list[str], cache: str) -> tuple[float, float]:
    """User and system seconds, and those of the wall, of one run."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"JAX_COMPILATION_CACHE_DIR": cache, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    with tempfile.TemporaryDirectory() as place:
        filled = [argument.replace("{out}", f"{place}/run") for argument in arguments]
        command = [str(checkout / ".venv" / "bin" / "python"), *filled]
        begun = time.perf_counter()
        process = subprocess.Popen(command, cwd=checkout, env=environment, stdout=subprocess.DEVNULL, stderr=-3)
        _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{checkout}: {' '.join(command)[:80]} failed")
    return used.ru_utime + used.ru_stime, time.perf_counter() - begun


def compare(old: Path, new: Path, before: list[str], after: list[str], pairs: int) -> dict[str, float]:
    """The ratio of Python's arguments `after` in one checkout over `before` in the other, in pairs, in turn."""
    from scipy.stats import t

    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        both = ((old, before, first), (new, after, second))
        for one in both:
            seconds(*one)
        took = np.array([[seconds(*one) for one in both] for _ in range(pairs)])  # (pairs, checkouts, CPU and wall)
    found: dict[str, float] = {}
    for prefix, of_kind in (("", took[..., 0]), ("wall_", took[..., 1])):
        ratios = of_kind[:, 1] / of_kind[:, 0]
        half = t.ppf(0.975, pairs - 1) * ratios.std(ddof=1) / np.sqrt(pairs)
        known = {"old": np.median(of_kind[:, 0]), "new": np.median(of_kind[:, 1]), "ratio": ratios.mean()}
        known |= {"half": half, "upper": known["ratio"] + half}
        found |= {prefix + name: round(float(value), 3) for name, value in known.items()}
    return found


def main() -> None:
    """Print a JSON object a workload."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--only", choices=list(WORK))
    parser.add_argument("--commands", nargs=2, metavar=("BEFORE", "AFTER"), help="arguments of Python, in place of all")
    options = parser.parse_args()
    work = {name: (arguments, arguments) for name, arguments in WORK.items() if options.only in (None, name)}
    if options.commands:
        before, after = map(shlex.split, options.commands)
        work = {options.commands[1]: (before, after)}
    for name, (before, after) in work.items():
        found = compare(options.old.resolve(), options.new.resolve(), before, after, options.pairs)
        print(json.dumps({"work": name, **found}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
