"""Output at the end of a sweep: the best trials, their scores, and what to do next. No JAX here."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from popjax.commands import cli
from popjax.commands.experiment import Experiment
from popjax.core.text import aligned, cell, hparams_text, plural, printable

if TYPE_CHECKING:
    from popjax.store.results import Results

TOP = 20  # default number of trials of retest


def outcome(results: "Results", out: Path, experiment: Experiment) -> "Iterator[tuple[str, bool]]":
    """Yield (line, bool): True for lines that are printed even with --quiet."""
    from popjax.pages.headline import (
        advice,
        columns_that_matter,
        compared,
        halved,
        metric_text,
        optimism,
        overlooked,
        scores_shown,
        seconds_text,
        value_text,
    )

    best = results.best
    if best is None:
        words, again = ("popjax resume goes on", "") if results.stopped.any() else advice(results)
        if len(results.leaders):
            yield ten_best(results), False
        yield f"{results.no_winner}; {words} {again}".rstrip(), True
        yield f"results: {out}", True
        return
    yield ten_best(results), False
    yield f"winner: trial {best.trial}, {hparams_text(best.hparams)}", True
    untouched = "".join(f", {name} {metric_text(value)}" for name, value in scores_shown(results).items())
    yield f"{results.metric} {value_text(results, best.trial)} ({optimism(results)}){untouched}", True
    if beside := compared(results):
        yield beside, True
    yield from ((line, True) for line in overlooked(results))
    if matter := columns_that_matter(results):
        yield matter, False
    if results.summary["ensemble"]:
        yield ensemble_line(results), True
    took = f"{results.summary['wall_seconds']:.1f} s, {seconds_text(results.summary)}"
    lost = int(results.diverged.sum())
    yield took + (f"; {lost:,} of {plural(len(results.diverged), 'trial')} diverged" if lost else ""), False
    yield f"results: {out}", True
    yield f"report: {out / 'report.html'}", False
    if experiment.task is None:
        load = f"import popjax; print(popjax.load_best({json.dumps(str(out))}).hparams)"
        yield f"next: {cli.python()} -c {shlex.quote(load)}", False
    if less := halved(results):
        yield f"{less}: --scheduler halving", False
    yield f"next: {cli.called('babysit')} {shlex.join(['--from', str(out), *experiment.untold()])}", False
    if (count := len(results.diverged)) > 1:
        fewer = ["--top", str(count // 2)] if count <= TOP else []
        yield f"next: {cli.called('retest')} {shlex.join([str(out), *experiment.untold(), *fewer])}", False


def ensemble_line(results: "Results") -> str:
    """One line of text with the ensemble's scores on the test rows."""
    from popjax.pages.headline import metric_text

    ensemble = results.summary["ensemble"]
    scores = ", ".join(f"{name} {metric_text(value)}" for name, value in ensemble["test"].items())
    how = "" if results.rule.together else "; to keep them: --choose ensemble"
    return f"the best {len(ensemble['trials'])} together: {scores}{how}"


def ten_best(results: "Results") -> str:
    """A table of the ten best trials; if none is complete, of the ten that are best so far."""
    names = [*results.points, results.metric]
    rows = [["rank", "trial", *names, *(["±"] if results.errors else [])]]
    for rank, trial in enumerate(results.leaders[:10].tolist(), 1):
        hparams = results.hparams(trial)
        values = [*(hparams.get(name) for name in results.points), float(results.values[results.metric][trial])]
        values += [float(results.errors[results.metric][trial])] if results.errors else []
        rows.append([str(rank), str(trial), *(cell(value) for value in values)])
    return printable(aligned(rows))
