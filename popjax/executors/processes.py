"""Processes of this machine, by loky: they do not import the user's script, and end with their parent."""

import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from typing import Any

from popjax.core.counts import check_text

NO_LIMIT = "1e18"  # bytes
TAKEN = 0.75  # of a card's memory, by all its processes
FRACTION, OLD_FRACTION = "XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION"  # JAX refuses both together


def processes(count: str) -> Callable[[], Any]:
    """A function that makes an executor of so many processes; raises ValueError for no whole number from 1."""
    number = check_text("processes", count)
    return lambda: Processes(number)


class Processes:
    """An executor of `count` processes, each of which trains one unit at a time.

    Each is a pool of its own, with a thread that waits for it: a standard pool loses all its work, and what its
    processes have compiled, when one of them dies.

    Attributes:
        pools: one per process.

    >>> executor = Processes(1)
    >>> executor.submit(max, 1, 2).result()
    2
    >>> executor.shutdown()
    """

    def __init__(self, count: int) -> None:
        self._shares = shares(count, cards())
        self.pools = [pool(share) for share in self._shares]
        self._free: queue.SimpleQueue[int] = queue.SimpleQueue()
        for number in range(count):
            self._free.put(number)
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="popjax-process")
        self._over = False

    def submit(self, fn: Callable[..., Any], *args: Any) -> "Future[Any]":
        """Run on the first free process; the future has a ChildProcessError if it dies."""
        return self._threads.submit(self._call, fn, *args)

    def shutdown(self, wait: bool = True) -> None:
        """Kill the processes, even at work."""
        self._over = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        for pool in self.pools:
            pool.shutdown(wait=wait, kill_workers=True)

    def _call(self, fn: Callable[..., Any], *args: Any) -> Any:
        number = self._free.get()
        try:
            return self.pools[number].submit(fn, *args).result()
        except BrokenExecutor as error:
            if not self._over:
                self.pools[number] = pool(self._shares[number])
            raise ChildProcessError(str(error).splitlines()[0]) from None
        finally:
            self._free.put(number)


def pool(share: dict[str, str] | None = None) -> Any:
    """A pool of one process, with its share of the accelerators in its environment, if it is to train.

    It never begins anew as loky's do where memory grows: programs that are kept are no leak.
    """
    from loky import ProcessPoolExecutor

    environment = {"LOKY_MAX_MEMORY_LEAK_SIZE": NO_LIMIT} | (share or {})
    return ProcessPoolExecutor(1, initializer=begin, initargs=(os.getpid(),), env=environment)


def cards() -> list[str]:
    """The GPUs that this process sees, as CUDA_VISIBLE_DEVICES names them; empty on other devices."""
    import jax

    from popjax.core.machine import visible_cards

    if jax.default_backend() != "gpu":
        return []
    return visible_cards() or [str(number) for number in range(jax.local_device_count())]


def shares(count: int, cards: list[str]) -> list[dict[str, str]]:
    """The environment of each of `count` processes: a card of its own, or with others its share of one's memory.

    JAX takes three quarters of a card for each process, unless XLA_CLIENT_MEM_FRACTION says otherwise.

    >>> shares(2, ["0", "1", "2"])
    [{'CUDA_VISIBLE_DEVICES': '0'}, {'CUDA_VISIBLE_DEVICES': '1'}]
    >>> shares(2, ["0"])[1]
    {'CUDA_VISIBLE_DEVICES': '0', 'XLA_CLIENT_MEM_FRACTION': '0.375', 'XLA_PYTHON_CLIENT_MEM_FRACTION': ''}
    """
    if not cards or count <= len(cards):
        return [{"CUDA_VISIBLE_DEVICES": card} for card in cards[:count]] or [{} for _ in range(count)]
    taken = float(os.environ.get(FRACTION) or os.environ.get(OLD_FRACTION) or TAKEN)
    together = [len(range(card, count, len(cards))) for card in range(len(cards))]
    return [
        {
            "CUDA_VISIBLE_DEVICES": cards[number % len(cards)],
            FRACTION: f"{taken / together[number % len(cards)]:.3g}",
            OLD_FRACTION: "",
        }
        for number in range(count)
    ]


def begin(parent: int) -> None:
    """Initialize a process: ignore Ctrl-C, which is the parent's, and end when the parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()


def end_with(parent: int) -> None:
    """End this process once its parent is another one."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
