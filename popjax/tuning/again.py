"""Given points, trained or planned without a search: replays, re-tests, what plans would cost."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from popjax.engine.cost import explanation
from popjax.engine.plan import work_of
from popjax.engine.population import Population, Timer
from popjax.engine.roster import Config, Roster
from popjax.scheduler import Decision
from popjax.space.space import Space
from popjax.store.results import Results
from popjax.task import Task


def trained(
    task: Task,
    space: Space,
    points: Mapping[str, np.ndarray],
    config: Config,
    numbers: np.ndarray | None = None,
    timer: Timer | None = None,
) -> Results:
    """These points, each trained to the end; `numbers` (trials,) are the trials', from which their keys are made."""
    population = Population(task, space, config, numbers=numbers, timer=timer)
    count = len(next(iter(points.values())))
    decision = Decision(add=points, until=dict.fromkeys(range(count), config.epochs))
    population.check(decision)
    population.advance(0, decision)
    return population.results()


def replay(results: Results, trial: int, task: Task) -> dict[str, np.ndarray]:
    """Train one trial of a finished run again, alone; metric -> (epochs,) as in `results.curves`.

    On a CPU with the same lanes and library versions the curve is the same to the last bit.
    Raises ValueError for a trial that there is not.

    >>> from popjax.space.scales import uniform
    >>> from popjax.task import objective
    >>> task = objective(lambda key, hparams: {"loss": hparams["x"] ** 2})
    >>> from popjax.tuning.search import search
    >>> results = search(task, Space(x=uniform(0, 1)), trials=4)
    >>> bool(replay(results, 3, task)["loss"][0] == results.curves["loss"][3, 0])
    True
    """
    count = len(results.diverged)
    if isinstance(trial, bool) or not isinstance(trial, int | np.integer) or not 0 <= trial < count:
        raise ValueError(f"replay: there is no trial {trial!r}; choose 0..{count - 1}")
    names = [field.name for field in dataclasses.fields(Config) if field.name in results.run]
    config = Config(**{name: results.run[name] for name in names})
    task = task if config.folds == 1 or task.hints.folded is None else task.hints.folded(config.folds)
    points = {name: column[[trial]] for name, column in results.points.items()}
    again = trained(task, Space.from_dict(results.run["space"]), points, config, np.array([trial]))
    return {name: curve[0] for name, curve in again.curves.items()}


def explain(task: Task, space: Space, trials: int, config: Config, sampler: str = "random") -> str:
    """Members, padding, what each plan would cost, and the choice; nothing is compiled."""
    task = task if config.folds == 1 or task.hints.folded is None else task.hints.folded(config.folds)
    roster = Roster(task, space, config)
    points = space.sample(trials, config.seed, sampler)
    roster.check(points)
    flops = 0 if task.hints.flops is None else np.sum(task.hints.flops(points))
    exact = config.epochs * config.each * float(flops)
    count = len(next(iter(points.values())))
    found = work_of(roster.tracer, roster.plan.lanes).costs(points, config.each)
    return explanation(found, count * config.each, exact, roster.plan.name)
