"""The flag that requests a run to stop at the end of an epoch. No JAX here."""

import threading


class Stop:
    """A flag like `threading.Event`, but without a lock, so that a signal handler may set it at any point."""

    def __init__(self) -> None:
        self._asked = False

    def set(self) -> None:
        """Request a stop."""
        self._asked = True

    def clear(self) -> None:
        """Withdraw the request."""
        self._asked = False

    def is_set(self) -> bool:
        """True if a stop is requested."""
        return self._asked


Flag = Stop | threading.Event
