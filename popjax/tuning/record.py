"""What a search says of itself: what was asked, what determines its results, and the figures of its summary."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from popjax.core.machine import cores, device, versions
from popjax.engine.measure import identity, updates
from popjax.engine.population import Population
from popjax.engine.roster import Config, Roster
from popjax.scheduler import Problem, Scheduler, added
from popjax.space.space import Space
from popjax.store.decisions import Log
from popjax.store.files import jsonable
from popjax.store.results import Results
from popjax.tuning.directory import Directory
from popjax.tuning.proposals import learns, proposals, sampler_text
from popjax.tuning.schedulers.named import text_of


@dataclasses.dataclass(frozen=True, eq=False)
class Asked:
    """What was asked for, beside what decides how a population trains."""

    space: Space
    trials: int
    sampler: Any = "random"
    rounds: int = 1
    choose: str = "best"
    scheduler: Callable[[Problem], Scheduler] | None = None

    def settings(self) -> dict[str, Any]:
        """What a resumed run is compared with."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)} | {
            "scheduler": text_of(self.scheduler),
            "sampler": sampler_text(self.sampler),
        }

    def propose(self, seed: int, epochs: int) -> Callable[..., dict[str, np.ndarray]]:
        """See `Problem.propose`: the design goes on where the trials so far end; a grid begins anew."""
        if learns(self.sampler):
            return proposals(self.sampler, self.space, seed, epochs)

        def propose(n: int, trials: Any = None, space: Space | None = None) -> dict[str, np.ndarray]:
            space = space or self.space
            if self.sampler == "grid":
                return space.sample(n, seed, "grid")
            begin = 0 if trials is None else len(trials.epochs)
            points = space.sample(begin + n, seed, self.sampler)
            return {name: column[begin:] for name, column in points.items()}

        return propose


def describe(asked: Asked, config: Config, roster: Roster, log: Log) -> dict[str, Any]:
    """What determines the results, for run.json; the points are in decisions.jsonl."""
    known, plan = dataclasses.asdict(config), roster.plan
    kept = ("epochs", "seed", "metric", "mode", "repeats", "folds", "keep")
    return {
        **{name: known[name] for name in kept},
        "sampler": sampler_text(asked.sampler),
        "choose": asked.choose,
        "scheduler": text_of(asked.scheduler),
        "trials": asked.trials,
        "space": asked.space.to_dict(),
        "rounds": rounds_of(log, asked.space),
        "rounds_in_all": asked.rounds,
        "plan": plan.name,
        "caps": plan.caps,
        "static": list(plan.static),
        "buckets": len(roster.buckets),
        "lanes": plan.lanes.count,
        "part": plan.lanes.capacity,
        "narrowed": plan.lanes.narrowed,
        "cores": cores(),
        "device": device(),
        "versions": versions(),
        "data": identity(roster),
        "task": dict(roster.task.hints.settings),
    }


def updates_of(population: Population) -> int | None:
    """Optimizer updates so far, over all members."""
    curves = population.curves
    return updates(population.roster, curves.members[population.config.metric], curves.epochs)


def summary(
    population: Population, results: Results, test: dict[str, float], before: int | None, directory: Directory | None
) -> dict[str, Any]:
    """The figures of summary.json.

    Args:
        population: that was trained.
        results: what was found.
        test: what the winner scores on the test rows.
        before: the updates that had been made when this process took the run up.
        directory: of the run, if it has one.
    """
    best, config, roster = results.best, population.config, population.roster
    after = updates_of(population)
    return {
        "trials": len(results.diverged),
        "epochs": config.epochs,
        "seed": config.seed,
        "metric": config.metric,
        "best": None if best is None else {"trial": best.trial, "value": best.value, "hparams": best.hparams},
        "test_value": jsonable(test.get(config.metric.replace("val_", "test_", 1))),
        "test": {name: jsonable(value) for name, value in test.items()},
        "diverged": int(results.diverged.sum()),
        **population.timer.seconds(),
        "model_steps": after,
        "steps_run": None if after is None or before is None else after - before,
        "stopped": int(results.stopped.sum()),
        "pruned": int((results.pruned & ~results.diverged).sum()),
        "resumed": bool(directory and directory.recorded),
        "warnings": directory.warnings if directory else [],
        "buckets": len(roster.buckets),
        "lanes": roster.plan.lanes.count,
        "device": device(),
        "popjax_version": versions()["popjax"],
        "jax_version": versions()["jax"],
    }


def rounds_of(log: Log, space: Space) -> list[dict[str, Any]]:
    """The rounds of a search: how many trials each added, over which space, and what its zoom noticed."""
    found: dict[int, dict[str, Any]] = {}
    for step in log.steps:
        if not step.decision.add:
            continue
        notes = step.decision.notes if isinstance(step.decision.notes, dict) else {}
        known = {"trials": 0, "space": notes.get("space", space.to_dict()), "notes": notes.get("notes", [])}
        entry = found.setdefault(notes.get("round", 0), known)
        entry["trials"] += added(step.decision)
    return list(found.values())
