"""What asks a run to stop at the end of an epoch. No JAX here."""

import threading


class Stop:
    """A flag, as `threading.Event` is one, without a lock: a signal's handler may set it, whatever is interrupted."""

    def __init__(self) -> None:
        self._asked = False

    def set(self) -> None:
        """Ask for a stop."""
        self._asked = True

    def clear(self) -> None:
        """Ask for none any more."""
        self._asked = False

    def is_set(self) -> bool:
        """Whether a stop is asked for."""
        return self._asked


Flag = Stop | threading.Event
