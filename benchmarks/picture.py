"""The picture of README.md: the default search of 512 trials on digits, as results/search.png.

Left the learning curve of each trial, right its learning rate and momentum on the scales from which they are drawn.
Needs matplotlib: `uv run --with matplotlib python benchmarks/picture.py`. Prints one JSON object.
"""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

import popjax as pj
from popjax.core.machine import device

OUT = Path(__file__).parent / "results" / "search.png"
TRIALS, EPOCHS, LEAST = 512, 20, 0.009
WINNER, MIDDLE = "#D55E00", "#0072B2"
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)


def draw_curves(axes: Any, wrong: np.ndarray, best: int) -> None:
    """The share of wrong validation rows (trials, epochs) of each trial, epoch by epoch."""
    epochs = np.arange(1, EPOCHS + 1)
    axes.plot(epochs, np.maximum(wrong, LEAST).T, color=MIDDLE, linewidth=0.7, alpha=0.13)
    axes.plot(epochs, wrong[best], color=WINNER, linewidth=3)
    axes.set(title=f"{len(wrong)} models train at once", xlabel="epoch", ylabel="validation error")
    axes.set(xlim=(1, EPOCHS), yscale="log", ylim=(LEAST, 1), xticks=(1, 5, 10, 15, 20))
    axes.set_yticks(SHARES, [f"{share:.0%}" for share in SHARES])
    axes.minorticks_off()


def draw_points(axes: Any, rate: np.ndarray, momentum: np.ndarray, wrong: np.ndarray, best: int) -> None:
    """The hyperparameters of each trial; a large dark point makes few errors."""
    good = np.clip(np.log(np.nan_to_num(wrong, nan=1) / SHARES[-2]) / np.log(SHARES[1] / SHARES[-2]), 0, 1)
    axes.scatter(rate, 1 - momentum, s=8 + 40 * good, color=MIDDLE, alpha=0.1 + 0.7 * good**2, linewidths=0)
    axes.scatter(rate[best], 1 - momentum[best], s=130, color=WINNER)
    axes.set(title="on the scales where a step matters", xlabel="learning rate", ylabel="1 - momentum")
    axes.set(xscale="log", yscale="log")


def main() -> None:
    """Search, draw and print."""
    import matplotlib.pyplot as plt

    begun = time.perf_counter()
    results = pj.search(pj.supervised("digits"), trials=TRIALS, epochs=EPOCHS)
    seconds = time.perf_counter() - begun
    wrong, best = 1 - np.asarray(results.curves["val_accuracy"]), results.best.trial
    plt.rcParams |= {"axes.spines.top": False, "axes.spines.right": False, "font.size": 11}
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.9), layout="constrained", width_ratios=(1, 1))
    draw_curves(left, wrong, best)
    draw_points(right, results.points["learning_rate"], results.points["momentum"], wrong[:, -1], best)
    figure.savefig(OUT, dpi=100)
    print(json.dumps({"trials": TRIALS, "epochs": EPOCHS, "seconds": round(seconds, 1), "device": device()}))


if __name__ == "__main__":
    main()
