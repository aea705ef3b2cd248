"""What an update of a user's plain `nnx.Conv` network costs: as XLA runs it, vmapped, and as products of patches.

A 1-16-32 network on digits, SGD with momentum, batch 32, 16 members; microseconds over all cores,
from the difference of two searches that are already compiled.
"""

import argparse
import json
from pathlib import Path

from flax import nnx

import popjax as pj
from popjax.core.machine import device
from popjax.data.dataset import images, load

RESULTS = Path(__file__).parent / "results" / "convolution.json"
MEMBERS, BATCH = 16, 32


class Net(nnx.Module):
    """Two plain convolutions."""

    def __init__(self, hparams: pj.HParams, rngs: nnx.Rngs) -> None:
        self.first = nnx.Conv(1, 16, (3, 3), rngs=rngs)
        self.second = nnx.Conv(16, 32, (3, 3), rngs=rngs)
        self.out = nnx.Linear(32, 10, rngs=rngs)

    def __call__(self, x):
        x = nnx.max_pool(nnx.relu(self.first(x)), (2, 2), (2, 2))
        return self.out(nnx.relu(self.second(x)).mean((1, 2)))


def microseconds(lanes: int, epochs: int, rewrite: str = "fast") -> float:
    """What one update of one model costs."""
    task = pj.supervised(images(load("digits")), model=Net, rewrite=rewrite)
    space = pj.Space(learning_rate=pj.log_uniform(1e-3, 1e-1), batch_size=BATCH)
    runs = [
        pj.search(task, space, trials=MEMBERS, epochs=count, backend=pj.Local(lanes=lanes)).summary
        for count in (1, 1, 1 + epochs)
    ]
    seconds = runs[2]["train_seconds"] - runs[1]["train_seconds"]
    return round(seconds / (runs[2]["model_steps"] - runs[1]["model_steps"]) * 1e6)


def main() -> None:
    """Print one JSON object, and write it beside the others unless --quick."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one epoch")
    options = parser.parse_args()
    epochs = 1 if options.quick else 3
    found = {"device": device(), "patches": microseconds(1, epochs)}
    found |= {"xla": microseconds(1, epochs, "none"), "xla_16_lanes": microseconds(16, epochs, "none")}
    if not options.quick:
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
