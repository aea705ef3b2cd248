"""The default search of the built-in CNN on 4,000 images of 28 x 28, drawn here: in full, and by halving.

Wall seconds of whole processes with an empty cache of programs, imports and compiling included. With `--against DIR`
the full search of the popjax of another checkout runs on one core, and on another those of this one, in turn, so that
all see the machine at the same speed (in this environment; on Linux). Prints one JSON object.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from popjax.core.machine import device

HERE = Path(__file__).parent.parent
SEARCH = """
import os
import sys
core, trials, epochs, *scheduler = sys.argv[1:]
if core != "all":
    os.sched_setaffinity(0, {int(core)})
import numpy as np
import popjax as pj
assert pj.__file__.startswith(os.getcwd()), f"popjax of {pj.__file__}"
rng = np.random.default_rng(0)
y = rng.integers(0, 10, 4000)
shapes = rng.normal(size=(10, 28, 28, 1))
x = np.stack([np.roll(shapes[one], rng.integers(-4, 5, 2), (0, 1)) for one in y])
x = x + 2 * rng.normal(size=x.shape)
task = pj.supervised((x, y), model="cnn")
pj.search(task, trials=int(trials), epochs=int(epochs), scheduler=scheduler[0] if scheduler else None)
"""


def seconds(checkout: Path, *arguments: str, core: str = "all") -> float:
    """Wall seconds of a search with the popjax of a checkout, on one core or on all."""
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": cache}
        begun = time.perf_counter()
        command = [sys.executable, "-c", SEARCH, core, *arguments]
        done = subprocess.run(command, env=environment, cwd=checkout, capture_output=True, text=True)
        wall = time.perf_counter() - begun
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return round(wall, 1)


def beside(other: Path, *size: str) -> dict[str, object]:
    """The full search of another checkout on one core, those of this one in turn on another, until that ends."""
    with ThreadPoolExecutor(1) as pool:
        theirs = pool.submit(seconds, other, *size, core="0")
        ours: dict[str, list[float]] = {"halving": [], "full": []}
        while not theirs.done() or not ours["full"]:
            name = min(ours, key=lambda one: sum(ours[one]))
            ours[name].append(seconds(HERE, *size, *([name] if name == "halving" else []), core="1"))
    times = {name: round(theirs.result() / statistics.mean(walls), 2) for name, walls in ours.items()}
    return {"the other checkout": theirs.result(), "here": ours, "times faster": times}


def main() -> None:
    """Run, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--trials", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--quick", action="store_true", help="4 trials, 4 epochs")
    arguments = parser.parse_args()
    if arguments.against is not None and not (arguments.against / "popjax").is_dir():
        parser.error(f"--against {arguments.against}: there is no checkout of popjax")
    size = ("4", "4") if arguments.quick else (str(arguments.trials), str(arguments.epochs))
    found: dict[str, object] = {"device": device(), "trials, epochs": size}
    if arguments.against is None:
        found |= {"full": seconds(HERE, *size), "halving": seconds(HERE, *size, "halving")}
    else:
        found |= beside(arguments.against, *size)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
