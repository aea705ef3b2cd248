"""The report's figures one by one, as plotly's. No JAX here."""

from typing import Any

from popjax.pages.axes import axes
from popjax.pages.figures.named_figures import FIGURES
from popjax.store.results import Results


def plot(results: Results, name: str = "curves") -> Any:
    """A figure by its name: "curves", another metric's curves by the metric, "expected", a hyperparameter, "predicted".

    Where hyperparameters changed while trials trained there are "tree" and, of each that did, "learning_rate by epoch".

    Raises ValueError for another name, and where there is nothing to draw.
    """
    import plotly.graph_objects as go

    columns, known = axes(results), list[str]()
    for figure in FIGURES:
        plots = figure.plots(results, columns)
        if name in plots:
            drawn = plots[name]()
            return go.Figure(drawn["traces"], drawn["layout"])
        known += plots
    if results.best is None:
        raise ValueError(f"{results.no_winner}; of such results there are the curves alone to draw")
    raise ValueError(f"there is no figure {name!r}; there are {', '.join(known)}")
