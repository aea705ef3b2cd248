"""Samplers that learn, on functions whose optimum lies elsewhere each time: how far they get, and what a point costs.

Rosenbrock, Ackley and Styblinski-Tang in 5 dimensions, shifted at random; the least value of 256 trials of each
sampler, of tpe and cmaes in the rounds that they have by themselves, and of 1,024 random ones. Then the milliseconds of
one point, asked for in rounds of 16 after so many trials of 10 hyperparameters, beside Optuna's own TPE. Prints one
JSON object.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import optuna
from peers import machine

import popjax as pj
from popjax.scheduler import Trials
from popjax.tuning.proposals import proposals

DIMENSIONS, AXES, BATCH = 5, 10, 16
SEARCHES = {
    "random, 256": ("random", 256),
    "random, 1024": ("random", 1024),
    "sobol, 256": ("sobol", 256),
    "cmaes, 256": ("cmaes", 256),
    "tpe, 256": ("tpe", 256),
}


def rosenbrock(x: Any) -> Any:
    """0 at (1, ..., 1)."""
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def ackley(x: Any) -> Any:
    """0 at the origin, with many local optima."""
    return 20 + np.e - 20 * jnp.exp(-0.2 * jnp.sqrt((x**2).mean())) - jnp.exp(jnp.cos(2 * np.pi * x).mean())


def styblinski_tang(x: Any) -> Any:
    """0 where all are -2.9035, with 2^5 local optima."""
    return (x**4 - 16 * x**2 + 5 * x).sum() / 2 + 39.166165 * len(x)


FUNCTIONS = {"rosenbrock": (rosenbrock, 2.0), "ackley": (ackley, 5.0), "styblinski_tang": (styblinski_tang, 5.0)}


def least(name: str, seed: int) -> dict[str, float]:
    """The least value that each search finds of one function, moved by up to a quarter of its range."""
    function, reach = FUNCTIONS[name]
    shift = np.random.default_rng(seed).uniform(-reach / 4, reach / 4, DIMENSIONS)
    space = pj.Space(**{f"x{axis}": pj.uniform(-reach, reach) for axis in range(DIMENSIONS)})
    task = pj.objective(lambda key, hparams: {"loss": function(jnp.stack([hparams[n] for n in space]) - shift)})
    return {
        label: pj.search(task, space, trials=trials, sampler=sampler, seed=seed).best.value
        for label, (sampler, trials) in SEARCHES.items()
    }


def multivariate(seed: int) -> optuna.samplers.BaseSampler:
    """Optuna's TPE."""
    return optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True, n_startup_trials=0)


def milliseconds(sampler: Any, trials: int) -> float:
    """What one point of a round costs after so many trials."""
    space = pj.Space(**{f"x{axis}": pj.uniform(0, 1) for axis in range(AXES)})
    points = space.sample(trials)
    loss = sum((column - 0.3) ** 2 for column in points.values())
    told = Trials(points, np.ones(trials, int), loss, {"loss": loss[:, None]})
    propose = proposals(sampler, space, 0, 1, rule=pj.best("loss"), budget=trials)
    propose(BATCH, told)  # imports
    begin = time.perf_counter()
    propose(BATCH, told)
    return round(1000 * (time.perf_counter() - begin) / BATCH, 2)


def main() -> None:
    """Search and time, print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="two seeds; writes no file")
    options = parser.parse_args()
    found: dict[str, Any] = {}
    for name in FUNCTIONS:
        rows = [least(name, seed) for seed in range(2 if options.quick else options.seeds)]
        found[name] = {label: round(float(np.median([row[label] for row in rows])), 4) for label in SEARCHES}
        print(name, found[name], file=sys.stderr, flush=True)
    costs = {
        str(trials): {"tpe": milliseconds("tpe", trials), "optuna": milliseconds(multivariate, trials)}
        for trials in (128, 256, 1024, 4096)
    }
    report = {"machine": machine(), "median of the least": found, "milliseconds a point": costs}
    if not options.quick:
        path = Path(__file__).parent / "results" / "proposals.json"
        path.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
