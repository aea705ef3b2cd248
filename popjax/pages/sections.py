"""The report's words and tables. No JAX here."""

import html
from collections.abc import Mapping

from popjax.core.text import install, plural
from popjax.pages.axes import Axis
from popjax.pages.figures import (
    DIVERGED,
    POINT,
    WINNER,
    beyond,
    curved,
    errors,
    learned,
    metrics,
    round_color,
    shown,
    thinned,
)
from popjax.pages.importance import best_tenth
from popjax.pages.panels import POINTS
from popjax.space.defaults import TIERS
from popjax.space.scales import Choice, Integers, LogIntegers, Scale
from popjax.space.space import Space
from popjax.store.results import Results

USUAL = {"sampler": "random", "folds": 1, "repeats": 1, "scheduler": None, "choose": "best", "keep": 1, "plan": "auto"}
STEADY = 256  # trials from which the importance differs little between draws
NO_PLACE = "A trial in which a hyperparameter is inactive has no point there."


def section(title: str, caption: str, body: str) -> str:
    """A heading, one sentence that tells how to read what follows, and what follows."""
    return f'<section>\n<h2>{title}</h2>\n<p class="caption">{caption}</p>\n{body}\n</section>\n'


def table(head: list[str], rows: list[list[str]], kind: str = "", winner: int | None = None) -> str:
    """A table in a box of its own that scrolls; texts are HTML."""
    lines = ["".join(f"<td>{cell}</td>" for cell in row) for row in rows]
    marked = [f"<tr{' class=winner' if at == winner else ''}>{line}</tr>" for at, line in enumerate(lines)]
    titles = "".join(f"<th>{name}</th>" for name in head)
    return (
        f'<div class="scroll" tabindex="0"><table class="{kind}"><thead><tr>{titles}</tr></thead>'
        f"<tbody>{''.join(marked)}</tbody></table></div>"
    )


def keys(entries: list[tuple[str, str, str]]) -> str:
    """A legend of (form, colour, text)."""
    marks = [f'<li><i class="{form}" style="background:{color}"></i>{text}</li>' for form, color, text in entries]
    return f'<ul class="keys">{"".join(marks)}</ul>'


def thinning(drawn: int, count: int, what: str) -> str:
    """What is said where not all are drawn."""
    if drawn == count:
        return ""
    return f" {drawn:,} of {count:,} {what} drawn: the ten best, and others evenly spaced by rank."


def at_the_end(results: Results) -> str:
    """What is said of an error of 0, which has no place in decades."""
    none = any(errors(results, name) is not None and (results.last[name] == 1).any() for name in metrics(results))
    return " In decades an error of 0 stands at half of the least other one." if none else ""


def curves_section(results: Results) -> str:
    """Learning curves, with the choice of the metric."""
    lines = "the mean of its folds and repeats" if results.errors else "one trial"
    parts = [f"Each thin line is {lines if not results.errors else 'one trial, ' + lines}, epoch by epoch"]
    if results.best is not None:
        few = learned(results).sum() < (~results.diverged).sum()
        those = "came nearer to the best than to a constant" if few else "did not diverge"
        parts.append(f"the blue line is the median and the blue band the middle half of the trials that {those}")
        parts.append("the thick line is the winner" + (" with ± one standard error" if results.errors else ""))
    if results.diverged.any():
        parts.append("a diverged trial ends with a cross at its last whole epoch, if it had one")
    if results.pruned.any():
        parts.append("a pruned trial's line ends where it was left")
    if results.stopped.any():
        parts.append("a stopped trial's line ends where it was stopped")
    caption = "; ".join(parts) + "." + thinning(len(curved(results)), len(results.diverged), "curves")
    caption += at_the_end(results) + " Drag to enlarge, double-click to see all."
    return section("Learning curves", caption, '<div class="figure" id="curves"></div>')


