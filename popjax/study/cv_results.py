"""A search's trials in the format of scikit-learn's searches."""

from typing import Any

import numpy as np

from popjax.store.results import Results


def cv_results(results: Results, seconds: float) -> dict[str, Any]:
    """The trials under scikit-learn's keys; larger scores are better, NaN for trials that did not end or diverged.

    The fit time of a trial is `seconds` over the number of trials, since all train at once.
    """
    sign = 1 if results.metric.mode == "max" else -1
    trials = len(results.members[results.metric])
    scored = np.zeros(trials, bool)
    scored[results.order] = True
    last = np.where(scored[:, None, None], results.of_members[results.metric], np.nan).mean(2) * sign
    params = [results.hparams(trial) for trial in range(trials)]
    table: dict[str, Any] = {"mean_fit_time": np.full(trials, seconds / trials), "std_fit_time": np.zeros(trials)}
    table |= {"mean_score_time": np.zeros(trials), "std_score_time": np.zeros(trials)}
    for name in results.space:
        values = [each.get(name) for each in params]
        table[f"param_{name}"] = np.ma.MaskedArray(values, [name not in each for each in params], dtype=object)
    table["params"] = params
    table |= {f"split{fold}_test_score": last[:, fold] for fold in range(last.shape[1])}
    rank = np.full(trials, trials, np.int32)
    rank[results.order] = np.arange(1, len(results.order) + 1)
    return table | {"mean_test_score": last.mean(1), "std_test_score": last.std(1), "rank_test_score": rank}
