"""`python -m popjax.retest DIR`: are the winners of an earlier search still good? Starts without JAX."""

import dataclasses
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import tyro

from popjax.commands import cli
from popjax.commands.arguments import Workers, asked_backend
from popjax.commands.experiment import Experiment
from popjax.commands.options import Text, Whole
from popjax.commands.outcome import TOP
from popjax.core.counts import check_seed
from popjax.core.storage import why_unwritable
from popjax.core.text import plural, printable
from popjax.data.columns import relevel, some
from popjax.rule import Rule
from popjax.space.scales import Choice
from popjax.space.values import absent, present
from popjax.tuning.verdict import MEANING, TUNE_AGAIN

if TYPE_CHECKING:
    from popjax.data.dataset import Dataset
    from popjax.engine.backends.protocol import Backends
    from popjax.space.space import Space
    from popjax.store.results import Results
    from popjax.task import Task

VALIDATION = 0.1  # share of the rows, as in the search, so that as many rows train


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments(Workers):
    """Train the best trials of an earlier search again, beside a random sample of the others.

    On new data (--dataset), or on the old data with new folds and new initial weights; and
    report whether the old setting is still good.
    """

    directory: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR")]
    """the directory of the search"""
    dataset: Text = None
    """the data to train on (default: those of the search)"""
    target: Text = None
    """the column to predict, if it has another name"""
    missing: Text = None
    """what to do with missing cells: error, drop, median (of text, the most frequent) or auto"""
    drop: Text = None
    """columns to leave out (default: as in the search)"""
    na: Text = None
    """texts that mean a missing cell (default: as in the search)"""
    thousands: Text = None
    """of CSV files: the sign between thousands, or none (default: as in the search)"""
    decimal: Text = None
    """of CSV files: the sign before decimals (default: as in the search)"""
    dates: Text = None
    """columns of dates: auto, none or names (default: as in the search)"""
    validation: Text = None
    """a file of validation rows, if the search had one; here they are rows as all others"""
    test: Text = None
    """a file of rows that the search set aside, if it had one"""
    task: Text = None
    """your own Task, as module:attribute"""
    top: int = TOP
    """number of the best trials"""
    background: int = 20
    """number of the others, at random"""
    repeats: int = 5
    """times that each is trained: the number of folds, or of initial weights if a task has no folds"""
    seed: Whole = None
    """the seed of the folds, the sample and the models (default: one more than the search's)"""


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    arguments = cli.parse(Arguments, "retest", argv)
    for name, low in (("top", 1), ("background", 1), ("repeats", 3), ("retries", 1)):
        if getattr(arguments, name) < low:
            raise ValueError(f"--{name} {getattr(arguments, name)}: give at least {low}")
    if arguments.seed is not None:
        check_seed(arguments.seed, "--seed ")
    backend = asked_backend(arguments)
    from popjax.store.files import write_json
    from popjax.store.results import Results

    directory = Path(arguments.directory)
    results = Results.load(directory)
    if len(results.order) == 0:
        raise ValueError(f"{str(directory)!r}: {results.no_winner}; there is nothing to test again")
    seed = arguments.seed if arguments.seed is not None else (int(results.run["seed"]) + 1) % 2**32
    experiment = experiment_again(arguments, results, seed)
    task, same = task_again(experiment, arguments.repeats, results)
    space, fit = space_for_rows(task, results)
    if results.rule.limits:  # what violates them is no alternative
        fit = fit[results.feasible[fit]]
    rows, top = chosen_trials(results, fit, arguments.top, arguments.background, seed)
    if complaint := why_unwritable(directory):
        raise ValueError(f"{complaint}, where retest.json is to be; copy the run to where you may write")
    print(f"training {len(rows)} trials again, {arguments.repeats} times each", flush=True)
    new = train_again(task, space, results, rows, arguments.repeats, seed, backend.made)
    report = retest_report(results, rows, new, top) | {"seed": seed, "same_data": same}
    print(printable(f"{MEANING[report['verdict']]}: the old best has {report['place_says']}"))
    print(printable(f"in figures: {report['reason'].removeprefix(MEANING[report['verdict']] + '; ')}"))
    print(f"{report['first_says']} ({results.metric}, ± for {report['confidence']:.0%})")
    write_json(directory / "retest.json", report)
    print(f"written: {directory / 'retest.json'}")
    if report["verdict"] == TUNE_AGAIN and experiment.task is None:
        named = experiment.untold() or ["--dataset", experiment.dataset]
        print(f"next: {cli.called('sweep')} {shlex.join([*named, '--near', str(directory)])}")
    return 0


