"""The entries of run.json and summary.json."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from popjax.core.machine import cores, device, versions
from popjax.engine.identity import code, identity
from popjax.engine.measure import counts_states, updates
from popjax.engine.roster import Roster
from popjax.engine.trainer import Timer, Trainer
from popjax.scheduler import added
from popjax.space.space import Space
from popjax.store.decisions import Step
from popjax.store.files import jsonable
from popjax.store.listing import figure_at
from popjax.store.results import Results
from popjax.study.directory import Directory
from popjax.study.request import SearchRequest
from popjax.tuning.schedulers.rounds import even


def run_record(request: SearchRequest, roster: Roster, steps: Sequence[Step]) -> dict[str, Any]:
    """The entries of run.json, which determine the results; the points are in decisions.jsonl."""
    plan, rounds = roster.plan, len(request.ends)
    return {
        **request.options.written(),
        "space": request.space.to_dict(),
        "rounds": rounds_of(steps, request.space),
        "rounds_in_all": rounds,
        **({"beside": True} if request.beside else {}),
        **({} if request.ends == even(request.options.trials, rounds) else {"ends": list(request.ends)}),
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
        "data": identity(roster.task),
        "task": dict(roster.task.settings),
        "code": code(roster.traced),
        **({"deciders": deciders} if (deciders := request.deciders) else {}),
        **({"parameters": "of states"} if counts_states(roster) else {}),
    }


def updates_of(trainer: Trainer) -> int | None:
    """Number of optimizer updates so far, over all members; None if the task does not tell them."""
    table = trainer.table
    known = table.metrics.get(trainer.config.rule.metric)
    if known is None:
        return 0
    trained = np.where(table.resting, table.counted().reported, table.epochs)
    return updates(trainer.roster, known, trained)


def summary(
    trainer: Trainer, results: Results, test: dict[str, float], before: int | None, directory: Directory | None
) -> dict[str, Any]:
    """The entries of summary.json.

    Args:
        trainer: of the members, which are trained.
        results: its results.
        test: metric -> the winner's score on the test rows.
        before: number of updates made before this process began or resumed the run; None if unknown.
        directory: the directory of the run; None if there is none.
    """
    best, config, roster = results.best, trainer.config, trainer.roster
    after = updates_of(trainer)
    return {
        "trials": len(results.diverged),
        "epochs": config.epochs,
        "seed": config.seed,
        "metric": config.rule.metric,
        "best": None if best is None else {"trial": best.trial, "value": best.value, "hparams": best.hparams},
        "test_value": jsonable(test.get(config.rule.metric.on("test"))),
        "test": {name: jsonable(value) for name, value in test.items()},
        "diverged": int(results.diverged.sum()),
        "not_finite": sorted(trainer.table.not_finite),
        **seconds(trainer.timer, directory),
        "model_steps": after,
        "steps_run": None if after is None or before is None else after - before,
        "stopped": int(results.stopped.sum()),
        "pruned": int(results.pruned.sum()),
        "resumed": bool(directory and directory.recorded),
        "warnings": directory.warnings if directory else [],
        **({"cut_short": results.cut_short} if results.cut_short else {}),
        **({"feasible": int(results.feasible[results.order].sum())} if results.rule.limits else {}),
        **({"scored_before": earlier} if directory and (earlier := directory.scored_before()) else {}),
        "buckets": len(roster.buckets),
        "lanes": roster.plan.lanes.count,
        "device": device(),
        "popjax_version": versions()["popjax"],
        "jax_version": versions()["jax"],
    }


def seconds(timer: Timer, directory: Directory | None) -> dict[str, Any]:
    """The seconds of this process and of those before it that ended; `seconds_lost` if one did not."""
    now = timer.seconds()
    if directory is None or not directory.recorded:
        return now
    before = directory.summary()
    total = {name: value + (figure_at(before, name) or 0) for name, value in now.items()}
    return total if before and not before.get("seconds_lost") else total | {"seconds_lost": True}


def rounds_of(steps: Sequence[Step], space: Space) -> list[dict[str, Any]]:
    """The rounds of a search: the number of trials that each added, its space, and the notes of its zoom."""
    rounds: dict[int, dict[str, Any]] = {}
    for step in steps:
        if not step.decision.add:
            continue
        notes = step.decision.notes if isinstance(step.decision.notes, dict) else {}
        known = {"trials": 0, "space": notes.get("space", space.to_dict()), "notes": notes.get("notes", [])}
        entry = rounds.setdefault(notes.get("round", 0), known)
        entry["trials"] += added(step.decision)
    return list(rounds.values())
