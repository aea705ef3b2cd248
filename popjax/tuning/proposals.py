"""Points from samplers that learn: Optuna's, told of all trials so far and asked for many at once. No JAX here."""

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from popjax.core.text import needed
from popjax.scheduler import Trials
from popjax.space.conditions import absent
from popjax.space.samplers import SAMPLERS
from popjax.space.scales import Choice, Scale
from popjax.space.space import Space
from popjax.tuning.schedulers.parts import part_of

if TYPE_CHECKING:
    import optuna

Make = Callable[[int, list[Any]], "optuna.samplers.BaseSampler"]  # (seed, told trials) -> sampler
BATCH, PRUNED = 32, 64  # trials of a round, if nobody says how many rounds there are; where most of them are pruned
FEWEST_ROUNDS = 4
MODEL, BEST = 250, 25  # trials that TPE is told at most; of so many it takes so many for the best, and never more


def tpe(seed: int, told: list[Any]) -> "optuna.samplers.BaseSampler":
    """The tree-structured Parzen estimator (Bergstra et al. 2011), over all hyperparameters together."""
    import optuna

    return optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True, n_startup_trials=0)


def cmaes(seed: int, told: list[Any]) -> "optuna.samplers.BaseSampler":
    """CMA-ES (Hansen 2016), begun in each round where the best tenth so far lie (Nomura et al. 2021)."""
    import optuna

    number = optuna.distributions.FloatDistribution
    shared = set.intersection(*({n for n, d in t.distributions.items() if isinstance(d, number)} for t in told))
    complete = [only(trial, shared) for trial in told if trial.state == optuna.trial.TrialState.COMPLETE]
    complete *= -(-10 // max(len(complete), 1))  # the best tenth must be one at least
    return optuna.samplers.CmaEsSampler(seed=seed, source_trials=complete or None, warn_independent_sampling=False)


def only(trial: Any, names: set[str]) -> Any:
    """A trial with what CMA-ES is about alone: the numbers that all trials have."""
    import optuna

    params = {name: value for name, value in trial.params.items() if name in names}
    distributions = {name: trial.distributions[name] for name in params}
    return optuna.trial.create_trial(params=params, distributions=distributions, value=trial.value)


def gp(seed: int, told: list[Any]) -> "optuna.samplers.BaseSampler":
    """A Gaussian process with expected improvement; slow beyond a few hundred trials."""
    import optuna

    return optuna.samplers.GPSampler(seed=seed, n_startup_trials=0)


class Learning(NamedTuple):
    """A sampler that learns.

    Attributes:
        make: what makes Optuna's.
        needs: the packages that it needs.
        most: how many trials it is told at most; None: all.
    """

    make: Make
    needs: tuple[str, ...] = ("optuna",)
    most: int | None = None


LEARNING: Mapping[str, Learning] = {
    "tpe": Learning(tpe, most=MODEL),
    "cmaes": Learning(cmaes, ("optuna", "cmaes")),
    "gp": Learning(gp, ("optuna", "torch")),
}


def learns(sampler: Any) -> bool:
    """Whether a sampler looks at the trials so far."""
    return callable(sampler) or sampler in LEARNING


def default_rounds(trials: int, scheduled: bool = False) -> int:
    """How many rounds a learning sampler gets: of 32 trials, 64 under a scheduler, or of fewer so that it can learn."""
    return min(max(-(-trials // (PRUNED if scheduled else BATCH)), FEWEST_ROUNDS), trials)


def check_sampler(sampler: Any) -> bool:
    """Whether a sampler learns; raises ValueError for none, and where what it needs is not installed."""
    if not callable(sampler) and sampler not in [*SAMPLERS, *LEARNING]:
        what = f"unknown sampler {sampler!r}" if isinstance(sampler, str) else f"sampler is a {type(sampler).__name__}"
        raise ValueError(f"{what}; there are {', '.join([*SAMPLERS, *LEARNING])}, and the classes of optuna.samplers")
    for package in learning(sampler).needs if learns(sampler) else ():
        needed(f"sampler {sampler!r}", package)
    return learns(sampler)


def sampler_text(sampler: Any) -> str:
    """What a sampler is called."""
    return sampler if isinstance(sampler, str) else getattr(sampler, "__qualname__", repr(sampler))


def learning(sampler: Any) -> Learning:
    """A learning sampler by its name, or of a class of Optuna's."""
    return LEARNING[sampler] if isinstance(sampler, str) else Learning(lambda seed, told: sampler(seed=seed))


def proposals(sampler: Any, searched: Space, seed: int, epochs: int) -> Callable[..., dict[str, np.ndarray]]:
    """`Problem.propose` of a learning sampler: the first points are Sobol's, the others follow from all trials so far.

    It depends on the seed and the trials alone, so that a run that goes on is asked the same. Each scale is asked on
    its own axis, from 0 to 1. A trial that diverged is told as one that was given up at once, one that was pruned
    with its loss and how far it came, and one that has not begun as pending.
    """
    model = learning(sampler)

    def propose(n: int, trials: Trials | None = None, space: Space | None = None) -> dict[str, np.ndarray]:
        space = space or searched
        if trials is None or not (trials.epochs > 0).any():
            begin = 0 if trials is None else len(trials.epochs)
            return {name: column[begin:] for name, column in space.sample(begin + n, seed, "sobol").items()}
        units = asked(model, seed, n, trials, space, epochs)
        given = {name: units[name] if name in units else np.zeros(n) for name in space}
        return space.masked({name: scale.from_unit(given[name]) for name, scale in space.items()})

    return propose


def asked(model: Learning, seed: int, n: int, trials: Trials, space: Space, epochs: int) -> dict[str, np.ndarray]:
    """The next n points (n,) of each searched hyperparameter, on its axis."""
    import optuna

    distributions = {name: distribution(space[name]) for name in space.searched}
    own = int(np.random.SeedSequence([seed, len(trials.epochs)]).generate_state(1)[0])
    with quiet():
        told = told_of(part_of(trials, telling(trials, model.most, own)), space, distributions, epochs)
        study = optuna.create_study(sampler=model.make(own, told))
        study.add_trials(told)
        found = [study.ask(distributions).params for _ in range(n)]
    return {name: np.array([unit(space[name], params[name]) for params in found]) for name in space.searched}


def telling(trials: Trials, most: int | None, seed: int) -> np.ndarray:
    """Whom a sampler is told, in order: all, or the best and a sample of the others, so that asking stays cheap.

    The best are those that came furthest, with the least loss among these, as TPE orders them. Those that have not
    begun are told besides.
    """
    begun, pending = np.flatnonzero(trials.epochs > 0), np.flatnonzero(trials.epochs == 0)
    if most is None or len(begun) <= most:
        return np.arange(len(trials.epochs))
    order = begun[np.lexsort((trials.loss[begun], -trials.epochs[begun]))]
    others = np.random.default_rng(seed).choice(order[BEST:], most - BEST, replace=False)
    return np.sort(np.concatenate([order[:BEST], others, pending]))


def told_of(trials: Trials, space: Space, distributions: Mapping[str, Any], epochs: int) -> list[Any]:
    """The trials as Optuna's."""
    import optuna

    states = optuna.trial.TrialState
    columns = {name: coordinates(space[name], trials.points[name]) for name in space.searched}
    told = []
    for row, (epoch, loss) in enumerate(zip(trials.epochs.tolist(), trials.loss.tolist(), strict=True)):
        known: dict[str, Any] = {"state": states.RUNNING}
        if epoch == epochs and np.isfinite(loss):
            known = {"state": states.COMPLETE, "value": loss}
        elif epoch > 0:
            known = {"state": states.PRUNED, "intermediate_values": {epoch: loss} if np.isfinite(loss) else {}}
        params = {name: column[row] for name, column in columns.items() if not absent(column[row])}
        own = {name: distributions[name] for name in params}
        told.append(optuna.trial.create_trial(params=params, distributions=own, **known))
    return told


def distribution(scale: Scale) -> Any:
    """Where a sampler may go on the axis of a scale; of texts, which it may take."""
    import optuna

    if isinstance(scale, Choice) and not scale.numeric:
        return optuna.distributions.CategoricalDistribution(list(range(len(scale.values))))
    return optuna.distributions.FloatDistribution(0, 1)


def coordinates(scale: Scale, column: np.ndarray) -> list[Any]:
    """Where values lie on the axis of their scale; of texts, which they are; None where the hyperparameter is not."""
    values = column.tolist()
    if isinstance(scale, Choice) and not scale.numeric:
        return [None if absent(value) else scale.values.index(value) for value in values]
    there = np.array([not absent(value) for value in values])
    found = np.full(len(values), None, object)
    found[there] = np.clip(scale.to_unit(column[there]), 0, 1)
    return found.tolist()


def unit(scale: Scale, coordinate: Any) -> float:
    """A coordinate as `Scale.from_unit` takes it."""
    if isinstance(scale, Choice) and not scale.numeric:
        return float((coordinate + 0.5) / len(scale.values))
    return float(coordinate)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Nothing of Optuna's: it tells of each study, of few trials, and, in some versions, of being experimental."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)
