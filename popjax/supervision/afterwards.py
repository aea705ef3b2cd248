"""What a supervised search tells once its winner is scored: entries of summary.json from the rows that test."""

import dataclasses
from collections.abc import Callable
from typing import Any

from popjax.core.imports import import_all
from popjax.rules.best import method_of
from popjax.store.results import Results
from popjax.supervision import baselines
from popjax.supervision.agreement import check_predictor
from popjax.supervision.ensemble import combined, combined_predictor, ensemble, ensemble_score
from popjax.supervision.mistakes import mistakes
from popjax.supervision.permuted import measured_by, rises, row_names
from popjax.supervision.problem import Supervised


def summary_entries(results: Results, page: bool) -> dict[str, Any]:
    """Entries of summary.json, and `together`, the trials of the ensemble; `page`: a page is written, which shows them.

    - `ensemble`: the scores of the best trials together (`ensemble_score`).
    - those of `baselines.worth`, and for a page those of `of_rows`, unless the run was cut short.
    """
    check_predictor(results)
    results = dataclasses.replace(results, ensemble=chosen_together(results))
    predictor = combined_predictor(results)
    entries: dict[str, Any] = {"together": results.ensemble, "ensemble": ensemble_score(results, predictor)}
    entries |= baselines.worth(results, results.metric, results.summary["test"], predictor, page)
    return entries | (of_rows(results) if page and not results.cut_short else {})


def of_rows(results: Results) -> dict[str, Any]:
    """Entries about a table of the user's own, or about images; none without a winner that was kept.

    - `trees`: the test scores of boosted trees (`baselines.trees_scores`).
    - `columns`: what the columns are worth to the winner (`permuted.rises`); `columns_by`: by which metric;
      `row_names`: the one that dominates, and may only name the rows.
    - `mistakes`: the test images that the winner gets wrong (`mistakes.mistakes`).
    """
    best = results.best
    if best is None or best.trial not in results.states:
        return {}
    task: Supervised = results.task.in_folds(results.members[results.metric].shape[1])
    winner = results.predictor(best.trial)
    trees = baselines.tried("boosted trees", lambda: baselines.trees_scores(task, task.split.test))
    wrong = baselines.tried("what the winner gets wrong", lambda: mistakes(task, winner))
    columns = baselines.tried("what the columns are worth", lambda: rises(task, winner, results.metric))
    entries: dict[str, Any] = {"trees": baselines.on_test(trees)} if trees else {}
    entries |= wrong
    if columns:
        entries |= {"columns": columns, "columns_by": measured_by(task, results.metric)}
        entries |= {"row_names": name} if (name := row_names(task, columns)) else {}
    return entries


def chosen_together(results: Results) -> tuple[int, ...]:
    """The trials of the rule's ensemble, best first, each repeated by its weight; empty if the rule has none."""
    rule = results.rule
    if not rule.together or results.best is None:
        return ()
    if method_of(rule) == "mean":
        return tuple(results.best_trials(rule.keep))
    if not combined(results):
        return ()
    chosen = ensemble(results)
    return tuple(trial for trial, count in zip(chosen.trials, chosen.weights, strict=True) for _ in range(int(count)))


def fitted_beside(task: Supervised) -> dict[str, Callable[[], dict[str, Any]]]:
    """See `Task.beside`: a linear model (`baselines.linear_scores`) on all rows but those that test."""
    rows = task.split.test
    if not baselines.has_linear(task, rows):
        return {}

    def linear() -> dict[str, Any]:
        import_all("pyarrow", "sklearn.linear_model")  # scikit-learn uses pyarrow, even when half imported
        return baselines.on_test(baselines.linear_scores(task, rows))

    return {"linear": linear}
