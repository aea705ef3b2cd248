"""What a user asked of a search, beside what decides how a population trains."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from popjax.scheduler import Problem, Scheduler
from popjax.space.space import Space
from popjax.tuning.proposals import learns, proposals, sampler_text
from popjax.tuning.schedulers.named import text_of


@dataclasses.dataclass(frozen=True, eq=False)
class Asked:
    """What was asked for, beside what decides how a population trains.

    Attributes:
        ends: where each round ends, counted in trials.
    """

    space: Space
    trials: int
    ends: tuple[int, ...]
    sampler: Any = "random"
    choose: str = "best"
    scheduler: Callable[[Problem], Scheduler] | None = None

    @property
    def rounds(self) -> int:
        """How many rounds there are."""
        return len(self.ends)

    def settings(self) -> dict[str, Any]:
        """What a resumed run is compared with."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)} | {
            "scheduler": text_of(self.scheduler),
            "sampler": sampler_text(self.sampler),
            "rounds": self.rounds,
        }

    def propose(self, seed: int, epochs: int) -> Callable[..., dict[str, np.ndarray]]:
        """See `Problem.propose`: the design goes on where the trials so far end; a grid begins anew."""
        if learns(self.sampler):
            return proposals(self.sampler, self.space, seed, epochs)

        def propose(n: int, trials: Any = None, space: Space | None = None) -> dict[str, np.ndarray]:
            space = space or self.space
            if self.sampler == "grid":
                return space.sample(n, seed, "grid")
            begin = 0 if trials is None else len(trials.epochs)
            points = space.sample(begin + n, seed, self.sampler)
            return {name: column[begin:] for name, column in points.items()}

        return propose
