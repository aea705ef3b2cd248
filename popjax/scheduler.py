"""The contract between a scheduler and a population: it sees all trials as columns and decides what happens next.

A scheduler is a pair of pure functions, as `optax.GradientTransformation` is. Between two
segments of training its `step` receives the Trials and returns a Decision. No JAX here.
"""

import enum
from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Self

import numpy as np

from popjax.core.counts import whole_kind
from popjax.core.text import short
from popjax.rule import TIES, Rule
from popjax.rules.checking import order_of
from popjax.space.points import check_points
from popjax.space.space import Space

NONE: Mapping[Any, Any] = MappingProxyType({})


class Status(enum.IntEnum):
    """What a trial is; DIVERGED stands over all others, and COMPLETE over STOPPED.

    WAITING: it trains, or waits for a decision; COMPLETE: each of its members is at the last epoch, or out of patience;
    PRUNED: its scheduler left it before; STOPPED: by a person, with the run, or out of retries; DIVERGED: a metric of a
    member was not finite.

    >>> Status.of_word("ok") is Status.COMPLETE, Status.PRUNED.word
    (True, 'pruned')
    """

    WAITING = 0
    COMPLETE = 1
    PRUNED = 2
    STOPPED = 3
    DIVERGED = 4

    @property
    def word(self) -> str:
        """The word for it in tables."""
        return "ok" if self is Status.COMPLETE else self.name.lower()

    @classmethod
    def of_word(cls, word: str) -> Self:
        """Inverse of `word`; raises KeyError for another word."""
        return {status.word: status for status in cls}[word]


class _Columns(NamedTuple):
    """The fields of Trials."""

    points: Mapping[str, np.ndarray]
    epochs: np.ndarray
    loss: np.ndarray
    curves: Mapping[str, np.ndarray]
    stopped: np.ndarray
    bucket: np.ndarray
    settable: tuple[str, ...]
    costs: Mapping[str, np.ndarray]
    values: Mapping[str, np.ndarray]
    complete: np.ndarray
    feasible: np.ndarray


class Trials(_Columns):
    """The current state of all trials: NumPy columns, one row per trial; copy one to write into it.

    Attributes:
        points: hyperparameter -> its current values (trials,).
        epochs: int (trials,), the epochs that all members of a trial have finished; a member that rests, out of
            patience, counts as having finished those that its trial was to reach.
        loss: float (trials,), what ranks after `epochs`; less is better: the metric, negated if more is better, or the
            place in the order of several objectives. Infinite for a diverged trial, NaN for one that has not begun.
        curves: metric -> (trials, epochs), the mean over a trial's members after each epoch; NaN where there is none.
        stopped: bool (trials,), stopped by a person, until the person lifts it, or out of retries; all False if None.
        bucket: int (trials,), the bucket of each trial: those of one bucket share a program and may be copied onto each
            other; all 0 if None.
        settable: the hyperparameters that a decision may set; the others fix a shape or code, so they go with the
            weights.
        costs: "parameters" or "flops" -> (trials,), those that the rule uses.
        values: metric -> (trials, epochs), the mean over a trial's members of the value that counts after each epoch:
            that of the best epoch so far with at="best"; `curves` if None.
        complete: bool (trials,), each member of a trial is at the last epoch, or out of patience; all False if None.
            Such a trial can neither be copied nor changed; out of patience, its `until` is fulfilled at once.
        feasible: bool (trials,), what counts after `epochs` violates no limit of the rule, and under limits the trial
            did not diverge; all True if None.

    As a scheduler sees three trials of which the second diverged; this is also how its `step` is tested:

    >>> import numpy as np
    >>> import popjax as pj
    >>> loss = np.array([[0.5, 0.4], [0.9, np.inf], [0.7, 0.2]])
    >>> trials = pj.Trials({"rate": np.array([0.1, 9.0, 0.3])}, np.array([2, 2, 2]), loss[:, -1], {"val_loss": loss})
    >>> np.argsort(trials.loss).tolist(), trials.stopped.tolist(), trials.reached(last=5).tolist()
    ([2, 0, 1], [False, False, False], [2, 2, 2])
    """

    __slots__ = ()

    def __new__(
        cls,
        points: Mapping[str, np.ndarray],
        epochs: np.ndarray,
        loss: np.ndarray,
        curves: Mapping[str, np.ndarray],
        stopped: np.ndarray | None = None,
        bucket: np.ndarray | None = None,
        settable: tuple[str, ...] = (),
        costs: Mapping[str, np.ndarray] = NONE,
        values: Mapping[str, np.ndarray] | None = None,
        complete: np.ndarray | None = None,
        feasible: np.ndarray | None = None,
    ) -> Self:
        """Trials; the columns after `curves` are optional."""
        complete = np.zeros(len(epochs), bool) if complete is None else complete
        stopped = np.zeros(len(epochs), bool) if stopped is None else stopped
        feasible = np.ones(len(epochs), bool) if feasible is None else feasible
        bucket = np.zeros(len(epochs), np.int64) if bucket is None else bucket
        values = curves if values is None else values
        return super().__new__(
            cls,
            points,
            epochs,
            loss,
            curves,
            stopped,
            bucket,
            settable=settable,
            costs=costs,
            values=values,
            complete=complete,
            feasible=feasible,
        )

    def reached(self, last: int) -> np.ndarray:
        """int (trials,): `epochs`, or `last` for a complete trial, of which no further epoch is trained."""
        return np.where(self.complete, last, self.epochs)


