"""Random, Sobol or grid at the same budget: the best validation score on digits.

A grid of 256 points over five hyperparameters tries three or four values of each; random
tries 256 of each (Bergstra and Bengio 2012). Every repeat has a split, points and initial
weights of its own; a random or Sobol search of 16 trials is the first 16 of 256. Prints one
JSON object; `--figure FILE.svg` draws it (needs matplotlib: `uv run --with matplotlib ...`).
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t

import popjax as pj
from popjax.core.machine import device
from popjax.data.dataset import built_in
from popjax.pages.expected import expected_best

SEARCHED = {
    "learning_rate": pj.log_uniform(1e-4, 1),
    "momentum": pj.one_minus_log_uniform(0.9, 0.999),
    "hidden": pj.integers(50, 100),
    "decay": pj.uniform(0, 0.2),
    "depth": pj.integers(2, 4),
}
FIXED = {"hidden": 100, "depth": 2, "batch_size": 64}
DIMENSIONS = (2, 3, 5)
SAMPLERS = ("random", "sobol", "grid")


def space_of(dimensions: int) -> pj.Space:
    """The first hyperparameters searched, the others fixed."""
    return pj.Space(**(FIXED | dict(list(SEARCHED.items())[:dimensions])))


def scores(space: pj.Space, budgets: list[int], repeat: int, epochs: int) -> dict[tuple[str, int], np.ndarray]:
    """(sampler, budget) -> the validation accuracy of every trial; a diverged one has none (0)."""
    task = pj.supervised(built_in("digits"), seed=repeat)
    found = {}
    for sampler in SAMPLERS:
        for budget in budgets if sampler == "grid" else budgets[-1:]:
            results = pj.search(task, space, trials=budget, epochs=epochs, seed=repeat, sampler=sampler)
            values = np.where(results.diverged, 0, results.values["val_accuracy"])
            found |= {(sampler, size): values[:size] for size in ([budget] if sampler == "grid" else budgets)}
    return found


def interval(values: np.ndarray) -> list[float]:
    """The mean over repeats (repeats, ...) and the half width of its 95% interval."""
    half = t.ppf(0.975, len(values) - 1) * values.std(0, ddof=1) / np.sqrt(len(values))
    return [np.round(values.mean(0), 5).tolist(), np.round(half, 5).tolist()]


def measure(dimensions: int, budgets: list[int], repeats: int, epochs: int) -> dict[str, Any]:
    """Best scores, distinct values and efficiency curves over so many hyperparameters."""
    space = space_of(dimensions)
    runs = []
    for repeat in range(repeats):
        runs.append(scores(space, budgets, repeat, epochs))
        print(f"{dimensions} hyperparameters: {repeat + 1} of {repeats}", file=sys.stderr, flush=True)
    report: dict[str, Any] = {}
    for sampler in SAMPLERS:
        for budget in budgets:
            points = space.sample(budget, 0, sampler)
            best = {name: np.array([float(run[name, budget].max()) for run in runs]) for name in (sampler, "grid")}
            report[f"{sampler} {budget}"] = {
                "best": interval(best[sampler]),
                "ahead of grid": interval(best[sampler] - best["grid"]),
                "trials": len(points["learning_rate"]),
                "distinct": {name: len(set(points[name].tolist())) for name in space.searched},
            }
        ks = 2 ** np.arange(int(np.log2(len(runs[0][sampler, budgets[-1]]))) + 1)
        curves = np.array([expected_best(run[sampler, budgets[-1]], "max", ks) for run in runs])
        report[f"{sampler} efficiency"] = {"k": ks.tolist(), "best": interval(curves)}
    return report


def draw(report: dict[str, Any], budgets: list[int], file: Path) -> None:
    """The efficiency curves, one panel for each number of hyperparameters."""
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(report["hyperparameters"]), figsize=(10, 3.4), sharey=True)
    for panel, (dimensions, entry) in zip(np.atleast_1d(panels), report["hyperparameters"].items(), strict=True):
        for sampler, colour in zip(SAMPLERS, ("#0072B2", "#009E73", "#D55E00"), strict=True):
            curve = entry[f"{sampler} efficiency"]
            mean, half = map(np.array, curve["best"])
            panel.plot(curve["k"], mean, color=colour, label=sampler)
            panel.fill_between(curve["k"], mean - half, mean + half, color=colour, alpha=0.15, linewidth=0)
        panel.set(xscale="log", title=f"{dimensions} hyperparameters", xlabel="k trials")
        panel.set_ylim(0.9, 1.0)
        panel.grid(alpha=0.3)
    np.atleast_1d(panels)[0].set_ylabel("expected best validation accuracy of k")
    np.atleast_1d(panels)[0].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(file)


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budgets", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--quick", action="store_true", help="two repeats of 8 and 16 trials, 2 epochs")
    options = parser.parse_args()
    budgets, repeats, epochs = sorted(options.budgets), options.repeats, options.epochs
    if options.quick:
        budgets, repeats, epochs = [8, 16], 2, 2
    entries = {str(dimensions): measure(dimensions, budgets, repeats, epochs) for dimensions in DIMENSIONS}
    report = {"device": device(), "repeats": repeats, "epochs": epochs, "hyperparameters": entries}
    if options.figure:
        draw(report, budgets, options.figure)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
