"""Optuna's samplers, given all trials so far and asked for several points at once. No JAX here."""

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from popjax.scheduler import Trials
from popjax.space.points import category_values, coordinates
from popjax.space.scales import Scale
from popjax.space.space import Space

if TYPE_CHECKING:
    import optuna

Make = Callable[[int, list[Any]], "optuna.samplers.BaseSampler"]  # (seed, Optuna's trials) -> sampler


def by_optuna(make: Make) -> Callable[..., dict[str, np.ndarray]]:
    """`asked` with the Optuna sampler that `make` returns."""
    return functools.partial(asked, make)


def cmaes(seed: int, past: list[Any]) -> "optuna.samplers.BaseSampler":
    """CMA-ES (Hansen 2016), started in each round from the best tenth of the trials so far (Nomura et al. 2021)."""
    import optuna

    number = optuna.distributions.FloatDistribution
    complete = [trial for trial in past if trial.state == optuna.trial.TrialState.COMPLETE]
    numbers = [{name for name, own in trial.distributions.items() if isinstance(own, number)} for trial in complete]
    shared = set.intersection(*numbers) if numbers else set()
    complete = [only(trial, shared) for trial in complete]
    complete *= -(-10 // max(len(complete), 1))  # repeated, so that the best tenth is at least one
    return optuna.samplers.CmaEsSampler(seed=seed, source_trials=complete or None, warn_independent_sampling=False)


def only(trial: Any, names: set[str]) -> Any:
    """A trial with these hyperparameters alone: CMA-ES needs numbers that all complete trials have."""
    import optuna

    params = {name: value for name, value in trial.params.items() if name in names}
    distributions = {name: trial.distributions[name] for name in params}
    return optuna.trial.create_trial(params=params, distributions=distributions, value=trial.value)


def gp(seed: int, past: list[Any]) -> "optuna.samplers.BaseSampler":
    """Gaussian process with expected improvement; slow beyond a few hundred trials."""
    import optuna

    return optuna.samplers.GPSampler(seed=seed, n_startup_trials=0)


def asked(make: Make, seed: int, n: int, trials: Trials, space: Space, epochs: int) -> dict[str, np.ndarray]:
    """The next n coordinates (n,) of each searched hyperparameter; each point is pending while the next is asked."""
    import optuna

    distributions = {name: unit_distribution(space[name]) for name in space.searched}
    with quiet():
        past = told_of(trials, space, distributions, epochs)
        study = optuna.create_study(sampler=make(seed, past))
        study.add_trials(past)
        asked = [study.ask(distributions).params for _ in range(n)]
    return {name: np.array([params[name] for params in asked], float) for name in space.searched}


def told_of(trials: Trials, space: Space, distributions: Mapping[str, Any], epochs: int) -> list[Any]:
    """The trials as Optuna's frozen trials.

    COMPLETE at the last epoch with a finite loss; PRUNED with the loss at the epoch reached, or without any value if
    diverged; RUNNING if not begun.
    """
    import optuna

    states = optuna.trial.TrialState
    columns = {name: coordinates(space[name], trials.points[name]) for name in space.searched}
    frozen = []
    for row, (epoch, loss) in enumerate(zip(trials.reached(epochs).tolist(), trials.loss.tolist(), strict=True)):
        known: dict[str, Any] = {"state": states.RUNNING}
        if epoch == epochs and np.isfinite(loss):
            known = {"state": states.COMPLETE, "value": loss}
        elif epoch > 0:
            known = {"state": states.PRUNED, "intermediate_values": {epoch: loss} if np.isfinite(loss) else {}}
        params = {name: column[row].item() for name, column in columns.items() if not np.isnan(column[row])}
        own = {name: distributions[name] for name in params}
        frozen.append(optuna.trial.create_trial(params=params, distributions=own, **known))
    return frozen


def unit_distribution(scale: Scale) -> Any:
    """Optuna's distribution of a scale's coordinates: indices of an unordered choice, else floats in [0, 1]."""
    import optuna

    if values := category_values(scale):
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
