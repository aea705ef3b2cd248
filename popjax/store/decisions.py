"""`decisions.jsonl`: decisions of the scheduler, one line per step, written before they are applied. No JAX here."""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from popjax.core.counts import check_count
from popjax.core.storage import Corrupt
from popjax.scheduler import Decision
from popjax.space.space import Space
from popjax.store.files import digest_of_json, jsonable

NAME = "decisions.jsonl"


@dataclasses.dataclass(frozen=True)
class Step:
    """A decision, as a line of the log.

    Attributes:
        decision: what is carried out now.
        state: state of the scheduler after the step.
        goal: trial -> epoch that the scheduler asked for, if it lies beyond the decision's `until`.
        stopped: all trials that are stopped from this step on, by a person or since their work was lost.
        back: number of epochs that a session is taken back, and nothing else is done; 0: none.
    """

    decision: Decision
    state: Any = None
    goal: Mapping[int, int] = dataclasses.field(default_factory=dict)
    stopped: tuple[int, ...] = ()
    back: int = 0


class Remark(NamedTuple):
    """An event that is no decision, as a line of the log.

    Attributes:
        verb: "stopped": the run was stopped, `value` says by what; "watch" and "save": the models of a session were
            watched, or saved.
        value: see `verb`; True if the verb needs none.
    """

    verb: str
    value: Any = True


REMARKS = ("stopped", "watch", "save")


def read_lines(path: Path, space: Space) -> tuple[list[Step | Remark], int]:
    """Lines of a log over this space without a torn last one, and their size in bytes.

    Raises Corrupt if another line is damaged, or does not fit the space.
    """
    lines = path.read_bytes().splitlines(keepends=True)
    steps: list[Step | Remark] = []
    for number, line in enumerate(lines, 1):
        content = content_of_line(line)
        if content is None and number == len(lines):
            return steps, sum(map(len, lines[:-1]))
        if content is None:
            raise Corrupt(f"{str(path)!r}: line {number} is damaged; start again in another directory")
        try:
            steps.append(said(content, space))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            what = f"line {number} is not a decision over this space ({error})"
            raise Corrupt(f"{str(path)!r}: {what}; start again in another directory") from None
    return steps, sum(map(len, lines))


def said(content: Mapping[str, Any], space: Space) -> Step | Remark:
    """Step or remark from the content of a line."""
    verb = next((verb for verb in REMARKS if verb in content and len(content) == 1), None)
    if verb is not None and not isinstance(content[verb], list):  # in a decision "stopped" is a list of trials
        return Remark(verb, content[verb])
    return step_of(content, space)


def line_of(content: dict[str, Any]) -> bytes:
    """JSON line of the content and its digest."""
    content = json.loads(json.dumps(content, allow_nan=False))
    return json.dumps(content | {"check": digest_of_json(content)}).encode() + b"\n"


def content_of_line(line: bytes) -> dict[str, Any] | None:
    """Content of a line; None if the line is torn or its digest is wrong."""
    try:
        content = json.loads(line)
        digest = content.pop("check")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    whole = line.endswith(b"\n") and isinstance(content, dict) and digest == digest_of_json(content)
    return content if whole else None


def line_content(step: Step | Remark) -> dict[str, Any]:
    """Content of a line as JSON values, without empty fields; an empty state is one."""
    if isinstance(step, Remark):
        return {step.verb: step.value}
    decision = step.decision
    content: dict[str, Any] = {
        "add": {name: [jsonable(value) for value in column.tolist()] for name, column in decision.add.items()},
        "copy": [[int(target), int(source)] for target, source in decision.copy.items()],
        "fresh": [int(trial) for trial in decision.fresh],
        "set": [[int(trial), {n: jsonable(v) for n, v in values.items()}] for trial, values in decision.set.items()],
        "until": runs(decision.until),
        "notes": decision.notes,
        "goal": runs(step.goal),
        "stopped": [int(trial) for trial in step.stopped],
        "back": step.back or None,
    }
    content = {name: value for name, value in content.items() if value not in (None, [], {})}
    return content if step.state is None else content | {"state": step.state}


def step_of(content: Mapping[str, Any], space: Space) -> Step:
    """Inverse of `line_content` for a step; raises KeyError, TypeError or ValueError if it does not fit the space."""
    decision = Decision(
        add={name: column_of(space, name, values) for name, values in content.get("add", {}).items()},
        copy=dict(content.get("copy", [])),
        fresh=tuple(content.get("fresh", [])),
        set=dict(content.get("set", [])),
        until=epochs_of(content.get("until", [])),
        notes=content.get("notes"),
    )
    back = check_count("back", content.get("back", 0), 0)
    if back and content.keys() - {"back", "stopped"}:
        raise ValueError(f"back {back} with {', '.join(content.keys() - {'back', 'stopped'})}")
    goal, stopped = epochs_of(content.get("goal", [])), tuple(content.get("stopped", []))
    return Step(decision, content.get("state"), goal, stopped, back)


def changes_of(decision: Decision) -> list[dict[str, Any]]:
    """Changes that a person made in a decision: dicts with the verb, the trial, and the verb's arguments."""
    notes = decision.notes
    return list(notes["changes"]) if isinstance(notes, Mapping) and notes.get("by") == "user" else []


def steered_trials(steps: Iterable[Step]) -> set[int]:
    """Trials that a person changed, stopped or let train on."""
    return {change["trial"] for step in steps for change in changes_of(step.decision)}


def column_of(space: Space, name: str, values: list[Any]) -> np.ndarray:
    """Column of a hyperparameter in the sampler's dtype from values of a file; float if some are None (inactive)."""
    column = space[name].from_unit(np.zeros(len(values)))
    column = column.astype(float) if None in values and column.dtype != object else column
    for row, value in enumerate(values):
        column[row] = value
    return column


def runs(until: Mapping[int, int]) -> list[list[int]]:
    """Trial -> epoch as runs of trials: [first, last, epoch]."""
    runs: list[list[int]] = []
    for trial, epoch in sorted(until.items()):
        if runs and runs[-1][1] == trial - 1 and runs[-1][2] == epoch:
            runs[-1][1] = int(trial)
        else:
            runs.append([int(trial), int(trial), int(epoch)])
    return runs


def epochs_of(runs: list[list[int]]) -> dict[int, int]:
    """Inverse of `runs`: trial -> epoch."""
    return {trial: epoch for first, last, epoch in runs for trial in range(first, last + 1)}
