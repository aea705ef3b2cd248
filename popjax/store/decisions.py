"""`decisions.jsonl`: what the scheduler decided, a line a step, written before it acts. No JAX here."""

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from popjax.core.counts import check_count
from popjax.core.storage import Corrupt, flush_directory, write_atomic
from popjax.scheduler import Decision
from popjax.space.space import Space
from popjax.store.files import digest_of_json, jsonable

NAME = "decisions.jsonl"


@dataclasses.dataclass(frozen=True)
class Step:
    """A decision, as a line of the log.

    Attributes:
        decision: what is carried out now.
        state: the scheduler's, after the step.
        goal: trial -> the epoch that the scheduler asked for, where it lies beyond the decision's `until`.
        stopped: all trials that rest from here on because a person wants it.
    """

    decision: Decision
    state: Any = None
    goal: Mapping[int, int] = dataclasses.field(default_factory=dict)
    stopped: tuple[int, ...] = ()


class Remark(NamedTuple):
    """What else happened, as a line of its own.

    Attributes:
        verb: "stopped": the run was, by what `value` says; of a session "back": so many epochs were taken back;
            "watch" and "save": it was watched, and saved.
    """

    verb: str
    value: Any = True


REMARKS = ("stopped", "back", "watch", "save")


class Log:
    """The steps of a search or a session, in memory and, with a directory, on the disk.

    Args:
        space: whose points they add.
        directory: where decisions.jsonl is; None for a run that leaves nothing.

    Attributes:
        lines: all steps and remarks so far, in their order.
        steps: the steps among them.
    """

    def __init__(self, space: Space, directory: Path | None = None) -> None:
        self.space = space
        self.path = None if directory is None else directory / NAME
        self.lines: list[Step | Remark] = []
        self.steps: list[Step] = []
        if self.path is not None and self.path.exists():
            self._load(self.path)

    def read(self, number: int) -> Step | None:
        """A step; None where nothing is decided yet."""
        return self.steps[number] if number < len(self.steps) else None

    def write(self, step: Step) -> None:
        """Add a step; it is on the disk before this returns.

        Raises ValueError where its notes or its state are no JSON values.
        """
        check_json("notes", step.decision.notes)
        check_json("state", step.state)
        self._add(step)

    def remark(self, verb: str, value: Any = True) -> None:
        """Add a line that is no decision; it is on the disk before this returns."""
        self._add(Remark(verb, value))

    def replace(self, step: Step) -> None:
        """The last step becomes another one, on the disk too."""
        at = max(at for at, line in enumerate(self.lines) if isinstance(line, Step))
        self.cut([*self.lines[:at], step])

    def cut(self, lines: Sequence[Step | Remark]) -> None:
        """Let these be all lines, on the disk too."""
        self.lines = list(lines)
        self.steps = [line for line in lines if isinstance(line, Step)]
        if self.path is not None and self.path.exists():
            write_atomic(self.path, b"".join(line_of(line_content(line)) for line in lines))

    def _add(self, line: Step | Remark) -> None:
        if self.path is not None:
            append(self.path, line_of(line_content(line)))
        self.lines.append(line)
        if isinstance(line, Step):
            self.steps.append(line)

    def _load(self, path: Path) -> None:
        """Read all lines; a last one that is torn is dropped, and decided again. Raises Corrupt."""
        if path.is_symlink():
            raise Corrupt(f"{str(path)!r} is a link; remove it")
        self.lines, size = read_lines(path, self.space)
        self.steps = [line for line in self.lines if isinstance(line, Step)]
        if size < path.stat().st_size:
            os.truncate(path, size)


def read_lines(path: Path, space: Space) -> tuple[list[Step | Remark], int]:
    """The lines of a log over this space, but for a last one that is torn, and how many bytes they take.

    Raises Corrupt where another one is damaged, or is of another space.
    """
    lines = path.read_bytes().splitlines(keepends=True)
    found: list[Step | Remark] = []
    for number, line in enumerate(lines, 1):
        content = content_of_line(line)
        if content is None and number == len(lines):
            return found, sum(map(len, lines[:-1]))
        if content is None:
            raise Corrupt(f"{str(path)!r}: line {number} is damaged; begin again in another directory")
        try:
            found.append(said(content, space))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            what = f"line {number} is no decision over this space ({error})"
            raise Corrupt(f"{str(path)!r}: {what}; begin again in another directory") from None
    return found, sum(map(len, lines))


