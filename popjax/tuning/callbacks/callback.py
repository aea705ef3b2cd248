"""The contract of a callback, and how a run calls them. No JAX here."""

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from popjax.core.text import failure, tell
from popjax.rule import Rule
from popjax.scheduler import Decision, Trials
from popjax.space.space import Space
from popjax.store.results import Results
from popjax.task import Metric

if TYPE_CHECKING:
    from popjax.engine.population import EpochResult


class Run(NamedTuple):
    """What a callback is told of a run before anything is trained.

    Attributes:
        space: the hyperparameters.
        rule: what counts as best.
        metrics: the names of all metrics.
        trials, epochs, folds, repeats: how many.
        programs: how many programs the first trials take.
        fitting: how many members can train at the same time.
        out: the directory of the run, if there is one.
        resting: bool (n, folds, repeats): of a run that goes on, the members that are out of patience already.
    """

    space: Space
    rule: Rule
    metrics: tuple[str, ...]
    trials: int
    epochs: int
    folds: int
    repeats: int
    programs: int
    fitting: int
    out: Path | None
    resting: np.ndarray

    @property
    def metric(self) -> Metric:
        """The metric that ranks."""
        return self.rule.metric


class Callback:
    """Who listens to a run: empty methods, called in the caller's thread.

    One that raises is reported once, and called no more; the run goes on.

    >>> class Worst(Callback):
    ...     def begin(self, run):
    ...         self.worst = 0.0
    ...     def epoch(self, result):
    ...         self.worst = max(self.worst, float(result.metrics["loss"].max()))
    >>> import popjax as pj
    >>> worst = Worst()
    >>> task = pj.objective(lambda key, hparams: {"loss": hparams["x"] ** 2})
    >>> results = pj.search(task, {"x": pj.uniform(0, 1)}, trials=50, callbacks=[worst])
    >>> bool(worst.worst == results.curves["loss"].max())
    True
    """

    essential = False  # whether the run ends where it fails

    def begin(self, run: Run) -> None:
        """Training is about to begin."""

    def epoch(self, result: "EpochResult") -> None:
        """Some members have trained an epoch."""

    def decision(self, decision: Decision, trials: Trials) -> None:
        """A decision is about to act on the trials as they stand."""

    def end(self, results: Results) -> None:
        """The run is over, or was stopped."""

    def close(self) -> None:
        """Nothing comes any more, also where the run or this failed: give back what is held, such as a terminal."""


class Callbacks:
    """All who listen."""

    def __init__(self, listeners: Iterable[Callback]) -> None:
        self.listeners = list(listeners)

    @property
    def hear_epochs(self) -> bool:
        """Whether anybody wants to know of epochs."""
        return any(type(listener).epoch is not Callback.epoch for listener in self.listeners)

    def begin(self, run: Run) -> None:
        """Call all `begin`."""
        self._call(lambda listener: listener.begin(run))

    def epoch(self, result: "EpochResult") -> None:
        """Call all `epoch`."""
        self._call(lambda listener: listener.epoch(result))

    def decision(self, decision: Decision, trials: Trials) -> None:
        """Call all `decision`."""
        self._call(lambda listener: listener.decision(decision, trials))

    def end(self, results: Results) -> None:
        """Call all `end`."""
        self._call(lambda listener: listener.end(results))

    def close(self) -> None:
        """Call all `close`."""
        self._call(lambda listener: listener.close(), and_close=False)

    def _call(self, call: Callable[[Callback], Any], and_close: bool = True) -> None:
        for listener in list(self.listeners):
            try:
                call(listener)
            except Exception as error:
                if listener.essential:
                    raise
                self.listeners.remove(listener)
                tell(f"popjax: the callback {type(listener).__name__} failed ({failure(error)}); the run goes on")
                with contextlib.suppress(Exception):  # it is known to fail
                    if and_close:
                        listener.close()
