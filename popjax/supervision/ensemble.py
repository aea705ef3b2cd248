"""Ensembles: several trained trials as one predictor, the mean of their predictions."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from popjax.core.counts import check_count
from popjax.core.text import lookup
from popjax.data.inputs import taken
from popjax.metric import Metric
from popjax.rules.best import TOGETHER, method_of
from popjax.store.files import jsonable
from popjax.store.results import Results
from popjax.supervision.loading import own_of, predictor_of
from popjax.supervision.predictor import Predictor
from popjax.supervision.preprocessing import Code
from popjax.supervision.problem import Supervised
from popjax.supervision.unpredicted import unpredicted


def ensemble(
    results: Results,
    size: int | None = None,
    method: str | None = None,
    model: Callable[..., Any] | None = None,
    transform: Any = None,
) -> Predictor:
    """An ensemble of the best trials of a search: the mean of their probabilities, or of their values.

    With `size` and `method` None, the ensemble that `results` records, if there is one.

    Args:
        results: of a search with a rule that kept enough trials, such as `rank=popjax.best(keep=25)`.
        size: number of complete trials, at most; if None, that of the rule `together`, else 25.
        method: if None, that of the rule. "mean": the best `size` by the metric that ranks, each once. "greedy":
            forward selection in `size` steps, with replacement, from all kept trials by the loss on the validation
            rows, or with folds on the rows that each model did not train on (Caruana et al. 2004, "Ensemble selection
            from libraries of models"); it needs results of this process. On few validation rows it overfits them
            (benchmarks/ensemble.py).
        model: the callable that was passed to `supervised`, for loaded results of a custom model.
        transform: likewise for a custom transform.

    Raises ValueError for trials that were not kept, for a task without a recipe, and for an unknown method.

    >>> import popjax as pj
    >>> from sklearn.datasets import load_wine
    >>> x, y = load_wine(return_X_y=True)
    >>> space = {"learning_rate": pj.log_uniform(1e-3, 1e-1), "hidden": 8}
    >>> results = pj.search(pj.supervised((x, y)), space, trials=8, epochs=10, rank=pj.best(keep=3))
    >>> together = pj.ensemble(results, size=3)
    >>> together.trials == results.order[:3].tolist(), together.score(x, y) > 0.9
    (True, True)
    """
    own = own_of(results, model, transform)
    if size is None and method is None and results.ensemble:
        return weighted(results, Counter(results.ensemble), own)
    rule = results.rule
    size = (rule.keep if rule.together else TOGETHER) if size is None else check_count("size", size)
    return lookup(METHODS, "method", method or method_of(rule))(results, size, own)


def weighted(results: Results, counts: Mapping[int, int], own: Code) -> Predictor:
    """The predictor of kept trials, weighted by `counts`: trial -> number of times it counts."""
    kept = [results.kept(trial) for trial in counts]
    return predictor_of(kept, own, tuple(map(float, counts.values())))


def mean(results: Results, size: int, own: Code) -> Predictor:
    """The best `size` trials, each once; raises ValueError if one was not kept, or none is complete."""
    trials = results.best_trials(size)
    if not trials:
        raise ValueError("no trial was trained to the end: there is nothing to combine")
    remedy = "search with rank=popjax.together()" + ("" if results.task is not None else " and out=")
    for rank, trial in enumerate(trials, 1):
        if trial not in results.states:
            raise ValueError(f"trial {trial}, of rank {rank}, was not kept; {remedy}, or give a smaller size")
    return predictor_of([results.kept(trial) for trial in trials], own)


def greedy(results: Results, size: int, own: Code) -> Predictor:
    """Forward selection with replacement, by the loss of the mean prediction on rows that were not trained on.

    That is the log loss or the squared error also beside a custom loss, which is a function of outputs, except of the
    kind "own", whose outputs are the predictions.

    Raises ValueError without validation rows, and where each fold's models learned features of their own.
    """
    trials = [trial for trial in results.eligible.tolist() if trial in results.states]
    task = results.task
    if not trials or not isinstance(task, Supervised):
        raise ValueError("greedy: it needs the validation rows; give the results of pj.search in this process")
    whole = predictor_of([results.kept(trial) for trial in trials], own)
    if not task.combines(whole.recipe.folds):
        raise ValueError("greedy: the features of each fold differ, so outputs have no mean; use folds=1")
    predicted, targets = held_out(whole, task.in_folds(whole.recipe.folds))
    row_losses = task.fit.kind.row_losses
    counts = np.bincount(selected(predicted, targets, size, row_losses), minlength=len(trials)).tolist()
    return weighted(results, {trial: n for trial, n in zip(trials, counts, strict=True) if n}, own)


METHODS: dict[str, Callable[..., Predictor]] = {"mean": mean, "greedy": greedy}


def held_out(predictor: Predictor, task: Supervised) -> tuple[np.ndarray, np.ndarray]:
    """Predictions (trials, rows, ...) for the validation rows by models of their fold, and targets (rows, ...)."""
    dataset, parts = task.dataset, task.split
    outputs = [predictor.of_fold(taken(dataset.x, rows), fold) for fold, rows in enumerate(parts.validation)]
    return np.concatenate(outputs, 1), np.concatenate([task.targets(rows) for rows in parts.validation])


def selected(
    predicted: np.ndarray, targets: np.ndarray, size: int, row_losses: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> list[int]:
    """Indices into `predicted` (trials, rows, ...): in each of `size` steps, the trial that makes the mean best."""
    chosen: list[int] = []
    total = np.zeros_like(predicted[0])
    for step in range(1, size + 1):
        losses = [row_losses((total + one) / step, targets).mean() for one in predicted]
        chosen.append(int(np.argmin(losses)))
        total += predicted[chosen[-1]]
    return chosen


def combined_predictor(results: Results) -> Predictor | None:
    """The ensemble of the rule's method, by default of all kept trials among the best 25.

    None for fewer than two such trials, and for a task with models that have no mean (see `combined`).
    """
    trials = [trial for trial in results.best_trials() if trial in results.states]
    if len(trials) < 2 or not combined(results):
        return None
    if method_of(results.rule) != "mean":
        return ensemble(results)
    return predictor_of([results.kept(trial) for trial in trials], own_of(results))


def combined(results: Results) -> bool:
    """True if the models of all folds of a supervised task predict the same quantity, so that a mean is defined."""
    task = results.task
    return isinstance(task, Supervised) and task.combines(results.members[results.metric].shape[1])


def ensemble_score(results: Results, predictor: Predictor | None) -> dict[str, Any] | None:
    """The ensemble's trials and test scores for `summary.json`; None without a predictor or test rows."""
    if predictor is None:
        return None
    task = results.task
    rows = task.in_folds(predictor.recipe.folds).split.test
    if len(rows) == 0:
        return None
    predicted = predictor.mean_of(taken(task.dataset.x, rows))
    test = {Metric.of("test", name): jsonable(value) for name, value in task.judged(predicted, rows).items()}
    lacking = unpredicted(task.fit.kind, predicted, task.targets(rows))
    return {"trials": predictor.trials, "test": test} | ({"unpredicted": lacking} if lacking else {})