def said(content: Mapping[str, Any], space: Space) -> Step | Remark:
    """The step or the remark that the content of a line says."""
    verb = next((verb for verb in REMARKS if verb in content and len(content) == 1), None)
    if verb is not None and not isinstance(content[verb], list):  # a decision may have a list of stopped trials
        return Remark(verb, check_count(verb, content[verb]) if verb == "back" else content[verb])
    return step_of(content, space)


def append(path: Path, line: bytes) -> None:
    """Add a line to a file, durably."""
    new = not path.exists()
    with path.open("ab") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
    if new:
        flush_directory(path.parent)


def line_of(content: dict[str, Any]) -> bytes:
    """A line with the digest of its content."""
    content = json.loads(json.dumps(content, allow_nan=False))
    return json.dumps(content | {"check": digest_of_json(content)}).encode() + b"\n"


def content_of_line(line: bytes) -> dict[str, Any] | None:
    """The content of a line; None for one that is not whole."""
    try:
        content = json.loads(line)
        digest = content.pop("check")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    whole = line.endswith(b"\n") and isinstance(content, dict) and digest == digest_of_json(content)
    return content if whole else None


def check_json(what: str, value: Any) -> None:
    """Raise ValueError for what a line of the log cannot hold."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the scheduler's {what}: {error}; give numbers, texts, lists and dicts of Python's") from None


def line_content(step: Step | Remark) -> dict[str, Any]:
    """A line as JSON values; what is empty is left out."""
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
        "state": step.state,
    }
    return {name: value for name, value in content.items() if value not in (None, [], {})}


def step_of(content: Mapping[str, Any], space: Space) -> Step:
    """The step that a line describes; raises KeyError, TypeError or ValueError where it is none of the space."""
    decision = Decision(
        add={name: column_of(space, name, values) for name, values in content.get("add", {}).items()},
        copy=dict(content.get("copy", [])),
        fresh=tuple(content.get("fresh", [])),
        set=dict(content.get("set", [])),
        until=epochs_of(content.get("until", [])),
        notes=content.get("notes"),
    )
    goal, stopped = epochs_of(content.get("goal", [])), tuple(content.get("stopped", []))
    return Step(decision, content.get("state"), goal, stopped)


def changes_of(decision: Decision) -> list[dict[str, Any]]:
    """What a person changed in a decision: the verb, the trial, and what else it takes."""
    notes = decision.notes
    return list(notes["changes"]) if isinstance(notes, Mapping) and notes.get("by") == "user" else []


def steered_trials(steps: Iterable[Step]) -> set[int]:
    """The trials that a person changed, stopped or let go on."""
    return {change["trial"] for step in steps for change in changes_of(step.decision)}


def column_of(space: Space, name: str, values: list[Any]) -> np.ndarray:
    """Values read from a file, as the column that the sampler gave; None is an inactive hyperparameter's."""
    column = space[name].from_unit(np.zeros(len(values)))
    column = column.astype(float) if None in values and column.dtype != object else column
    for row, value in enumerate(values):
        column[row] = value
    return column


def runs(until: Mapping[int, int]) -> list[list[int]]:
    """Trial -> epoch as runs of trials: [first, last, epoch]."""
    found: list[list[int]] = []
    for trial, epoch in sorted(until.items()):
        if found and found[-1][1] == trial - 1 and found[-1][2] == epoch:
            found[-1][1] = int(trial)
        else:
            found.append([int(trial), int(trial), int(epoch)])
    return found


def epochs_of(found: list[list[int]]) -> dict[int, int]:
    """Trial -> epoch of such runs."""
    return {trial: epoch for first, last, epoch in found for trial in range(first, last + 1)}
