"""What schedulers spend and lose: a table of learning curves is trained once, and each scheduler is simulated on it.

Every trial is trained to the end and scored on rows that no trial saw; then `popjax.simulate` says, for random subsets
of the trials, what a scheduler would have found there and how many epochs it would have trained, exactly. Beside it:
random search that trains as many epochs, on as many trials as these are enough for. Prints one JSON object, and writes
it beside the others unless --quick.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

import popjax as pj
from popjax.core.machine import device
from popjax.data.dataset import built_in
from popjax.store.results import Results
from popjax.supervision.loading import predictor_of
from popjax.supervision.preprocessing import Code
from popjax.tuning.schedulers.named_schedulers import scheduler_of

RESULTS = Path(__file__).parent / "results" / "table.json"
NAMED = ("halving(2, 2)", "halving(2, 1)", "halving(3, 1)", "halving(4, 1)", "hyperband(3, 1)", "hyperband(2, 2)")


def by_loss(problem: pj.Problem) -> pj.Scheduler:
    """Halving whose rungs compare by the validation loss, whatever ranks in the end."""
    return pj.halving()(problem._replace(rule=pj.best("val_loss")))


SCHEDULERS = {text: scheduler_of(text) for text in NAMED} | {"halving(2, 2), rungs by loss": by_loss}


def table(dataset: str, trials: int, epochs: int, seed: int, minutes: float | None) -> tuple[Results, np.ndarray]:
    """Trials trained to the end, and the score (trials,) of each on the test rows; NaN where it diverged."""
    data = built_in(dataset)
    task = pj.supervised(data, seed=seed)
    space = pj.default_space(rows=task.data.folds.train.shape[1])
    results = pj.search(
        task, space, trials=trials, epochs=epochs, seed=seed, rank=pj.best(keep=trials), minutes=minutes
    )
    rows = results.task.in_folds(1).split.test
    order = results.order.tolist()
    predicted = predictor_of([results.kept(trial) for trial in order], Code()).of_fold(data.x[rows], 0)
    scores = np.full(trials, np.nan)
    judged = [task.judged(one, rows) for one in predicted]
    scores[order] = [one.get("accuracy", one.get("r2")) for one in judged]
    return results, scores


def measure(results: Results, scores: np.ndarray, size: int, subsets: int) -> dict[str, Any]:
    """Of each scheduler, over the subsets: how many times fewer epochs and updates, and what it and random lose."""
    sign = 1 if results.metric.mode == "max" else -1
    value = np.where(results.diverged, -np.inf, sign * results.values[results.metric])
    epochs = results.members[results.metric].shape[-1]
    trained = np.minimum(results.epochs_run + results.diverged, epochs)  # diverged trials are trained no further
    each = results.task.hints.updates(results.points)
    rng = np.random.default_rng(0)
    rows_to_the_end = np.flatnonzero(~results.stopped)
    chosen = [rng.permutation(rows_to_the_end)[:size] for _ in range(subsets)]
    found = {}
    for text, scheduler in SCHEDULERS.items():
        rows = []
        for subset in chosen:
            would = pj.simulate(scheduler, results, subset)
            whole, fewer = (part[np.argmax(value[part])] for part in (subset, subset[: would.spent // epochs]))
            winners = [would.best, fewer]
            behind = [[value[whole] - value[trial], scores[whole] - scores[trial]] for trial in winners]
            updates = (np.minimum(would.epochs, trained[would.rows]) * each[would.rows]).sum()
            fewer_updates = (trained[subset] * each[subset]).sum() / updates
            rows.append([len(subset) * epochs / would.spent, fewer_updates, *np.ravel(behind)])
        lost = [f"{which}lost{on}" for which in ("", "random ") for on in ("", " on test rows")]
        names = ["times fewer epochs", "times fewer updates", *lost]
        found[text] = {name: float(f"{mean:.4g}") for name, mean in zip(names, np.mean(rows, 0), strict=True)}
    return found


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=4096)
    parser.add_argument("--epochs", type=int, default=64)
    parser.add_argument("--size", type=int, default=512, help="trials of a subset")
    parser.add_argument("--subsets", type=int, default=100)
    parser.add_argument("--minutes", type=float, help="at most, a table; what is trained by then counts")
    parser.add_argument("--datasets", default="digits,breast_cancer,diabetes")
    parser.add_argument("--quick", action="store_true", help="96 trials of 8 epochs, 5 subsets of 32")
    options = parser.parse_args()
    shape = (96, 8, 32, 5) if options.quick else (options.trials, options.epochs, options.size, options.subsets)
    report: dict[str, Any] = dict(zip(("trials", "epochs", "size", "subsets"), shape, strict=True))
    report |= {"device": device()}
    for dataset in options.datasets.split(","):
        results, scores = table(dataset, *shape[:2], seed=0, minutes=options.minutes)
        print(f"{dataset}: trained in {results.summary['train_seconds']:.0f} s", file=sys.stderr, flush=True)
        report[dataset] = measure(results, scores, *shape[2:])
        if not options.quick:
            RESULTS.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