class Decision(NamedTuple):
    """What happens between two segments of training, applied in this order.

    Attributes:
        add: hyperparameter -> column (new trials,), the points of new trials, numbered after the others.
        copy: target -> source, two incomplete trials of one bucket at the same epoch: the target becomes the source,
            state, random key, liveness and hyperparameters, exactly. All sources are read before a target is written.
        fresh: trials, such as targets of `copy`, that get new random keys: each typed-key leaf of their state
            becomes `fold_in(fold_in(leaf, trial), epoch)`.
        set: trial -> name -> value of a dynamic hyperparameter, from the next epoch on.
        until: trial -> the epoch to train to; a trial that is not named waits. Empty: the search ends.
        notes: JSON values that give the reasons, for people and reports.

    Trial 1 becomes a copy of trial 0 with half its rate, and both train to epoch 6:

    >>> import popjax as pj
    >>> decision = pj.Decision(copy={1: 0}, fresh=(1,), set={1: {"rate": 0.05}}, until={0: 6, 1: 6})
    >>> dict(decision.copy), dict(decision.until)
    ({1: 0}, {0: 6, 1: 6})

    What cannot be carried out, such as a copy between trials at different epochs, is refused by the search with a
    ValueError that names it.
    """

    add: Mapping[str, np.ndarray] = NONE
    copy: Mapping[int, int] = NONE
    fresh: tuple[int, ...] = ()
    set: Mapping[int, Mapping[str, Any]] = NONE
    until: Mapping[int, int] = NONE
    notes: Any = None


class Scheduler(NamedTuple):
    """A pair of pure functions that decides between two segments of training.

    Attributes:
        init: `() -> state`, JSON values.
        step: `(state, trials) -> (state, decision)`; a decision with an empty `until` ends the search, and nothing
            else of it is applied.

    Half of the trials are pruned after the first epoch; the state counts the steps:

    >>> import numpy as np
    >>> import popjax as pj
    >>> def half(problem):
    ...     def step(number, trials):
    ...         if number == 0:
    ...             points = problem.propose(problem.trials)
    ...             return 1, pj.Decision(add=points, until=dict.fromkeys(range(problem.trials), 1))
    ...         better = np.argsort(trials.loss)[: problem.trials // 2].tolist() if number == 1 else []
    ...         return 2, pj.Decision(until=dict.fromkeys(better, problem.epochs))
    ...     return pj.Scheduler(lambda: 0, step)
    >>> def epoch(x, hparams, data):
    ...     return x - hparams["rate"] * x, {"loss": x**2}
    >>> task = pj.Task(lambda key, hparams, data: 1.0, epoch, ())
    >>> results = pj.search(task, {"rate": pj.uniform(0, 1)}, trials=8, epochs=3, scheduler=half)
    >>> results.trials["status"].to_pylist().count("pruned")
    4
    """

    init: Callable[[], Any]
    step: Callable[[Any, Trials], tuple[Any, Decision]]


