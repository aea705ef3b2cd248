"""What a notebook shows of Results, Space, Predictor, Session and Task: a few lines of HTML. No JAX here."""

import html
from typing import Any

import numpy as np

from popjax.core.text import cell, hparams_text, plural
from popjax.pages.headline import compared
from popjax.space.scales import Constant
from popjax.space.space import Space
from popjax.space.values import clauses
from popjax.store.results import Results

FEW = 5  # trials that are listed


def as_html(thing: Any) -> str:
    """What a notebook shows of Results, a Space, Predictor, Session or Task: a few lines of HTML, without its arrays.

    Their `_repr_html_` calls it. Text of the user's is escaped.

    >>> import popjax as pj
    >>> page = pj.as_html(pj.Space(learning_rate=pj.log_uniform(1e-4, 1), batch_size=32))
    >>> "Space: 1 searched of 2" in page, "<td>learning_rate</td>" in page
    (True, True)
    """
    if isinstance(thing, Results):
        return of_results(thing)
    if isinstance(thing, Space):
        return of_space(thing)
    kind = type(thing).__name__
    return {"Predictor": of_predictor, "Session": of_session}.get(kind, of_task)(thing)


def of_results(results: Results) -> str:
    """The number of trials, the winner, and a table of the best."""
    lost, pruned = int(results.diverged.sum()), int(results.pruned.sum())
    more = [f"{count} {word}" for count, word in ((lost, "diverged"), (pruned, "pruned")) if count]
    head = ", ".join([plural(len(results.diverged), "trial"), *more])
    names = [*results.points, results.metric]
    rows = []
    for rank, trial in enumerate(results.leaders[:FEW].tolist(), 1):
        hparams = results.hparams(trial)
        values = [*(hparams.get(name) for name in results.points), float(results.values[results.metric][trial])]
        rows.append([str(rank), str(trial), *map(cell, values)])
    test = results.summary.get("test_value")
    scored = f", {cell(test)} on the test rows" if isinstance(test, float) else ""
    best = results.best
    won = f"no winner: {results.no_winner}" + ("; the best so far:" if rows else "")
    if best is not None:
        won = f"winner: trial {best.trial}, {results.metric} {cell(best.value)}{scored}"
        won += f" ({beside})" if scored and (beside := compared(results)) else ""
        won += "".join(f"; {line}" for line in (results.cut_short, results.infeasible) if line)
    return line(f"Results: {head}; {won}") + small_table(["rank", "trial", *names], rows)


def of_space(space: Space) -> str:
    """A table with a row per hyperparameter."""
    rows = []
    for name, scale in space.items():
        when = clauses(space.conditions.get(name, {}))
        believed = space.beliefs.get(name, "")
        rows.append([name, f"{scale}{believed}", *([when] if space.conditions else [])])
    searched = sum(not isinstance(scale, Constant) for scale in space.values())
    head = ["hyperparameter", "scale", *(["exists when"] if space.conditions else [])]
    where = "".join(f"; {constraint}" for constraint in space.constraints)
    return line(f"Space: {searched} searched of {len(space)}{where}") + small_table(head, rows)


def of_predictor(predictor: Any) -> str:
    """A line on outputs and trials of a predictor."""
    some = [*map(str, predictor.trials[:FEW]), *(["..."] if len(predictor.trials) > FEW else [])]
    many = f"{plural(len(predictor.trials), 'trial')} ({', '.join(some)})"
    named = f"trial {predictor.trials[0]}: {hparams_text(predictor.hparams)}"
    classes, outputs = predictor.classes, predictor.outputs
    several = f"{len(outputs)} {'labels' if predictor.recipe.kind.name == 'multilabel' else 'values'}"
    what = f"{len(classes)} classes" if classes else several if outputs else "values"
    return line(f"Predictor of {what} by {named if len(predictor.trials) == 1 else many}")


def of_session(session: Any) -> str:
    """A line on models, epochs and last metrics of a session."""
    last = {name: np.atleast_1d(values[..., -1]) for name, values in session.curves.items()}
    now = hparams_text({name: values.item() for name, values in last.items() if session.single})
    if last and not session.single and (values := last[session.task.metric])[~np.isnan(values)].size:
        best = int((np.nanargmax if session.task.mode == "max" else np.nanargmin)(values))
        now = f"the best is {best}, {session.task.metric} {cell(values[best].item())}"
    return line(
        f"Session: {plural(session.trials, 'model')} after {plural(session.epoch, 'epoch')}; {now}".rstrip("; ")
    )


def of_task(task: Any) -> str:
    """A line on metric, mode and settings of a task."""
    said = hparams_text({name: value for name, value in task.settings.items() if value is not None})
    return line(f"Task: ranked by {task.metric}, {task.mode}; {said}".rstrip("; "))


def line(text: str) -> str:
    """A paragraph of escaped text."""
    return f"<p>{html.escape(text)}</p>"


def small_table(head: list[str], rows: list[list[str]]) -> str:
    """A table of escaped texts."""
    cells = lambda kind, row: "".join(f"<{kind}>{html.escape(text)}</{kind}>" for text in row)
    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table><thead><tr>{cells('th', head)}</tr></thead><tbody>{body}</tbody></table>"
