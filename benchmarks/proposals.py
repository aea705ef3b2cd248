"""Samplers that learn, on functions whose optimum lies elsewhere each time: how far they get, and what a point costs.

Rosenbrock, Ackley and Styblinski-Tang in 5 dimensions, shifted at random; the least value of 256 trials of each
sampler, of tpe and cmaes in the rounds that they have by themselves, and of 1,024 random ones. Then Optuna's samplers
in popjax's rounds and in Optuna's own loop, one trial after the other, on five functions. Then the milliseconds of one
point, asked for in rounds of 16 after so many trials of 10 hyperparameters, beside Optuna's own TPE. Prints one JSON
object.
"""

import argparse
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optuna
from peers import machine

import popjax as pj
from popjax.scheduler import Trials
from popjax.tuning.by_optuna import OptunaSampler
from popjax.tuning.proposals import LEARNING, proposals

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


def noise_free(name: str, x: Any, y: Any, side: Any = 0, z: Any = 0.7) -> Any:
    """A function of FIVE on the unit square; "ackley" has one more number where `side` is 1."""
    if name == "sphere":
        return (x - 0.3) ** 2 + (y - 0.6) ** 2
    if name == "rosenbrock":
        x, y = 4 * x - 2, 4 * y - 1
        return (1 - x) ** 2 + 100 * (y - x**2) ** 2
    if name == "ackley":
        return ackley(10 * (jnp.stack([x, y]) - 0.4)) + jnp.where(side == 1, (z - 0.7) ** 2, 0.3)
    if name == "plateau":
        return jnp.floor(20 * jnp.abs(x - 0.3)) + jnp.floor(20 * jnp.abs(y - 0.6))
    return (x - 0.7) ** 2 + (y - 0.2) ** 2


FIVE = ("sphere", "rosenbrock", "ackley", "plateau", "noisy")
SAMPLERS = ("CmaEsSampler", "NSGAIISampler", "QMCSampler", "TPESampler")
TRIALS = 320


def in_rounds_and_in_its_own_loop(name: str, sampler: str, seed: int) -> tuple[float, float]:
    """The least value, without its noise, of the points of a search, and of those of Optuna's own loop."""
    make, noise = getattr(optuna.samplers, sampler), 0.05 * (name == "noisy")
    value = jax.jit(lambda *point: noise_free(name, *point))

    def loss(key: Any, hparams: Any) -> Any:
        point = hparams["x"], hparams["y"], hparams.get("side", 0), hparams.get("z", 0.7)
        return {"loss": noise_free(name, *point) + noise * jax.random.normal(key)}

    scales = {"x": pj.uniform(0, 1), "y": pj.uniform(0, 1)}
    if name == "ackley":
        scales |= {"side": pj.choice(0, 1, static=True), "z": pj.uniform(0, 1).when(side=1)}
    results = pj.search(pj.objective(loss), scales, trials=TRIALS, seed=seed, sampler=make)
    points = {n: np.nan_to_num(column.astype(float)) for n, column in results.points.items()}
    ours = min(float(value(*point)) for point in zip(*points.values(), strict=True))
    draws, found = np.random.default_rng(seed), list[float]()

    def own(trial: optuna.Trial) -> float:
        point = [trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)]
        if name == "ackley" and (side := trial.suggest_categorical("side", [0, 1])):
            point += [side, trial.suggest_float("z", 0, 1)]
        found.append(float(value(*point)))
        return found[-1] + noise * draws.normal()

    optuna.create_study(sampler=make(seed=seed)).optimize(own, TRIALS)
    return ours, min(found)


def multivariate(seed: int) -> optuna.samplers.BaseSampler:
    """Optuna's TPE."""
    return optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True, n_startup_trials=0)


def milliseconds(sampler: Any, trials: int) -> float:
    """What one point of a round costs after so many trials."""
    space = pj.Space(**{f"x{axis}": pj.uniform(0, 1) for axis in range(AXES)})
    points = space.sample(trials)
    loss = sum((column - 0.3) ** 2 for column in points.values())
    told = Trials(points, np.ones(trials, int), loss, {"loss": loss[:, None]})
    ends = (trials, trials + BATCH, trials + 2 * BATCH)
    propose = proposals(sampler, space, 0, 1, before=trials, rule=pj.best("loss"), ends=ends)
    new = propose(BATCH, told)  # imports
    points = {name: np.concatenate([column, new[name]]) for name, column in points.items()}
    loss = sum((column - 0.3) ** 2 for column in points.values())
    told = Trials(points, np.ones(len(loss), int), loss, {"loss": loss[:, None]})
    begin = time.perf_counter()
    propose(BATCH, told)
    return round(1000 * (time.perf_counter() - begin) / BATCH, 2)


def main() -> None:
    """Search and time, print one JSON object."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")  # Optuna's, of experimental samplers
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="two seeds; writes no file")
    options = parser.parse_args()
    found: dict[str, Any] = {}
    for name in FUNCTIONS:
        rows = [least(name, seed) for seed in range(2 if options.quick else options.seeds)]
        found[name] = {label: round(float(np.median([row[label] for row in rows])), 4) for label in SEARCHES}
        print(name, found[name], file=sys.stderr, flush=True)
    seeds = range(2 if options.quick else 5)
    studies: dict[str, Any] = {}
    for sampler in SAMPLERS:
        for name in FIVE:
            pairs = np.median([in_rounds_and_in_its_own_loop(name, sampler, seed) for seed in seeds], 0)
            studies.setdefault(sampler, {})[name] = [float(f"{value:.2g}") for value in pairs]
        print(sampler, studies[sampler], file=sys.stderr, flush=True)
    LEARNING["multivariate"] = OptunaSampler(multivariate)  # by name: a function of one's own is asked twice
    costs = {
        str(trials): {"tpe": milliseconds("tpe", trials), "optuna": milliseconds("multivariate", trials)}
        for trials in (128, 256, 1024, 4096)
    }
    report = {"machine": machine(), "median of the least": found, "in rounds and in its own loop": studies}
    report |= {"milliseconds a point": costs}
    if not options.quick:
        path = Path(__file__).parent / "results" / "proposals.json"
        path.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
