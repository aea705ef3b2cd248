"""Points from samplers that learn: they see all trials so far and propose several points at once. No JAX here."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from popjax.core.calls import check_called, name_of
from popjax.core.faults import calling
from popjax.core.text import check_installed, short, tell
from popjax.rule import Rule
from popjax.scheduler import Trials
from popjax.space.points import category_values, points_of
from popjax.space.samplers import SAMPLERS
from popjax.space.space import Points, Space, take, together
from popjax.tuning.by_optuna import TRIES, OptunaSampler, Study, cmaes, generation, gp
from popjax.tuning.schedulers.rounds import even
from popjax.tuning.tpe import tpe

FIRST = 64  # trials of the first round, if no number of rounds is given
BATCH, PRUNED = 16, 64  # trials of the other rounds; with a scheduler, which prunes most of them
BESIDE = 32  # trials of a round that trains beside earlier ones: fewer leave cores idle at its end
FEWEST_ROUNDS = 4


class Learning(NamedTuple):
    """A sampler that learns.

    Attributes:
        ask: `(seed, n, trials, space, epochs) -> coordinates (n,) of each searched hyperparameter`, see
            `space/points.py`.
        needs: the packages that it needs.
        informed: True if `ask` also takes the rule that ranks, and the number of trials of the search.
    """

    ask: Callable[..., dict[str, np.ndarray]]
    needs: tuple[str, ...] = ()
    informed: bool = False


class Accepting(NamedTuple):
    """Which points may be trained, beside the constraints of their space.

    Attributes:
        accepts: bool (n,) of columns (n,).
        limits: its reasons, for people.
    """

    accepts: Callable[[Points], np.ndarray]
    limits: tuple[str, ...]


LEARNING: Mapping[str, Learning | OptunaSampler] = {
    "tpe": Learning(tpe, informed=True),
    "cmaes": OptunaSampler(cmaes, ("optuna", "cmaes"), generation),
    "gp": OptunaSampler(gp, ("optuna", "torch")),
}
PROVEN = ("tpe",)  # by tests: no search asks it twice


def learns(sampler: Any) -> bool:
    """True if a sampler uses the trials so far."""
    return callable(sampler) or sampler in LEARNING


def default_ends(trials: int, size: int = BATCH) -> tuple[int, ...]:
    """Where the rounds of a learning sampler end, counted in trials, if no number of rounds is given.

    `size`: the largest number of trials of a round after the first.

    >>> default_ends(256)[:3], default_ends(40)
    ((64, 80, 96), (10, 20, 30, 40))
    """
    first = min(FIRST, -(-trials // FEWEST_ROUNDS))
    rest = trials - first
    later = max(-(-rest // size), min(FEWEST_ROUNDS - 1, rest))
    return (first, *(first + end for end in even(rest, later))) if rest else (first,)


def check_sampler(sampler: Any) -> bool:
    """True if a sampler learns; raises ValueError for an unknown one, or if a package that it needs is missing."""
    if not callable(sampler) and sampler not in [*SAMPLERS, *LEARNING]:
        what = f"unknown sampler {sampler!r}" if isinstance(sampler, str) else f"sampler is a {type(sampler).__name__}"
        raise ValueError(f"{what}; there are {', '.join([*SAMPLERS, *LEARNING])}, and the classes of optuna.samplers")
    if not learns(sampler):
        return False
    learner, what = learning(sampler), f"the sampler {name_of(sampler)}"
    for package in learner.needs:
        check_installed(f"sampler {sampler!r}", package)
    if isinstance(learner, Learning):
        more = ("rule", "budget") if learner.informed else ()
        check_called(what, learner.ask, "seed", "n", "trials", "space", "epochs", *more)
    return True


def learning(sampler: Any) -> Learning | OptunaSampler:
    """The learning sampler of a name, or of a class of `optuna.samplers`; raises ValueError for another function."""
    if isinstance(sampler, str):
        entry: Any = LEARNING[sampler]
        return entry if isinstance(entry, Learning | OptunaSampler) else Learning(entry)
    try:
        inspect.signature(sampler).bind(seed=0)
    except TypeError:
        remedy = "give a class of optuna.samplers, or the name of your own function in LEARNING or SAMPLERS"
        raise ValueError(f"the sampler {name_of(sampler)} cannot be called with seed=0; {remedy}") from None
    size = generation if name_of(sampler) == "CmaEsSampler" else None
    proven = getattr(sampler, "__module__", "").startswith("optuna.")
    return OptunaSampler(lambda seed: sampler(seed=seed), round_size=size, proven=proven)


def design(
    sampler: str, searched: Space, seed: int, before: int = 0, accepting: Accepting | None = None
) -> Callable[..., dict[str, np.ndarray]]:
    """`Problem.propose` of a sampler that does not learn: it continues after the trials so far; a grid begins anew.

    Points that may not be trained are drawn again, which is said once. `before`: the number of trials that come before
    its first point.
    """
    said = False

    def propose(n: int, trials: Trials | None = None, space: Space | None = None) -> dict[str, np.ndarray]:
        nonlocal said
        begin = 0 if trials is None or sampler == "grid" else max(0, len(trials.epochs) - before)
        within = space or searched
        accepts, limits = (None, ()) if accepting is None else accepting
        points, drawn = within.accepted(begin + n, seed, sampler, accepts, limits)
        if drawn > (count := len(next(iter(points.values())))) and not said:
            said = True
            again = "left out" if sampler == "grid" else "drawn again"
            reasons = " or ".join([*map(str, within.constraints), *limits])
            tell(f"popjax: {drawn - count:,} of {drawn:,} points violate {reasons}, and are {again}")
        return {name: column[begin:] for name, column in points.items()}

    return propose


def answer_of(what: str, ask: Callable[[], Any], n: int, space: Space) -> dict[str, np.ndarray]:
    """The n coordinates of each searched hyperparameter by a sampler; raises ValueError for anything else.

    NaN stands for a conditional hyperparameter that is to have no value.
    """
    with calling(what):
        answer = ask()
    if not isinstance(answer, dict) or answer.keys() != set(space.searched):
        given = list(answer) if isinstance(answer, dict) else answer
        raise ValueError(f"{what} returned {short(given, 60)}; return a dict with a column of each of {space.searched}")
    for name, column in answer.items():
        most = len(category_values(space[name])) - 1 if category_values(space[name]) else 1
        values = np.asarray(column)
        known = values.shape == (n,) and values.dtype.kind in "biuf"
        if not known or not ((values >= 0) & (values <= most) | (np.isnan(values) & (name in space.conditions))).all():
            given = f"{values.dtype}{list(values.shape)}, {values.ravel()[:3].tolist()}"
            raise ValueError(f"{what}: {name} is {given}; return {n} numbers, 0 to {most}")
    return {name: np.asarray(column, float) for name, column in answer.items()}


def proposals(
    sampler: Any,
    searched: Space,
    seed: int,
    epochs: int,
    before: int = 0,
    *,
    rule: Rule,
    ends: tuple[int, ...],
    accepting: Accepting | None = None,
) -> Callable[..., dict[str, np.ndarray]]:
    """`Problem.propose` of a learning sampler: Sobol points first, the others follow from all trials so far.

    One of Optuna's asks for all of them, see `Study`.

    It depends on the seed and the trials alone, so on resume it proposes the same points. In the place of points that
    may not be trained it proposes others, ten times, and then random ones. `before`: the number of trials that come
    before its first point; `rule`: ranks; `ends`: where the rounds end, counted in trials.
    """
    learner, what = learning(sampler), f"the sampler {name_of(sampler)}"
    accepts, limits = (None, ()) if accepting is None else accepting
    if isinstance(learner, OptunaSampler):
        known: Any = {"ends": ends, "epochs": epochs, "rule": rule, "before": before, "accepts": accepts}
        return Study(what, learner, searched, seed, **known).propose
    first, times = design("sobol", searched, seed, before, accepting), 1 if sampler in PROVEN else 2
    more = (rule, ends[-1]) if learner.informed else ()

    def asked(own: int, n: int, trials: Trials, space: Space) -> dict[str, np.ndarray]:
        ask = lambda: learner.ask(own, n, trials, space, epochs, *more)
        answers = (answer_of(what, ask, n, space) for _ in range(times))
        asked, again = next(answers), next(answers, None)
        if not all(np.array_equal(asked[name], column, equal_nan=True) for name, column in (again or {}).items()):
            raise ValueError(f"{what} returned other points when it was asked again; draw by its seed")
        return points_of(what, asked, n, space)

    def propose(n: int, trials: Trials | None = None, space: Space | None = None) -> dict[str, np.ndarray]:
        space = space or searched
        if trials is None or not (trials.epochs > 0).any():
            return first(n, trials, space)
        seeds = ([seed, len(trials.epochs), *([again] if again else [])] for again in range(TRIES))
        parts, left = list[Points](), n
        for words in seeds:
            own = int(np.random.SeedSequence(words).generate_state(1)[0])
            points = asked(own, left, trials, space)
            if accepts is None and not space.constraints:
                return points
            parts.append(take(points, np.flatnonzero(space.good(points, accepts))))
            left = n - sum(len(next(iter(part.values()))) for part in parts)
            if not left:
                return together(parts)
        return together([*parts, space.accepted(left, own, "random", accepts, limits)[0]])

    return propose
