"""Optuna's samplers: one study for a whole search, asked for a round at a time, and told of it when it ends.

No JAX here.
"""

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from popjax.core.faults import calling
from popjax.rule import Rule
from popjax.rules.checking import loss_of, places_alone
from popjax.scheduler import Trials
from popjax.space.points import category_values, coordinates, points_of, units
from popjax.space.space import Points, Space, take, together
from popjax.store.records import values_after

if TYPE_CHECKING:
    import optuna

TRIES = 10  # times that a sampler is asked in the place of points that may not be trained


def generation(searched: int) -> int:
    """The size of a generation of CMA-ES in so many dimensions (Hansen 2016, table 1).

    >>> generation(2), generation(5)
    (6, 8)
    """
    return 4 + math.floor(3 * math.log(max(searched, 1)))


class OptunaSampler(NamedTuple):
    """A sampler of Optuna's.

    Attributes:
        make: `seed -> sampler`.
        needs: the packages that it needs.
        round_size: `number of hyperparameters that are searched -> trials of a round`; None: as of other samplers.
        proven: False if it is to be asked twice, since it may not draw by its seed alone.
    """

    make: Callable[[int], "optuna.samplers.BaseSampler"]
    needs: tuple[str, ...] = ("optuna",)
    round_size: Callable[[int], int] | None = None
    proven: bool = True


def cmaes(seed: int) -> "optuna.samplers.BaseSampler":
    """CMA-ES (Hansen 2016)."""
    import optuna

    return optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)


def gp(seed: int) -> "optuna.samplers.BaseSampler":
    """Gaussian process with expected improvement; slow beyond a few hundred trials."""
    import optuna

    return optuna.samplers.GPSampler(seed=seed)


