"""A page that compares runs: the best value over the training spent, spaces, winners."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from popjax.pages.axes import label, scope
from popjax.pages.drawing import GREY, MIDDLE, POINT, WINNER, axis_for, layout, rounded, ruled, shown, templated
from popjax.pages.framing import loss
from popjax.pages.headline import metric_text, value_text
from popjax.pages.markup import section, table
from popjax.space.space import Space
from popjax.store.listing import figure_at
from popjax.store.records import mean_member
from popjax.store.results import Results

COLORS = (WINNER, MIDDLE, "#009E73", "#E69F00", "#CC79A7", POINT, GREY)
HEAD = ("on the test rows", "the best together", "trials", "epochs", "updates", "seconds")
MOMENTS = 500  # largest number of points of a line


def check_comparable(runs: Mapping[str, Results]) -> None:
    """Raise ValueError if the runs differ in metric or data, or one has no winner."""
    ranks = {(results.metric, results.metric.mode) for results in runs.values()}
    if len(ranks) > 1:
        said = ", ".join(f"{name} by {results.metric}" for name, results in runs.items())
        raise ValueError(f"the runs rank by different metrics ({said}); compare runs of one metric")
    data = {(results.run.get("data") or {}).get("data") for results in runs.values()} - {None}
    if len(data) > 1:
        raise ValueError(f"{', '.join(runs)} are over different data; compare runs over the same")
    for name, results in runs.items():
        if results.best is None:
            raise ValueError(f"{name}: it has no winner; leave it out")


def comparison(runs: Mapping[str, Results]) -> tuple[str, str, dict[str, Any]]:
    """Title, sections as HTML and figures of the comparison. Raises ValueError for runs that cannot be compared."""
    check_comparable(runs)
    metric = shown(next(iter(runs.values())).metric)
    title = f"{len(runs)} runs compared"
    parts = [f"<h1>{title}</h1>", outcomes(runs)]
    figures = {"updates": best_by_then(runs, "updates", "model_steps")}
    boxes = '<div class="figure" id="updates"></div>'
    if all(figure_at(results.summary, "wall_seconds") for results in runs.values()):
        figures["seconds"] = best_by_then(runs, "seconds", "wall_seconds")
        boxes += '<div class="figure" id="seconds"></div>'
    caption = (
        f"The best {metric} of all trials after the same amount of training; the curve ahead on the left is sooner. "
        "The last epoch ranks, so a line may turn back. Updates and seconds are those of the whole run, spread "
        "evenly over its epochs; rounds follow one another."
    )
    parts.append(section("The best by then", caption, f'<div class="panels wide">{boxes}</div>'))
    parts.append(comparison_table(runs, "Spaces", "How each run searched, and what.", how_searched))
    parts.append(comparison_table(runs, "Winners", "What each run found.", winner))
    return title, "".join(parts), {"plots": figures}


def outcomes(runs: Mapping[str, Results]) -> str:
    """HTML table of scores and costs, a row per run."""
    rows = []
    for name, results in runs.items():
        summary, best = results.summary, results.best
        assert best is not None
        name_of_test = results.metric.on("test")
        scores = (figure_at(summary, "test_value"), figure_at(summary, "ensemble", "test", name_of_test))
        figures = [value_text(results, best.trial), *("" if score is None else metric_text(score) for score in scores)]
        figures += [f"{len(results.diverged):,}", str(results.members[results.metric].shape[-1])]
        spent = (figure_at(summary, "model_steps"), figure_at(summary, "wall_seconds"))
        figures += ["" if one is None else f"{one:,.0f}" for one in spent]
        rows.append([shown(name), *figures])
    metric = shown(next(iter(runs.values())).metric)
    return table(["run", metric, *HEAD], rows, "words")


def reached(results: Results) -> tuple[np.ndarray, np.ndarray]:
    """The share of all training done by each moment (moments,), and the best trial's value then (moments,).

    A moment is an epoch of a round: the trials of a round train side by side, and rounds one after another. A trial
    counts by its latest value; a diverged one adds training only. Moments without a value, such as those where all
    have diverged, are left out.
    """
    done, curve = results.trained.min((1, 2)), mean_member(results.counted.values[results.metric])
    top = np.fmax if results.metric.mode == "max" else np.fmin
    spent, best, before, record = [], [], 0, np.nan
    for one in np.unique(results.rounds):
        trials = np.flatnonzero(results.rounds == one)
        had = np.minimum(done[trials][:, None], np.arange(1, done[trials].max() + 1))
        latest = np.take_along_axis(curve[trials], np.maximum(had - 1, 0), 1)[~results.diverged[trials]]
        spent.append(before + had.sum(0))
        best.append(top.reduce(latest, 0, initial=record))
        before, record = before + done[trials].sum(), best[-1][-1] if len(best[-1]) else record
    share, values = np.concatenate(spent) / max(before, 1), np.concatenate(best)
    return share[np.isfinite(values)], values[np.isfinite(values)]


def thinned_columns(*columns: np.ndarray) -> tuple[np.ndarray, ...]:
    """Columns (moments,) with at most `MOMENTS` of their rows, the first and the last included."""
    kept = np.unique(np.linspace(0, len(columns[0]) - 1, MOMENTS).astype(int))
    return tuple(column[kept] for column in columns)


def best_by_then(runs: Mapping[str, Results], name: str, key: str) -> dict[str, Any]:
    """Figure of each run's best value over its cost: `key` of the summary in total, or the number of epochs."""
    traces, heights = [], []
    for at, (run, results) in enumerate(runs.items()):
        share, best = thinned_columns(*reached(results))
        whole = figure_at(results.summary, key) or results.trained.sum()
        what = f"{templated(run)}: %{{y:.4g}} after %{{x:.3g}} {name}<extra></extra>"
        line = {"mode": "lines+markers", "line": {"color": COLORS[at % len(COLORS)], "width": 2}, "marker": {"size": 4}}
        points = {"x": rounded(share * whole), "y": rounded(best), "name": shown(run), "hovertemplate": what}
        traces.append({"type": "scatter", **line, **points})
        heights.append(best)
    first, values = next(iter(runs.values())), np.concatenate(heights)
    height = axis_for(first.metric, *scope(first.metric, values, values, loss(first, first.metric)))
    axis = ruled(name, type="log", dtick="D2", tickformat="~s" if name == "updates" else "~g")
    return {"traces": traces, "layout": layout(height=380, showlegend=True, xaxis=axis, yaxis=height)}


def how_searched(results: Results) -> dict[str, str]:
    """Options of a run, with their names in brackets, and hyperparameter -> scale; as text."""
    run, rounds = results.run, len(np.unique(results.rounds))
    how = {"sampler": run.get("sampler"), "scheduler": run.get("scheduler"), "rounds": rounds, "seed": run.get("seed")}
    said = {f"({name})": str(value) for name, value in how.items() if value is not None}
    return said | {name: str(scale) for name, scale in Space.from_dict(run["space"]).entries().items()}


def winner(results: Results) -> dict[str, str]:
    """Hyperparameter -> value of a run's winner, as text."""
    assert results.best is not None
    space = Space.from_dict(results.run["space"])
    return {name: label(space[name], given) for name, given in results.best.hparams.items()}


def comparison_table(runs: Mapping[str, Results], title: str, caption: str, tell: Any) -> str:
    """HTML section with a table of `tell(results)`: a row per hyperparameter, a column per run."""
    told = [tell(results) for results in runs.values()]
    names = dict.fromkeys(name for one in told for name in one)
    rows = [[shown(name), *(shown(one.get(name, "")) for one in told)] for name in names]
    return section(title, caption, table(["hyperparameter", *map(shown, runs)], rows, "words"))
