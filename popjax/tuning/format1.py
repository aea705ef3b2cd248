"""Runs of format 1, which wrote their points and rounds into run.json, as decisions. No JAX here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from popjax.core.storage import Corrupt, write_atomic
from popjax.scheduler import Decision
from popjax.space.space import Space
from popjax.store.decisions import NAME, Log, Step, column_of, described, line_of

EVERY_FORMAT = ("epochs", "seed", "metric", "mode", "sampler", "repeats", "folds", "choose", "keep")


def check_record(directory: Path, recorded: Mapping[str, Any]) -> None:
    """Raise Corrupt unless a run.json has what resuming needs, of the right kinds."""
    kinds = {"space": dict, "part": int, "narrowed": int, "lanes": int, "trials": int, "plan": str}
    kinds |= {"asked": dict, "rounds": list, "warnings": list, "device": str}
    kinds |= {"points": dict} if recorded.get("format") == 1 else {}
    for name in (*EVERY_FORMAT, *kinds, "rounds_in_all", "data", "task", "versions"):
        if name not in recorded or not isinstance(recorded[name], kinds.get(name, object)):
            raise Corrupt(f"cannot resume {str(directory)!r}: its run.json has no usable {name!r}")
    if not all(isinstance(column, list) for column in recorded.get("points", {}).values()):
        raise Corrupt(f"cannot resume {str(directory)!r}: its run.json has no usable 'points'")


def log_of(directory: Path, space: Space, recorded: Mapping[str, Any]) -> Log:
    """The decisions that a run of format 1 took, one `add` a round, written as its log.

    Raises Corrupt for points that are none of the space.
    """
    try:
        steps = list(steps_of(space, recorded))
    except (KeyError, TypeError, ValueError) as error:
        raise Corrupt(f"cannot resume {str(directory)!r}: its points are unusable ({error})") from None
    write_atomic(directory / NAME, b"".join(line_of(described(step)) for step in steps))
    return Log(space, directory)


def steps_of(space: Space, recorded: Mapping[str, Any]) -> list[Step]:
    """The steps of the scheduler that did what format 1 did."""
    steps, first, asked = [], 0, 0
    for number, entry in enumerate(recorded["rounds"]):
        points = {
            name: column_of(space, name, recorded["points"][name][first : first + entry["trials"]]) for name in space
        }
        until = dict.fromkeys(range(first, first + entry["trials"]), recorded["epochs"])
        rounds = recorded["rounds_in_all"]
        ends = [round(recorded["trials"] * at / rounds) for at in (number, number + 1)]
        asked = ends[1] - ends[0]
        known = {"round": number, "space": entry["space"]}
        notes = {**known, "rounds": rounds, "notes": entry["notes"]} if rounds > 1 else None
        state = {**known, "first": first, "noticed": entry["notes"], "inner": asked} if rounds > 1 else asked
        steps.append(Step(Decision(add=points, until=until, notes=notes), state))
        first += entry["trials"]
    return steps
