"""The directory of a session: session.json, its journal, and curves.parquet."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from popjax.core.owning import Owner
from popjax.core.storage import Corrupt
from popjax.core.text import plural, tell
from popjax.engine.identity import identity, other_code
from popjax.engine.traced_task import Config, TracedTask
from popjax.space.space import Points, Space
from popjax.store.files import check_directory, write_table
from popjax.store.run_files import CURVES
from popjax.store.trial_columns import curves_table
from popjax.study.directory import Recorded
from popjax.task import Task


class SessionDirectory(Recorded):
    """The files of a session, which the one that was opened last owns.

    Args:
        path, space: see Recorded.
        resume: whether they may hold a session, which goes on.
        known: what it begins with, as `record_of` says.
        points: of its trials.

    Raises ValueError unless a recorded session began so, Corrupt for damaged files, InUse if another process has them.
    """

    def __init__(self, path: Path, space: Space, resume: bool, known: Mapping[str, Any], points: Points) -> None:
        check_directory(path, "session" if resume else None)
        self.owner = Owner(path)
        super().__init__(path.resolve(), "session", space)
        if self.commits.lost is not None:
            self.commits.forget()  # all is trained again from the journal
        if self.recorded:
            self._check_same(known, points)

    def write_curves(self, curves: Mapping[str, np.ndarray], epochs: int) -> None:
        """Write curves.parquet up to an epoch, from metric -> (trials, folds, repeats, epochs)."""
        known = {name: values[..., :epochs] for name, values in curves.items()}
        write_table(self.path / CURVES, curves_table(known))

    def _check_same(self, known: Mapping[str, Any], points: Points) -> None:
        """Raise ValueError unless the recorded session began so, and with these points; Corrupt without decisions."""
        name = str(self.path)
        self.refuse({key: self.recorded.get(key) for key in known}, known)
        if not self.journal.steps:
            raise Corrupt(f"{name!r} has lost its decisions; start again in another directory")
        begun = self.journal.steps[0].decision.add
        if any(not np.array_equal(begun[key], points[key]) for key in begun):
            what = f"it began with {plural(len(next(iter(begun.values()))), 'trial')} of other hyperparameters"
            raise ValueError(f"{name!r} cannot be resumed so: {what}; give those that it began with")

    def owned(self, traced: TracedTask) -> bool:
        """Own the directory; True for a recorded session, and it is said if its code or JAX's settings were changed.

        Raises ValueError for settings that give other random numbers, or other kinds of numbers.
        """
        warnings = self.other_settings()
        if self.recorded and other_code(self.recorded, traced):
            warnings.append("the code of the task was changed since, and the curves will hold both")
        for warning in warnings:
            tell(f"popjax: {str(self.path)!r}: {warning}")
        self.owner.take()
        return bool(self.recorded)


def record_of(task: Task, space: Space, config: Config, numbers: np.ndarray | None) -> dict[str, Any]:
    """The entries of session.json that tell what a session began with; `numbers` of its trials give their keys."""
    asked: dict[str, Any] = {
        "epochs": config.epochs,
        "seed": config.seed,
        "folds": config.folds,
        "repeats": config.repeats,
    }
    own = None if numbers is None or np.array_equal(numbers, np.arange(len(numbers))) else numbers.tolist()
    asked |= {"numbers": own}
    return asked | {"data": identity(task), "task": dict(task.settings), "space": space.to_dict()}
