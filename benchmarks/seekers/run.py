"""Runs one seeker on a workload and prints what it found as one JSON line: `run.py SEEKER WORKLOAD [METHOD]`."""

import importlib
import json
import os
import sys
import time
from pathlib import Path

from workload import Told, load

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "peers"))  # behind this folder, for what both have
os.environ["PYTHONPATH"] = os.pathsep.join(map(str, (HERE, HERE.parent / "peers")))  # of Ray's workers, too
seeker = importlib.import_module(sys.argv[1])
if __name__ == "__main__":  # a seeker's worker processes may import this file again
    told = Told()
    seeker.search(load(sys.argv[2]), told, *sys.argv[3:])
    print(json.dumps({"begun": told.begun, "losses": told.losses, "over": time.time()} | told.found), flush=True)
