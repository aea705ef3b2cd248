"""A page that compares runs: the best value over the training spent, spaces, winners."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from popjax.pages.axes import axes, label, scope
from popjax.pages.differing import data_digest, differing
from popjax.pages.drawing import GREY, MIDDLE, POINT, WINNER, axis_for, layout, rounded, ruled, shown, templated
from popjax.pages.figures.trials import card
from popjax.pages.framing import loss
from popjax.pages.headline import metric_text
from popjax.pages.markup import section, table
from popjax.space.space import Space
from popjax.store.listing import figure_at
from popjax.store.records import mean_member
from popjax.store.results import Results

COLORS = (WINNER, MIDDLE, "#009E73", "#E69F00", "#CC79A7", POINT, GREY)
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")  # a run's, beside its colour
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "cross", "star")
HEAD = ("the best together, on the test rows", "trials", "epochs", "updates", "seconds")
MOMENTS = 500  # largest number of points of a line


def check_comparable(runs: Mapping[str, Results]) -> None:
    """Raise ValueError if a run has no winner."""
    for name, results in runs.items():
        if results.best is None:
            raise ValueError(f"{name}: it has no winner; leave it out")


def comparison(runs: Mapping[str, Results]) -> tuple[str, str, dict[str, Any]]:
    """Title, sections as HTML and figures of the comparison. Raises ValueError for runs that cannot be compared."""
    check_comparable(runs)
    title = f"{len(runs)} runs compared"
    parts, figures = [f"<h1>{title}</h1>"], {}
    if differ := differing(runs):
        parts.append(side_by_side(runs, "What differs", caption_of(runs), differ))
    parts.append(outcomes(runs))
    if not incomparable(runs):
        figures = lines_of(runs)
        boxes = "".join(f'<div class="figure" id="{name}"></div>' for name in figures)
        metric = shown(next(iter(runs.values())).metric)
        last = any(results.rule.at == "last" for results in runs.values())
        turns = "Where the last epoch ranks, a line may turn back. " if last else ""
        caption = (
            f"The best {metric} of all trials after the same amount of training; the curve ahead on the left is "
            f"sooner. {turns}{' and '.join(figures).capitalize()} are those of the whole run, "
            "spread evenly over its epochs; rounds follow one another. Click on a line for its winner."
        )
        parts.append(section("The best by then", caption, f'<div class="panels wide">{boxes}</div>'))
    for name, caption, tell in (
        ("Spaces", "How each run searched, and what.", how_searched),
        ("Winners", "What each run found.", winner),
    ):
        parts.append(side_by_side(runs, name, caption, [tell(results) for results in runs.values()]))
    parts.append('<aside id="card" aria-label="the winner of a run" hidden></aside>')
    cards = [card(results, axes(results), run) for run, results in runs.items()] if figures else []
    return title, "".join(parts), {"plots": figures, **({"cards": cards} if cards else {})}


def lines_of(runs: Mapping[str, Results]) -> dict[str, Any]:
    """Name -> figure: the best value over updates, and over seconds if all runs tell them."""
    counted = all(figure_at(results.summary, "model_steps") for results in runs.values())
    first = ("updates", "model_steps") if counted else ("epochs", "")  # of tasks that do not tell their updates
    figures = {first[0]: best_by_then(runs, *first)}
    if all(figure_at(each.summary, "wall_seconds") and not each.summary.get("seconds_lost") for each in runs.values()):
        figures["seconds"] = best_by_then(runs, "seconds", "wall_seconds")
    return figures


def incomparable(runs: Mapping[str, Results]) -> str:
    """Why the values of one run say little of those of another, in words; empty if they can be compared."""
    data = {data_digest(results) for results in runs.values()} - {""}
    metrics = {(results.metric, results.metric.mode) for results in runs.values()}
    whys = [(len(data) > 1, "are over different data"), (len(metrics) > 1, "rank by different metrics")]
    return " and ".join(why for true, why in whys if true)


def caption_of(runs: Mapping[str, Results]) -> str:
    """The caption of what differs."""
    if why := incomparable(runs):
        return f"The runs {why}, so a better value in one of them does not say that it is the better search."
    return "Data, options and versions; what is not here is the same in all."


def outcomes(runs: Mapping[str, Results]) -> str:
    """HTML table of costs and of the metrics that all runs share, on the winner's and the test rows; a row per run."""
    names = shared([list(results.values) for results in runs.values()])
    tests = shared([list(results.summary.get("test") or ()) for results in runs.values()])
    ranks = {str(results.metric) for results in runs.values()}
    names = sorted(names, key=lambda name: name not in ranks)
    tests = sorted(tests, key=lambda name: name not in {results.metric.on("test") for results in runs.values()})
    rows = []
    for run, results in runs.items():
        summary, best = results.summary, results.best
        assert best is not None
        figures = [number(float(results.values[name][best.trial])) for name in names]
        figures += [number(figure_at(summary, "test", name)) for name in tests]
        figures += (
            [number(figure_at(summary, "ensemble", "test", results.metric.on("test")))] if len(ranks) == 1 else []
        )
        figures += [f"{len(results.diverged):,}", str(results.members[results.metric].shape[-1])]
        spent = (figure_at(summary, "model_steps"), figure_at(summary, "wall_seconds"))
        figures += ["" if one is None else f"{one:,.0f}" for one in spent]
        rows.append([shown(run), *figures])
    caption = "The metrics that all of them have, of the winner; the first ones rank."
    head = HEAD if len(ranks) == 1 else HEAD[1:]
    body = table(["run", *map(shown, [*names, *tests]), *head], rows, "words")
    return section("Outcomes", caption, body)


