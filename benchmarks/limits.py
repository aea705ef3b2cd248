# /// script
# requires-python = ">=3.12"
# dependencies = ["popjax[optuna]"]
#
# [tool.uv.sources]
# popjax = { path = "..", editable = true }
# ///
"""Constrained search: the best feasible value after a number of trials, on ten problems with known constraints.

`uv run --script benchmarks/limits.py`. popjax draws at random or by its TPE, under `pj.best(subject_to=...)`; Optuna's
TPE gets the same constraints by `constraints_func`. Problems are in float64 on the host of both, so what differs is
which points are tried, and how many are asked for at once: popjax's TPE begins with a quarter of the trials and goes on
in rounds, or as *in pairs* in rounds of two; Optuna's asks for one at a time. A search without a feasible trial counts
as the worst value that any search of the problem has.
"""

import argparse
import json
import math
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from peers import machine

import popjax as pj

HERE = Path(__file__).parent
SEARCHES = ("popjax random", "popjax tpe", "popjax tpe in pairs", "Optuna TPE")


class Planted(NamedTuple):
    """A function to minimize over a box, and its constraints: each at most its bound.

    Attributes:
        ranges: name -> (low, high, log).
        values: `(**point) -> (loss, each constraint's value)`.
        bounds: one for each constraint.
    """

    ranges: Mapping[str, tuple[float, float, bool]]
    values: Callable[..., tuple[float, ...]]
    bounds: tuple[float, ...]


def box(low: float, high: float, *names: str) -> dict[str, tuple[float, float, bool]]:
    """The same linear range for each name."""
    return dict.fromkeys(names, (low, high, False))


def townsend(x: float, y: float) -> tuple[float, ...]:
    """Townsend (2014), with its constraint as a difference."""
    t = math.atan2(x, y)
    curve = 2 * math.cos(t) - math.cos(2 * t) / 2 - math.cos(3 * t) / 4 - math.cos(4 * t) / 8
    loss = -(math.cos((x - 0.1) * y) ** 2) - x * math.sin(3 * x + y)
    return loss, x**2 + y**2 - curve**2 - (2 * math.sin(t)) ** 2


def mystery(x: float, y: float) -> tuple[float, ...]:
    """Gramacy et al. (2016)."""
    wave = 1.5 - x - 2 * y - 0.5 * math.sin(2 * math.pi * (x**2 - 2 * y))
    return x + y, wave, x**2 + y**2 - 1.5


def bird(x: float, y: float) -> tuple[float, ...]:
    """Mishra's bird."""
    left, right = math.exp((1 - math.cos(x)) ** 2), math.exp((1 - math.sin(y)) ** 2)
    return math.sin(y) * left + math.cos(x) * right + (x - y) ** 2, (x + 5) ** 2 + (y + 5) ** 2


def ackley(**point: float) -> tuple[float, ...]:
    """Ackley's function in five dimensions; its optimum is forbidden."""
    x = np.array(list(point.values()))
    root, waves = np.sqrt((x**2).mean()), np.cos(2 * np.pi * x).mean()
    return float(20 + math.e - 20 * np.exp(-0.2 * root) - np.exp(waves)), float(2.5 - x.sum())


def pressure_vessel(shell: float, head: float, radius: float, length: float) -> tuple[float, ...]:
    """Kannan and Kramer (1994), continuous; in thousands."""
    cost = 0.6224 * shell * radius * length + 1.7781 * head * radius**2
    cost += 3.1661 * shell**2 * length + 19.84 * shell**2 * radius
    volume = math.pi * radius**2 * length + 4 / 3 * math.pi * radius**3
    return cost / 1000, 0.0193 * radius - shell, 0.00954 * radius - head, 1 - volume / 1_296_000


def spring(wire: float, coil: float, turns: float) -> tuple[float, ...]:
    """Arora (2004): tension spring."""
    deflection = 1 - coil**3 * turns / (71785 * wire**4)
    shear = (4 * coil**2 - wire * coil) / (12566 * (coil * wire**3 - wire**4)) + 1 / (5108 * wire**2) - 1
    return (turns + 2) * coil * wire**2, deflection, shear, 1 - 140.45 * wire / (coil**2 * turns), (coil + wire) / 1.5


def network(rate: float, width: float, depth: float) -> tuple[float, ...]:
    """A loss as of networks: better with width and depth, worst at a wrong rate; memory and time are bounded."""
    loss = (math.log10(rate) + 2 + 0.3 * math.log(depth)) ** 2 / 4 + 3 / math.sqrt(width * depth)
    return loss, width**2 * depth / 1e5, depth * math.sqrt(width) / 20


PROBLEMS = {
    "Gardner 1": Planted(
        box(0, 6, "x", "y"),
        lambda x, y: (math.cos(2 * x) * math.cos(y) + math.sin(x), math.cos(x + y)),
        (0.5,),
    ),
    "Gardner 2": Planted(box(0, 6, "x", "y"), lambda x, y: (math.sin(x) + y, math.sin(x) * math.sin(y)), (-0.95,)),
    "mystery": Planted(box(0, 1, "x", "y"), mystery, (0.0, 0.0)),
    "Rosenbrock": Planted(
        box(-1.5, 1.5, "x", "y"), lambda x, y: ((1 - x) ** 2 + 100 * (y - x**2) ** 2, x**2 + y**2), (1.5,)
    ),
    "bird": Planted({"x": (-10.0, 0.0, False), "y": (-6.5, 0.0, False)}, bird, (25.0,)),
    "Townsend": Planted({"x": (-2.25, 2.25, False), "y": (-2.5, 1.75, False)}, townsend, (0.0,)),
    "Ackley": Planted(box(-5, 10, *"abcde"), ackley, (0.0,)),
    "pressure vessel": Planted(
        {"shell": (0.1, 3, False), "head": (0.1, 3, False), "radius": (10, 100, False), "length": (10, 240, False)},
        pressure_vessel,
        (0.0, 0.0, 0.0),
    ),
    "spring": Planted(
        {"wire": (0.05, 0.2, True), "coil": (0.25, 1.3, True), "turns": (2, 15, True)}, spring, (0.0, 0.0, 0.0, 1.0)
    ),
    "network": Planted(
        {"rate": (1e-5, 1, True), "width": (8, 1024, True), "depth": (1, 16, True)}, network, (1.0, 1.0)
    ),
}


