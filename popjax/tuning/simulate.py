"""Simulate a scheduler on a search that was trained to the end: what it would find and spend. No JAX here."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from popjax.engine.members import MemberTable
from popjax.engine.numbering import Numbering
from popjax.rule import Rule
from popjax.rules.entering import check_patience
from popjax.scheduler import Decision, Problem, Scheduler, Trials, added, check_until, tie_notes
from popjax.space.space import Space, take
from popjax.store.counted import improved_in
from popjax.store.results import Results
from popjax.tuning.schedulers.asking import made_for


class Simulated(NamedTuple):
    """A simulated search.

    Attributes:
        rows: int (n,), the recorded trials in the order in which the scheduler added them.
        epochs: int (n,), the number of epochs that each would have trained.
        results: of the simulated search: its trial i is the recorded trial rows[i].
        notes: what the scheduler notes of cuts among equal trials.
    """

    rows: np.ndarray
    epochs: np.ndarray
    results: Results
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        notes = f", notes={list(self.notes)}" if self.notes else ""
        return f"Simulated(trials={len(self.rows)}, best={self.best}, spent={self.spent}{notes})"

    @property
    def best(self) -> int | None:
        """The recorded trial that would have won; None if there is no winner."""
        best = self.results.best
        return None if best is None else int(self.rows[best.trial])

    @property
    def spent(self) -> int:
        """The epochs trained, summed over all members."""
        return int(self.results.trained.sum())


def simulate(
    scheduler: Callable[[Problem], Scheduler], results: Results, subset: np.ndarray | None = None
) -> Simulated:
    """What `search(scheduler=scheduler)` would have found and spent, exactly, without training.

    A trial's curve does not depend on the trials trained beside it, so a pruned trial's curve is the beginning of
    its recorded one, and what a scheduler sees and decides is known.

    Args:
        scheduler: such as `popjax.halving()`.
        results: of a search that trained all its trials to the end.
        subset: int (n,), distinct numbers of the trials that the scheduler receives, in this order; if None, all.

    Raises ValueError for what the records do not determine: a scheduler that sets or copies, or that adds points
    other than the recorded ones; results with stopped, pruned, copied or changed trials, or with rounds; a rule with
    another patience than the one in training.

    >>> import popjax as pj
    >>> def epoch(x, hparams, data):
    ...     return x - hparams["rate"] * x, {"loss": x**2}
    >>> task = pj.Task(lambda key, hparams, data: 1.0, epoch, ())
    >>> full = pj.search(task, {"rate": pj.uniform(0, 1)}, trials=8, epochs=6)
    >>> pj.simulate(pj.halving(), full)
    Simulated(trials=8, best=5, spent=28)
    >>> full.best.trial, full.done.sum().item()
    (5, 48)
    """
    rows = np.arange(len(results.diverged)) if subset is None else rows_of_subset(subset, results)
    if (results.stopped | results.pruned)[rows].any():
        first = int(rows[(results.stopped | results.pruned)[rows]][0])
        raise ValueError(f"simulate: trial {first} was not trained to the end; give a search that was")
    if results.rounds.any():
        what = "the points of later rounds depend on the results of earlier trials"
        raise ValueError(f"simulate: {what}; give a search of one round, such as a plain random one")
    if results.history is not None:
        raise ValueError("simulate: hyperparameters changed while these trials trained; give a search where none did")
    if rank := results.run.get("rank"):
        trained = Rule(rank["metric"], rank["mode"], at=rank["at"], patience=rank["patience"])
        check_patience("simulate", trained, results.rule)
    return Replay(results, rows).run(scheduler)


def alike(one: np.ndarray, other: np.ndarray) -> bool:
    """True if two columns hold the same values, NaN for NaN where a hyperparameter is inactive."""
    return np.array_equal(one, other, equal_nan="f" in (one.dtype.kind, other.dtype.kind))


def rows_of_subset(subset: Any, results: Results) -> np.ndarray:
    """The rows (n,) of a subset; raises ValueError for anything but a list of distinct trial numbers."""
    rows = np.asarray(subset)
    count = len(results.diverged)
    if rows.ndim != 1 or rows.dtype.kind not in "iu" or len(rows) == 0 or len(set(rows.tolist())) < len(rows):
        raise ValueError("simulate: subset is a list of different trial numbers; give at least one")
    for row in rows[(rows < 0) | (rows >= count)][:1].tolist():
        raise ValueError(f"simulate: there is no trial {row}; choose 0..{count - 1}")
    return rows


class Replay:
    """Recorded trials in place of a population."""

    def __init__(self, results: Results, rows: np.ndarray) -> None:
        self.results = results
        self.rows = rows
        self.points = take(results.points, rows)
        shape, dtype = results.members[results.metric].shape[1:], results.members[results.metric].dtype
        self.numbering = Numbering(*shape[:2])
        self.recorded = {name: values[rows] for name, values in results.members.items()}
        improvement = results.rule.improvement
        self.improved = None if improvement is None else improved_in(improvement, self.recorded)
        self.table = MemberTable(
            results.members, self.numbering, results.rule, dtype=dtype, epochs=shape[2], last=shape[2]
        )

    def run(self, make: Callable[[Problem], Scheduler]) -> Simulated:
        """Ask the scheduler for decisions until it names no trial; return the outcome."""
        results = self.results
        space = Space.from_dict(results.run["space"])
        last = results.members[results.metric].shape[-1]
        problem = Problem(space, len(self.rows), last, results.run["seed"], results.rule, self.propose)
        scheduler = made_for(make, problem)
        state = scheduler.init()
        decision, taken = Decision(until={0: 1}), list[Decision]()
        while decision.until:
            state, decision = scheduler.step(state, self.trials())
            self.take(decision, last)
            taken.append(decision)
        return self.simulated()._replace(notes=tuple(tie_notes(taken)))

    def propose(self, n: int, trials: Trials | None = None, space: Space | None = None) -> dict[str, np.ndarray]:
        """The next n recorded points; raises ValueError for another space."""
        if space is not None:
            raise ValueError("simulate: the scheduler asks for points of another space, whose curves were not recorded")
        first = 0 if trials is None else len(trials.epochs)
        return {name: column[first : first + n] for name, column in self.points.items()}

    def trials(self) -> Trials:
        """The trials added so far, in their current state."""
        begun = len(self.table)
        self.table.costs = self.costs(begun)
        return self.table.trials({name: column[:begun].copy() for name, column in self.points.items()})

    def costs(self, count: int) -> dict[str, np.ndarray]:
        """Cost -> (count,), those of the first trials."""
        return {name: values[self.rows[:count]] for name, values in self.results.costs.items()}

    def take(self, decision: Decision, last: int) -> None:
        """Carry out a decision with recorded curves; raises ValueError where there are none."""
        if decision.copy or decision.set or decision.fresh:
            raise ValueError("simulate: the scheduler copies or changes trials, whose curves were not recorded")
        begun = len(self.table)
        if decision.add:
            new = added(decision)
            for name, column in self.points.items():
                if not alike(decision.add[name], column[begun : begun + new]):
                    raise ValueError("simulate: the scheduler adds points other than the recorded ones in their order")
            self.table.grow(new)
        count = len(self.table)
        for trial in [trial for trial in decision.until if not 0 <= trial < count][:1]:
            raise ValueError(f"there is no trial {trial!r}; choose 0..{count - 1}")
        check_until(decision, self.table.done, last)
        for trial, epoch in decision.until.items():
            members = self.numbering.members([trial])
            up_to = lambda values: values[trial, ..., :epoch].reshape(len(members), epoch)  # noqa: B023
            improved = None if self.improved is None else up_to(self.improved)
            self.table.load(members, epoch, {name: up_to(values) for name, values in self.recorded.items()}, improved)
        if decision.until:
            self.table.recount()
            self.table.judge(self.table.finite().ravel())
        else:
            self.table.prune()

    def simulated(self) -> Simulated:
        """The search simulated so far."""
        table, results, count = self.table, self.results, len(self.table)
        outcome = Results(
            {name: column[:count] for name, column in self.points.items()},
            dict(table.metrics),
            results.rule,
            run=dict(results.run) | {"trials": count},
            done=table.epochs,
            status=table.status,
            improved=table.improved,
            costs=self.costs(count),
        )
        return Simulated(self.rows[:count], table.done, outcome)
