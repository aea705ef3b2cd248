"""The figures of the report in their order. No JAX here."""

from popjax.pages.figures import curves, data, descent, expected, front, mattered, panels, parallel, zoom
from popjax.pages.figures.figure import Figure

FIGURES: tuple[Figure, ...] = (
    curves.FIGURE,
    panels.FIGURE,
    parallel.FIGURE,
    front.FIGURE,
    descent.FIGURE,
    expected.FIGURE,
    mattered.FIGURE,
    zoom.FIGURE,
    data.FIGURE,
)
