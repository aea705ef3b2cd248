"""Which range of the learning rate does a search of 8 or 32 trials find most in, by optimizer and model?

Each optimizer trains trials over the default space with a learning rate from 1e-5 to 10, on several datasets: four
tables, two more from scikit-learn, one drawn at random; and, for the CNN, digits in three sizes, coloured shapes drawn
at random, and Fashion-MNIST (Xiao et al. 2017) where Debian's package dataset-fashion-mnist is installed. The loss on
the validation rows that the best of k trials has on average is computed from the trials whose rate lies within a range,
for every range whose ends are on half decades; no loss counts for more than that of trials that hardly learn (rates
below 1e-4), so that one which exploded does not decide. Prints one JSON object: of each optimizer the ranges, best
first, with the geometric mean over the datasets of that loss, as a share of the best range's.
"""

import argparse
import gzip
import itertools
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

import popjax as pj
from popjax.core.machine import device
from popjax.data.built_in import BUILT_IN
from popjax.data.dataset import built_in
from popjax.supervision.optimizers import OPTIMIZERS

WIDE = (1e-5, 10.0)
LOWS = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3)
HIGHS = (1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0, 10.0)
SIZES = (8, 32)
FASHION = Path("/usr/share/datasets/fashion-mnist")
ROWS = 800  # of a table of images
SLOW = 1e-4  # a rate below which a model hardly learns


def tables() -> Iterable[tuple[str, Any]]:
    """Name and rows of each table."""
    from sklearn.datasets import load_iris, make_friedman1, make_moons

    yield from ((name, built_in(name)) for name in BUILT_IN)
    yield "iris", load_iris(return_X_y=True)
    yield "moons", make_moons(1000, noise=0.3, random_state=0)
    x, y = make_friedman1(1000, noise=1.0, random_state=0)
    yield "friedman", (x, y)


def images() -> Iterable[tuple[str, Any]]:
    """Digits as they are, enlarged, and enlarged, moved and blurred by noise on a larger canvas."""
    digits = built_in("digits")
    small, labels = np.asarray(digits.x).reshape(-1, 8, 8, 1), np.asarray(digits.y)
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(small))[:ROWS]
    double = small[rows].repeat(2, 1).repeat(2, 2)
    moved = np.zeros((len(rows), 24, 24, 1), np.float32)
    for image, one, (top, left) in zip(moved, double, rng.integers(0, 9, (len(rows), 2)), strict=True):
        image[top : top + 16, left : left + 16] = one
    yield "digits 8 x 8", (small[rows], labels[rows])
    yield "digits 16 x 16", (double, labels[rows])
    yield "digits 24 x 24, moved", (moved + rng.normal(0, 2, moved.shape).astype(np.float32), labels[rows])
    yield "shapes 20 x 20, in colour", shapes(rng)
    if FASHION.exists():
        yield "Fashion-MNIST 28 x 28", fashion(rng)
    else:
        print(f"no Fashion-MNIST: {FASHION} is not there (apt install dataset-fashion-mnist)", file=sys.stderr)


def shapes(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Discs, squares, rings, frames, crosses and diamonds of any size, place and colour, under noise."""
    kinds, size = 6, 20
    labels = rng.integers(0, kinds, ROWS)
    centre, radius = rng.uniform(7, 13, (2, ROWS, 1, 1)), rng.uniform(4, 6, (ROWS, 1, 1))
    down, right = np.abs(np.arange(size)[:, None] - centre[0]), np.abs(np.arange(size) - centre[1])
    round_, square, sum_ = np.hypot(down, right), np.maximum(down, right), down + right
    hollow = radius - 2
    drawn = [
        round_ < radius,
        square < radius,
        (round_ < radius) & (round_ > hollow),
        (square < radius) & (square > hollow),
        (np.minimum(down, right) < 1.5) & (square < radius),
        sum_ < radius,
    ]
    inside = np.choose(labels[:, None, None], drawn)[..., None]
    ink, paper = rng.uniform(0, 1, (2, ROWS, 1, 1, 3))
    images = np.where(inside, ink, paper) + rng.normal(0, 0.1, (ROWS, size, size, 3))
    return images.astype(np.float32), labels


def fashion(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Some of Fashion-MNIST's training rows."""
    read = lambda name, header: np.frombuffer(gzip.decompress((FASHION / name).read_bytes()), np.uint8)[header:]
    labels = read("train-labels-idx1-ubyte.gz", 8)
    rows = rng.permutation(len(labels))[:ROWS]
    images = read("train-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28, 1)
    return images[rows].astype(np.float32), labels[rows].astype(int)


def expected(losses: np.ndarray, size: int) -> float:
    """The mean of the least of `size` values drawn with replacement."""
    values = np.sort(losses)
    left = 1 - np.arange(len(values) + 1) / len(values)
    return float((values * (left[:-1] ** size - left[1:] ** size)).sum())


def searched(data: Any, optimizer: str, model: str, trials: int, epochs: int) -> tuple[np.ndarray, np.ndarray]:
    """Learning rates and validation losses (trials,) of a wide search."""
    task = pj.supervised(data, optimizer=optimizer, model=model)
    space = pj.default_space(optimizer=optimizer, rows=task.data.folds.train.shape[1], model=model)
    results = pj.search(task, space.replace(learning_rate=pj.log_uniform(*WIDE)), trials=trials, epochs=epochs)
    name = "val_loss" if "val_loss" in results.members else results.metric
    rates, losses = results.points["learning_rate"], np.where(results.diverged, np.inf, results.values[name])
    return rates, np.minimum(losses, np.median(losses[rates < SLOW]))


def measure(optimizer: str, model: str, trials: int, epochs: int) -> dict[str, Any]:
    """The ranges of one optimizer and model."""
    ranges = [(low, high) for low, high in itertools.product(LOWS, HIGHS) if high / low > 9]
    table = []  # (datasets, ranges, sizes)
    for name, data in images() if model == "cnn" else tables():
        rates, losses = searched(data, optimizer, model, trials, epochs)
        within = [losses[(rates >= low) & (rates <= high)] for low, high in ranges]
        table.append([[expected(part, size) for size in SIZES] for part in within])
        print(f"{model}, {optimizer}: {name}", file=sys.stderr, flush=True)
    logs = np.log(np.array(table)).mean(0)
    shares = np.exp(logs - logs.min(0))
    order = np.argsort(shares.prod(1))
    return {f"{ranges[at][0]:g}..{ranges[at][1]:g}": [round(float(s), 3) for s in shares[at]] for at in order.tolist()}


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["mlp", "cnn"])
    parser.add_argument("--optimizers", nargs="+", default=list(OPTIMIZERS))
    parser.add_argument("--trials", type=int, default=512)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="48 trials, 2 epochs, sgd and adam, the MLP")
    options = parser.parse_args()
    trials, epochs = (48, 2) if options.quick else (options.trials, options.epochs)
    models, optimizers = (["mlp"], ["sgd", "adam"]) if options.quick else (options.models, options.optimizers)
    found = {model: {one: measure(one, model, trials, epochs) for one in optimizers} for model in models}
    print(json.dumps({"trials": trials, "epochs": epochs, "sizes": SIZES, "device": device()} | found))


if __name__ == "__main__":
    main()
