"""The runs below a folder, as their own files tell of them. No JAX here."""

import contextlib
import dataclasses
import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from popjax.core.storage import in_use
from popjax.core.text import first_line
from popjax.store.decisions import NAME, content_of_line
from popjax.store.files import HOLDS, STATE, SUMMARY, check_format, digest_of_json, jsonable, read_json

FINISHED, UNFINISHED, STOPPED, BY_MINUTES = "finished", "unfinished", "stopped", "stopped by --minutes"
CLEANED = "cleaned"  # a file in state/, of a run that can no longer be resumed
LARGEST = 2**28  # bytes of a file that is read
SESSION, IN_USE = "session", "in use"
TAIL = 2**16  # bytes at the end of a log in which its last remark is


@dataclasses.dataclass(frozen=True)
class Entry:
    """A run.

    Attributes:
        path: its directory.
        written: when it was last written to, in seconds since 1970.
        size: bytes of all its files.
        state: "finished", how it ended else, "in use", "session", or what is wrong with it.
        dataset: the dataset or the task of a command; None of a script's.
        metric: what ranks.
        trials: status -> number of trials; {"planned": number} of a run that has not ended yet.
        hparams, value, test: the winner's hyperparameters, its value and its test value, or None.
    """

    path: str
    written: float
    size: int
    state: str
    dataset: str | None = None
    metric: str | None = None
    trials: Mapping[str, int] = dataclasses.field(default_factory=dict)
    hparams: Mapping[str, Any] | None = None
    value: float | None = None
    test: float | None = None


def runs_below(folder: Path) -> list[Entry]:
    """The runs and sessions in a folder and those below it, the one written last first; links are not followed."""
    return sorted(map(entry_of, directories_below(folder)), key=lambda entry: (-entry.written, entry.path))


def directories_below(folder: Path) -> Iterator[Path]:
    """The directories of runs and sessions; in these there are no others."""
    for place, folders, files in os.walk(folder):
        if set(HOLDS.values()) & set(files):
            folders.clear()
            yield Path(place)
        folders[:] = sorted(name for name in folders if not name.startswith("."))


def entry_of(directory: Path) -> Entry:
    """The entry of a directory; what is wrong with its files is its state."""
    entry = Entry(str(directory), 0.0, 0, state="")
    try:
        entry = dataclasses.replace(entry, **written_and_size(directory))
        check_plain(directory)
        if not (directory / HOLDS["run"]).exists():
            check_format(directory, read_json(directory / HOLDS["session"]))
            return dataclasses.replace(entry, state=IN_USE if in_use(directory) else SESSION)
        run, summary = files_of_run(directory)
        cleaned = ", cleaned" if (directory / STATE / CLEANED).exists() else ""
        return dataclasses.replace(entry, state=state_now(directory, run, summary) + cleaned, **told(run, summary))
    except (ValueError, OSError, RecursionError) as error:
        return dataclasses.replace(entry, state=first_line(error))


def written_and_size(directory: Path) -> dict[str, Any]:
    """When the files of a directory were last written to, in seconds since 1970, and their size in bytes."""
    last, size = 0.0, 0
    for place, _, files in os.walk(directory):
        for name in files:
            with contextlib.suppress(FileNotFoundError):  # of a run in progress
                status = os.lstat(os.path.join(place, name))
                last, size = max(last, status.st_mtime), size + status.st_size
    return {"written": last, "size": size}


def check_plain(directory: Path) -> None:
    """Raise ValueError unless the files that are read are plain ones of a usual size, since nobody named them."""
    for name in (*HOLDS.values(), SUMMARY, NAME):
        path = directory / name
        if os.path.lexists(path):
            status = path.lstat()
            if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
                raise ValueError(f"{name} is no plain file, or too large to be read")


def files_of_run(directory: Path) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """run.json and summary.json, None if the run has not ended yet; raises ValueError, and Corrupt for damaged ones."""
    run = read_json(directory / HOLDS["run"])
    check_format(directory, run)
    path = directory / SUMMARY
    return run, read_json(path) if path.exists() else None


def state_now(directory: Path, run: Mapping[str, Any], summary: Mapping[str, Any] | None) -> str:
    """One of the words above: how a run ended, unless a process writes to it."""
    return IN_USE if in_use(directory) else state_in_files(directory, run, summary)


def state_in_files(directory: Path, run: Mapping[str, Any], summary: Mapping[str, Any] | None) -> str:
    """How a run ended, by its files."""
    files = (summary or {}).get("files")
    written = files.get(HOLDS["run"]) if isinstance(files, Mapping) else None
    if summary is None or written not in (None, digest_of_json(run)):  # one that was resumed to be longer
        return UNFINISHED
    if summary.get("cut_short") or (summary.get("stopped") and not summary.get("best")):
        return BY_MINUTES if last_remark(directory / NAME) == "minutes" else STOPPED
    return FINISHED


def last_remark(log: Path) -> Any:
    """What stopped a run, as the last line of its log says; None if it says nothing of it."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
            lines = file.read().splitlines(keepends=True)
    except OSError:
        return None
    return (content_of_line(lines[-1]) or {}).get("stopped") if lines else None


def told(run: Mapping[str, Any], summary: Mapping[str, Any] | None) -> dict[str, Any]:
    """The fields of an entry that a run's files tell; those of another type than they should be are left out."""
    arguments = run.get("arguments")
    asked = arguments if isinstance(arguments, Mapping) else {}
    dataset = asked.get("task") or asked.get("dataset")
    metric = (run.get("rank") or {}).get("metric") if isinstance(run.get("rank"), Mapping) else None
    fields = {"dataset": text_or_none(dataset), "metric": text_or_none(metric)}
    if summary is None:
        return fields | {"trials": {"planned": count_at(run, "trials")}}
    lost = {name: count_at(summary, name) for name in ("diverged", "pruned", "stopped")}
    counts = {"complete": count_at(summary, "trials") - sum(lost.values())} | lost
    best = summary.get("best")
    hparams = best.get("hparams") if isinstance(best, Mapping) else None
    return fields | {
        "trials": {name: count for name, count in counts.items() if count},
        "hparams": scalars(hparams) if isinstance(hparams, Mapping) else None,
        "value": figure_at(summary, "best", "value"),
        "test": figure_at(summary, "test_value"),
    }


def scalars(values: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that are numbers, texts or truth values; numbers that are not finite become None."""
    return {name: jsonable(value) for name, value in values.items() if isinstance(value, str | int | float)}


def text_or_none(value: Any) -> str | None:
    """A text, or None for anything else."""
    return value if isinstance(value, str) else None


def count_at(summary: Mapping[str, Any], *path: str) -> int:
    """The whole number at a path; 0 if there is none."""
    return int(figure_at(summary, *path) or 0)


def figure_at(summary: Mapping[str, Any], *path: str) -> float | None:
    """The number at a path of a summary; None if there is none, or it is not finite."""
    figure: Any = summary
    for name in path:
        figure = figure.get(name) if isinstance(figure, Mapping) else None
    finite = isinstance(figure, int | float) and abs(figure) < float("inf")
    return figure if finite else None


def as_json(entries: list[Entry]) -> str:
    """The entries as a JSON list of objects."""
    return json.dumps([dataclasses.asdict(entry) for entry in entries], indent=1, allow_nan=False)