def control(results: Results) -> str:
    """The choice of the metric of curves and panels, and whether a share is shown as an error."""
    options = "".join(f'<option value="{at}">{shown(name)}</option>' for at, name in enumerate(metrics(results)))
    chosen = " checked" if errors(results, results.metric) is not None else ""
    switch = (
        f'<label id="switch"><input type="checkbox" id="errors" autocomplete="off"{chosen}> errors in decades</label>'
    )
    choice = f'<label>Metric <select id="metric" autocomplete="off">{options}</select></label>'
    return f'<div class="control">{choice} {switch}</div>\n'


def panels_section(results: Results, varied: list[Axis]) -> str:
    """The metric against each hyperparameter."""
    caption = "Each point is a trial: where the best points gather is where to search."
    if any(tick.window for axis in varied for tick in axis.ticks):
        caption += " Below a β stands its averaging window 1/(1-β)."
    if any(axis.cell >= 1 / 20 for axis in varied):
        caption += " Points of the same whole number or choice lie beside each other."
    caption += " " + NO_PLACE if not all(axis.everywhere for axis in varied) else ""
    caption += " A trial's values are those of its last epoch." if results.schedule is not None else ""
    caption += f" {plural(far, 'trial')} beyond the frame stand on its edge." if (far := beyond(results)) else ""
    ranked = len(results.order) + int(results.diverged.sum())
    if left := len(results.diverged) - ranked:
        caption += f" {plural(left, 'trial')} left before the last epoch {'has' if left == 1 else 'have'} no point."
    caption += at_the_end(results) + thinning(len(thinned(results, POINTS)), ranked, "trials")
    count = int(results.rounds.max()) + 1
    marks = round_marks(count) if count > 1 else [("", POINT, "trial")]
    marks += [("ring", "transparent", "ten best"), ("star", WINNER, "winner")]
    lost = '<span>diverged, at the <span id="worst"></span></span>'  # which end that is, the script says
    marks += [("tick", DIVERGED, lost)] if results.diverged.any() else []
    boxes = "".join(f'<div class="figure" id="panel-{at}"></div>' for at in range(len(varied)))
    name = f'<span class="metric">{shown(results.metric)}</span>'
    return section(f"{name} against each hyperparameter", caption, keys(marks) + f'<div class="panels">{boxes}</div>')


def round_marks(count: int) -> list[tuple[str, str, str]]:
    """What the legend says of so many rounds."""
    shared: dict[str, list[int]] = {}
    for number in range(count):
        shared.setdefault(round_color(number, count), []).append(number + 1)
    said = lambda own: f"round {own[0]}" if len(own) == 1 else f"rounds {own[0]} to {own[-1]}"
    return [("", color, said(own)) for color, own in shared.items()]


def parallel_section(results: Results, axes: list[Axis]) -> str:
    """Parallel coordinates, the sentence of the selection and the table of its ten best trials."""
    varied = [axis for axis in axes if axis.varied]
    caption = (
        "Each line is a trial, stronger is better: drag along one or several axes to keep the trials that pass there, "
        "click on an axis to free it."
    )
    caption += " Where a hyperparameter is inactive a line has a gap." if not all(a.everywhere for a in varied) else ""
    marks = [("", WINNER, "winner"), ("", "var(--strong)", "best"), ("", "var(--faint)", "worst")]
    marks += [("", DIVERGED, "diverged")] if results.diverged.any() else []
    caption += " The table has the ten best of them, by rank; ties go to the lower validation loss."
    fixed = ", ".join(f"{shown(axis.name)} {shown(axis.label(0))}" for axis in axes if not axis.varied)
    caption += f" The same in all: {fixed}." if fixed else ""
    head = ["rank", "trial", *(["round"] if results.rounds.max() else []), *(shown(axis.name) for axis in varied)]
    head += [shown(results.metric), "epochs", *(["parameters"] if results.parameters is not None else [])]
    layers = '<canvas></canvas><svg role="img" aria-label="parallel coordinates"></svg>'
    box = f'<div class="figure" id="parallel">{layers}</div>'
    body = f'{keys(marks)}{box}\n<p class="selected" aria-live="polite"></p>\n{table(head, [])}'
    return section("All hyperparameters at once", caption, body)


