"""The figures of the report in their order. No JAX here."""

from popjax.pages.figures import (
    curves,
    data,
    descent,
    expected,
    front,
    mattered,
    mistakes,
    panels,
    parallel,
    trials,
    zoom,
)
from popjax.pages.figures.figure import Figure

FIGURES: dict[str, Figure] = {
    "curves": curves.FIGURE,
    "panels": panels.FIGURE,
    "parallel": parallel.FIGURE,
    "trials": trials.FIGURE,
    "front": front.FIGURE,
    "descent": descent.FIGURE,
    "expected": expected.FIGURE,
    "mattered": mattered.FIGURE,
    "zoom": zoom.FIGURE,
    "data": data.FIGURE,
    "mistakes": mistakes.FIGURE,
}