def space_for_rows(task: "Task", results: "Results") -> "tuple[Space, np.ndarray]":
    """The search's space without batches larger than the training rows, and the remaining trials (rows,)."""
    from popjax.space.space import Space

    space, trials = Space.from_dict(results.run["space"]), np.arange(len(results.diverged))
    if task.recipe is None or "batch_size" not in space:
        return space, trials
    rows = task.data.folds.train.shape[1]
    sizes = results.points["batch_size"]
    there = present(sizes)
    fit = trials[~there | (np.where(there, sizes, 0).astype(float) <= rows)]
    if len(fit) < len(trials):
        if len(fit) == 0:
            raise ValueError(f"all batches of the search are larger than the {rows} training rows; give more rows")
        print(f"{len(trials) - len(fit)} trials with batches above the {rows} training rows are left out", flush=True)
        space = space.replace(batch_size=Choice(*sorted({int(size) for size in sizes[fit] if not absent(size)})))
    return space, fit


def chosen_trials(results: "Results", fit: np.ndarray, top: int, background: int, seed: int) -> tuple[np.ndarray, int]:
    """Rows of the best trials, the winner first, and of a random sample of the others; the number of the best.

    The best are those by the metric that is judged, which of several objectives is the first.
    """
    ranked = results.order[np.isin(results.order, fit)]
    if len(ranked) == 0:
        raise ValueError("no trial that ranks fits these rows; give more rows")
    if len(results.rule.objectives) > 1:
        ranked = ranked[np.argsort(Rule.loss(results.rule, results.values)[ranked], kind="stable")]
    won = ranked == (results.best.trial if results.best else -1)
    best = np.concatenate([ranked[won], ranked[~won]])[:top]
    others = np.setdiff1d(fit, best)
    if len(others) == 0:
        within = f" within {' and '.join(results.rule.subject_to)}" if results.rule.limits else ""
        too_few = f"--top {top}: the search has {plural(len(best), 'trial')}{within}"
        if len(best) < 2:
            raise ValueError(f"{too_few}: there is nothing to compare; search again")
        raise ValueError(f"{too_few}, so there are no others; give fewer")
    sample = np.random.default_rng(seed).permutation(others)[:background]
    return np.concatenate([best, np.sort(sample)]), len(best)


def experiment_again(arguments: Arguments, results: "Results", seed: int) -> Experiment:
    """The experiment of the search, with the options that this command names."""
    names = (
        "dataset",
        "target",
        "missing",
        "drop",
        "na",
        "thousands",
        "decimal",
        "dates",
        "validation",
        "test",
        "task",
    )
    given = {name: getattr(arguments, name) for name in names} | {"seed": seed}
    command = f"{cli.called('retest')} {shlex.quote(arguments.directory)}"
    return Experiment.again(results.run, command, given)


def task_again(experiment: Experiment, repeats: int, results: "Results") -> "tuple[Task, bool | None]":
    """The task on the present data, and True if these are the data of the search; None if unknown."""
    if experiment.task is not None:
        own = experiment.users_task()
        return own if own.recipe is None else own.in_folds(repeats, VALIDATION), None
    parts = experiment.load()
    dataset = parts.dataset
    recorded = results.run.get("data") or {}
    check_columns(experiment.dataset, recorded, dataset)
    dataset = with_texts(dataset, recorded.get("levels") or {})
    task = experiment.supervised(parts._replace(dataset=dataset))
    task = task.in_folds(repeats, VALIDATION)
    recipe = task.recipe
    assert recipe is not None
    if recipe.identity["inputs"] != recorded.get("inputs"):
        shape, then = recipe.inputs, recorded.get("inputs")
        raise ValueError(f"{experiment.dataset!r} has rows of shape {shape}, the search {then}; give the same columns")
    return task, dataset.digest == recorded.get("data")


