"""Runs one seeker on a workload and prints what it found as one JSON line: `run.py SEEKER WORKLOAD [METHOD]`."""

import importlib
import json
import sys
import time
from pathlib import Path

from workload import Told, load

sys.path.append(str(Path(__file__).parent.parent / "peers"))  # behind this folder, for what both have
seeker = importlib.import_module(sys.argv[1])
if __name__ == "__main__":  # a seeker's worker processes may import this file again
    told = Told()
    seeker.search(load(sys.argv[2]), told, *sys.argv[3:])
    print(json.dumps({"begun": told.begun, "losses": told.losses, "over": time.time()} | told.found), flush=True)
