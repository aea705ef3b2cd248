"""The default search of the built-in CNN on 4,000 images of 28 x 28, drawn here: in full, and by halving.

Wall seconds of whole processes with an empty cache of programs, imports and compiling included. `--against DIR` runs
the full search with the popjax of another checkout, too, in turn (in this environment). Prints one JSON object.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from popjax.core.machine import device

HERE = Path(__file__).parent.parent
SEARCH = """
import sys
import numpy as np
import popjax as pj
rng = np.random.default_rng(0)
y = rng.integers(0, 10, 4000)
shapes = rng.normal(size=(10, 28, 28, 1))
x = np.stack([np.roll(shapes[one], rng.integers(-4, 5, 2), (0, 1)) for one in y])
x = x + 2 * rng.normal(size=x.shape)
trials, epochs, scheduler = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] if sys.argv[3:] else None
results = pj.search(pj.supervised((x, y), model="cnn"), trials=trials, epochs=epochs, scheduler=scheduler)
print(results.best.value)
"""


def seconds(checkout: Path, *arguments: str) -> tuple[float, float]:
    """Wall seconds of a search with the popjax of a checkout, and the best validation accuracy."""
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"PYTHONPATH": str(checkout), "JAX_COMPILATION_CACHE_DIR": cache}
        begun = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", SEARCH, *arguments], env=environment, capture_output=True, text=True
        )
        wall = time.perf_counter() - begun
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return round(wall, 1), float(done.stdout)


def main() -> None:
    """Run in turn, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--trials", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--quick", action="store_true", help="4 trials, 4 epochs")
    arguments = parser.parse_args()
    size = ("4", "4") if arguments.quick else (str(arguments.trials), str(arguments.epochs))
    found = {"device": device(), "trials, epochs": size, "full": seconds(HERE, *size)}
    found["halving"] = seconds(HERE, *size, "halving")
    if arguments.against is not None:
        found["full, of the other checkout"] = seconds(arguments.against, *size)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
