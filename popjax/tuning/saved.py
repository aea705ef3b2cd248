"""The directory of a session: what began it, its decisions, and its commits."""

import weakref
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from popjax.core.storage import Corrupt, locked
from popjax.engine.identity import differences, identity
from popjax.engine.population import Population
from popjax.space.space import Space
from popjax.store.commits import Commits
from popjax.store.decisions import Log
from popjax.store.files import check_directory, read_json, write_json

NAME = "session.json"


class Saved:
    """The directory of a session: what began it, its decisions, and its commits.

    It is this process's alone. The session that was opened last has it: a notebook's cell that is run again opens
    one while the one before still lives.
    """

    def __init__(self, path: Path, space: Space, resume: bool) -> None:
        """Raises InUse where another process has it."""
        self.path = path.resolve()
        if (path / NAME).exists() and not resume:
            raise ValueError(f"{str(path)!r} holds a session; choose another directory, or go on with it: resume=True")
        check_directory(path)
        self.lock: ExitStack = ExitStack()
        if self.path not in OPEN:
            self._take()
        self.commits = Commits.load(self.path / "state")
        self.log = Log(space, self.path)
        if not (path / NAME).exists():
            self.log.cut(0)

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

    def begin(self, population: Population) -> None:
        """Say what the session is of, before it is trained."""
        self._take()
        write_json(self.path / NAME, self._about(population))

    def take_up(self, population: Population) -> int:
        """Let the population stand as it is committed; the epoch. Raises ValueError for another session's."""
        if self.commits.lost is not None:
            raise Corrupt(f"{self.commits.lost}; begin again in another directory")
        then, now = read_json(self.path / NAME), self._about(population)
        if found := differences({name: then.get(name) for name in now}, now):
            raise ValueError(f"{str(self.path)!r} cannot be resumed so: {'; '.join(found)}")
        self._take()
        self.log.cut(max(self.commits.decision or 1, 1))  # what came after the last commit is to be done again
        population.prepare(step.decision for step in self.log.steps)
        population.take_up()
        population.table.stopped[list(self.log.steps[-1].stopped)] = True
        population.advance(population.applied - 1, self.log.steps[-1].decision)  # who was behind catches up
        return int(population.table.curves.epochs.max())

    def _about(self, population: Population) -> dict[str, Any]:
        roster, config = population.roster, population.config
        known = {"epochs": config.epochs, "seed": config.seed, "folds": config.folds, "repeats": config.repeats}
        return known | {
            "data": identity(roster.task),
            "task": dict(roster.task.hints.settings),
            "space": roster.space.to_dict(),
        }


OPEN: weakref.WeakValueDictionary[Path, Saved] = weakref.WeakValueDictionary()  # by directory
