"""The options of a search, each defined once: see `popjax.search`. No JAX here."""

import dataclasses
from dataclasses import field
from typing import Any, Self

import numpy as np

from popjax.core.calls import name_of
from popjax.core.counts import check_count, check_seed
from popjax.core.options import FREE, Options
from popjax.rules.entering import check_members
from popjax.rules.named_rules import rule_of, written_rule
from popjax.tuning.proposals import learns
from popjax.tuning.schedulers.named_schedulers import SCHEDULERS, scheduler_of, takes_problem, text_of
from popjax.tuning.schedulers.rounds import check_rounds, rounds_and_inner


@dataclasses.dataclass(frozen=True)
class SearchOptions(Options):
    """What is searched, and how.

    On resume more trials or epochs are accepted where they change nothing that was trained.
    """

    trials: int = 512
    epochs: int = 20
    seed: int = 0
    sampler: Any = field(default="random", metadata={"text": name_of})
    repeats: int = 1
    folds: int = 1
    rank: Any = field(default=None, metadata={"text": written_rule})
    scheduler: Any = field(default=None, metadata={"text": lambda given: text_of(rounds_and_inner(given)[1])})
    start: Any = None
    every: int | None = field(default=None, metadata=FREE)
    minutes: float | None = field(default=None, metadata=FREE)

    @property
    def rounds(self) -> int | None:
        """Number of rounds; None if the scheduler has none."""
        return rounds_and_inner(self.scheduler)[0]

    @property
    def inner(self) -> Any:
        """The scheduler, of each round if there are rounds; None if all train to the end."""
        return rounds_and_inner(self.scheduler)[1]

    def checked(self) -> Self:
        """The options with counts as ints, and texts replaced by a rule and a scheduler.

        Raises ValueError for invalid options, and for those that exclude each other.
        """
        counts = ("trials", "epochs", "repeats", "folds", *(["every"] if self.every is not None else []))
        whole: dict[str, Any] = {name: check_count(name, getattr(self, name)) for name in counts}
        options = dataclasses.replace(self, **whole, seed=check_seed(self.seed), rank=rule_of(self.rank))
        check_members(options.rank, options.folds * options.repeats)
        check_minutes(options.minutes)
        if isinstance(options.scheduler, str):
            options = dataclasses.replace(options, scheduler=scheduler_of(options.scheduler))
        options._check_scheduler()
        return options

    def _check_scheduler(self) -> None:
        """Raise ValueError for what is no scheduler, and for an impossible number of rounds."""
        rounds, scheduler = self.rounds, self.scheduler
        if learns(self.sampler) and rounds == 1 and self.trials > 1:
            what = "a sampler that learns has nothing to learn from"
            raise ValueError(f"rounds=1: {what}; give at least 2, or leave it out")
        if rounds is not None:
            check_rounds(rounds, self.trials)
        if scheduler is not None and not callable(scheduler):
            raise ValueError(f"the scheduler is a {type(scheduler).__name__}; give one such as popjax.halving()")
        for name, make in SCHEDULERS.items():
            if make in (scheduler, self.inner) and not takes_problem(make):
                raise ValueError(f"scheduler is the function {name}; call it: popjax.{name}()")


def check_minutes(minutes: Any) -> None:
    """Raise ValueError for minutes that are neither None nor a number above 0 and below 1e6."""
    number = isinstance(minutes, int | float | np.number) and not isinstance(minutes, bool)
    if minutes is not None and not (number and 0 < minutes < 1e6):
        raise ValueError(f"minutes={minutes!r}: give a number above 0 and below a million")