def tried_by_popjax(
    problem: Planted, sampler: str, trials: int, seed: int, rounds: int | None = None
) -> list[tuple[float, ...]]:
    """Loss and constraints of each trial."""
    import jax

    names, count = list(problem.ranges), len(problem.bounds)
    shapes = tuple(jax.ShapeDtypeStruct((), np.float32) for _ in range(count + 1))

    def cost(key: Any, hparams: Any) -> dict[str, Any]:
        on_host = lambda *values: tuple(
            np.float32(v) for v in problem.values(**dict(zip(names, map(float, values), strict=True)))
        )
        loss, *others = jax.pure_callback(on_host, shapes, *(hparams[name] for name in names), vmap_method="sequential")
        return {"loss": loss} | {f"c{at}": value for at, value in enumerate(others)}

    space = {n: (pj.log_uniform if log else pj.uniform)(low, high) for n, (low, high, log) in problem.ranges.items()}
    limits = [f"c{at} <= {bound}" for at, bound in enumerate(problem.bounds)]
    rank, scheduler = pj.best("loss", subject_to=limits), None if rounds is None else pj.rounds(rounds)
    results = pj.search(
        pj.objective(cost), space, trials=trials, seed=seed, sampler=sampler, rank=rank, scheduler=scheduler
    )
    points = [results.hparams(trial) for trial in range(trials)]
    return [problem.values(**point) for point in points]


def tried_by_optuna(problem: Planted, trials: int, seed: int) -> list[tuple[float, ...]]:
    """Loss and constraints of each trial."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    tried: list[tuple[float, ...]] = []

    def objective(trial: optuna.Trial) -> float:
        ranges = problem.ranges.items()
        values = problem.values(**{name: trial.suggest_float(name, *ends, log=log) for name, (*ends, log) in ranges})
        tried.append(values)
        beyond = [value - bound for value, bound in zip(values[1:], problem.bounds, strict=True)]
        trial.set_user_attr("beyond", beyond)
        return values[0]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sampler = optuna.samplers.TPESampler(
            seed=seed, multivariate=True, constraints_func=lambda trial: trial.user_attrs["beyond"]
        )
        optuna.create_study(sampler=sampler).optimize(objective, n_trials=trials)
    return tried


def best_feasible(tried: list[tuple[float, ...]], bounds: tuple[float, ...]) -> float:
    """The least loss of those that keep all bounds; infinite without one."""
    kept = [loss for loss, *values in tried if all(v <= b for v, b in zip(values, bounds, strict=True))]
    return min(kept, default=math.inf)


def searched(problem: Planted, name: str, trials: int, seed: int) -> float:
    """The best feasible loss of a search."""
    if name == "Optuna TPE":
        tried = tried_by_optuna(problem, trials, seed)
    else:
        tried = tried_by_popjax(problem, name.split()[1], trials, seed, trials // 2 if "pairs" in name else None)
    return best_feasible(tried, problem.bounds)


def table(found: Mapping[str, Mapping[str, list[float]]]) -> dict[str, Any]:
    """The medians, and over all problems the mean of the ranks (1 to 4) that a search has among those of its seed."""
    medians: dict[str, Any] = {}
    ranks: dict[str, list[float]] = {name: [] for name in SEARCHES}
    for problem, searches in found.items():
        finite = [value for values in searches.values() for value in values if math.isfinite(value)]
        worst = max(finite)
        columns = np.array([[min(value, worst) for value in searches[name]] for name in SEARCHES])
        medians[problem] = {n: float(f"{np.median(v):.4g}") for n, v in zip(SEARCHES, columns, strict=True)}
        medians[problem]["none feasible"] = {n: sum(map(math.isinf, searches[n])) for n in SEARCHES}
        places = 1 + (columns[:, None] > columns[None]).sum(1) + ((columns[:, None] == columns[None]).sum(1) - 1) / 2
        for name, row in zip(SEARCHES, places, strict=True):
            ranks[name] += row.tolist()
    return {"medians": medians, "mean rank": {name: round(float(np.mean(rows)), 2) for name, rows in ranks.items()}}


def main() -> None:
    """Search, print one JSON object, and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="two problems, two seeds; writes no file")
    options = parser.parse_args()
    problems = dict(list(PROBLEMS.items())[:2]) if options.quick else PROBLEMS
    found: dict[str, dict[str, list[float]]] = {}
    for name, problem in problems.items():
        seeds = range(2 if options.quick else options.seeds)
        found[name] = {
            search: [searched(problem, search, options.trials, seed) for seed in seeds] for search in SEARCHES
        }
        print(
            f"{name}: { ({n: round(float(np.median(v)), 4) for n, v in found[name].items()}) }",
            file=sys.stderr,
            flush=True,
        )
    report = {"machine": machine(), "trials": options.trials, "seeds": options.seeds} | table(found)
    if not options.quick:
        (HERE / "results" / "limits.json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
