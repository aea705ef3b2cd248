"""What a tracker costs the default command: its wall time with each, over that without, in turn.

`uv run --with mlflow --with wandb --with trackio --with tensorboardX python benchmarks/trackers.py`: all write to the
disk, offline, into what an earlier search has begun: a new database of MLflow's takes seconds, once. A tracker that is
not installed is named.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from popjax.core.machine import device

RESULTS = Path(__file__).parent / "results" / "trackers.json"
PACKAGES = {"tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb", "trackio": "trackio"}


def wall(words: list[str], home: str) -> float:
    """Seconds of one sweep in an empty directory; what trackers keep is in `home`."""
    with tempfile.TemporaryDirectory() as place:
        offline = {"WANDB_MODE": "offline", "TRACKIO_DIR": home, "HF_HUB_OFFLINE": "1"}
        environment = os.environ | offline | {"MLFLOW_TRACKING_URI": f"sqlite:///{home}/mlflow.db"}
        begin = time.perf_counter()
        command = [sys.executable, "-m", "popjax.sweep", "--quiet", *words]
        subprocess.run(command, cwd=place, env=environment, check=True, capture_output=True)
        return time.perf_counter() - begin


def main() -> None:
    """Print one JSON object, and write it beside the others unless --quick."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few trials, once")
    parser.add_argument("--turns", type=int, default=7)
    options = parser.parse_args()
    trackers = [name for name, package in PACKAGES.items() if importlib.util.find_spec(package)]
    small = ["--trials", "16", "--epochs", "2"] if options.quick else []
    seconds: dict[str, list[float]] = {name: [] for name in ("none", *trackers)}
    with tempfile.TemporaryDirectory() as home:
        wall([*small, "--track", ",".join(trackers)] if trackers else small, home)  # fills the compilation cache, too
        for _ in range(1 if options.quick else options.turns):
            for name, each in seconds.items():
                each.append(wall([*small, *([] if name == "none" else ["--track", name])], home))
                print(name, round(each[-1], 2), file=sys.stderr, flush=True)
    found = {
        "device": device(),
        "not_installed": sorted(PACKAGES.keys() - set(trackers)),
        "seconds": {name: [round(one, 2) for one in each] for name, each in seconds.items()},
        "over_none": {
            name: round(statistics.median(a / b for a, b in zip(each, seconds["none"], strict=True)), 3)
            for name, each in seconds.items()
        },
    }
    if not options.quick:
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
