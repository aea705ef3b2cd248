"""All trials: a table of them, and a card of the one in hand, which trials.js draws. No JAX here."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from popjax.core.text import printable
from popjax.pages.axes import Axis
from popjax.pages.drawing import rounded
from popjax.pages.figures.figure import Figure, varied
from popjax.pages.framing import metrics
from popjax.pages.markup import section
from popjax.scheduler import Status
from popjax.store.results import Results
from popjax.store.trial_records import cost_name

CURVES = 200_000  # trials x epochs up to which the page has all curves of the metric that ranks
INFEASIBLE = "infeasible"  # complete or pruned, and beyond a limit of the rule
WORDS = [Status(number).name.lower() for number in range(len(Status))]


def section_of(results: Results, axes: Sequence[Axis]) -> str:
    """HTML section of the table of all trials, and of the card."""
    caption = (
        "Click on a trial in any figure or on its row (or press Enter there) to see it in all of them, with all that "
        "is known of it; Escape puts it back. A column's name sorts by it; what is dragged along the axes above "
        "chooses the trials here, too."
    )
    body = (
        '<div class="control rows"><label>Status <select id="status" autocomplete="off"></select></label> '
        '<button id="download" type="button">Download as CSV</button> '
        '<span class="selected" id="kept" aria-live="polite"></span></div>\n'
        '<div id="trials" class="tall"><table><thead><tr></tr></thead><tbody></tbody></table></div>\n'
        '<aside id="card" aria-label="the trial in hand" hidden></aside>'
    )
    return section("All trials", caption, body)


def table(results: Results, axes: Sequence[Axis]) -> dict[str, Any]:
    """What trials.js shows: a list with an entry a trial of each column, and all curves unless these are too many."""
    differ, names = varied(axes), metrics(results)
    costs = {cost_name(n, results.run): cost for n, cost in results.costs.items() if n not in results.members}
    curve = results.curves[results.metric]
    several = results.rounds.max(initial=0) > 0
    finished = np.isin(results.status, (Status.COMPLETE, Status.PRUNED))
    known = lambda values: np.where(results.diverged, np.nan, values)  # what they were before is on the card
    return {
        "names": [printable(axis.name) for axis in differ],
        "labels": [[printable(axis.label(trial)) for trial in range(len(axis.values))] for axis in differ],
        "fixed": [[printable(axis.name), printable(axis.label(0))] for axis in axes if not axis.varied and axis.values],
        "mode": results.metric.mode,
        "metrics": [printable(str(name)) for name in (*names, *costs)],
        "values": [rounded(known(results.values[name])) for name in names] + [rounded(cost) for cost in costs.values()],
        "error": rounded(known(results.errors[results.metric]), 3) if results.errors else None,
        "order": results.order.tolist(),
        "winner": results.best.trial if results.best else None,
        "status": np.where(finished & ~results.feasible, len(WORDS), results.status).tolist(),
        "words": [*WORDS, INFEASIBLE],
        "epochs": results.epochs_run.tolist(),
        "last": curve.shape[1],
        "rungs": rungs(results),
        "rounds": (results.rounds + 1).tolist() if several else None,
        "lost": {trial: why_lost(results, trial) for trial in np.flatnonzero(results.diverged).tolist()},
        "curves": rounded(curve, 4) if curve.size <= CURVES else None,
        "lines": lines(results),
    }


def rungs(results: Results) -> str | None:
    """What halving's rungs compared, "last" values or the "best" so far; None where the curves do not tell it."""
    plain = str(results.run.get("scheduler")).startswith("halving") and not results.rounds.any()
    if not plain or results.steered is not None:
        return None
    if results.rule.at == "last":
        return "last"
    _, folds, repeats, _ = results.members[results.metric].shape
    return "best" if folds * repeats == 1 else None


def card(results: Results, axes: Sequence[Axis], run: str) -> dict[str, Any]:
    """What the card shows of the winner of a run that is compared with others: a table of this trial alone."""
    assert results.best is not None
    trial, whole = results.best.trial, table(results, axes)
    alone = {"labels": [], "values": [], "order": [0], "winner": 0, "run": printable(run), "number": trial}
    alone["place"] = f"rank {int(np.flatnonzero(results.order == trial)[0]) + 1}, the winner"
    alone["lines"] = []  # which directory a run has is not known here
    alone["labels"] = [[column[trial]] for column in whole["labels"]]
    alone["values"] = [[column[trial]] for column in whole["values"]]
    alone |= {name: [whole[name][trial]] for name in ("status", "epochs")}
    return whole | alone | {"curves": rounded(results.curves[results.metric][trial], 4), "error": None, "rounds": None}


def why_lost(results: Results, trial: int) -> str:
    """In which epoch a trial diverged, which metrics were not finite then, and its last value before, in words."""
    epoch = int(results.epochs_run[trial])
    there = {name: values[trial, ..., epoch : epoch + 1] for name, values in results.members.items()}
    lost = [printable(str(name)) for name, values in there.items() if values.size and not np.isfinite(values).all()]
    said = f"diverged in epoch {epoch + 1}" + (f": {', '.join(lost)} not finite" if lost else "")
    before = results.curves[results.metric][trial, epoch - 1] if epoch else np.nan
    return f"{said}; {results.metric} was {before:.4g} before" if np.isfinite(before) else said


def lines(results: Results) -> list[str]:
    """What trains a trial again, with {} in the place of its number: a command, if one made the run, and a call."""
    command = ["popjax babysit --from . --trial {}"] if results.run.get("command") else []
    return [*command, 'pj.replay(pj.Results.load("."), {}, task)']


FIGURE = Figure(section_of, data=lambda results, axes: {"trials": table(results, axes)})