def shared(names: Sequence[Sequence[str]]) -> list[str]:
    """The names that stand in all lists, in the order of the first."""
    return [name for name in names[0] if all(name in others for others in names)]


def number(value: float | None) -> str:
    """A metric as text, empty if there is none."""
    return "" if value is None or value != value else metric_text(value)


def reached(results: Results) -> tuple[np.ndarray, np.ndarray]:
    """The share of all training done by each moment (moments,), and the best trial's value then (moments,).

    A moment is an epoch of a round: the trials of a round train side by side, and rounds one after another. A trial
    counts by its latest value, a pruned one while it trains; one that diverged, or violates a limit of the rule, adds
    training only. Moments without a value, such as those where all have diverged, are left out.
    """
    done, curve = results.trained.min((1, 2)), mean_member(results.counted.values[results.metric])
    top = np.fmax if results.metric.mode == "max" else np.fmin
    spent, best, before, record = [], [], 0, np.nan
    for number in np.unique(results.rounds):
        trials = np.flatnonzero(results.rounds == number)
        moments = np.arange(1, done[trials].max() + 1)
        had = np.minimum(done[trials][:, None], moments)
        latest = np.take_along_axis(curve[trials], np.maximum(had - 1, 0), 1)
        there = (results.reached[trials][:, None] >= moments) & results.comparable[trials][:, None]
        spent.append(before + had.sum(0))
        best.append(top.reduce(latest, 0, initial=record, where=there))
        before, record = before + done[trials].sum(), best[-1][-1] if len(best[-1]) else record
    share, values = np.concatenate(spent) / max(before, 1), np.concatenate(best)
    return share[np.isfinite(values)], values[np.isfinite(values)]


def thinned_columns(*columns: np.ndarray) -> tuple[np.ndarray, ...]:
    """Columns (moments,) with at most `MOMENTS` of their rows, the first and the last included."""
    kept = np.unique(np.linspace(0, len(columns[0]) - 1, MOMENTS).astype(int))
    return tuple(column[kept] for column in columns)


def best_by_then(runs: Mapping[str, Results], name: str, key: str) -> dict[str, Any]:
    """Figure of each run's best value over its cost, in total `key` of the summary; "": the number of epochs."""
    traces, heights = [], []
    for at, (run, results) in enumerate(runs.items()):
        share, best = thinned_columns(*reached(results))
        whole = results.trained.sum() if key == "" else figure_at(results.summary, key)
        what = f"{templated(run)}: %{{y:.4g}} after %{{x:.3g}} {name}<extra></extra>"
        stroke = {"color": COLORS[at % len(COLORS)], "width": 2, "dash": DASHES[at % len(DASHES)]}
        marker = {"symbol": SYMBOLS[at % len(SYMBOLS)], "size": 7, "maxdisplayed": 12}
        line = {"mode": "lines+markers", "line": stroke, "marker": marker}
        points = {"x": rounded(share * whole), "y": rounded(best), "name": shown(run), "hovertemplate": what}
        traces.append({"type": "scatter", **line, **points})
        heights.append(best)
    first, values = next(iter(runs.values())), np.concatenate(heights)
    height = axis_for(first.metric, *scope(first.metric, values, values, loss(first, first.metric)))
    axis = ruled(name, type="log", dtick="D2", tickformat="~g" if name == "seconds" else "~s")
    said = "; ".join(f"{run} reaches {results.best.value:.4g}" for run, results in runs.items() if results.best)
    return {"traces": traces, "layout": layout(height=380, showlegend=True, xaxis=axis, yaxis=height), "alt": said}


def how_searched(results: Results) -> dict[str, str]:
    """Options of a run, with their names in brackets, and hyperparameter -> scale; as text."""
    run, rounds = results.run, len(np.unique(results.rounds))
    how = {"sampler": run.get("sampler"), "scheduler": run.get("scheduler"), "rounds": rounds, "seed": run.get("seed")}
    said = {f"({name})": str(value) for name, value in how.items() if value is not None}
    space = Space.from_dict(run["space"])
    if space.constraints:
        said["(where)"] = " and ".join(map(str, space.constraints))
    if results.rule.limits:
        said["(subject to)"] = " and ".join(results.rule.subject_to)
    return said | {name: str(scale) for name, scale in space.entries().items()}


def winner(results: Results) -> dict[str, str]:
    """Hyperparameter -> value of a run's winner, as text."""
    assert results.best is not None
    space = Space.from_dict(results.run["space"])
    return {name: label(space[name], value) for name, value in results.best.hparams.items()}


def side_by_side(runs: Mapping[str, Results], title: str, caption: str, told: Sequence[Mapping[str, str]]) -> str:
    """HTML section with a table of name -> text of each run: a row per name, a column per run."""
    names = dict.fromkeys(name for one in told for name in one)
    rows = [[shown(name), *(shown(one.get(name, "")) for one in told)] for name in names]
    return section(title, caption, table(["", *map(shown, runs)], rows, "words"))