class Study:
    """The study of one search, as `Problem.propose`.

    Each round is asked for at once and told at its end, in the order of trials. So what it proposes follows from the
    seed, the rounds and the trials alone: on resume it is asked and told the same again.

    Args:
        what: the sampler, for messages.
        sampler: what asks.
        space: what is searched.
        seed: of the sampler.
        ends: where each round ends, counted in trials.
        epochs: the last epoch.
        rule: ranks.
        before: the number of trials that come before its first point.
        accepts: which points may be trained, bool (n,) of columns (n,), beside the constraints of the space.

    Attributes:
        number: the round that is asked for next, or trains.
        asked: its trials, one a study; empty if it was not asked for yet.
    """

    def __init__(
        self,
        what: str,
        sampler: OptunaSampler,
        space: Space,
        seed: int,
        *,
        ends: tuple[int, ...],
        epochs: int,
        rule: Rule,
        before: int = 0,
        accepts: Callable[[Points], np.ndarray] | None = None,
    ) -> None:
        self.what, self.sampler, self.space, self.seed = what, sampler, space, seed
        self.epochs, self.rule, self.before, self.accepts = epochs, rule, before, accepts
        self.bounds = [0, *ends]
        unconditional = [name for name in space.searched if name not in space.conditions]
        self.names = [*unconditional, *(name for name in space.conditions if name in space.searched)]  # parents first
        self.begin()

    def begin(self) -> None:
        """Begin with no trials."""
        import optuna

        with quiet(), calling(self.what):
            made = [self.sampler.make(self.seed) for _ in range(1 if self.sampler.proven else 2)]
            self.studies = [optuna.create_study(sampler=sampler) for sampler in made]
        self.number = 0
        self.asked: list[tuple[Any, ...]] = []
        self.points: dict[str, np.ndarray] = {}

    def propose(self, n: int, trials: Trials | None = None, space: Space | None = None) -> dict[str, np.ndarray]:
        """The n points of the round that follows on these trials; raises ValueError in the middle of a round."""
        count = 0 if trials is None else len(trials.epochs)
        if count not in self.bounds[:-1]:
            remedy = 'use sampler="tpe", or a scheduler that asks for all points of a round at once'
            raise ValueError(f"{self.what} learns from whole rounds, and is asked in the middle of one; {remedy}")
        number = self.bounds.index(count)
        if self.number > number or (self.number == number and len(self.asked) not in (0, n)):
            self.begin()
        with quiet(), calling(self.what):
            while trials is not None and self.number < number:
                begin, end = self.bounds[self.number : self.number + 2]
                self.ask(end - min(max(begin, self.before), end))
                self.tell(trials, begin, end)
            self.ask(n)
        return {name: column.copy() for name, column in self.points.items()}

    def ask(self, n: int) -> None:
        """Ask for n points, unless this was done; in the place of those that may not be trained for others."""
        if self.asked or n == 0:
            return
        parts = list[Points]()
        for _ in range(TRIES):
            new = [self.ask_one() for _ in range(n - len(self.asked))]
            columns = {name: np.array([point.get(name, np.nan) for _, point in new]) for name in self.names}
            points = points_of(self.what, columns, len(new), self.space)
            good = self.space.good(points, self.accepts)
            parts.append(take(points, np.flatnonzero(good)))
            for (trials, _), fits in zip(new, good.tolist(), strict=True):
                if fits:
                    self.asked.append(trials)
                else:
                    self.tell_one(trials, "FAIL")
            if len(self.asked) == n:
                break
        else:
            own = int(np.random.SeedSequence([self.seed, self.number]).generate_state(1)[0])
            parts.append(self.space.accepted(n - len(self.asked), own, "random", self.accepts)[0])
            self.asked += [()] * (n - len(self.asked))
        self.points = together(parts)

    def ask_one(self) -> tuple[tuple[Any, ...], dict[str, float]]:
        """A trial of each study, and its coordinates by name, of the hyperparameters that exist."""
        trials = tuple(study.ask() for study in self.studies)
        point: dict[str, float] = {}
        constants = [name for name in self.space if name not in self.space.searched]
        values = {name: self.space[name].from_unit(np.zeros(1)).tolist()[0] for name in constants}
        for name in self.names:
            if name in self.space.inactive(values):
                continue
            scale = self.space[name]
            if categories := range(len(category_values(scale))):
                found: list[Any] = [trial.suggest_categorical(name, categories) for trial in trials]
            else:
                found = [trial.suggest_float(name, 0, 1) for trial in trials]
            point[name] = found[0]
            if len(set(found)) > 1:
                raise ValueError(f"{self.what} returned other points when it was asked again; draw by its seed")
            values[name] = scale.from_unit(units(scale, np.array([point[name]]))).tolist()[0]
        return trials, point

    def tell(self, trials: Trials, begin: int, end: int) -> None:
        """Tell of the round that trained the trials from `begin` to `end`.

        What has other points than were asked for (points to start with, and those that a copy or a person changed) is
        added as trials of no sampler.
        """
        rows = np.arange(begin, end)
        unasked = len(rows) - len(self.asked)
        told = {name: coordinates(self.space[name], trials.points[name][begin:end]) for name in self.names}
        same = np.zeros(len(rows), bool)
        if self.asked:
            given = {name: coordinates(self.space[name], self.points[name]) for name in self.names}
            pairs = [(given[name], told[name][unasked:]) for name in self.names]
            same[unasked:] = np.all([(a == b) | (np.isnan(a) & np.isnan(b)) for a, b in pairs], 0)
        reached, losses = trials.reached(self.epochs), losses_of(self.rule, trials, end)
        for row, (trial, asked) in enumerate(zip(rows.tolist(), [()] * unasked + self.asked, strict=True)):
            epoch, loss = int(reached[trial]), float(losses[trial])
            state = "COMPLETE" if epoch == self.epochs and np.isfinite(loss) else "PRUNED"
            if asked and same[row]:
                self.tell_one(asked, state, epoch, loss)
                continue
            if asked:
                self.tell_one(asked, "FAIL")
            self.add({name: column[row] for name, column in told.items()}, state, epoch, loss)
        self.number, self.asked, self.points = self.number + 1, [], {}

    def tell_one(self, asked: tuple[Any, ...], state: str, epoch: int = 0, loss: float = math.nan) -> None:
        """Tell each study how its trial ended."""
        import optuna

        for study, trial in zip(self.studies, asked, strict=True):
            if state == "PRUNED" and math.isfinite(loss):
                trial.report(loss, epoch)
            study.tell(trial, loss if state == "COMPLETE" else None, optuna.trial.TrialState[state])

    def add(self, point: dict[str, float], state: str, epoch: int, loss: float) -> None:
        """Add a trial for which no sampler was asked."""
        import optuna

        params = {name: value for name, value in point.items() if not math.isnan(value)}
        known: dict[str, Any] = {"state": optuna.trial.TrialState[state]}
        if state == "COMPLETE":
            known["value"] = loss
        elif math.isfinite(loss):
            known["intermediate_values"] = {epoch: loss}
        own = {name: unit_distribution(self.space, name) for name in params}
        for study in self.studies:
            study.add_trial(optuna.trial.create_trial(params=params, distributions=own, **known))


def losses_of(rule: Rule, trials: Trials, count: int) -> np.ndarray:
    """Float (count,): the losses of the first trials, as the rule sees them alone; NaN for one that diverged.

    A place among them is a share of them, since places among more trials are larger.
    """
    losses = np.full(count, np.nan)
    rows = np.flatnonzero(np.isfinite(trials.loss[:count]))
    now = values_after(trials.values, trials.epochs)
    found = loss_of(rule, {name: column[rows] for name, column in (now | dict(trials.costs)).items()})
    losses[rows] = found / len(rows) if places_alone(rule) or len(rule.objectives) > 1 else found
    return losses


def unit_distribution(space: Space, name: str) -> Any:
    """Optuna's distribution of coordinates: indices of an unordered choice, else floats in [0, 1]."""
    import optuna

    if values := category_values(space[name]):
        return optuna.distributions.CategoricalDistribution(list(range(len(values))))
    return optuna.distributions.FloatDistribution(0, 1)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence Optuna's log (each study) and all warnings (few trials, in some versions experimental features)."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)
