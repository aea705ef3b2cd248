"""TensorBoard: a run with the search's series, and one for each of the best trials, for its HParams page."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from popjax.core.text import cell, check_installed
from popjax.tracking.tracker import Tracker, Trial, Whole, by_epoch


def tensorboard(directory: Any = "runs/tensorboard", top: int = 0) -> Tracker:
    """Write event files with tensorboardX; look at them with `tensorboard --logdir DIRECTORY`.

    Args:
        directory: the search gets a directory of its own in it.
        top: number of the best trials to write curves of.

    Raises ValueError if tensorboardX is not installed.
    """
    check_installed("tracker 'tensorboard'", "tensorboardX")
    return Tracker(TensorBoard(directory), top)


class TensorBoard:
    """Writes event files."""

    def __init__(self, directory: Any) -> None:
        self.base = self.directory = Path(directory)
        self.writer: Any = None

    def begin(self, name: str, config: Mapping[str, Any]) -> None:
        from tensorboardX import SummaryWriter

        self.directory = fresh(self.base / name)
        self.writer = SummaryWriter(str(self.directory))
        self.writer.add_text("config", "\n".join(f"    {name}: {value}" for name, value in config.items()))

    def now(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(f"now/{name}", value, step)

    def end(self, whole: Whole) -> None:
        from tensorboardX import SummaryWriter

        add(self.writer, {f"epoch/{name}": values for name, values in whole.epochs.items()})
        lines = [f"    {name}: {value}" for name, value in whole.summary.items()]
        self.writer.add_text("summary", "\n".join([*lines, *(f"    {file.name}: {file}" for file in whole.files[1:])]))
        self.writer.add_text("trials", markdown_table(whole.best))
        for rank, trial in enumerate(whole.best):
            last = {f"last/{name}": last_finite(curve) for name, curve in trial.curves.items()}
            hparams = {name: value for name, value in trial.hparams.items() if value is not None}
            self.writer.add_hparams(hparams, last, name=f"trial-{trial.number}")
            if rank < whole.curves:
                with SummaryWriter(str(self.directory / f"trial-{trial.number}"), filename_suffix=".curves") as writer:
                    add(writer, {f"trial/{name}": curve for name, curve in trial.curves.items()})

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()


def markdown_table(trials: list[Trial]) -> str:
    """The best trials as a Markdown table, a row each."""
    names = list(dict.fromkeys(name for trial in trials for name in trial.hparams))
    rows = [["trial", *names, *(name for trial in trials[:1] for name in trial.curves)]]
    rows.append(["---"] * len(rows[0]))
    for trial in trials:
        last = [cell(last_finite(curve)) for curve in trial.curves.values()]
        rows.append([str(trial.number), *(cell(trial.hparams.get(name)) for name in names), *last])
    return "\n".join(f"| {' | '.join(text.replace('|', chr(92) + '|') for text in row)} |" for row in rows)


def last_finite(curve: np.ndarray) -> float:
    """The last finite value of a curve (epochs,), whose rest is NaN if its trial rested or was stopped."""
    return float(curve[np.isfinite(curve)][-1])


def add(writer: Any, series: Mapping[str, np.ndarray]) -> None:
    """Write series, name -> (epochs,)."""
    for epoch, values in by_epoch(series):
        for name, value in values.items():
            writer.add_scalar(name, value, epoch)


def fresh(directory: Path) -> Path:
    """The directory, with a number appended if it exists, since events of two searches would mix."""
    others = (directory.with_name(f"{directory.name}-{number}") for number in itertools.count(2))
    return next(path for path in itertools.chain([directory], others) if not path.exists())
