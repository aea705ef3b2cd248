"""The trials that predict, trained once more on all rows that do not test."""

import contextlib
import dataclasses

import numpy as np

from popjax.core.counts import check_count
from popjax.core.doubt import doubt
from popjax.engine.measure import rebuilt
from popjax.engine.roster import Roster
from popjax.engine.traced_task import Config, TracedTask
from popjax.engine.trainer import Trainer
from popjax.rule import Rule
from popjax.scheduler import Decision, Status
from popjax.space.space import Space, take
from popjax.store.decisions import Step
from popjax.store.files import KeptTrial
from popjax.store.results import Results
from popjax.supervision.loading import own_of, predictor_of
from popjax.supervision.predictor import Predictor
from popjax.supervision.problem import Supervised


def refit(results: Results, repeats: int | None = None) -> Predictor:
    """The winner, or the ensemble that predicts, trained once more on all rows that do not test.

    Rows that validated train too, so that nothing is left to choose by: each trial keeps its hyperparameters and its
    weight, and ends after as many epochs as counted in the search, the mean over its members, of the same schedule.
    Worth its seconds where rows are in time, since the latest rows train no fold; folds of shuffled rows leave out
    little. It trains in this process, and an interrupt ends it at once. Results and their directory stay as they are:
    keep what is returned by a pickle or `Predictor.export`.

    Args:
        results: of a supervised search in this process.
        repeats: models of each trial, with random keys of their own; if None, as many as its folds and repeats.

    A trial that diverges is left out, with a DataWarning. Raises ValueError if all do, for results without a winner or
    of another kind of task, and for hyperparameters that changed as trials trained.

    >>> import popjax as pj
    >>> from sklearn.datasets import load_iris
    >>> task = pj.supervised(load_iris(return_X_y=True), test=0, optimizer="adam")
    >>> space = {"learning_rate": pj.log_uniform(1e-3, 1e-1), "hidden": 8}
    >>> results = pj.search(task, space, trials=4, epochs=10, folds=3)
    >>> again = pj.refit(results)
    >>> again.trials == [results.best.trial], again.arrays["params.hidden.0.kernel"].shape
    (True, (3, 4, 8))
    """
    task = results.task
    if not isinstance(task, Supervised):
        raise ValueError("refit: give the results of pj.search of pj.supervised, in this process")
    if results.best is None:
        raise ValueError(f"refit: {results.no_winner}; there is nothing to train again")
    if results.history is not None:
        changed = "hyperparameters changed as trials trained"
        raise ValueError(f"refit: {changed}; search without pbt and without changes by hand, or leave refit out")
    before = results.predictor()
    trials = np.array(before.trials)
    folds, each = results.members[results.metric].shape[1:3]
    repeats = folds * each if repeats is None else check_count("repeats", repeats)
    points, epochs = take(results.points, trials), epochs_that_counted(results)[trials]
    searched = Config.of_run(results.run, Rule(results.metric))
    config = dataclasses.replace(searched, folds=1, repeats=repeats, plan="auto", caps=None, open_ended=True)
    traced = TracedTask(task.in_folds(folds).on_all_rows(), Space.from_dict(results.run["space"]), config)
    with contextlib.closing(Trainer(Roster(traced, points, trials))) as trainer:
        trainer.begin(Step(Decision(add=points, until=dict(enumerate(epochs.tolist())))))
        going = np.flatnonzero(trainer.table.status != Status.DIVERGED)
        states = trainer.states.of_trials(going)
        recipes = rebuilt(trainer.roster, states)
    lost = np.delete(trials, going).tolist()
    if not len(going):
        raise ValueError(f"refit: all diverge on all rows, trial {lost[0]} first; search with lower learning rates")
    if lost:
        doubt(f"trained on all rows, trial {lost[0]} diverges; it is left out, of {len(trials)} that predict")
    own = {at: int(trials[at]) for at in going.tolist()}
    kept = [KeptTrial(trial, results.hparams(trial), states[at], recipes[at]) for at, trial in own.items()]
    return predictor_of(kept, own_of(results), tuple(np.array(before.weights)[going].tolist()))


def epochs_that_counted(results: Results) -> np.ndarray:
    """int (trials,): the number of epochs after which a trial's state is that which predicts, the mean over members."""
    ends = results.epochs_run[:, None, None] if results.best_epochs is None else results.best_epochs
    return np.maximum(np.rint(ends.mean((1, 2))), 1).astype(int)
