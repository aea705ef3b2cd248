"""The importance of each hyperparameter, beside its expected tier. No JAX here."""

from collections.abc import Sequence

from popjax.core.text import install, plural
from popjax.pages.axes import Axis
from popjax.pages.drawing import shown
from popjax.pages.figures.figure import Figure, varied
from popjax.pages.importance import best_tenth, importance
from popjax.pages.markup import section, table
from popjax.space.defaults import TIERS
from popjax.store.results import Results

STEADY = 256  # number of trials from which the importance differs little between draws


def section_of(results: Results, axes: Sequence[Axis]) -> str:
    """HTML section of importance, the greatest first, beside the expected tier; empty without a winner."""
    differ = varied(axes)
    if results.best is None or not differ:
        return ""
    shares = importance(results)
    best, of = best_tenth(results)
    caption = (
        f"How much each hyperparameter decides, in these trials, whether one is among the best tenth, {best:,} of "
        f"{plural(of, 'trial')} (PED-ANOVA), beside its tier in the order of the courses: 1 is tuned first, 3 last; "
        "those without one are not in it."
    )
    if shares and of < STEADY:
        caption += f" Of fewer than {STEADY} trials the shares move by tens of percent between draws."
    caption += " All rounds are pooled; later ones search where earlier ones were good." if results.rounds.max() else ""
    caption += " A pruned trial counts by its last epoch." if results.pruned.any() else ""
    head = ["hyperparameter", "tier", "importance here"]
    if not shares:
        rows = [[shown(axis.name), str(TIERS.get(axis.name, "-"))] for axis in differ]
        missing = f"<p>Importance needs Optuna: <code>{install('optuna')}</code></p>"
        few = "<p>Too few different trials to tell the importance.</p>"
        return section("What mattered", caption, table(head[:2], rows, "words") + (missing if shares is None else few))
    rows = []
    for name, share in sorted(shares.items(), key=lambda item: -item[1]):
        bar = f'<span class="bar" style="width:{70 * share:.1f}%"></span> {100 * share:.0f} %'
        rows.append([shown(name), str(TIERS.get(name, "-")), bar])
    return section("What mattered", caption, table(head, rows, "words shares"))


FIGURE = Figure(section_of)
