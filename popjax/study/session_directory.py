"""The directory of a session: session.json, decisions and commits."""

import weakref
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from popjax.core.storage import Corrupt, locked
from popjax.core.text import plural, tell
from popjax.engine.identity import code, differences, identity, other_code
from popjax.engine.population import Population
from popjax.space.space import Points, Space
from popjax.store.commits import Commits
from popjax.store.decisions import Log
from popjax.store.files import FORMAT, check_directory, check_format, read_json, write_json, write_table
from popjax.store.session_files import CURVES, NAME
from popjax.store.trial_columns import curves_table


class SessionDirectory:
    """The files of a session: session.json, decisions and commits.

    The directory is locked for this process, and owned by the session that was opened last: a notebook cell that is run
    again opens one while the previous one still exists.

    Attributes:
        recorded: session.json of the session to resume; empty for a new one.
    """

    def __init__(self, path: Path, space: Space, resume: bool) -> None:
        """Open the directory. Raises InUse if another process has locked it."""
        self.path = path.resolve()
        check_directory(path, "session" if resume else None)
        begun = (path / NAME).exists()
        self.recorded = read_json(path / NAME) if begun else {}
        if begun:
            check_format(path, self.recorded)
        self.lock: ExitStack = ExitStack()
        weakref.finalize(self, self.lock.close)  # also as Python ends, while there are still modules
        if self.path not in OPEN:
            self._take()
        self.commits = Commits.load(self.path / "state")
        if self.commits.lost is not None:
            self.commits.forget()  # all is trained again from the log
            self.commits.decision = 0
        self.log = Log(space, self.path)
        if not begun:
            self.log.cut([])

    def _take(self) -> None:
        """Own the directory, instead of the session of this process that does, if there is one."""
        before = OPEN.get(self.path)
        if before is self:
            return
        if before is not None:
            before.lock.close()
        self.lock.enter_context(locked(self.path))
        OPEN[self.path] = self

    def check(self) -> None:
        """Raise ValueError if a session that was opened later owns the directory."""
        if OPEN.get(self.path) is not self:
            raise ValueError(f"another session resumed {str(self.path)!r}; use that one")

    def begin(self, population: Population, about: Mapping[str, Any]) -> None:
        """Write session.json, before training."""
        self._take()
        known = {**about, **session_record(population), "code": code(population.roster), "format": FORMAT}
        write_json(self.path / NAME, known)

    def write_curves(self, curves: Mapping[str, np.ndarray], epochs: int) -> None:
        """Write curves.parquet up to an epoch, from metric -> (trials, folds, repeats, epochs)."""
        known = {name: values[..., :epochs] for name, values in curves.items()}
        write_table(self.path / CURVES, curves_table(known))

    def resume(self, population: Population, points: Points) -> None:
        """Own the directory of a resumed session that began with `points`, and say if its code was changed since.

        Raises ValueError if it is another one, Corrupt without decisions.
        """
        now = session_record(population)
        if found := differences({name: self.recorded.get(name) for name in now}, now):
            raise ValueError(f"{str(self.path)!r} cannot be resumed so: {'; '.join(found)}")
        if not self.log.steps:
            raise Corrupt(f"{str(self.path)!r} has lost its decisions; start again in another directory")
        begun = self.log.steps[0].decision.add
        if any(not np.array_equal(begun[name], points[name]) for name in begun):
            trials = len(next(iter(begun.values())))
            what = f"it began with {plural(trials, 'trial')} of other hyperparameters"
            raise ValueError(f"{str(self.path)!r} cannot be resumed so: {what}; give those that it began with")
        if other_code(self.recorded, population.roster):
            tell(f"popjax: {str(self.path)!r}: the code of the task was changed since, and the curves will hold both")
        self._take()


def session_record(population: Population) -> dict[str, Any]:
    """The entries of session.json that identify a session."""
    roster, config = population.roster, population.config
    known = {"epochs": config.epochs, "seed": config.seed, "folds": config.folds, "repeats": config.repeats}
    about = {"data": identity(roster.task), "task": dict(roster.task.settings)}
    return known | about | {"space": roster.space.to_dict()}


OPEN: weakref.WeakValueDictionary[Path, SessionDirectory] = weakref.WeakValueDictionary()  # directory -> its owner