def descent_section(results: Results, lived: list[Axis]) -> str:
    """The family tree, and the hyperparameters that training changed."""
    caption = (
        "A line is a trial, a fork a copy of it: where the lines of the end come from. The winner's weights were "
        "trained along the thick line."
    )
    body = '<div class="figure" id="tree"></div>'
    if lived:
        boxes = "".join(f'<div class="figure" id="history-{at}"></div>' for at in range(len(lived)))
        words = (
            "What the weights of the end were trained with, epoch by epoch; the thick line is the winner's schedule."
        )
        body += f'\n<p class="caption">{words}</p>\n<div class="panels">{boxes}</div>'
    return section("Who descends from whom", caption, body)


def expected_section(results: Results) -> str:
    """The expected best of k."""
    first = int((results.rounds == 0).sum())
    better = "highest" if results.mode == "max" else "lowest"
    caption = (
        f"The {better} {shown(results.metric)} that k of these {first:,} trials, drawn at random, reach on average: "
        "where the line is flat, more trials would not have helped."
    )
    if results.rounds.max():
        caption += " The first round only: later rounds look where it was good, so they are no random draws."
    if results.diverged[results.rounds == 0].any():
        caption += " A diverged trial counts as the worst."
    return section("How many trials were needed", caption, '<div class="figure" id="expected"></div>')


def importance_section(results: Results, varied: list[Axis], shares: Mapping[str, float] | None) -> str:
    """Importance here, the greatest first, beside the tier that was expected."""
    best, of = best_tenth(results)
    caption = (
        f"How much each hyperparameter decides, in these trials, whether one is among the best tenth, {best:,} of "
        f"{plural(of, 'trial')} (PED-ANOVA), beside its tier in the order of the courses: 1 is tuned first, 3 last; "
        "those without one are not in it."
    )
    if shares and of < STEADY:
        caption += f" Of fewer than {STEADY} trials the shares move by tens of percent between draws."
    caption += " All rounds together, of which the later ones look where it was good." if results.rounds.max() else ""
    caption += " A pruned trial counts by its last epoch." if results.pruned.any() else ""
    head = ["hyperparameter", "tier", "importance here"]
    if not shares:
        rows = [[shown(axis.name), str(TIERS.get(axis.name, "-"))] for axis in varied]
        missing = f"<p>Importance needs Optuna: <code>{install('optuna')}</code></p>"
        few = "<p>Too few different trials to tell the importance.</p>"
        return section("What mattered", caption, table(head[:2], rows, "words") + (missing if shares is None else few))
    rows = []
    for name, share in sorted(shares.items(), key=lambda item: -item[1]):
        bar = f'<span class="bar" style="width:{70 * share:.1f}%"></span> {100 * share:.0f} %'
        rows.append([shown(name), str(TIERS.get(name, "-")), bar])
    return section("What mattered", caption, table(head, rows, "words shares"))


def zoomed(results: Results) -> bool:
    """Whether a round searched another space than the first, or there is something to say of one."""
    rounds = results.run.get("rounds") or []
    return any(entry["space"] != rounds[0]["space"] or entry["notes"] for entry in rounds)


def zoom_section(results: Results, varied: list[Axis]) -> str:
    """The range of each hyperparameter in every round, on the user's own axis."""
    rounds = results.run.get("rounds") or []
    spaces = [Space.from_dict(entry["space"]) for entry in rounds]
    parts = []
    for axis in varied:
        tracks = []
        for order, space in enumerate(spaces):
            color = round_color(order, len(spaces))
            bars = "".join(
                f'<i style="left:{100 * low:.2f}%;width:{100 * (high - low):.2f}%;background:{color}"></i>'
                for low, high in spans(axis.scale, space[axis.name])
            )
            said = shown(extent(space[axis.name]))
            tracks.append(f'<b>{order + 1}</b><div class="track">{bars}</div><span>{said}</span>')
        parts.append(f'<h3>{shown(axis.name)}</h3><div class="rounds">{"".join(tracks)}</div>')
    notes = [f"<li>Before round {n}: {shown(note)}</li>" for n, e in enumerate(rounds, 1) for note in e["notes"]]
    caption = (
        "A line a round: the grey bar is the range that was asked for, the coloured one what the round searched of it."
    )
    listed = f"<ul>{''.join(notes)}</ul>" if notes else ""
    return section("What the zoom did", caption, f'<div class="zoom">{"".join(parts)}</div>{listed}')


