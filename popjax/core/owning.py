"""A directory that one object of one process writes to: the one that took it last."""

import weakref
from contextlib import ExitStack
from pathlib import Path

from popjax.core.storage import locked


class Owner:
    """The lock of a directory, which a later object of this process may take over: a notebook cell is run again.

    Raises InUse if another process has it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.lock = ExitStack()
        weakref.finalize(self, self.lock.close)  # also as Python ends, while there are still modules
        if self.path not in OWNERS:
            self.take()

    def take(self) -> None:
        """Own the directory, in the place of the object of this process that does, if there is one."""
        before = OWNERS.get(self.path)
        if before is self:
            return
        if before is not None:
            before.lock.close()
        self.lock.enter_context(locked(self.path))
        OWNERS[self.path] = self

    @property
    def owns(self) -> bool:
        """Nothing else has taken it since."""
        return OWNERS.get(self.path) is self


OWNERS: weakref.WeakValueDictionary[Path, Owner] = weakref.WeakValueDictionary()
