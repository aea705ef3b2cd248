"""Runs one peer's search on a workload and prints its outcome as one JSON line: `run.py PEER WORKLOAD`."""

import importlib
import json
import sys
import time
from importlib.metadata import PackageNotFoundError, version

from workload import load

PACKAGES = ("jax", "torch", "scikit-learn", "optuna", "ray", "hyperoptax", "numpy")


def versions() -> dict[str, str]:
    """The versions of what the peer has imported."""
    found = {}
    for package in PACKAGES:
        if package.replace("scikit-learn", "sklearn") in sys.modules:
            try:
                found[package] = version(package)
            except PackageNotFoundError:
                continue
    return found


begin = time.perf_counter()
peer = importlib.import_module(sys.argv[1])
imported = time.perf_counter() - begin
if __name__ == "__main__":  # a peer's worker processes may import this file again
    outcome = peer.search(load(sys.argv[2]))
    accuracies = [float(accuracy) for accuracy in outcome.accuracies]
    line = outcome._asdict() | {"accuracies": accuracies, "import_seconds": imported, "versions": versions()}
    print(json.dumps(line), flush=True)
