"""What a population hands over when its training ends: the results, and which trials rank if a budget ended it."""

import dataclasses

import numpy as np

from popjax.engine.members import MemberTable
from popjax.engine.states import States
from popjax.scheduler import Status
from popjax.space.space import Points
from popjax.store.history import History
from popjax.store.results import Results


def results_of(
    points: Points, table: MemberTable, states: States, history: History | None, steered: np.ndarray | None
) -> Results:
    """The Results as the table stands, without the figures of the run.

    Of an unfinished run the `contenders` rank; of the trials that wait those that the last decision names are stopped
    with it, the others pruned.
    """
    waiting = table.status == Status.WAITING
    left = np.where(table.named, Status.STOPPED, Status.PRUNED)
    results = Results(
        dict(points),
        dict(table.metrics),
        table.rule,
        rounds=table.rounds,
        done=table.epochs,
        status=np.where(waiting, left, table.status),
        improved=table.improved,
        contenders=contenders(table, states.held) if table.unfinished else None,
        costs=table.costs,
        history=history,
        steered=steered,
    )
    winner = None if results.contenders is None else results.best
    best = [] if winner is None else [winner.trial, *results.best_trials(table.rule.keep)]
    points = results.points if results.best_epochs is None else results.points_that_count
    return dataclasses.replace(results, states=states.of_trials(best), points=points)


def contenders(table: MemberTable, held: np.ndarray) -> np.ndarray:
    """Bool (trials,): the trials that rank, of which each member has finished an epoch and none diverged.

    If the best epoch counts, all of them; else those that have ended, or, if none has, those at the greatest epoch that
    all members of a trial have finished. One that has not ended and has lost a state is passed over.

    Args:
        held: bool (members,), a state of the member is held.
    """
    ended = table.ended()
    able = (table.status != Status.DIVERGED) & (ended | (held.reshape(ended.size, -1).all(1) & (table.done > 0)))
    if table.improved is not None:
        return able
    if (able & ended).any():
        return able & ended
    return able & (table.done == table.done[able].max(initial=0))
