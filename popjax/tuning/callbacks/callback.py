"""The base class of callbacks, and how a run calls them. No JAX here."""

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from popjax.core.faults import fault
from popjax.core.text import tell
from popjax.metric import Metric
from popjax.rule import Rule
from popjax.scheduler import Decision, Trials
from popjax.space.space import Space
from popjax.store.results import Results

if TYPE_CHECKING:
    from popjax.engine.trainer import EpochResult


class Run(NamedTuple):
    """What a callback receives before anything is trained.

    Attributes:
        space: the hyperparameters.
        rule: which epoch counts, and how trials are ordered.
        metrics: the names of all metrics.
        trials, epochs, folds, repeats: their numbers.
        programs: number of programs of the trials so far.
        fitting: number of members that can train at the same time; None if not known.
        out: the directory of the run; None if it writes none.
        resting: bool (n, folds, repeats): on resume, the members that are out of patience already.
    """

    space: Space
    rule: Rule
    metrics: tuple[str, ...]
    trials: int
    epochs: int
    folds: int
    repeats: int
    programs: int
    fitting: int | None
    out: Path | None
    resting: np.ndarray

    @property
    def metric(self) -> Metric:
        """The metric that ranks."""
        return self.rule.metric


class Callback:
    """Base class of callbacks: empty methods, called in the caller's thread.

    A callback that raises is reported once, and not called again; the run goes on.

    >>> import popjax as pj
    >>> class Worst(pj.Callback):
    ...     def begin(self, run):
    ...         self.worst = 0.0
    ...     def epoch(self, result):
    ...         self.worst = max(self.worst, float(result.metrics["loss"].max()))
    >>> worst = Worst()
    >>> task = pj.objective(lambda key, hparams: {"loss": hparams["x"] ** 2})
    >>> results = pj.search(task, {"x": pj.uniform(0, 1)}, trials=50, callbacks=[worst])
    >>> bool(worst.worst == results.curves["loss"].max())
    True
    """

    essential = False  # True: the run ends if this callback raises

    def begin(self, run: Run) -> None:
        """Called before training begins."""

    def epoch(self, result: "EpochResult") -> None:
        """Called when some members have trained an epoch; of epochs below 50 ms, for several, one after another."""

    def decision(self, decision: Decision, trials: Trials) -> None:
        """Called before a decision acts, with the trials as they are; `stopped` as from this decision on."""

    def end(self, results: Results) -> None:
        """Called with the results when the run is over, or was stopped."""

    def close(self) -> None:
        """Called last, also if the run or this callback failed: release resources, such as a terminal."""


HOOKS = ("begin", "epoch", "decision", "end", "close")


def hears(listener: Callback, name: str) -> bool:
    """True if a callback has this method of its own, from its class or set on the object."""
    return getattr(getattr(listener, name), "__func__", None) is not getattr(Callback, name)


class Callbacks:
    """The callbacks of a run."""

    def __init__(self, listeners: Iterable[Callback]) -> None:
        self.listeners = list(listeners)

    @property
    def hear_epochs(self) -> bool:
        """True if a callback has an `epoch` of its own."""
        return any(hears(listener, "epoch") for listener in self.listeners)

    def begin(self, run: Run) -> None:
        """Call all `begin`."""
        self._call("begin", run)

    def epoch(self, result: "EpochResult") -> None:
        """Call all `epoch`."""
        self._call("epoch", result)

    def decision(self, decision: Decision, trials: Trials) -> None:
        """Call all `decision`."""
        self._call("decision", decision, trials)

    def end(self, results: Results) -> None:
        """Call all `end`."""
        self._call("end", results)

    def close(self) -> None:
        """Call all `close`."""
        self._call("close")

    def _call(self, name: str, *arguments: Any) -> None:
        for listener in list(self.listeners):
            try:
                getattr(listener, name)(*arguments)
            except Exception as error:
                if listener.essential:
                    raise
                self.listeners.remove(listener)
                tell(f"popjax: {fault(f'the callback {type(listener).__name__}: {name}', error)}; the run goes on")
                with contextlib.suppress(Exception):  # it is known to fail
                    if name != "close":
                        listener.close()
