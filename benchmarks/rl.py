# /// script
# requires-python = ">=3.12"
# dependencies = ["popjax[optuna]", "gymnax", "six"]
#
# [tool.uv.sources]
# popjax = { path = "..", editable = true }
# ///
"""64 settings of PPO on gymnax: how soon is one found that is as good as the best of one plain vmap over all of them?

The same agent, ranges and budget for all (`rl/ppo.py`); what differs is how they search (`rl/sides.py`): popjax in
full, by halving and by PBT, a vmap over settings as PureJaxRL writes it, a loop of jitted runs, Optuna around such. The
time counts from the start of the process, imports and compiling included, to the first time that the mean return of 32
fresh episodes is what the vmap's best has at the end, in the mean over the seeds. Prints medians over the seeds, and
writes results/rl.json.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from popjax.core.machine import device

HERE = Path(__file__).parent
SIDES = ("vmap", "full", "halving", "pbt", "loop", "optuna")


class Work(NamedTuple):
    """An environment, the steps after which an episode that measures ends, and the epochs of 10,240 steps."""

    environment: str
    longest: int
    epochs: int


WORKS = {"CartPole-v1": Work("CartPole-v1", 500, 16), "Breakout-MinAtar": Work("Breakout-MinAtar", 300, 16)}


def run(side: str, work: Work, settings: int, seed: int) -> dict[str, Any]:
    """What a side found, [seconds, mean return], in a process of its own with an empty cache of programs."""
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_COMPILATION_CACHE_DIR": cache}
        numbers = map(str, (work.longest, work.epochs, settings, seed, time.time()))
        command = [sys.executable, HERE / "rl" / "sides.py", side, work.environment, *numbers]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def summed_up(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The goal, and of each side the seconds to it and in all, and the best mean return: a number a seed."""
    goal = float(np.mean([one["found"][-1][1] for one in runs["vmap"]]))
    sides = {}
    for side, ones in runs.items():
        reached = [next((seconds for seconds, value in one["found"] if value >= goal), None) for one in ones]
        best = [max(value for _, value in one["found"]) for one in ones]
        sides[side] = {"reached": reached, "wall": [one["wall"] for one in ones], "best": best}
    return {"goal": goal, "sides": sides}


def told(name: str, result: dict[str, Any]) -> None:
    """Print what the sides of one environment reached: medians over the seeds."""
    whole = float(np.median(result["sides"]["vmap"]["wall"]))
    print(f"{name}: the vmap's best ends at {result['goal']:.1f} in the mean, after {whole:.0f} s")
    for side, one in result["sides"].items():
        at = float(np.median([np.inf if seconds is None else seconds for seconds in one["reached"]]))
        said = f"{at:.0f} s, {at / whole:.2f} of the vmap's" if np.isfinite(at) else "not reached"
        best = ", ".join(f"{value:.1f}" for value in one["best"])
        print(f"  {side}: {said}; in all {np.median(one['wall']):.0f} s, best {best}", flush=True)


def main() -> None:
    """Run all sides in turn, seed by seed, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--settings", type=int, default=64)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--works", nargs="+", choices=WORKS, default=[*WORKS])
    parser.add_argument("--sides", nargs="+", choices=SIDES[1:], default=SIDES[1:])
    parser.add_argument("--quick", action="store_true", help="8 settings, 4 epochs, one seed")
    arguments = parser.parse_args()
    settings, seeds = (8, [0]) if arguments.quick else (arguments.settings, arguments.seeds)
    results: dict[str, Any] = {"device": device(), "settings": settings, "seeds": seeds}
    for name in arguments.works:
        work = WORKS[name]._replace(epochs=4) if arguments.quick else WORKS[name]
        runs: dict[str, list[dict[str, Any]]] = {side: [] for side in ("vmap", *arguments.sides)}
        for seed in seeds:
            for side, ones in runs.items():
                ones.append(run(side, work, settings, seed))
        results[name] = summed_up(runs)
        told(name, results[name])
    if not arguments.quick:
        (HERE / "results" / "rl.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