class Problem(NamedTuple):
    """What a scheduler is made for: `scheduler(problem) -> Scheduler`.

    Attributes:
        space: the hyperparameters.
        trials: number of points to train.
        epochs: the last epoch.
        seed: the seed of the search.
        rule: how trials are ordered.
        propose: `(n, trials=None, space=None) -> columns`: at most n new points from the sampler, after those of
            `trials`, from `space`; the problem's if None.
        learns: True if the sampler learns from `trials`, so that a scheduler need not narrow its space.
        batches: of a sampler that learns, how many trials to add in each decision, while others train on; empty: the
            scheduler is to add all that it adds at once.

    A scheduler of your own can be asked without a search:

    >>> import popjax as pj
    >>> space = pj.Space(rate=pj.uniform(0, 1))
    >>> problem = pj.Problem(space, 8, 3, 0, pj.Rule("val_loss"), lambda n, trials=None, space=space: space.sample(n))
    >>> problem.propose(problem.trials)["rate"].shape
    (8,)
    """

    space: Space
    trials: int
    epochs: int
    seed: int
    rule: Rule
    propose: Callable[..., dict[str, np.ndarray]]
    learns: bool = False
    batches: tuple[int, ...] = ()


def added(decision: Decision) -> int:
    """Number of trials that a decision adds."""
    return len(next(iter(decision.add.values()))) if decision.add else 0


def best_first(problem: Problem, trials: Trials, epoch: int | None = None, present: bool = False) -> np.ndarray:
    """Numbers of the trials that reached an epoch and did not diverge, best first by the rule on what counts after it.

    If `epoch` is None: all trials that have begun and did not diverge, those that have trained longest first. Ties in
    the metric that ranks go to the lower validation loss, then to the lower trial number. `present`: rank by the values
    of the epoch itself, even with at="best": those of the states that a copy would take.
    """
    rows = np.flatnonzero((trials.epochs >= (epoch or 1)) & np.isfinite(trials.loss))
    at = trials.epochs[rows] if epoch is None else np.full(len(rows), epoch)
    curves = trials.curves if present else trials.values
    values = {name: curve[rows, at - 1] for name, curve in curves.items()}
    order = order_of(problem.rule, values | {name: cost[rows] for name, cost in trials.costs.items()})
    furthest = at if epoch is not None else trials.reached(problem.epochs)[rows]
    return rows[order[np.argsort(-furthest[order], kind="stable")]]


def tied(problem: Problem, trials: Trials, order: np.ndarray, cut: int, epoch: int) -> int:
    """The number of trials with the same values after an epoch as those on both sides of a cut; 0 if they differ.

    Args:
        order: the trials, best first.
        cut: how many of them stay.
    """
    if not 0 < cut < len(order):
        return 0
    names = [name for name in dict.fromkeys((*problem.rule.metrics, TIES)) if name in trials.values]
    values = [trials.values[name][order, epoch - 1] for name in names]
    columns = np.stack([*values, *(trials.costs[name][order] for name in problem.rule.needs)])
    same = (columns == columns[:, [cut]]).all(0)
    return int(same.sum()) if same[cut - 1] else 0


def tie_text(count: int, epoch: int) -> str:
    """What to do about a cut among so many equal trials after an epoch."""
    what = f"{count} trials are equal after epoch {epoch}, and the cut falls among them by their numbers"
    return f"{what}: raise min_epochs, or rank by a metric that tells them apart"


def tie_notes(decisions: Iterable[Decision]) -> list[str]:
    """What the notes of decisions say of cuts among equal trials, each line once."""
    known = [
        decision.notes for decision in decisions if isinstance(decision.notes, Mapping) and "tied" in decision.notes
    ]
    return list(dict.fromkeys(line for notes in known for line in notes.get("notes", ())))