def check_columns(name: str, then: Mapping[str, Any], now: "Dataset") -> None:
    """Raise ValueError if the columns or targets of the data differ from those of the search."""
    texts = then.get("levels") or {}
    for column in then.get("columns") or ():
        if column not in now.columns:
            raise ValueError(f"{name!r} lacks the column {column!r} that the search had; give the same columns")
    for column in now.columns:
        if column not in (then.get("columns") or ()):
            raise ValueError(f"{name!r} has the column {column!r} that the search did not have; give the same columns")
        if (column in texts) != (column in now.levels):
            kinds = ["text" if column in levels else "numbers" for levels in (now.levels, texts)]
            raise ValueError(f"{name!r} has {kinds[0]} in {column!r}, the search had {kinds[1]}; give the same kind")
    if then.get("kind") != now.kind:
        what = f"{name!r} is a {now.kind}, the search was a {then.get('kind')}"
        raise ValueError(f"{what}; give the same kind of target")
    if list(now.outputs) != list(then.get("outputs") or ()):
        what = f"the targets are {some(now.outputs) or 'one'}, those of the search {some(then.get('outputs') or ())}"
        raise ValueError(f"{name!r}: {what}; give the same")


def with_texts(dataset: "Dataset", then: Mapping[str, Any]) -> "Dataset":
    """The dataset in the features of the search; a text that the search had not is all zeros, as in `predict`."""
    for column, texts in dataset.levels.items():
        new = [text for text in texts if text not in then[column]]
        if new:
            print(printable(f"{column!r} has texts new to the search, encoded as zeros: {some(new)}"), flush=True)
    levels = {column: tuple(texts) for column, texts in then.items()}
    if levels == dataset.levels:
        return dataset
    x = relevel(dataset.x, dataset.columns, dataset.levels, levels)
    return dataclasses.replace(dataset, x=x, levels=levels)


def train_again(
    task: "Task",
    space: "Space",
    results: "Results",
    rows: np.ndarray,
    repeats: int,
    seed: int,
    backend: "Backends | None" = None,
) -> np.ndarray:
    """New values (trials, repeats) of the ranking metric, NaN for diverged; all are trained in one population."""
    from popjax.engine.traced_task import Config
    from popjax.executors.backend import Local
    from popjax.study.replay import train_points

    config = Config(
        epochs=int(results.run["epochs"]),
        seed=seed,
        rule=Rule(results.metric, at=results.rule.at, patience=results.rule.patience),
        folds=1 if task.recipe is None else repeats,
        repeats=repeats if task.recipe is None else 1,
    )
    points = {name: column[rows] for name, column in results.points.items()}
    by_epoch = values_by_epoch(results, rows)
    points |= {name: values[:, 0] for name, values in by_epoch.items()}
    again = train_points(task, space, points, config, rows, by_epoch=by_epoch, backend=backend or Local().made)
    return again.counted.values[results.metric][..., -1].reshape(len(rows), repeats)


def values_by_epoch(results: "Results", rows: np.ndarray) -> dict[str, np.ndarray]:
    """Name -> (rows, epochs): hyperparameters along the lineages of trials; empty if no scheduler changed them.

    A trial that was not trained to the end keeps its last values.
    """
    from popjax.space.space import Space

    if results.history is None:
        return {}
    space, epochs = Space.from_dict(results.run["space"]), results.run["epochs"]
    by_epoch = {name: column[rows][:, None].repeat(epochs, 1) for name, column in space.filled(results.points).items()}
    for row, trial in enumerate(rows.tolist()):
        for name, values in space.filled(results.history.of(trial)).items():
            by_epoch[name][row, : len(values)] = values
    return by_epoch


def retest_report(results: "Results", rows: np.ndarray, new: np.ndarray, top: int) -> dict[str, Any]:
    """The entries of retest.json."""
    from popjax.store.files import jsonable
    from popjax.tuning.verdict import CONFIDENCE, first_now, judge, mean_and_half

    metric = results.metric
    old = np.where(results.diverged, np.nan, results.values[metric])[rows]
    errors = results.errors[metric][rows] if results.errors else np.full(len(rows), np.nan)
    trials = []
    for row, trial in enumerate(rows.tolist()):
        mean, half = mean_and_half(new[row].astype(float))
        values = {"old": old[row], "old_se": errors[row], "new": mean, "new_half_width": half}
        trials.append({"trial": trial, "old_best": row < top} | {k: jsonable(v) for k, v in values.items()})
    verdict = judge(results.places[rows], new, top, results.metric.mode)
    verdict |= first_now(rows, old, new, results.metric.mode)
    return verdict | {"metric": metric, "confidence": CONFIDENCE, "repeats": new.shape[1], "trials": trials}
