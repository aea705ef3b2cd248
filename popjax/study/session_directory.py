"""The directory of a session: what began it, its decisions, and its commits."""

import weakref
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from popjax.core.storage import Corrupt, locked
from popjax.engine.identity import differences, identity
from popjax.engine.population import Population
from popjax.space.space import Space
from popjax.store.commits import Commits
from popjax.store.decisions import Log
from popjax.store.files import FORMAT, check_directory, check_format, read_json, write_json, write_table
from popjax.store.session_files import CURVES, NAME
from popjax.store.trial_columns import curves_table


class SessionDirectory:
    """What a session writes: what began it, its decisions, and its commits.

    It is this process's alone. The session that was opened last has it: a notebook's cell that is run again opens
    one while the one before still lives.

    Attributes:
        recorded: what began the session that is gone on with; empty for a new one.
    """

    def __init__(self, path: Path, space: Space, resume: bool) -> None:
        """Raises InUse where another process has it."""
        self.path = path.resolve()
        check_directory(path, "session" if resume else None)
        begun = (path / NAME).exists()
        self.recorded = read_json(path / NAME) if begun else {}
        if begun:
            check_format(path, self.recorded)
        self.lock: ExitStack = ExitStack()
        if self.path not in OPEN:
            self._take()
        self.commits = Commits.load(self.path / "state")
        if self.commits.lost is not None:
            self.commits.forget()  # all is trained again, as the log says
            self.commits.decision = 0
        self.log = Log(space, self.path)
        if not begun:
            self.log.cut([])

    def _take(self) -> None:
        """Have the directory, in the place of the session that has it, if there is one in this process."""
        before = OPEN.get(self.path)
        if before is self:
            return
        if before is not None:
            before.lock.close()
        self.lock.enter_context(locked(self.path))
        OPEN[self.path] = self

    def check(self) -> None:
        """Raise ValueError where a session that was opened later has the directory."""
        if OPEN.get(self.path) is not self:
            raise ValueError(f"another session went on in {str(self.path)!r}; use that one")

    def begin(self, population: Population, about: Mapping[str, Any]) -> None:
        """Say what the session is of, before it is trained."""
        self._take()
        write_json(self.path / NAME, {**about, **session_record(population), "format": FORMAT})

    def write_curves(self, curves: Mapping[str, np.ndarray], epochs: int) -> None:
        """Write what all models reported up to an epoch: metric -> (trials, folds, repeats, epochs)."""
        known = {name: values[..., :epochs] for name, values in curves.items()}
        write_table(self.path / CURVES, curves_table(known))

    def resume(self, population: Population) -> None:
        """Have the directory of a session that is gone on with; raises ValueError for another session's."""
        now = session_record(population)
        if found := differences({name: self.recorded.get(name) for name in now}, now):
            raise ValueError(f"{str(self.path)!r} cannot be resumed so: {'; '.join(found)}")
        if not self.log.steps:
            raise Corrupt(f"{str(self.path)!r} has lost its decisions; begin again in another directory")
        self._take()


def session_record(population: Population) -> dict[str, Any]:
    """What tells a session from another."""
    roster, config = population.roster, population.config
    known = {"epochs": config.epochs, "seed": config.seed, "folds": config.folds, "repeats": config.repeats}
    about = {"data": identity(roster.task), "task": dict(roster.task.settings)}
    return known | about | {"space": roster.space.to_dict()}


OPEN: weakref.WeakValueDictionary[Path, SessionDirectory] = weakref.WeakValueDictionary()  # by directory
