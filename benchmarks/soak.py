"""Sweeps killed at random and resumed, for minutes: how much is lost, and does the end differ?

Every sweep is killed (SIGKILL) up to four times at random instants and resumed; then its tables and its winner
must be the bytes of the same sweep left alone. Counts sweeps, kills, sweeps that failed, and
sweeps that ended differently.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FILES = ("trials.parquet", "curves.parquet", "best/arrays.safetensors", "best/best.json")
SIZE = ["--trials", "96", "--epochs", "60", "--dataset", "wine"]


def sweep(out: Path, seed: int, patience: float | None = None) -> int | None:
    """Run or resume a sweep; its exit code, or None if it was killed after so many seconds."""
    command = [
        sys.executable,
        "-m",
        "popjax.sweep",
        *SIZE,
        "--seed",
        str(seed),
        "--out",
        str(out),
        "--resume",
        "--quiet",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            return None
        return process.returncode


def content(path: Path) -> bytes | None:
    """The bytes of a file; None if a sweep that failed did not write it."""
    return path.read_bytes() if path.exists() else None


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="half a minute")
    options = parser.parse_args()
    end = time.monotonic() + 60 * (0.5 if options.quick else options.minutes)
    rng = random.Random(options.seed)
    counts = {"sweeps": 0, "kills": 0, "different": 0, "failed": 0}
    while time.monotonic() < end:
        with tempfile.TemporaryDirectory() as place:
            alone, killed = Path(place) / "alone", Path(place) / "killed"
            begin = time.monotonic()
            counts["failed"] += sweep(alone, counts["sweeps"]) != 0
            whole = time.monotonic() - begin
            for _ in range(rng.randrange(1, 5)):
                code = sweep(killed, counts["sweeps"], rng.uniform(0.3, 1.0) * whole)
                counts["kills"] += code is None
            counts["failed"] += sweep(killed, counts["sweeps"]) != 0
            counts["different"] += any(content(alone / name) != content(killed / name) for name in FILES)
            counts["sweeps"] += 1
            print(json.dumps(counts), file=sys.stderr, flush=True)
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
