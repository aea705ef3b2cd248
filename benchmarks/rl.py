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
fresh episodes is what the vmap's best has at the end. Prints a table, and writes results/rl.json.
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

from popjax.core.machine import device

HERE = Path(__file__).parent
SIDES = ("vmap", "full", "halving", "pbt", "loop", "optuna")


class Work(NamedTuple):
    """An environment, the steps after which an episode that measures ends, and the epochs of 10,240 steps."""

    environment: str
    longest: int
    epochs: int


WORKS = {"CartPole-v1": Work("CartPole-v1", 500, 16), "Breakout-MinAtar": Work("Breakout-MinAtar", 300, 16)}


def run(side: str, work: Work, settings: int) -> dict[str, Any]:
    """What a side found, [seconds, mean return], in a process of its own with an empty cache of programs."""
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_COMPILATION_CACHE_DIR": cache}
        numbers = map(str, (work.longest, work.epochs, settings, time.time()))
        command = [sys.executable, HERE / "rl" / "sides.py", side, work.environment, *numbers]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Run all sides in turn, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--settings", type=int, default=64)
    parser.add_argument("--works", nargs="+", choices=WORKS, default=[*WORKS])
    parser.add_argument("--sides", nargs="+", choices=SIDES[1:], default=SIDES[1:])
    parser.add_argument("--quick", action="store_true", help="8 settings, 4 epochs")
    arguments = parser.parse_args()
    results: dict[str, Any] = {"device": device(), "settings": 8 if arguments.quick else arguments.settings}
    for name in arguments.works:
        work = WORKS[name]._replace(epochs=4) if arguments.quick else WORKS[name]
        found = {side: run(side, work, results["settings"]) for side in ("vmap", *arguments.sides)}
        goal = found["vmap"]["found"][-1][1]
        print(
            f"{name}: the vmap's best of {results['settings']} ends at {goal:.1f}, after {found['vmap']['wall']:.0f} s"
        )
        for side, one in found.items():
            at = next((seconds for seconds, value in one["found"] if value >= goal), None)
            best = max(value for _, value in one["found"])
            said = "not reached" if at is None else f"{at:.0f} s, {at / found['vmap']['wall']:.2f} of the vmap's"
            print(f"  {side}: {said}; in all {one['wall']:.0f} s, best {best:.1f}", flush=True)
            results.setdefault(name, {})[side] = {"reached": at, "wall": one["wall"], "best": best}
    if not arguments.quick:
        (HERE / "results" / "rl.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