def spans(scale: Scale, narrower: Scale) -> list[tuple[float, float]]:
    """Which parts of the unit axis of `scale` a round's scale covers.

    >>> spans(Choice("a", "b", "c", "d"), Choice("b", "d"))
    [(0.25, 0.5), (0.75, 1.0)]
    """
    if isinstance(scale, Choice):
        units = [scale.to_unit(one) for one in getattr(narrower, "values", [getattr(narrower, "value", None)])]
        return [(unit - 0.5 / len(scale.values), unit + 0.5 / len(scale.values)) for unit in units]
    half = 0.5 / scale.levels if isinstance(scale, Integers) and not isinstance(scale, LogIntegers) else 0.0
    low, high = scale.to_unit(narrower.low), scale.to_unit(narrower.high)
    return [(max(low - half, 0.0), min(high + half, 1.0))]


def extent(scale: Scale) -> str:
    """A scale's values in few words."""
    if isinstance(scale, Choice):
        return ", ".join(map(str, scale.values))
    from popjax.pages.axes import label

    low, high = label(scale, scale.low), label(scale, scale.high)
    return low if low == high else f"{low} to {high}"


def rebuild_section(results: Results, alone: bool = False) -> str:
    """The command that made the run, and how to go on from its files, unless the page stands alone."""
    what = "command" if results.run.get("command") else "task and call"
    caption = f"The same {what} gives the same results"
    line = str(results.run.get("command") or "") or as_code(results)
    body = f"<pre>{html.escape(line)}</pre>\n" if line else ""
    if alone:
        saving = '<p><code>results.save("DIR")</code> writes the tables and the winner\'s arrays.</p>'
        return section("How to rebuild this", f"{caption}.", body + saving)
    caption += "; the lines below it go where this page lies."
    if results.best is not None and results.winner is not None:
        code = 'import popjax as pj\n\nwinner = pj.load_best(".")\nwinner.predict(rows)  # raw rows'
    else:
        code = 'import popjax as pj\n\nresults = pj.Results.load(".")\nresults.trials  # a pyarrow table'
    files = (
        "Beside this page: <code>run.json</code> (what determines the results), <code>trials.parquet</code> (a row a "
        "trial), <code>curves.parquet</code> (a row an epoch), <code>summary.json</code> (the figures at the top)"
    )
    best = ", <code>best/</code> (the winner's arrays)" if results.best is not None else ""
    again = "; <code>python -m popjax.report DIR</code> draws this page again from them."
    return section("How to rebuild this", caption, f"{body}<pre>{html.escape(code)}</pre>\n<p>{files}{best}{again}</p>")


def as_code(results: Results) -> str:
    """The call that made a run of the library, but for the task, of which a run does not know the code; or nothing."""
    run = results.run
    if "seed" not in run or "space" not in run:
        return ""
    entries = "".join(f"    {name!r}: {text!r},\n" for name, text in run["space"].items())
    asked = {name: run.get(name, usual) for name, usual in USUAL.items()} | {"rounds": run.get("rounds_in_all", 1)}
    given = {name: said for name, said in asked.items() if said != USUAL.get(name, 1)}
    trials, epochs = len(results.diverged), results.members[results.metric].shape[-1]
    numbers = {"trials": trials, "epochs": epochs, "seed": run["seed"], "metric": results.metric, "mode": results.mode}
    arguments = ", ".join(f"{name}={said!r}" for name, said in (numbers | given).items())
    return f"space = pj.Space.from_dict({{\n{entries}}})\nresults = pj.search(task, space, {arguments})"
