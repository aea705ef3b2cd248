"""Points from samplers that learn: they see all trials so far and propose several points at once. No JAX here."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from popjax.core.calls import name_of
from popjax.core.faults import calling
from popjax.core.text import check_installed, short
from popjax.scheduler import Trials
from popjax.space.coordinates import category_values, units
from popjax.space.samplers import SAMPLERS
from popjax.space.space import Space
from popjax.tuning.by_optuna import by_optuna, cmaes, gp
from popjax.tuning.schedulers.rounds import even
from popjax.tuning.tpe import tpe

# (seed, n, trials, space, epochs) -> n coordinates of each searched hyperparameter, see `space/coordinates.py`
Ask = Callable[[int, int, Trials, Space, int], dict[str, np.ndarray]]
FIRST = 64  # trials of the first round, if no number of rounds is given
BATCH, PRUNED = 16, 64  # trials of the other rounds; with a scheduler, which prunes most of them
FEWEST_ROUNDS = 4


class Learning(NamedTuple):
    """A sampler that learns.

    Attributes:
        ask: proposes points.
        needs: the packages that it needs.
    """

    ask: Ask
    needs: tuple[str, ...] = ()


LEARNING: Mapping[str, Learning] = {
    "tpe": Learning(tpe),
    "cmaes": Learning(by_optuna(cmaes), ("optuna", "cmaes")),
    "gp": Learning(by_optuna(gp), ("optuna", "torch")),
}


def learns(sampler: Any) -> bool:
    """True if a sampler uses the trials so far."""
    return callable(sampler) or sampler in LEARNING


def default_ends(trials: int, scheduled: bool = False) -> tuple[int, ...]:
    """Where the rounds of a learning sampler end, counted in trials, if no number of rounds is given.

    >>> default_ends(256)[:3], default_ends(40)
    ((64, 80, 96), (10, 20, 30, 40))
    """
    first = min(FIRST, -(-trials // FEWEST_ROUNDS))
    rest = trials - first
    later = max(-(-rest // (PRUNED if scheduled else BATCH)), min(FEWEST_ROUNDS - 1, rest))
    return (first, *(first + end for end in even(rest, later))) if rest else (first,)


def check_sampler(sampler: Any) -> bool:
    """True if a sampler learns; raises ValueError for an unknown one, or if a package that it needs is missing."""
    if not callable(sampler) and sampler not in [*SAMPLERS, *LEARNING]:
        what = f"unknown sampler {sampler!r}" if isinstance(sampler, str) else f"sampler is a {type(sampler).__name__}"
        raise ValueError(f"{what}; there are {', '.join([*SAMPLERS, *LEARNING])}, and the classes of optuna.samplers")
    for package in learning(sampler).needs if learns(sampler) else ():
        check_installed(f"sampler {sampler!r}", package)
    return learns(sampler)


def learning(sampler: Any) -> Learning:
    """The learning sampler of a name, or of a class of `optuna.samplers`."""
    return LEARNING[sampler] if isinstance(sampler, str) else Learning(by_optuna(lambda seed, told: sampler(seed=seed)))


def design(sampler: str, searched: Space, seed: int, before: int = 0) -> Callable[..., dict[str, np.ndarray]]:
    """`Problem.propose` of a sampler that does not learn: it continues after the trials so far; a grid begins anew.

    `before`: the number of trials that come before its first point.
    """

    def propose(n: int, trials: Trials | None = None, space: Space | None = None) -> dict[str, np.ndarray]:
        begin = 0 if trials is None or sampler == "grid" else max(0, len(trials.epochs) - before)
        return {name: column[begin:] for name, column in (space or searched).sample(begin + n, seed, sampler).items()}

    return propose


def answer_of(what: str, ask: Callable[[], Any], n: int, space: Space) -> dict[str, np.ndarray]:
    """The n coordinates of each searched hyperparameter by a sampler; raises ValueError for anything else."""
    with calling(what):
        found = ask()
    if not isinstance(found, dict) or found.keys() != set(space.searched):
        given = list(found) if isinstance(found, dict) else found
        raise ValueError(f"{what} returned {short(given, 60)}; return a dict with a column of each of {space.searched}")
    for name, column in found.items():
        most = len(category_values(space[name])) - 1 if category_values(space[name]) else 1
        values = np.asarray(column)
        if values.shape != (n,) or values.dtype.kind not in "biuf" or not ((values >= 0) & (values <= most)).all():
            given = f"{values.dtype}{list(values.shape)}, {values.ravel()[:3].tolist()}"
            raise ValueError(f"{what}: {name} is {given}; return {n} numbers, 0 to {most}")
    return {name: np.asarray(column, float) for name, column in found.items()}


def proposals(
    sampler: Any, searched: Space, seed: int, epochs: int, before: int = 0
) -> Callable[..., dict[str, np.ndarray]]:
    """`Problem.propose` of a learning sampler: Sobol points first, the others follow from all trials so far.

    It depends on the seed and the trials alone, so on resume it proposes the same points. `before`: the number of
    trials that come before its first point.
    """
    ask, first = learning(sampler).ask, design("sobol", searched, seed, before)

    def propose(n: int, trials: Trials | None = None, space: Space | None = None) -> dict[str, np.ndarray]:
        space = space or searched
        if trials is None or not (trials.epochs > 0).any():
            return first(n, trials, space)
        own = int(np.random.SeedSequence([seed, len(trials.epochs)]).generate_state(1)[0])
        asked = answer_of(f"the sampler {name_of(sampler)}", lambda: ask(own, n, trials, space, epochs), n, space)
        given = {name: units(space[name], asked[name]) if name in asked else np.zeros(n) for name in space}
        return space.masked({name: scale.from_unit(given[name]) for name, scale in space.items()})

    return propose