def check_kinds(decision: Decision) -> None:
    """Raise ValueError for a part of a decision that has the wrong type."""
    for name in ("add", "copy", "set", "until"):
        part = getattr(decision, name)
        if not isinstance(part, Mapping):
            raise ValueError(f"the decision's {name} is a {type(part).__name__}; give a dict")
    if not isinstance(decision.fresh, Collection | np.ndarray) or isinstance(decision.fresh, str | Mapping):
        raise ValueError(f"the decision's fresh is a {type(decision.fresh).__name__}; give the numbers of trials")
    for trial, values in decision.set.items():
        if not isinstance(values, Mapping):
            raise ValueError(f"set {trial}: {short(values)} is no dict; give name -> value")


def check_decision(
    decision: Decision, space: Space, bucket: np.ndarray, epochs: np.ndarray, over: np.ndarray, last: int | None
) -> None:
    """Raise ValueError for a decision that cannot be carried out, before any part of it is.

    Args:
        bucket: int (trials,), the bucket of each trial.
        epochs: int (trials,), the finished epochs.
        over: bool (trials,), complete: each member is at the last epoch, or out of patience.
        last: the last epoch; None if there is none.
    """
    if decision.add:
        check_points(space, decision.add)
    known, count = len(bucket), len(bucket) + added(decision)
    for trials in (decision.copy, decision.copy.values(), decision.fresh, decision.set, decision.until):
        wholes = all(map(whole_kind, set(map(type, trials))))
        if not wholes or not 0 <= min(trials, default=0) <= max(trials, default=0) < max(count, 1):
            wrong = next(trial for trial in trials if not whole_kind(type(trial)) or not 0 <= trial < count)
            raise ValueError(f"there is no trial {wrong!r}; choose 0..{count - 1}")
    for target, source in decision.copy.items():
        if max(target, source) >= known:
            raise ValueError(f"copy {source} to {target}: a trial added at once has no state yet; add it before")
        if bucket[target] != bucket[source]:
            raise ValueError(f"copy {source} to {target}: they differ in what fixes a shape or code; copy one like it")
        if epochs[target] != epochs[source]:
            places = f"trial {target} is at epoch {epochs[target]}, trial {source} at {epochs[source]}"
            raise ValueError(f"copy {source} to {target}: {places}; copy one at the same epoch")
        for trial in (source, target):
            if over[trial]:
                raise ValueError(f"copy {source} to {target}: trial {trial} is trained to the end; copy earlier")
    for trial in decision.fresh:
        if trial >= known:
            raise ValueError(f"fresh {trial}: a trial added at once has its own key; leave it out")
        if over[trial]:
            raise ValueError(f"fresh {trial}: it is trained to the end; leave it out")
    for trial in decision.set:
        if trial >= known:
            raise ValueError(f"set {trial}: the trial is added now; add it with these values")
        if over[trial]:
            raise ValueError(f"set {trial}: it is complete; set its hyperparameters while it trains")
    check_until(decision, epochs, last)


def check_until(decision: Decision, epochs: np.ndarray, last: int | None) -> None:
    """Raise ValueError for an epoch in `until` that is not an int, not after `epochs` (trials,), or beyond the last."""
    if not decision.until:
        return
    trials, goals = list(decision.until), list(decision.until.values())
    if not all(map(whole_kind, set(map(type, goals)))):
        wrong = next(goal for goal in goals if not whole_kind(type(goal)))
        raise ValueError(f"until {wrong!r}: give a whole number of epochs")
    now = np.concatenate([epochs, np.zeros(max(trials) + 1, int)])[trials]
    for row in np.flatnonzero(np.array(goals) <= now)[:1].tolist():
        raise ValueError(f"until {goals[row]}: trial {trials[row]} is at epoch {now[row]}; give a later one")
    if last is not None and max(goals) > last:
        trial = trials[goals.index(max(goals))]
        raise ValueError(f"until {max(goals)}: trial {trial} ends at epoch {last}; give at most {last}")
